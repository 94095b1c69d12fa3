//! kill -9 under load, again and again on one directory. The oracle is this process: what it was told is stored
//! must be there, once, in both stores.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value as Json, json};

const KILLS: u32 = 15;
const WRITERS: u64 = 4;
const DEFINITIONS: &str = r#"
[[entity]]
name = "key"
join_keys = [{ name = "key", type = "int64" }]

[[feature_view]]
name = "state"
entities = ["key"]
feature = [{ name = "value", type = "int64" }, { name = "batch", type = "int64" }]
"#;

/// A node in a process of its own.
struct Server {
    child: Child,
    base: String,
}

impl Server {
    fn start(dir: &Path) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir)
            .env("LARDER__LOG__FORMAT", "json")
            .env("LARDER__LOG__LEVEL", "info")
            .env("LARDER__INGEST__MIN_FREE_BYTES", "1MiB")
            // Seal often, so that kills fall into sealing and compaction too.
            .env("LARDER__OFFLINE__SEAL_AFTER", "100ms")
            .env("LARDER__OFFLINE__COMPACT_SEGMENTS", "4")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the node did not start:\n{seen}")).unwrap();
            if let Ok(event) = serde_json::from_str::<Json>(&line)
                && event["message"] == "ready"
            {
                break event["address"].as_str().unwrap().to_owned();
            }
            seen += &line;
            seen.push('\n');
        };
        // Keep reading, or the node would block on a full pipe; panics must be seen.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("ERROR") || line.contains("panicked") {
                    eprintln!("node: {line}");
                }
            }
        });
        Server { child, base: format!("http://{address}") }
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL; also when a check has failed, so that no node is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this process knows: acknowledged versions of each key, and batches whose fate it was never told.
#[derive(Default)]
struct Oracle {
    /// key → event time (µs) → (value, batch).
    acknowledged: HashMap<i64, BTreeMap<i64, (i64, i64)>>,
    /// batch → its rows (key, event time, value).
    unknown: BTreeMap<i64, Vec<(i64, i64, i64)>>,
}

const T0: i64 = 1_700_000_000_000_000;

fn write(
    client: &reqwest::blocking::Client,
    base: &str,
    batch: i64,
    rows: &[(i64, i64, i64)],
) -> Option<u16> {
    let rows: Vec<Json> = rows
        .iter()
        .map(|(key, time, value)| json!({ "key": key, "event_time": time, "value": value, "batch": batch }))
        .collect();
    let response = client
        .post(format!("{base}/v1/feature-views/state/rows"))
        .header("Idempotency-Key", format!("b{batch}"))
        .json(&json!({ "rows": rows }))
        .send();
    // No answer: it may be stored or not.
    response.ok().map(|r| r.status().as_u16())
}

/// Loads the node from several threads until it is killed.
fn load(base: &str, next_batch: &AtomicU64, oracle: &Mutex<Oracle>, kill_after: Duration, server: Server) {
    let killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let killed = &killed;
            scope.spawn(move || {
                let client =
                    reqwest::blocking::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
                while !killed.load(Ordering::SeqCst) {
                    let batch = next_batch.fetch_add(1, Ordering::SeqCst) as i64;
                    // Each key has one writer, so the order of its versions is known; times go back and forth.
                    let rows: Vec<(i64, i64, i64)> = (0..1 + batch % 40)
                        .map(|i| {
                            let key = (i % 7) * WRITERS as i64 + writer as i64;
                            (key, T0 + batch * 1000 + (i * 37) % 1000 - (batch % 3) * 5000, batch * 100 + i)
                        })
                        .collect();
                    match write(&client, base, batch, &rows) {
                        Some(200) => {
                            let mut oracle = oracle.lock().unwrap();
                            for (key, time, value) in rows {
                                oracle.acknowledged.entry(key).or_default().insert(time, (value, batch));
                            }
                        }
                        Some(429 | 503) => std::thread::sleep(Duration::from_millis(5)),
                        Some(status) => panic!("{status} for batch {batch}"),
                        None => {
                            oracle.lock().unwrap().unknown.insert(batch, rows);
                        }
                    }
                }
            });
        }
        std::thread::sleep(kill_after);
        server.kill();
        killed.store(true, Ordering::SeqCst);
    });
}

/// Settles the unknown batches (each must be there whole or not at all), then compares both stores.
fn check(base: &str, oracle: &mut Oracle) -> usize {
    let client = reqwest::blocking::Client::new();
    let spine_of = |points: &[(i64, i64)]| -> Vec<(Option<i64>, Option<i64>)> {
        let body: String = points
            .iter()
            .map(|(key, time)| format!("{}\n", json!({ "key": key, "event_time": time })))
            .collect();
        let response = client
            .post(format!("{base}/v1/training-sets?features=state"))
            .header("Content-Type", "application/x-ndjson")
            .header("Accept", "application/x-ndjson")
            .body(body)
            .send()
            .unwrap();
        let status = response.status();
        let text = response.text().unwrap();
        assert_eq!(status, 200, "{text}");
        text.lines()
            .map(|line| {
                let row: Json = serde_json::from_str(line).unwrap();
                (row["state__value"].as_i64(), row["state__batch"].as_i64())
            })
            .collect()
    };
    for (batch, rows) in std::mem::take(&mut oracle.unknown) {
        let points: Vec<(i64, i64)> = rows.iter().map(|(key, time, _)| (*key, *time)).collect();
        let found = spine_of(&points);
        let there = found.iter().filter(|(_, b)| *b == Some(batch)).count();
        // Two rows of a batch at one (key, time) are one version.
        assert!(there == 0 || there == rows.len(), "batch {batch}: {there} of {} rows are there", rows.len());
        if there > 0 {
            for (key, time, value) in rows {
                oracle.acknowledged.entry(key).or_default().insert(time, (value, batch));
            }
        }
    }
    // Offline: every version at its own time.
    let versions: Vec<(i64, i64, (i64, i64))> = oracle
        .acknowledged
        .iter()
        .flat_map(|(key, versions)| versions.iter().map(move |(time, value)| (*key, *time, *value)))
        .collect();
    for part in versions.chunks(50_000) {
        let points: Vec<(i64, i64)> = part.iter().map(|(key, time, _)| (*key, *time)).collect();
        for ((key, time, (value, batch)), found) in part.iter().zip(spine_of(&points)) {
            assert_eq!(found, (Some(*value), Some(*batch)), "offline: key {key} at {time}");
        }
    }
    // Online: the newest version of every key.
    for (key, versions) in &oracle.acknowledged {
        let (_, (value, batch)) = versions.last_key_value().unwrap();
        let body = json!({ "features": ["state"], "entities": [{ "key": key }] });
        let answer: Json =
            client.post(format!("{base}/v1/online-features")).json(&body).send().unwrap().json().unwrap();
        assert_eq!(answer["values"], json!([[value, batch]]), "online: key {key}");
    }
    versions.len()
}

/// Rows in the offline table are not doubled: as many as the online store has numbered.
fn check_counts(dir: &Path, base: &str) {
    let client = reqwest::blocking::Client::new();
    let text = client.get(format!("{base}/metrics")).send().unwrap().text().unwrap();
    let violations = text
        .lines()
        .filter(|l| l.starts_with("larder_invariant_violations_total"))
        .any(|l| !l.ends_with(" 0"));
    assert!(!violations, "{text}");
    assert!(dir.join("offline/state/_delta_log").is_dir());
}

#[test]
fn kill_9_loses_and_doubles_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let seed = match std::env::var("LARDER_CRASH_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    };
    println!("LARDER_CRASH_SEED={seed}");
    let mut oracle = Mutex::new(Oracle::default());
    let next_batch = AtomicU64::new(1);
    let first = Server::start(dir.path());
    let client = reqwest::blocking::Client::new();
    let applied = client
        .post(format!("{}/v1/registry/apply", first.base))
        .header("Content-Type", "application/toml")
        .body(DEFINITIONS)
        .send()
        .unwrap();
    assert_eq!(applied.status(), 200);
    let mut server = first;
    let mut versions = 0;
    for kill in 0..KILLS {
        let kill_after = Duration::from_millis(
            100 + xxhash_rust::xxh3::xxh3_64_with_seed(&kill.to_le_bytes(), seed) % 700,
        );
        let base = server.base.clone();
        load(&base, &next_batch, &oracle, kill_after, server);
        server = Server::start(dir.path());
        versions = check(&server.base, oracle.get_mut().unwrap());
        println!("kill {kill}: after {kill_after:?}, {versions} versions, all there");
    }
    check_counts(dir.path(), &server.base);
    server.kill();
    assert!(versions > 1000, "only {versions} versions were written: the load was no load");
    println!("kills={KILLS} acked={versions} lost=0 duplicated=0 disagree=0");
}
