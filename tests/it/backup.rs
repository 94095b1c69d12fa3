//! Backups of a node that is written to, restored and compared with what this process was told is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use larder::backup::{BackupError, Restored, restore};
use serde_json::{Value as Json, json};

use crate::support::TestNode;

const NOW: &str = "2024-05-01T12:00:00Z";
const WRITERS: u64 = 4;
const T0: i64 = 1_700_000_000_000_000;
const DEFINITIONS: &str = r#"
[[entity]]
name = "key"
join_keys = [{ name = "key", type = "int64" }]

[[feature_view]]
name = "state"
entities = ["key"]
time_unit = "us"
feature = [{ name = "value", type = "int64" }, { name = "batch", type = "int64" }]

[[feature_view]]
name = "other"
entities = ["key"]
time_unit = "us"
feature = [{ name = "value", type = "int64" }]

[[feature_view]]
name = "fleeting"
entities = ["key"]
time_unit = "us"
offline = false
feature = [{ name = "value", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
time_unit = "us"
event_time = "event_time"
event_id = "click"
schema = { click = "string" }
"#;

/// A row of `state`: key, event time, value.
type Row = (i64, i64, i64);

/// What was sent, and what was acknowledged.
#[derive(Default)]
struct Oracle {
    sent: BTreeMap<i64, Vec<Row>>,
    acknowledged: BTreeSet<i64>,
}

/// Each row has a time of its own, and times go back and forth.
fn rows_of(batch: i64, writer: u64) -> Vec<Row> {
    let row = |i: i64| {
        let key = (i % 7) * WRITERS as i64 + writer as i64;
        (key, T0 + (batch - 5 * (batch % 3)) * 1000 + i, batch * 100 + i)
    };
    (0..1 + batch % 40).map(row).collect()
}

struct Load<'a> {
    node: &'a TestNode,
    oracle: Mutex<Oracle>,
    next_batch: AtomicU64,
    paused: AtomicBool,
    stopped: AtomicBool,
}

struct StopOnDrop<'a>(&'a AtomicBool);

/// Also when a check panics: a scope waits for its threads.
impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load<'_> {
    fn write(&self, writer: u64) {
        while !self.stopped.load(Ordering::SeqCst) {
            if self.paused.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let batch = self.next_batch.fetch_add(1, Ordering::SeqCst) as i64;
            let rows = rows_of(batch, writer);
            self.oracle.lock().unwrap().sent.insert(batch, rows.clone());
            let rows: Vec<Json> = rows
                .iter()
                .map(|(key, time, value)| {
                    json!({ "key": key, "event_time": time, "value": value, "batch": batch })
                })
                .collect();
            loop {
                let (status, body) =
                    self.node.post_json("/v1/feature-views/state/rows", &json!({ "rows": rows }));
                match status {
                    200 => break,
                    429 => std::thread::sleep(Duration::from_millis(5)),
                    _ => panic!("{status}: {body:#}"),
                }
            }
            self.oracle.lock().unwrap().acknowledged.insert(batch);
        }
    }
}

/// Takes a backup and waits for its end.
fn back_up(node: &TestNode, dir: &Path) -> Json {
    let (status, begun) = node.post_json("/v1/admin/backup", &json!({ "dir": dir }));
    assert_eq!(status, 202, "{begun:#}");
    let path = format!("/v1/admin/backup/{}", begun["id"].as_str().unwrap());
    loop {
        let (status, job) = node.get(&path);
        assert_eq!(status, 200, "{job:#}");
        match job["state"].as_str().unwrap() {
            "running" => std::thread::sleep(Duration::from_millis(10)),
            "done" => return job,
            _ => panic!("{job:#}"),
        }
    }
}

fn restore_into(backup: &Path, data: &Path) -> Result<Restored, BackupError> {
    restore(backup, data, (&larder::config::Config::default().online).into(), |_| ())
}

/// A directory on another file system, where this machine has one: files are copied there and not linked.
fn elsewhere() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn device(dir: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(dir).unwrap())
}

/// A node on what a backup holds.
fn restored(backup: &Path) -> (TestNode, Restored) {
    let dir = tempfile::tempdir().unwrap();
    let restored = restore_into(backup, dir.path()).unwrap();
    (TestNode::on(dir, NOW, &[("offline.seal_rows", "300")]), restored)
}

/// What history has at each (key, event time).
fn versions(node: &TestNode, points: &[(i64, i64)]) -> Vec<(Option<i64>, Option<i64>)> {
    let mut found = Vec::with_capacity(points.len());
    for part in points.chunks(5_000) {
        let body: String = part
            .iter()
            .map(|(key, time)| format!("{}\n", json!({ "key": key, "event_time": time })))
            .collect();
        let response = node
            .post("/v1/training-sets?features=state&time_unit=us")
            .header("Content-Type", "application/x-ndjson")
            .header("Accept", "application/x-ndjson")
            .body(body)
            .send()
            .unwrap();
        let status = response.status();
        let text = response.text().unwrap();
        assert_eq!(status, 200, "{text}");
        found.extend(text.lines().map(|line| {
            let row: Json = serde_json::from_str(line).unwrap();
            (row["state__value"].as_i64(), row["state__batch"].as_i64())
        }));
    }
    found
}

/// Everything acknowledged before is there, batches are whole, both stores agree; returns the number of rows.
fn check(node: &TestNode, before: &BTreeSet<i64>, sent: &BTreeMap<i64, Vec<Row>>) -> u64 {
    let points: Vec<(i64, i64)> = sent.values().flatten().map(|(key, time, _)| (*key, *time)).collect();
    let mut found = versions(node, &points).into_iter();
    let mut newest: BTreeMap<i64, Row> = BTreeMap::new();
    let mut stored = 0;
    for (batch, rows) in sent {
        let mut there = 0;
        for (key, time, value) in rows {
            // Where the version itself is not there, an older one of another batch is found.
            let (found_value, found_batch) = found.next().unwrap();
            if found_batch != Some(*batch) {
                continue;
            }
            assert_eq!(found_value, Some(*value), "batch {batch}, key {key} at {time}");
            there += 1;
            let newest = newest.entry(*key).or_insert((*key, *time, *value));
            if newest.1 < *time {
                *newest = (*key, *time, *value);
            }
        }
        assert!(there == 0 || there == rows.len(), "batch {batch}: {there} of {} rows", rows.len());
        assert!(there > 0 || !before.contains(batch), "batch {batch} was acknowledged and is not there");
        stored += there as u64;
    }
    let entities: Vec<Json> = newest.keys().map(|key| json!({ "key": key })).collect();
    let expected: Vec<Json> = newest.values().map(|(_, _, value)| json!([value, value / 100])).collect();
    assert_eq!(node.read(&["state"], json!(entities))["values"], json!(expected));
    stored
}

#[test]
fn backups_under_load_restore_to_what_was_acknowledged() {
    let backups: usize = std::env::var("LARDER_BACKUPS").map_or(3, |n| n.parse().unwrap());
    let node = TestNode::with(NOW, &[("offline.seal_rows", "300"), ("offline.compact_segments", "3")]);
    node.apply(DEFINITIONS);
    let load = Load {
        node: &node,
        oracle: Mutex::default(),
        next_batch: AtomicU64::new(1),
        paused: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
    };
    let same = tempfile::tempdir().unwrap();
    let (mut identical, mut kept, mut during, mut longest_hold) = (0, 0, 0, 0f64);
    std::thread::scope(|scope| {
        let load = &load;
        let _stop = StopOnDrop(&load.stopped);
        for writer in 0..WRITERS {
            scope.spawn(move || load.write(writer));
        }
        for backup in 0..backups {
            load.paused.store(false, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(400));
            let before = load.oracle.lock().unwrap().acknowledged.clone();
            // Every third one is a first one: the others bring an earlier one up to date.
            let fresh = elsewhere();
            let dir = if backup % 3 == 2 { fresh.path() } else { same.path() };
            let job = back_up(&node, dir);
            load.paused.store(true, Ordering::SeqCst);
            let sent = {
                let oracle = load.oracle.lock().unwrap();
                during += oracle.acknowledged.len() - before.len();
                oracle.sent.clone()
            };
            let linkable = device(dir) == device(node.dir());
            assert_eq!(job["files_linked"].as_u64().unwrap() > 0, linkable, "{job:#}");
            assert_eq!(job["files_copied"].as_u64().unwrap() > 0, !linkable, "{job:#}");
            kept += job["files_kept"].as_u64().unwrap();
            longest_hold = longest_hold.max(job["held_ms"].as_f64().unwrap());
            let (copy, restored) = restored(dir);
            let stored = check(&copy, &before, &sent);
            assert_eq!(stored, restored.manifest.tables["state"].next_seq, "rows that nobody sent");
            // It goes on from there.
            copy.write("state", json!([{ "key": 0, "event_time": NOW, "value": 1, "batch": 0 }]));
            assert_eq!(copy.read(&["state"], json!([{ "key": 0 }]))["values"], json!([[1, 0]]));
            identical += 1;
        }
    });
    assert!(during > 0, "nothing was written while backups were taken");
    assert!(backups < 2 || kept > 0, "no file was taken over from an earlier backup");
    println!("writes stood still for at most {longest_hold:.1} ms, {during} batches went on during backups");
    println!("backups={backups} identical={identical}");
}

/// What the backup's one moment rests on: nothing is committed while the shards stand still, and reads go on.
#[test]
fn held_shards_commit_nothing() {
    let node = TestNode::at(NOW);
    node.apply(DEFINITIONS);
    let write = |value: i64| {
        node.write("state", json!([{ "key": 1, "event_time": T0 + value, "value": value, "batch": 1 }]));
    };
    let value = || node.read(&["state:value"], json!([{ "key": 1 }]))["values"].clone();
    write(1);
    let acknowledged = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let held = node.running().app().doors.parts.shards.hold(Duration::from_secs(10)).unwrap();
        scope.spawn(|| {
            write(2);
            acknowledged.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!acknowledged.load(Ordering::SeqCst), "a held shard acknowledged a write");
        assert_eq!(value(), json!([[1]]));
        drop(held);
    });
    assert_eq!(value(), json!([[2]]));
}

#[test]
fn everything_that_a_node_remembers_comes_along() {
    let node = TestNode::with(NOW, &[("offline.seal_rows", "3")]);
    node.apply(DEFINITIONS);
    node.write("state", json!([{ "key": 0, "event_time": T0, "value": 0, "batch": 1 }]));
    node.write("state", json!([{ "key": 1, "event_time": T0, "value": 1, "batch": 1 }]));
    node.write("state", json!([{ "key": 2, "event_time": T0, "value": 2, "batch": 1 }]));
    node.wait_until_sealed("state");
    node.write("state", json!([{ "key": 3, "event_time": T0, "value": 3, "batch": 1 }]));
    node.write("fleeting", json!([{ "key": 1, "event_time": T0, "value": 5 }]));
    let keyed = |node: &TestNode| {
        let rows = json!({ "rows": [{ "key": 4, "event_time": T0, "value": 4, "batch": 1 }] });
        let request = node.post("/v1/feature-views/state/rows").header("Idempotency-Key", "once");
        crate::support::answer(request.json(&rows).send().unwrap())
    };
    let (status, first) = keyed(&node);
    assert_eq!(status, 200, "{first:#}");
    let click = |node: &TestNode| {
        let events = json!({ "rows": [{ "event_time": T0, "click": "a" }] });
        let (status, body) = node.post_json("/v1/sources/clicks/events", &events);
        assert_eq!(status, 200, "{body:#}");
        body
    };
    assert_eq!(click(&node)["deduplicated"], 0);
    let bad = json!({ "rows": [{ "key": 5, "event_time": T0, "value": "five", "batch": 1 }] });
    let (status, body) = node.post_json("/v1/feature-views/state/rows?on_error=quarantine", &bad);
    assert_eq!(status, 200, "{body:#}");

    let dir = tempfile::tempdir().unwrap();
    back_up(&node, dir.path());
    let (copy, restored) = restored(dir.path());
    assert!(restored.entries > 0);
    let mark = &restored.manifest.tables["state"];
    assert_eq!((mark.next_seq, mark.sealed_seq), (5, 3));
    assert_eq!(node.get("/v1/registry"), copy.get("/v1/registry"));
    let all = json!([{ "key": 1 }, { "key": 2 }, { "key": 3 }, { "key": 4 }]);
    assert_eq!(copy.read(&["state"], all.clone()), node.read(&["state"], all));
    assert_eq!(copy.read(&["fleeting"], json!([{ "key": 1 }]))["values"], json!([[5]]));
    assert_eq!(keyed(&copy).1["batch_id"], first["batch_id"], "the answer to a key that was used");
    assert_eq!(click(&copy)["deduplicated"], 1);
    let (_, quarantined) = copy.get("/v1/quarantine?view=state");
    assert_eq!(quarantined["rows"][0]["raw"]["value"], "five", "{quarantined:#}");
    assert_eq!(quarantined, node.get("/v1/quarantine?view=state").1);
}

#[test]
fn an_unfinished_backup_leaves_the_earlier_one_whole() {
    let node = TestNode::with(NOW, &[("offline.seal_rows", "1")]);
    node.apply(DEFINITIONS);
    let write = |value: i64| {
        node.write("state", json!([{ "key": 1, "event_time": T0 + value, "value": value, "batch": 1 }]));
        node.wait_until_sealed("state");
    };
    let value = |copy: &TestNode| copy.read(&["state:value"], json!([{ "key": 1 }]))["values"].clone();
    write(1);
    let dir = tempfile::tempdir().unwrap();
    back_up(&node, dir.path());
    // As a node leaves it that is killed while it takes the second one.
    let online = dir.path().join("online/unfinished");
    std::fs::create_dir(&online).unwrap();
    for junk in [online.join("rows.tmp"), dir.path().join("offline/state/part-half.parquet.tmp")] {
        std::fs::write(junk, "half").unwrap();
    }
    assert_eq!(value(&restored(dir.path()).0), json!([[1]]));

    write(2);
    let job = back_up(&node, dir.path());
    assert!(job["files_kept"].as_u64().unwrap() > 0, "{job:#}");
    assert_eq!(value(&restored(dir.path()).0), json!([[2]]));
    assert!(!online.exists());
    assert_eq!(std::fs::read_dir(dir.path().join("online")).unwrap().count(), 1);
    assert!(!dir.path().join("offline/state/part-half.parquet.tmp").exists());
}

#[test]
fn directories_that_would_be_a_mistake_are_refused() {
    let node = TestNode::at(NOW);
    node.apply(DEFINITIONS);
    let refused = |node: &TestNode, dir: &Path, status: u16, reason: &str| {
        let (found, problem) = node.post_json("/v1/admin/backup", &json!({ "dir": dir }));
        assert_eq!(found, status, "{problem:#}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem:#}");
    };
    refused(&node, Path::new("backup"), 400, "not an absolute path");
    refused(&node, &node.dir().join("backup/today"), 400, "inside of the data directory");
    assert!(!node.dir().join("backup").exists());
    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(node.dir(), link.path().join("link")).unwrap();
    refused(&node, &link.path().join("link/backup"), 400, "inside of the data directory");
    refused(&node, link.path(), 409, "neither empty nor an earlier backup");

    let dir = tempfile::tempdir().unwrap();
    back_up(&node, dir.path());
    refused(&TestNode::at(NOW), dir.path(), 409, "the backup of another node");
    assert_eq!(node.get("/v1/admin/backup/none").0, 404);
}

#[test]
fn a_restored_node_that_went_its_own_way_does_not_spoil_the_backup() {
    let node = TestNode::with(NOW, &[("offline.seal_rows", "1")]);
    node.apply(DEFINITIONS);
    let dir = tempfile::tempdir().unwrap();
    back_up(&node, dir.path());
    let (copy, _) = restored(dir.path());
    let write = |node: &TestNode, value: i64| {
        node.write("other", json!([{ "key": 1, "event_time": T0, "value": value }]));
    };
    write(&node, 1);
    node.wait_until_sealed("other");
    back_up(&node, dir.path());
    for _ in 0..300 {
        write(&copy, 2);
    }
    copy.wait_until_sealed("other");
    let (status, begun) = copy.post_json("/v1/admin/backup", &json!({ "dir": dir.path() }));
    assert_eq!(status, 202, "{begun:#}");
    let path = format!("/v1/admin/backup/{}", begun["id"].as_str().unwrap());
    let job = loop {
        let (_, job) = copy.get(&path);
        if job["state"] != "running" {
            break job;
        }
    };
    assert!(job["error"].as_str().unwrap().contains("another history"), "{job:#}");
    let (again, _) = restored(dir.path());
    assert_eq!(again.read(&["other"], json!([{ "key": 1 }]))["values"], json!([[1]]));
}

#[test]
fn what_is_not_whole_is_not_restored() {
    let node = TestNode::with(NOW, &[("offline.seal_rows", "1")]);
    node.apply(DEFINITIONS);
    node.write("state", json!([{ "key": 1, "event_time": T0, "value": 1, "batch": 1 }]));
    node.wait_until_sealed("state");
    let dir = tempfile::tempdir().unwrap();
    back_up(&node, dir.path());
    let target = tempfile::tempdir().unwrap();
    let refused = |reason: &str| {
        let error = restore_into(dir.path(), &target.path().join("data")).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!target.path().join("data").exists(), "nothing is written before all is verified");
    };
    let mut files = Vec::new();
    collect(dir.path(), &mut files);
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "larder-backup" {
            continue;
        }
        let content = std::fs::read(&path).unwrap();
        // A new file each time: linked ones are the node's own.
        std::fs::remove_file(&path).unwrap();
        refused(if name == "manifest.json" { "no backup" } else { &name });
        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        refused(&name);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, content).unwrap();
    }

    let occupied = target.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("x"), "").unwrap();
    let error = restore_into(dir.path(), &occupied).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    restore_into(dir.path(), &target.path().join("data")).unwrap();

    // A restore that was killed: no node starts there.
    std::fs::write(target.path().join("data/restore-unfinished"), "").unwrap();
    let settings = [
        ("data.dir".to_owned(), target.path().join("data").display().to_string()),
        ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    let config = larder::config::Config::load(None, std::iter::empty(), &settings).unwrap();
    let error = larder::node::spawn(config, node.clock.clone()).err().unwrap().to_string();
    assert!(error.contains("did not finish"), "{error}");
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

#[test]
fn the_command_line_backs_up_and_restores() {
    let node = TestNode::at(NOW);
    node.apply(DEFINITIONS);
    node.write("state", json!([{ "key": 1, "event_time": T0, "value": 1, "batch": 1 }]));
    let dir = tempfile::tempdir().unwrap();
    let larder = |arguments: &[&std::ffi::OsStr]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let server = format!("http://{}", node.running().address());
    // The path is the caller's, relative or not.
    let (code, text) = larder(&["backup".as_ref(), "b".as_ref(), "--server".as_ref(), server.as_ref()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("holds everything acknowledged before 2024-05-01T12:00:00Z"), "{text}");
    let restore = ["restore".as_ref(), "b".as_ref(), "--data".as_ref(), "data".as_ref()];
    let (code, text) = larder(&restore);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("4 tables, 1 rows"), "{text}");
    let (code, text) = larder(&restore);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is not empty"), "{text}");
}
