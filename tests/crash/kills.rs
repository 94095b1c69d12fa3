//! kill -9 under load, again and again on one directory.

use std::time::Duration;

use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::Launch,
};

#[test]
fn kill_9_loses_and_doubles_nothing() {
    let _alone = alone();
    let kills = amount("LARDER_KILLS", 15, 100);
    let mut dice = Dice::new("kills");
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let mut server = Launch::new(dir.path()).start();
    server.apply(DEFINITIONS);
    for _ in 0..kills {
        let after = Duration::from_millis(100 + dice.roll(700));
        let base = server.base.clone();
        load_while(&base, &oracle, || {
            std::thread::sleep(after);
            server.kill();
        });
        server = Launch::new(dir.path()).start();
        oracle.check(&server);
        let (_, metrics) = server.get("/metrics");
        let violated = |l: &str| l.starts_with("larder_invariant_violations_total") && !l.ends_with(" 0");
        assert!(!metrics.lines().any(violated), "{metrics}");
    }
    server.kill();
    oracle.scan(dir.path());
    println!("kills={kills} acked={} {}", oracle.acked(), oracle.faults.lock().unwrap());
    oracle.assert_faultless();
    assert!(oracle.acked() as u64 > 20 * kills, "the load was no load");
}
