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
    kill_9("fsync", amount("LARDER_KILLS", 15, 100));
}

/// The other two promises end with the power, not with the process.
#[test]
fn kill_9_spares_what_the_system_has() {
    for mode in ["interval", "buffer"] {
        kill_9(mode, amount("LARDER_SYSTEM_KILLS", 3, 20));
    }
}

fn kill_9(durability: &str, kills: u64) {
    let _alone = alone();
    let mut dice = Dice::new("kills");
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let launch = || Launch::new(dir.path()).env("LARDER__DURABILITY__MODE", durability);
    let mut server = launch().start();
    server.apply(DEFINITIONS);
    for _ in 0..kills {
        let after = Duration::from_millis(100 + dice.roll(700));
        let base = server.base.clone();
        load_while(&base, &oracle, || {
            std::thread::sleep(after);
            server.kill();
        });
        server = launch().start();
        oracle.check(&server);
        let (_, metrics) = server.get("/metrics");
        let violated = |l: &str| l.starts_with("larder_invariant_violations_total") && !l.ends_with(" 0");
        assert!(!metrics.lines().any(violated), "{metrics}");
    }
    server.kill();
    oracle.scan(dir.path());
    let (acked, faults) = (oracle.acked(), oracle.faults.lock().unwrap().clone());
    println!("kills={kills} durability={durability} acked={acked} {faults}");
    oracle.assert_faultless();
    assert!(acked as u64 > 20 * kills, "the load was no load");
}
