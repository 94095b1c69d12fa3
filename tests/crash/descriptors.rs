//! Out of file descriptors, and short of memory: alive, no false answer, well again afterwards.

use std::{net::TcpStream, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::alone,
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::Launch,
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
    let mut short = crate::load::Statuses::new();
    for _ in 0..3 {
        let held = load_while(&base, &oracle, || {
            // The writers have their connections; what they miss from now on is files.
            std::thread::sleep(Duration::from_millis(200));
            // Their first bytes never come; the node closes them after ten seconds, or they go here.
            let idle: Vec<TcpStream> = (0..200).map_while(|_| TcpStream::connect(&address).ok()).collect();
            std::thread::sleep(Duration::from_millis(700));
            assert!(server.log().contains("could not be accepted"), "{}", server.log());
            drop(idle);
        });
        for (status, count) in held {
            *short.entry(status).or_default() += count;
        }
        assert!(server.is_alive(), "{}", server.log());
    }
    let strange = short.keys().find(|status| !matches!(status, 0 | 200 | 429 | 500 | 503 | 507));
    assert!(strange.is_none(), "{short:?}\n{}", server.log());
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
        "descriptors: alive=yes restarted=yes answers={short:?} acked={} {}",
        oracle.acked(),
        oracle.faults.lock().unwrap()
    );
    oracle.assert_faultless();
}
