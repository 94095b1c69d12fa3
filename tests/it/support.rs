//! A real node in this process, on a free port, with a clock that the test holds.

use std::{path::Path, time::Duration};

use larder::{
    clock::Clock,
    config::Config,
    model::Timestamp,
    node::{self, Running},
};
use reqwest::{
    Method,
    blocking::{Client, RequestBuilder, Response},
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

#[path = "documented.rs"]
pub mod documented;

/// The flights example that is shipped with the project.
pub const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/flights");

pub const PARQUET: &str = "application/vnd.apache.parquet";
pub const ARROW: &str = "application/vnd.apache.arrow.stream";
pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";
pub const CSV: &str = "text/csv";

pub struct TestNode {
    running: Option<Running>,
    dir: TempDir,
    pub clock: Clock,
    settings: Vec<(String, String)>,
    http: Client,
}

impl TestNode {
    /// The clock stands at `now`.
    pub fn at(now: &str) -> TestNode {
        TestNode::with(now, &[])
    }

    /// With settings over the defaults, as `("section.key", "value")`.
    pub fn with(now: &str, settings: &[(&str, &str)]) -> TestNode {
        TestNode::on(TempDir::new().unwrap(), now, settings)
    }

    /// On a data directory that may hold something.
    pub fn on(dir: TempDir, now: &str, settings: &[(&str, &str)]) -> TestNode {
        let mut node = TestNode {
            running: None,
            dir,
            clock: Clock::manual(Timestamp::parse(now).unwrap()),
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            http: Client::builder().timeout(Duration::from_secs(300)).build().unwrap(),
        };
        node.start();
        node
    }

    fn start(&mut self) {
        let mut settings = vec![
            ("data.dir".to_owned(), self.dir.path().display().to_string()),
            ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("ingest.min_free_bytes".to_owned(), "1MiB".to_owned()),
            ("data.reserve_bytes".to_owned(), "0B".to_owned()),
        ];
        settings.extend(self.settings.iter().cloned());
        let config = Config::load(None, std::iter::empty(), &settings).unwrap();
        self.running = Some(node::spawn(config, self.clock.clone()).unwrap());
    }

    /// Drains the node and starts another on the same directory.
    pub fn restart(&mut self) {
        self.running.take().unwrap().stop();
        self.start();
    }

    /// Drains the node; its directory is there until this is dropped.
    pub fn stop(&mut self) {
        self.running.take().unwrap().stop();
    }

    /// From the next start on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn set_time(&self, now: &str) {
        self.clock.set(Timestamp::parse(now).unwrap());
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.running().address()))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub fn get(&self, path: &str) -> (u16, Json) {
        answer(self.request(Method::GET, path).send().unwrap())
    }

    pub fn post_json(&self, path: &str, body: &Json) -> (u16, Json) {
        answer(self.post(path).json(body).send().unwrap())
    }

    pub fn post_bytes(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> (u16, Json) {
        answer(self.post(path).header("Content-Type", content_type).body(body.into()).send().unwrap())
    }

    /// Applies definitions, which must be accepted.
    pub fn apply(&self, toml: &str) -> Json {
        let (status, body) =
            self.post_bytes("/v1/registry/apply?allow_retire=true", "application/toml", toml);
        assert_eq!(status, 200, "{body:#}");
        body
    }

    /// Applies the flights example; without SQL, its files that need none of the batch feature view.
    pub fn apply_flights(&self) {
        let of_batch = ["batch", "on_demand", "services"];
        let mut files = serde_json::Map::new();
        for entry in std::fs::read_dir(FLIGHTS).unwrap() {
            let path = entry.unwrap().path();
            let needed =
                cfg!(feature = "sql") || !of_batch.iter().any(|name| path.ends_with(format!("{name}.toml")));
            if needed && path.extension().is_some_and(|e| e == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.insert(path.file_name().unwrap().to_string_lossy().into_owned(), json!(text));
            }
        }
        let (status, body) =
            self.post_json("/v1/registry/apply?allow_retire=true", &json!({ "files": files }));
        assert_eq!(status, 200, "{body:#}");
    }

    /// Writes rows, which must all be accepted.
    pub fn write(&self, view: &str, rows: Json) -> Json {
        let (status, body) =
            self.post_json(&format!("/v1/feature-views/{view}/rows"), &json!({ "rows": rows }));
        assert_eq!(status, 200, "{body:#}");
        body
    }

    /// Reads features of entities with everything that can be included.
    pub fn read(&self, features: &[&str], entities: Json) -> Json {
        let body = json!({
            "features": features, "entities": entities, "include": ["status", "event_time", "age_ms"],
        });
        let (status, body) = self.post_json("/v1/online-features", &body);
        assert_eq!(status, 200, "{body:#}");
        body
    }

    /// Waits until everything that was acknowledged is in segments.
    pub fn wait_until_sealed(&self, table: &str) {
        let app = self.running().app();
        let schema = app.doors.parts.catalog.current().table(table).unwrap().clone();
        let committed = app.doors.parts.shards.committed().of(schema.table);
        for _ in 0..3000 {
            if committed.unsealed() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} rows of {table} are still unsealed", committed.unsealed());
    }
}

/// Status and JSON body (null where it is none). The answer must be one that `/openapi.json` declares for the route.
pub fn answer(response: Response) -> (u16, Json) {
    let status = response.status().as_u16();
    documented::check(&response);
    let text = response.text().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Json::Null))
}

/// A file of the shipped data.
pub fn flights_data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FLIGHTS}/data/{name}")).unwrap()
}
