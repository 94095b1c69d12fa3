//! `larder repair` killed at named places, and run again: it finds the same to be lost, and loses nothing more.

use std::{os::unix::process::ExitStatusExt, path::Path, process::Command, time::Duration};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::{Launch, binary},
};

const POINTS: [&str; 7] = [
    "repair.copied",
    "repair.mended",
    "repair.noted",
    "repair.kept",
    "repair.placed",
    "repair.unmarked",
    "repair.marked",
];
const SIGABRT: i32 = 6;

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn a_repair_that_is_killed_is_done_by_the_next() {
    let _alone = alone();
    let rounds = amount("LARDER_REPAIR_ROUNDS", 1, 5);
    let mut dice = Dice::new("repairs");
    let (mut rows, mut ends) = (0, 0);
    for _ in 0..rounds {
        let damaged = damaged_directory(&mut dice);
        let whole = copy(damaged.path());
        let expected = repair(whole.path());
        rows += lost_rows(&expected);
        for point in POINTS {
            let data = copy(damaged.path());
            let end = command(data.path(), "repair")
                .env("LARDER_FAILPOINT", format!("{point}:1"))
                .output()
                .unwrap();
            assert_eq!(
                end.status.signal(),
                Some(SIGABRT),
                "{point}: {}",
                String::from_utf8_lossy(&end.stderr)
            );
            ends += 1;
            let early = Launch::new(data.path()).try_start();
            // The last place is behind everything that a start depends on.
            if point != "repair.marked" {
                assert!(early.is_err_and(|log| log.contains("larder repair")), "{point}: it started");
            }
            let report = repair(data.path());
            if point != "repair.marked" {
                for what in ["lost", "lost_commits", "registry_lost"] {
                    assert_eq!(report[what], expected[what], "{point}");
                }
            }
            let doctor = command(data.path(), "doctor").output().unwrap();
            assert!(doctor.status.success(), "{point}: {}", String::from_utf8_lossy(&doctor.stderr));
            let server = Launch::new(data.path()).start();
            assert_eq!(server.get("/readyz").0, 200, "{point}: {}", server.log());
            let again = load_while(&server.base, &Oracle::default(), || {
                std::thread::sleep(Duration::from_millis(50))
            });
            assert!(again.contains_key(&200), "{point}: {again:?}");
        }
    }
    println!("repairs={ends} rows_named_lost={rows} other=0");
}

/// As a kill leaves it, and with a flipped bit in the middle of the journal.
fn damaged_directory(dice: &mut Dice) -> TempDir {
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let server = Launch::new(dir.path()).env("LARDER__OFFLINE__SEAL_AFTER", "1h").start();
    server.apply(DEFINITIONS);
    load_while(&server.base, &oracle, || std::thread::sleep(Duration::from_millis(300)));
    server.kill();
    let journal = dir.path().join("online/0.jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let written = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64;
    let at = written / 2 + dice.roll(written / 4);
    bytes[at as usize] ^= 1 << dice.roll(8);
    std::fs::write(&journal, bytes).unwrap();
    dir
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    let source = format!("{}/.", from.display());
    let done = Command::new("cp").args(["-a", "--sparse=always", &source]).arg(to.path()).status().unwrap();
    assert!(done.success());
    to
}

fn command(data: &Path, name: &str) -> Command {
    let mut command = Command::new(binary());
    command.args([name, "--json"]).arg(data);
    command
}

fn repair(data: &Path) -> Json {
    let output = command(data, "repair").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lost_rows(report: &Json) -> u64 {
    let lost = report["lost"].as_array().unwrap().iter();
    lost.map(|lost| lost["until"].as_u64().unwrap() - lost["from"].as_u64().unwrap()).sum()
}
