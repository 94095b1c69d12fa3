//! What the clients were told, and the comparison of both stores with it. It lives in the test's process, which no
//! fault touches.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{
    array::AsArray,
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use larder::{clock::Clock, config::Config, offline::History};
use reqwest::blocking::Client;
use serde_json::{Value as Json, json};

use crate::server::{Server, client};

pub const DEFINITIONS: &str = r#"
[[entity]]
name = "key"
join_keys = [{ name = "key", type = "int64" }]

[[feature_view]]
name = "state"
entities = ["key"]
time_unit = "us"
feature = [{ name = "value", type = "int64" }, { name = "batch", type = "int64" }]
"#;

pub const WRITERS: i64 = 4;
const T0: i64 = 1_700_000_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub key: i64,
    /// Unique over all rows.
    pub time: i64,
    pub value: i64,
}

/// A batch is known by its number alone. Each key has one writer, so the order of its versions is known; event times
/// go back and forth.
pub fn rows_of(batch: i64) -> Vec<Row> {
    let writer = batch % WRITERS;
    let row = |i: i64| Row {
        key: (i % 7) * WRITERS + writer,
        time: T0 + (batch ^ 0b10100) * 64 + i,
        value: batch * 100 + i,
    };
    (0..1 + (batch / WRITERS) % 40).map(row).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    /// No answer, or an error that does not say: whole or not at all.
    Unknown,
    Absent,
}

/// What did not hold, by kind; all zero is the point of it all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults {
    pub lost: u64,
    pub duplicated: u64,
    pub disagree: u64,
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lost={} duplicated={} disagree={}", self.lost, self.duplicated, self.disagree)
    }
}

#[derive(Default)]
pub struct Oracle {
    next: [AtomicI64; WRITERS as usize],
    fates: Mutex<BTreeMap<i64, Fate>>,
    /// Acknowledged since the last check.
    fresh: Mutex<Vec<i64>>,
    pub faults: Mutex<Faults>,
}

impl Oracle {
    /// A number for the writer's next batch.
    pub fn next_batch(&self, writer: i64) -> i64 {
        self.next[writer as usize].fetch_add(1, Ordering::SeqCst) * WRITERS + writer
    }

    pub fn acknowledge(&self, batch: i64) {
        self.fates.lock().unwrap().insert(batch, Fate::Acknowledged);
        self.fresh.lock().unwrap().push(batch);
    }

    pub fn unknown(&self, batch: i64) {
        self.fates.lock().unwrap().insert(batch, Fate::Unknown);
    }

    /// Rows acknowledged so far.
    pub fn acked(&self) -> usize {
        let fates = self.fates.lock().unwrap();
        fates.iter().filter(|(_, fate)| **fate == Fate::Acknowledged).map(|(b, _)| rows_of(*b).len()).sum()
    }

    fn fault(&self, count: impl FnOnce(&mut Faults) -> &mut u64, what: String) {
        let mut faults = self.faults.lock().unwrap();
        *count(&mut faults) += 1;
        if faults.lost + faults.duplicated + faults.disagree < 20 {
            println!("FAULT: {what}");
        }
    }

    /// After a start: settles the batches of unknown fate, then compares what is new in history, and the newest
    /// values, with what was acknowledged.
    pub fn check(&self, server: &Server) {
        let client = client();
        let unknown: Vec<i64> = {
            let fates = self.fates.lock().unwrap();
            fates.iter().filter(|(_, fate)| **fate == Fate::Unknown).map(|(batch, _)| *batch).collect()
        };
        // Some are sent again with the same key, as a client would; the others are looked up.
        let (again, look_up) = unknown.split_at(unknown.len().min(8) / 2);
        for &batch in again {
            let status = send(&client, &server.base, batch).0;
            assert_eq!(status, 200, "batch {batch}, sent again");
            self.acknowledge(batch);
        }
        for part in look_up.chunks(1000) {
            let rows: Vec<Row> = part.iter().flat_map(|batch| rows_of(*batch)).collect();
            let found = versions(&client, &server.base, &rows);
            let mut found = rows.iter().zip(&found);
            for &batch in part {
                let sent = rows_of(batch).len();
                let of_batch = found.by_ref().take(sent);
                match of_batch.filter(|(row, found)| **found == Some((row.value, batch))).count() {
                    0 => {
                        self.fates.lock().unwrap().insert(batch, Fate::Absent);
                    }
                    there if there == sent => self.acknowledge(batch),
                    there => self.fault(|f| &mut f.lost, format!("batch {batch}: {there} of {sent} rows")),
                }
            }
        }
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap());
        for part in fresh.chunks(1000) {
            let rows: Vec<Row> = part.iter().flat_map(|batch| rows_of(*batch)).collect();
            for (row, found) in rows.iter().zip(versions(&client, &server.base, &rows)) {
                if found != Some((row.value, row.value / 100)) {
                    self.fault(|f| &mut f.lost, format!("offline: {found:?} at {row:?}"));
                }
            }
        }
        for (key, newest) in self.newest() {
            let (status, values) = server.read(&["state"], json!({ "key": key }));
            if (status, &values) != (200, &json!([newest.value, newest.value / 100])) {
                self.fault(|f| &mut f.disagree, format!("online: {status} {values} for {newest:?}"));
            }
        }
    }

    /// Each key's newest acknowledged row.
    fn newest(&self) -> BTreeMap<i64, Row> {
        let mut newest: BTreeMap<i64, Row> = BTreeMap::new();
        for (batch, fate) in &*self.fates.lock().unwrap() {
            for row in rows_of(*batch).into_iter().filter(|_| *fate == Fate::Acknowledged) {
                let known = newest.entry(row.key).or_insert(row);
                if row.time > known.time {
                    *known = row;
                }
            }
        }
        newest
    }

    /// The last word, with no node running: opens the directory in this process and goes through every stored row.
    /// Each seq is there once; each acknowledged batch has each of its rows once; no other batch has any.
    pub fn scan(&self, dir: &Path) {
        let settings = [
            ("data.dir".to_owned(), dir.display().to_string()),
            ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("ingest.min_free_bytes".to_owned(), "0B".to_owned()),
        ];
        let config = Config::load(None, std::iter::empty(), &settings).unwrap();
        let node = larder::node::spawn(config, Clock::system()).unwrap();
        let app = node.app();
        assert!(app.readiness.reasons().is_empty(), "{:?}", app.readiness.reasons());
        let schema = app.doors.parts.catalog.current().table("state").unwrap().clone();
        let table = app.doors.parts.reads.offline.table(&schema).unwrap();
        let history = History::open(&table, app.doors.parts.reads.tail.as_ref(), &schema).unwrap();
        let mut seqs = vec![0u8; app.doors.parts.shards.committed().of(schema.table).next_seq() as usize];
        let mut found: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for part in history.scan(&["_seq", "key", "event_time", "value", "batch"]).unwrap() {
            let part = part.unwrap();
            let column = |name: &str| part.column_by_name(name).unwrap();
            let integers = |name: &str| column(name).as_primitive::<Int64Type>();
            let times = column("event_time").as_primitive::<TimestampMicrosecondType>();
            for i in 0..part.num_rows() {
                let seq = integers("_seq").value(i) as usize;
                match seqs.get_mut(seq) {
                    Some(count) => *count = count.saturating_add(1),
                    None => self.fault(|f| &mut f.disagree, format!("seq {seq} was never given out")),
                }
                found.entry(integers("batch").value(i)).or_default().push(Row {
                    key: integers("key").value(i),
                    time: times.value(i),
                    value: integers("value").value(i),
                });
            }
        }
        for (seq, count) in seqs.iter().enumerate().filter(|(_, count)| **count != 1) {
            match count {
                0 => self.fault(|f| &mut f.lost, format!("seq {seq} is missing")),
                n => self.fault(|f| &mut f.duplicated, format!("seq {seq} is there {n} times")),
            }
        }
        let fates = self.fates.lock().unwrap().clone();
        for (batch, fate) in &fates {
            let mut rows = found.remove(batch).unwrap_or_default();
            rows.sort_by_key(|row| row.time);
            let expected = if *fate == Fate::Acknowledged { rows_of(*batch) } else { Vec::new() };
            let text = || format!("batch {batch} ({fate:?}) has {} rows of {}", rows.len(), expected.len());
            if rows.len() < expected.len() {
                self.fault(|f| &mut f.lost, text());
            } else if rows.len() > expected.len() {
                self.fault(|f| &mut f.duplicated, text());
            } else if rows != expected {
                self.fault(|f| &mut f.disagree, format!("batch {batch} has other rows than were sent"));
            }
        }
        for batch in found.keys() {
            self.fault(|f| &mut f.disagree, format!("batch {batch} was never sent"));
        }
        node.stop();
    }

    pub fn assert_faultless(&self) {
        assert_eq!(*self.faults.lock().unwrap(), Faults::default());
    }
}

/// Status, 0 where there was no answer, and whether it was sent at all.
pub fn send(client: &Client, base: &str, batch: i64) -> (u16, bool) {
    let row =
        |row: &Row| json!({ "key": row.key, "event_time": row.time, "value": row.value, "batch": batch });
    let rows: Vec<Json> = rows_of(batch).iter().map(row).collect();
    let response = client
        .post(format!("{base}/v1/feature-views/state/rows"))
        .header("Idempotency-Key", format!("b{batch}"))
        .json(&json!({ "rows": rows }))
        .send();
    match response {
        Ok(response) => (response.status().as_u16(), true),
        Err(error) => (0, !error.is_connect()),
    }
}

/// What history says of each row's key at its time: value and batch.
fn versions(client: &Client, base: &str, rows: &[Row]) -> Vec<Option<(i64, i64)>> {
    let body: String =
        rows.iter().map(|row| format!("{}\n", json!({ "key": row.key, "event_time": row.time }))).collect();
    let ask = || {
        let response = client
            .post(format!("{base}/v1/training-sets?features=state&time_unit=us"))
            .header("Content-Type", "application/x-ndjson")
            .header("Accept", "application/x-ndjson")
            .body(body.clone())
            .send()
            .unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    let (mut status, mut text) = ask();
    // Unavailable for a while is an answer; after ten seconds it no longer is.
    for _ in 0..100 {
        if status != 503 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        (status, text) = ask();
    }
    assert_eq!(status, 200, "{text}");
    let version = |line: &str| {
        let row: Json = serde_json::from_str(line).unwrap();
        row["state__value"].as_i64().zip(row["state__batch"].as_i64())
    };
    text.lines().map(version).collect()
}
