//! Out of file descriptors: alive, no false answer, well again afterwards.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use reqwest::blocking::Client;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::alone,
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::{Launch, client},
};

#[test]
fn without_descriptors_it_refuses_and_recovers() {
    let _alone = alone();
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let mut server =
        Launch::new(dir.path()).under(&["sh", "-c", "ulimit -n 128; exec \"$0\" \"$@\""]).start();
    server.apply(DEFINITIONS);
    let base = server.base.clone();
    let address = base.trim_start_matches("http://").to_owned();
    load_while(&base, &oracle, || std::thread::sleep(Duration::from_millis(300)));
    let (mut short, mut training) = (crate::load::Statuses::new(), crate::load::Statuses::new());
    let reader = client();
    assert_eq!(training_set(&reader, &base), 200);
    for _ in 0..3 {
        let held = load_while(&base, &oracle, || {
            // The writers have their connections; what they miss from now on is files.
            std::thread::sleep(Duration::from_millis(200));
            // Their first bytes never come; the node closes them after ten seconds, or they go here.
            let idle: Vec<TcpStream> = (0..200).map_while(|_| TcpStream::connect(&address).ok()).collect();
            let until = Instant::now() + Duration::from_millis(900);
            while Instant::now() < until {
                *training.entry(training_set(&reader, &base)).or_default() += 1;
            }
            assert!(server.log().contains("could not be accepted"), "{}", server.log());
            drop(idle);
        });
        for (status, count) in held {
            *short.entry(status).or_default() += count;
        }
        assert!(server.is_alive(), "{}", server.log());
    }
    let strange = short.keys().find(|status| !matches!(status, 0 | 200 | 429 | 503 | 507));
    assert!(strange.is_none(), "{short:?}\n{}", server.log());
    let strange = training.keys().find(|status| !matches!(status, 0 | 200 | 503));
    assert!(strange.is_none(), "{training:?}\n{}", server.log());
    assert_eq!(server.read(&["state"], json!({ "key": 0 })).0, 200, "{}", server.log());
    // A file that fjall could not open for a flush poisons it: it takes writes again at the latest after a restart.
    server.kill();
    let server = Launch::new(dir.path()).start();
    let base = server.base.clone();
    let after = load_while(&base, &oracle, || std::thread::sleep(Duration::from_millis(500)));
    assert!(after.get(&200).is_some_and(|n| *n > 0), "{short:?}, then {after:?}\n{}", server.log());
    oracle.check(&server);
    server.kill();
    oracle.scan(dir.path());
    println!(
        "descriptors: alive=yes restarted=yes writes={short:?} training_sets={training:?} acked={} {}",
        oracle.acked(),
        oracle.faults.lock().unwrap()
    );
    oracle.assert_faultless();
}

/// Its status; 0 where there was no answer.
fn training_set(client: &Client, base: &str) -> u16 {
    let spine: String = std::iter::once("key,event_time\n".to_owned())
        .chain((0..500).map(|row| format!("{},2024-01-01T00:00:00Z\n", row % 50)))
        .collect();
    let request = client.post(format!("{base}/v1/training-sets?features=state"));
    let request = request.header("Content-Type", "text/csv").header("Accept", "text/csv");
    request.body(spine).send().map_or(0, |response| response.status().as_u16())
}
