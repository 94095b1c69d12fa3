//! A small disk that fills up: reads go on, writes are refused, and taken again once there is room.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{alone, cannot_run},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::Launch,
};

const DISK: &str = "size=192m";
const RESERVED: u64 = 24 << 20;
const RESERVE: &str = "8MiB";
/// The exit code of a node that is to be started again.
const RESTART: i32 = 75;

/// A tmpfs; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "larder-crash"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(dir))
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.0.path()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// A file that leaves this much free.
    fn fill_up_to(&self, free: u64) -> std::path::PathBuf {
        let path = self.0.path().join("filler");
        let file = std::fs::File::create(&path).unwrap();
        // What the node writes meanwhile is no longer free.
        let filled = eventually(|| {
            let size = self.free().saturating_sub(free);
            size == 0 || rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).is_ok()
        });
        assert!(filled, "{} are free", self.free());
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_stops_writes_until_there_is_room() {
    let _alone = alone();
    let Some(disk) = SmallDisk::mount() else {
        return cannot_run("disk", "a tmpfs cannot be mounted");
    };
    let data = disk.0.path().join("data");
    let oracle = Oracle::default();
    guarded(&disk, &data, &oracle);
    past_the_guard(&disk, &data, &oracle);
    truly_full(&disk, &data, &oracle);
    oracle.scan(&data);
    println!(
        "disk: reads=200 writes=507 resumed=yes reserve=used full=503 restarted=75 acked={} {}",
        oracle.acked(),
        oracle.faults.lock().unwrap()
    );
    oracle.assert_faultless();
}

/// The guard refuses before the disk is full; writes resume by themselves.
fn guarded(disk: &SmallDisk, data: &Path, oracle: &Oracle) {
    let guard = format!("{RESERVED}B");
    let mut server = Launch::new(data).env("LARDER__INGEST__MIN_FREE_BYTES", &guard).start();
    server.apply(DEFINITIONS);
    let base = server.base.clone();
    load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(300)));
    let filler = disk.fill_up_to(RESERVED + (2 << 20));
    let deadline = Instant::now() + Duration::from_secs(60);
    // The last MiB are the load's own.
    while disk.free() >= RESERVED && Instant::now() < deadline {
        load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(200)));
    }
    let refused = load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(300)));
    assert!(disk.free() < RESERVED + (1 << 20), "the load did not fill the disk: {} free", disk.free());
    assert!(refused.get(&507).is_some_and(|n| *n > 0), "{refused:?}\n{}", server.log());
    assert!(refused.keys().all(|status| matches!(status, 200 | 507)), "{refused:?}\n{}", server.log());
    assert_eq!(server.read(&["state"], json!({ "key": 0 })).0, 200);
    std::fs::remove_file(filler).unwrap();
    let resumed = load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(500)));
    assert!(resumed.get(&200).is_some_and(|n| *n > 0), "{resumed:?}\n{}", server.log());
    assert!(server.is_alive());
    oracle.check(&server);
}

/// Somebody else fills the disk past the guard: the reserve makes room, so that what is in memory can be written out and
/// the store does not come to harm.
fn past_the_guard(disk: &SmallDisk, data: &Path, oracle: &Oracle) {
    let guard = format!("{RESERVED}B");
    let mut server = Launch::new(data)
        .env("LARDER__INGEST__MIN_FREE_BYTES", &guard)
        .env("LARDER__DATA__RESERVE_BYTES", RESERVE)
        .start();
    let base = server.base.clone();
    let reserve = data.join("reserve");
    load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(300)));
    assert!(reserve.exists(), "{}", server.log());
    // Nothing is on its way to a segment: a row would leave the outbox just when there is no room to say so.
    let sealed = || {
        let metrics = server.get("/metrics").1;
        metrics.lines().any(|line| line.starts_with("larder_outbox_rows{") && line.ends_with(" 0"))
    };
    assert!(eventually(sealed), "{}", server.log());
    let filler = disk.fill_up_to(1 << 16);
    assert!(eventually(|| !reserve.exists()), "{}", server.log());
    let refused = load_while(&base, oracle, || std::thread::sleep(Duration::from_secs(1)));
    assert!(refused.keys().all(|status| *status == 507), "{refused:?}\n{}", server.log());
    assert_eq!(server.read(&["state"], json!({ "key": 0 })).0, 200);
    assert_eq!(server.get("/readyz").0, 200, "{}", server.log());
    std::fs::remove_file(filler).unwrap();
    let resumed = load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(500)));
    assert!(resumed.get(&200).is_some_and(|n| *n > 0), "{resumed:?}\n{}", server.log());
    assert!(eventually(|| reserve.exists()), "{}", server.log());
    assert!(server.is_alive());
    oracle.check(&server);
}

/// Without the guard the store meets ENOSPC itself: it stops taking writes, reads go on, and once there is room the node
/// ends to be started again, and finds every row.
fn truly_full(disk: &SmallDisk, data: &Path, oracle: &Oracle) {
    let mut server = Launch::new(data)
        .env("LARDER__INGEST__MIN_FREE_BYTES", "0B")
        .env("LARDER__DATA__RESERVE_BYTES", RESERVE)
        .env("LARDER__DURABILITY__RESTART_AFTER", "1s")
        .start();
    let base = server.base.clone();
    let filler = disk.fill_up_to(1 << 16);
    let mut last = Default::default();
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.get("/readyz").0 == 200 && Instant::now() < deadline {
        last = load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(200)));
    }
    // With the room of the reserve it may end at once; what is on the disk is then all it had.
    if disk.free() < 4 << 20 {
        assert_eq!(server.get("/readyz").0, 503, "it did not notice: {last:?}\n{}", server.log());
        let refused = load_while(&base, oracle, || std::thread::sleep(Duration::from_secs(1)));
        assert!(refused.keys().all(|status| matches!(status, 503 | 507)), "{refused:?}");
        assert_eq!(server.read(&["state"], json!({ "key": 0 })).0, 200);
        assert!(server.is_alive(), "there is no room to start again\n{}", server.log());
    }
    std::fs::remove_file(filler).unwrap();
    let end = server.wait(Duration::from_secs(60)).unwrap_or_else(|| panic!("{}", server.log()));
    assert_eq!(end.code(), Some(RESTART), "{end}\n{}", server.log());
    let server = Launch::new(data).start();
    oracle.check(&server);
    let base = server.base.clone();
    let again = load_while(&base, oracle, || std::thread::sleep(Duration::from_millis(300)));
    assert!(again.get(&200).is_some_and(|n| *n > 0), "{again:?}");
    oracle.check(&server);
    server.kill();
}

fn eventually(is: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    is()
}
