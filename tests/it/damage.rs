//! A data directory with known content, as a process that was killed leaves it; and a way to open copies of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use larder::{
    clock::Clock,
    config::Config,
    model::Timestamp,
    node::{self, Running},
};
use reqwest::blocking::Client;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::{TestNode, answer};

pub const NOW: &str = "2024-05-01T12:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "key"
join_keys = [{ name = "key", type = "int64" }]

[[feature_view]]
name = "state"
entities = ["key"]
feature = [{ name = "value", type = "int64" }, { name = "text", type = "string" }]

[[feature_view]]
name = "other"
entities = ["key"]
feature = [{ name = "value", type = "int64" }]

[[feature_view]]
name = "live"
entities = ["key"]
offline = false
feature = [{ name = "value", type = "int64" }]
"#;

/// One acknowledged row: view, key, second of its event time, value.
pub type Written = (&'static str, i64, i64, i64);

pub struct Known {
    pub dir: TempDir,
    pub rows: Vec<Written>,
    /// Ids of the batches with how many of `rows` came before them.
    pub batches: Vec<(usize, String)>,
}

fn time(second: i64) -> String {
    Timestamp::from_micros(1_700_000_000_000_000 + second * 1_000_000).to_string()
}

fn row((view, key, second, value): Written) -> Json {
    match view {
        // Long texts are compressed in the journal once a batch is large.
        "state" => {
            json!({ "key": key, "event_time": time(second), "value": value, "text": "text ".repeat(8) })
        }
        _ => json!({ "key": key, "event_time": time(second), "value": value }),
    }
}

impl Known {
    /// Some of it sealed, some written before a restart, the rest after; copied while the node runs.
    pub fn build() -> Known {
        let mut node = TestNode::with(NOW, &[("offline.seal_after", "1h")]);
        node.apply(DEFINITIONS);
        let mut known = Known { dir: TempDir::new().unwrap(), rows: Vec::new(), batches: Vec::new() };
        for batch in 0..40 {
            if batch == 20 {
                node.set("offline.seal_after", "1ms");
                node.restart();
                node.set_time("2024-05-01T12:01:00Z");
                node.wait_until_sealed("state");
                node.wait_until_sealed("other");
                node.set("offline.seal_after", "1h");
                node.restart();
            }
            known.batches.push((known.rows.len(), write_batch(&node, batch, &mut known.rows)));
        }
        copy(node.dir(), known.dir.path());
        known
    }

    pub fn copy(&self) -> TempDir {
        let to = TempDir::new().unwrap();
        copy(self.dir.path(), to.path());
        to
    }
}

fn write_batch(node: &TestNode, batch: i64, rows: &mut Vec<Written>) -> String {
    let view = match batch {
        39 => "live",
        _ if batch % 3 == 2 => "other",
        _ => "state",
    };
    let count = if batch % 5 == 4 { 90 } else { 3 };
    let new: Vec<Written> =
        (0..count).map(|i| (view, (batch + i) % 50, batch * 100 + i, batch * 1000 + i)).collect();
    let body = node.write(view, new.iter().map(|row| self::row(*row)).collect());
    rows.extend(new);
    body["batch_id"].as_str().unwrap().to_owned()
}

/// Zeros at the end of a file become a hole, so that journals stay small.
pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (source, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&source, &target);
        } else {
            let bytes = std::fs::read(&source).unwrap();
            let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
            std::fs::write(&target, &bytes[..end]).unwrap();
            std::fs::File::options().write(true).open(&target).unwrap().set_len(bytes.len() as u64).unwrap();
        }
    }
}

/// The newest journal.
pub fn journal(data: &Path) -> PathBuf {
    let mut journals: Vec<PathBuf> = std::fs::read_dir(data.join("online"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    journals.sort_by_key(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    journals.pop().unwrap()
}

/// A node over a copy.
pub struct Opened {
    running: Running,
    http: Client,
}

impl Opened {
    pub fn start(data: &Path) -> Result<Opened, String> {
        let settings = [
            ("data.dir".to_owned(), data.display().to_string()),
            ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("ingest.min_free_bytes".to_owned(), "1MiB".to_owned()),
            ("offline.seal_after".to_owned(), "1h".to_owned()),
        ];
        let config = Config::load(None, std::iter::empty(), &settings).unwrap();
        let clock = Clock::manual(Timestamp::parse(NOW).unwrap());
        let running = node::spawn(config, clock).map_err(|error| error.to_string())?;
        let http = Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Ok(Opened { running, http })
    }

    pub fn get(&self, path: &str) -> (u16, Json) {
        answer(self.http.get(format!("http://{}{path}", self.running.address())).send().unwrap())
    }

    pub fn text(&self, path: &str) -> String {
        self.http.get(format!("http://{}{path}", self.running.address())).send().unwrap().text().unwrap()
    }

    pub fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        answer(self.http.post(format!("http://{}{path}", self.running.address())).json(body).send().unwrap())
    }

    pub fn write(&self, rows: &[Written]) -> (u16, Json) {
        let body: Vec<Json> = rows.iter().map(|written| row(*written)).collect();
        self.post(&format!("/v1/feature-views/{}/rows", rows[0].0), &json!({ "rows": body }))
    }

    /// Under an `Idempotency-Key`.
    pub fn write_once(&self, key: &str, rows: &[Written]) -> (u16, Json) {
        let body: Vec<Json> = rows.iter().map(|written| row(*written)).collect();
        let url = format!("http://{}/v1/feature-views/{}/rows", self.running.address(), rows[0].0);
        let request = self.http.post(url).header("Idempotency-Key", key);
        answer(request.json(&json!({ "rows": body })).send().unwrap())
    }

    /// Rows of `rows` that are not there: offline at their own time, online where they are the newest.
    pub fn missing(&self, rows: &[Written]) -> (Vec<Written>, Vec<Written>) {
        let mut newest: BTreeMap<(&str, i64), Written> = BTreeMap::new();
        for row in rows {
            let entry = newest.entry((row.0, row.1)).or_insert(*row);
            if row.2 >= entry.2 {
                *entry = *row;
            }
        }
        let mut offline = Vec::new();
        for view in ["state", "other"] {
            let of_view: Vec<Written> = rows.iter().filter(|row| row.0 == view).copied().collect();
            let found = self.history(view, &of_view);
            offline.extend(
                of_view.iter().zip(found).filter(|(row, found)| *found != Some(row.3)).map(|(row, _)| *row),
            );
        }
        let online = newest.into_values().filter(|row| self.online(row.0, row.1) != Some(row.3)).collect();
        (offline, online)
    }

    fn history(&self, view: &str, rows: &[Written]) -> Vec<Option<i64>> {
        let spine: String = rows
            .iter()
            .map(|row| format!("{}\n", json!({ "key": row.1, "event_time": time(row.2) })))
            .collect();
        let url = format!("http://{}/v1/training-sets?features={view}:value", self.running.address());
        let request = self.http.post(url).header("Content-Type", "application/x-ndjson");
        let response = request.header("Accept", "application/x-ndjson").body(spine).send().unwrap();
        if response.status() != 200 {
            return vec![None; rows.len()];
        }
        let text = response.text().unwrap();
        let value =
            |line: &str| serde_json::from_str::<Json>(line).unwrap()[format!("{view}__value")].as_i64();
        text.lines().map(value).collect()
    }

    fn online(&self, view: &str, key: i64) -> Option<i64> {
        let body = json!({ "features": [format!("{view}:value")], "entities": [{ "key": key }] });
        self.post("/v1/online-features", &body).1["values"][0][0].as_i64()
    }
}
