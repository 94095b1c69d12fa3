//! Too little memory: whatever becomes of the process, nothing that it acknowledged is lost.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{alone, amount},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::{Launch, Server, client},
};

/// Address space in KiB: enough to start and to serve, and little for anything large.
const CAPS: [u64; 3] = [800_000, 1_000_000, 1_300_000];
const SPINE: i64 = 200_000;

#[test]
fn short_of_memory_it_refuses_or_ends_and_loses_nothing() {
    let _alone = alone();
    let rounds = amount("LARDER_MEMORY_ROUNDS", 1, 4);
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let first = Launch::new(dir.path()).start();
    first.apply(DEFINITIONS);
    first.kill();
    let (mut ended, mut alive, mut not_started) = (0, 0, 0);
    let mut answers = crate::load::Statuses::new();
    for _ in 0..rounds {
        for cap in CAPS {
            let limit = format!("ulimit -v {cap}; exec \"$0\" \"$@\"");
            if let Ok(mut server) = Launch::new(dir.path()).under(&["sh", "-c", &limit]).try_start() {
                let base = server.base.clone();
                let held = load_while(&base, &oracle, || {
                    std::thread::sleep(Duration::from_millis(200));
                    std::thread::scope(|scope| {
                        (0..4).for_each(|_| drop(scope.spawn(|| ask_for_much(&base))));
                    });
                });
                held.into_iter().for_each(|(status, count)| *answers.entry(status).or_default() += count);
                // An allocation that fails aborts the process; what serves on must read too.
                match server.is_alive() {
                    true => {
                        alive += 1;
                        assert_eq!(server.read(&["state"], json!({ "key": 0 })).0, 200, "{}", server.log());
                    }
                    false => ended += 1,
                }
            } else {
                not_started += 1;
            }
            let server: Server = Launch::new(dir.path()).start();
            oracle.check(&server);
            server.kill();
        }
    }
    oracle.scan(dir.path());
    assert!(alive + ended > 0, "it never started");
    let strange = answers.keys().find(|status| !matches!(status, 0 | 200 | 429 | 503 | 507));
    assert!(strange.is_none(), "{answers:?}");
    println!(
        "memory_caps={} alive={alive} ended={ended} not_started={not_started} answers={answers:?} acked={} {}",
        rounds * CAPS.len() as u64,
        oracle.acked(),
        oracle.faults.lock().unwrap()
    );
    oracle.assert_faultless();
}

/// A training set of many rows; its answer does not matter.
fn ask_for_much(base: &str) {
    let mut spine = String::from("key,event_time\n");
    for row in 0..SPINE {
        spine += &format!("{},2024-01-01T00:00:00Z\n", row % 50);
    }
    let url = format!("{base}/v1/training-sets?features=state");
    let _ =
        client().post(url).header("Content-Type", "text/csv").header("Accept", "text/csv").body(spine).send();
}
