//! A disk on which each sync takes long: writers wait or are refused, readers do not notice.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{alone, amount, cannot_run},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::Launch,
};

/// What each sync takes longer, in microseconds.
const DELAY: u64 = 300_000;

#[test]
fn a_slow_disk_slows_writes_and_nothing_else() {
    let _alone = alone();
    if Command::new("strace").arg("--version").output().is_err() {
        return cannot_run("slow_disk", "there is no strace");
    }
    let seconds = amount("LARDER_SLOW_SECONDS", 4, 30);
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let first = Launch::new(dir.path()).start();
    first.apply(DEFINITIONS);
    load_while(&first.base, &oracle, || std::thread::sleep(Duration::from_millis(300)));
    first.kill();
    let inject = format!("inject=fdatasync,fsync:delay_exit={DELAY}");
    let quiet =
        ["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", &inject];
    // -D: strace is the child, the node keeps its process id.
    let mut server = Launch::new(dir.path()).under(&[&["strace", "-D"], &quiet[..]].concat()).start();
    let base = server.base.clone();
    let (done, slowest, reads) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let answers = load_while(&base, &oracle, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let asked = Instant::now();
                    assert_eq!(server.read(&["state"], json!({ "key": 0 })).0, 200);
                    reads.fetch_add(1, Ordering::SeqCst);
                    slowest.fetch_max(asked.elapsed().as_millis() as u64, Ordering::SeqCst);
                }
            });
            std::thread::sleep(Duration::from_secs(seconds));
            done.store(true, Ordering::SeqCst);
        });
    });
    let strange = answers.keys().find(|status| !matches!(status, 200 | 429 | 503));
    assert!(strange.is_none(), "{answers:?}\n{}", server.log());
    let writes = answers.get(&200).copied().unwrap_or(0);
    // Each commit takes at least the delay, and all that have gathered go with it.
    let commits = seconds * 1_000_000 / DELAY + 2;
    assert!(writes > 0 && writes <= commits * crate::oracle::WRITERS as u64, "{answers:?}");
    assert!(server.is_alive());
    assert_eq!(server.get("/readyz").0, 200, "{}", server.log());
    server.kill();
    let server = Launch::new(dir.path()).start();
    oracle.check(&server);
    server.kill();
    oracle.scan(dir.path());
    println!(
        "slow_disk: delay={}ms writes={writes} reads={} slowest_read={}ms acked={} {}",
        DELAY / 1000,
        reads.into_inner(),
        slowest.into_inner(),
        oracle.acked(),
        oracle.faults.lock().unwrap()
    );
    oracle.assert_faultless();
}
