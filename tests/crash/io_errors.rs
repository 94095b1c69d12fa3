//! System calls that fail: strace makes the k-th write, sync, rename, link or open of a thread fail under load.

use std::{process::Command, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount, cannot_run},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::Launch,
};

/// The calls, the error, and the thread's k-th call that fails, at most. All later ones of the thread fail too where
/// `lasting`: a disk that is broken or full stays so.
const FAULTS: [(&str, &str, u64, bool); 9] = [
    ("fdatasync", "EIO", 60, false),
    ("fdatasync", "EIO", 60, true),
    ("fsync", "EIO", 20, false),
    ("fsync", "ENOSPC", 20, true),
    ("rename,renameat,renameat2", "EIO", 6, false),
    ("link,linkat", "ENOSPC", 6, false),
    ("pwrite64,ftruncate,fallocate", "ENOSPC", 4, false),
    // Only of the journal: other writes are to sockets and to stderr.
    ("write,writev,pwrite64", "ENOSPC", 60, true),
    ("write,writev,pwrite64", "EIO", 60, false),
];

#[test]
fn io_errors_make_no_false_acknowledgement() {
    let _alone = alone();
    if Command::new("strace").arg("--version").output().is_err() {
        return cannot_run("io_errors", "there is no strace");
    }
    let rounds = amount("LARDER_IO_ROUNDS", 1, 4);
    let mut dice = Dice::new("io_errors");
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let first = Launch::new(dir.path()).start();
    first.apply(DEFINITIONS);
    first.kill();
    let (mut poisoned, mut refused_starts) = (0, 0);
    for round in 0..rounds {
        for (calls, error, most, lasting) in FAULTS {
            let when = format!("{}{}", 1 + dice.roll(most), if lasting { "+" } else { "" });
            let inject = format!("inject={calls}:error={error}:when={when}");
            let trace = format!("trace={calls}");
            let mut strace =
                vec!["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            let journals = if calls.starts_with("write") { journals(dir.path()) } else { Vec::new() };
            for journal in &journals {
                strace.extend(["-P", journal]);
            }
            // With a filter of paths strace must look at every call, without one only at those it traces.
            if journals.is_empty() {
                strace.push("--seccomp-bpf");
            }
            let started = Launch::new(dir.path()).under(&strace).try_start();
            let mut statuses = Default::default();
            if let Ok(mut server) = started {
                let base = server.base.clone();
                statuses = load_while(&base, &oracle, || std::thread::sleep(Duration::from_millis(900)));
                let strange = statuses.keys().find(|status| !matches!(status, 200 | 429 | 500 | 503 | 507));
                assert!(strange.is_none(), "{inject}: {statuses:?}\n{}", server.log());
                assert!(server.is_alive(), "{inject}: it ended\n{}", server.log());
                // Reads go on, whatever has become of the writes.
                let (status, _) = server.read(&["state"], json!({ "key": 0 }));
                assert_eq!(status, 200, "{inject}\n{}", server.log());
                if server.get("/readyz").0 == 503 {
                    poisoned += 1;
                    assert!(statuses.contains_key(&503), "{inject}: {statuses:?}");
                }
            } else {
                refused_starts += 1;
            }
            println!("io_errors: {round} {calls} {error} when={when}: {statuses:?}");
            let server = Launch::new(dir.path()).start();
            oracle.check(&server);
            server.kill();
        }
    }
    oracle.scan(dir.path());
    let cases = rounds * FAULTS.len() as u64;
    let (acked, faults) = (oracle.acked(), oracle.faults.lock().unwrap().clone());
    println!("io_errors={cases} poisoned={poisoned} refused_starts={refused_starts} acked={acked} {faults}");
    oracle.assert_faultless();
    assert!(poisoned > 0, "no fault reached the journal");
}

fn journals(dir: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("online")).unwrap().map(|entry| entry.unwrap().path());
    let journals = files.filter(|path| path.extension().is_some_and(|e| e == "jnl"));
    journals.map(|path| path.to_str().unwrap().to_owned()).collect()
}
