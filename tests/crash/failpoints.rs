//! Ends of the process at named places, each under load, all on one directory.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::Launch,
};

/// With how often each is passed before the end, at most: rare places are not waited for.
const POINTS: [(&str, u64); 14] = [
    ("commit.before", 100),
    ("commit.after", 100),
    ("seal.start", 8),
    ("seal.half", 8),
    ("seal.written", 16),
    ("seal.synced", 8),
    ("seal.renamed", 8),
    ("seal.dirsynced", 8),
    ("delta.before", 8),
    ("delta.after", 8),
    ("truncate.before", 8),
    ("truncate.after", 8),
    ("compact.before", 3),
    ("compact.after", 3),
];
const SIGABRT: i32 = 6;

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn an_end_at_any_named_place_loses_and_doubles_nothing() {
    let _alone = alone();
    let rounds = amount("LARDER_FAILPOINT_ROUNDS", 1, 5);
    let mut dice = Dice::new("failpoints");
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let first = Launch::new(dir.path()).start();
    first.apply(DEFINITIONS);
    first.kill();
    for (point, most) in POINTS {
        for _ in 0..rounds {
            let armed = format!("{point}:{}", 1 + dice.roll(most));
            // It may come to the place before it is ready: recovery seals and truncates too.
            if let Ok(mut server) = Launch::new(dir.path()).env("LARDER_FAILPOINT", &armed).try_start() {
                let base = server.base.clone();
                let mut end = None;
                let answers = load_while(&base, &oracle, || end = server.wait(Duration::from_secs(60)));
                let end =
                    end.unwrap_or_else(|| panic!("never came to {armed}: {answers:?}\n{}", server.log()));
                assert_eq!(end.signal(), Some(SIGABRT), "{armed}: {end}\n{}", server.log());
            }
            let server = Launch::new(dir.path()).start();
            oracle.check(&server);
            server.kill();
        }
        println!("failpoint {point:<16} ends={rounds} {}", oracle.faults.lock().unwrap());
    }
    oracle.scan(dir.path());
    let ends = rounds * POINTS.len() as u64;
    println!("failpoints={ends} acked={} {}", oracle.acked(), oracle.faults.lock().unwrap());
    oracle.assert_faultless();
}

#[cfg(feature = "sql")]
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn an_end_at_a_part_of_a_run_leaves_each_run_done_once() {
    let _alone = alone();
    let rounds = amount("LARDER_FAILPOINT_ROUNDS", 1, 5);
    let mut made = crate::runs::Materialised::new("failpoints of runs");
    let mut ends = 0;
    for _ in 0..rounds {
        // After a part, each start comes one part further; before one, no start does.
        for point in ["after:1", "before:1", "before:2", "after:1", "before:1", "after:2", "after:3"] {
            let armed = format!("run.part.{point}");
            // It may come to the place before it is ready.
            if let Ok(mut server) = made.launch().env("LARDER_FAILPOINT", &armed).try_start() {
                made.ask(&server);
                let end = server.wait(Duration::from_secs(60));
                let end = end.unwrap_or_else(|| panic!("never came to {armed}\n{}", server.log()));
                assert_eq!(end.signal(), Some(SIGABRT), "{armed}: {end}\n{}", server.log());
            }
            made.ended();
            ends += 1;
        }
        let server = made.launch().start();
        made.check_history(&server);
        made.send_late(&server);
    }
    let server = made.launch().start();
    made.check_rows(&server);
    let broken_off = made.broken_off(&server);
    println!("failpoints_of_runs={ends} broken_off={broken_off}");
    assert!(broken_off > 0);
}
