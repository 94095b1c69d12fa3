//! One entity, many writers and readers, restarts in between: no reader ever goes back.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::blocking::Client;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    oracle::DEFINITIONS,
    server::{Launch, Server},
};

const WRITERS: usize = 8;
const READERS: usize = 8;

/// What everybody knows.
#[derive(Default)]
struct Shared {
    base: Mutex<String>,
    next: AtomicI64,
    /// The newest version that was acknowledged to anyone.
    acknowledged: AtomicI64,
    reads: AtomicU64,
    violations: AtomicU64,
    done: AtomicBool,
}

#[test]
fn reads_of_one_entity_never_go_back() {
    let _alone = alone();
    let restarts = amount("LARDER_LINEAR_RESTARTS", 4, 24);
    let mut dice = Dice::new("linear");
    let dir = TempDir::new().unwrap();
    let shared = Shared::default();
    let mut server = start(dir.path(), &shared);
    server.apply(DEFINITIONS);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| write(&shared));
        }
        for _ in 0..READERS {
            scope.spawn(|| read(&shared));
        }
        for restart in 0..restarts {
            std::thread::sleep(Duration::from_millis(300 + dice.roll(500)));
            if restart % 4 == 3 {
                server.signal(rustix::process::Signal::TERM);
                let _ = server.wait(Duration::from_secs(30));
            }
            server.kill();
            // Not assert: the others must be told to stop first.
            server = start(dir.path(), &shared);
        }
        std::thread::sleep(Duration::from_millis(300));
        shared.done.store(true, Ordering::SeqCst);
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let versions = shared.acknowledged.load(Ordering::SeqCst);
    println!(
        "linear: restarts={restarts} versions={versions} reads={} violations={}",
        count(&shared.reads),
        count(&shared.violations)
    );
    assert_eq!(count(&shared.violations), 0);
    assert!(versions > 100 && count(&shared.reads) > 100);
}

fn start(dir: &Path, shared: &Shared) -> Server {
    let started = Launch::new(dir).try_start();
    let server = started.unwrap_or_else(|log| {
        shared.done.store(true, Ordering::SeqCst);
        panic!("the node did not start:\n{log}");
    });
    *shared.base.lock().unwrap() = server.base.clone();
    server
}

fn agent() -> Client {
    Client::builder().timeout(Duration::from_secs(10)).build().unwrap()
}

/// The version is the event time, so the newest wins in whatever order they arrive.
fn write(shared: &Shared) {
    let client = agent();
    while !shared.done.load(Ordering::SeqCst) {
        let version = shared.next.fetch_add(1, Ordering::SeqCst) + 1;
        let row =
            json!({ "key": 1, "event_time": 1_700_000_000_000_000 + version, "value": version, "batch": 0 });
        let url = format!("{}/v1/feature-views/state/rows", shared.base.lock().unwrap());
        let response = client.post(url).json(&json!({ "rows": [row] })).send();
        if response.is_ok_and(|response| response.status() == 200) {
            shared.acknowledged.fetch_max(version, Ordering::SeqCst);
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn read(shared: &Shared) {
    let client = agent();
    let mut seen = 0;
    while !shared.done.load(Ordering::SeqCst) {
        let url = format!("{}/v1/online-features", shared.base.lock().unwrap());
        let at_least = seen.max(shared.acknowledged.load(Ordering::SeqCst));
        let body = json!({ "features": ["state:value"], "entities": [{ "key": 1 }] });
        let answer = client.post(url).json(&body).send().ok().filter(|response| response.status() == 200);
        let Some(Ok(answer)) = answer.map(|response| response.json::<Json>()) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        shared.reads.fetch_add(1, Ordering::SeqCst);
        let version = answer["values"][0][0].as_i64().unwrap_or(0);
        if version < at_least {
            println!("FAULT: read version {version} after {at_least}");
            shared.violations.fetch_add(1, Ordering::SeqCst);
        }
        seen = seen.max(version);
    }
}
