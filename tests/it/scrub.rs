//! Bytes that change on the disk: found, named, and never served.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
};
use larder::offline::{History, NoTail, OfflineOptions, OfflineStore};
use serde_json::{Value as Json, json};

use crate::support::TestNode;

const NOW: &str = "2024-05-01T12:00:00Z";
const T0: i64 = 1_700_000_000_000_000;
const DEFINITIONS: &str = r#"
[[entity]]
name = "key"
join_keys = [{ name = "key", type = "int64" }]

[[feature_view]]
name = "spoiled"
entities = ["key"]
time_unit = "us"
feature = [{ name = "value", type = "int64" }]

[[feature_view]]
name = "sound"
entities = ["key"]
time_unit = "us"
feature = [{ name = "value", type = "int64" }]
"#;

/// Each view has ten rows in one segment.
fn node_with_segments() -> TestNode {
    let node = TestNode::with(NOW, &[("offline.seal_rows", "10")]);
    node.apply(DEFINITIONS);
    for view in ["spoiled", "sound"] {
        write(&node, view, 0);
    }
    node
}

fn write(node: &TestNode, view: &str, from: i64) {
    let row = |n| json!({ "key": n % 10, "event_time": T0 + n, "value": n });
    node.write(view, json!((from..from + 10).map(row).collect::<Vec<_>>()));
    node.wait_until_sealed(view);
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    found
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

fn training_set(node: &TestNode, view: &str) -> (u16, Json) {
    let response = node
        .post(&format!("/v1/training-sets?features={view}&time_unit=us"))
        .header("Content-Type", "application/x-ndjson")
        .header("Accept", "application/x-ndjson")
        .body(json!({ "key": 3, "event_time": T0 + 100 }).to_string())
        .send()
        .unwrap();
    crate::support::answer(response)
}

/// Waits for a report of the scrub that `wanted` likes.
fn scrub_until(node: &TestNode, wanted: impl Fn(&Json) -> bool) -> Json {
    for _ in 0..1000 {
        let (status, report) = node.get("/v1/admin/scrub");
        assert_eq!(status, 200, "{report:#}");
        if wanted(&report) {
            return report;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{:#}", node.get("/v1/admin/scrub").1);
}

fn corrupt_files(node: &TestNode, table: &str) -> Option<f64> {
    let text = node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("larder_corrupt_files") && line.contains(&format!("\"{table}\"")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn the_scrub_finds_a_changed_segment_and_nobody_reads_it() {
    let node = node_with_segments();
    let segment = files(&node.dir().join("offline/spoiled"), ".parquet").remove(0);
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    // Read once, so that the node has found it right before.
    let (status, right) = training_set(&node, "spoiled");
    assert_eq!((status, &right["spoiled__value"]), (200, &json!(3)));
    let report = scrub_until(&node, |report| !report["last_full_pass"].is_null());
    assert_eq!(report["corrupt"], json!([]));
    assert_eq!(node.get("/readyz").1, json!({ "ready": true, "reasons": [] }));

    let whole = std::fs::read(&segment).unwrap();
    flip(&segment, whole.len() / 2 * 8);
    let report = scrub_until(&node, |report| report["corrupt"] != json!([]));
    assert_eq!(report["corrupt"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["corrupt"][0]["table"], "spoiled");
    assert!(report["corrupt"][0]["file"].as_str().unwrap().ends_with(&name), "{report:#}");
    assert_eq!(corrupt_files(&node, "spoiled"), Some(1.0));
    let (status, ready) = node.get("/readyz");
    assert_eq!((status, &ready["ready"]), (200, &json!(true)));
    assert!(ready["warnings"][0].as_str().unwrap().contains(&name), "{ready:#}");

    let (status, problem) = training_set(&node, "spoiled");
    assert_eq!(status, 503, "{problem:#}");
    assert!(problem["detail"].as_str().unwrap().contains(&name), "{problem:#}");
    // Everything else goes on.
    assert_eq!(training_set(&node, "sound").0, 200);
    assert_eq!(node.read(&["spoiled"], json!([{ "key": 3 }]))["values"], json!([[3]]));
    write(&node, "spoiled", 10);

    // Put back from a backup, it is read again and no longer named.
    std::fs::write(&segment, whole).unwrap();
    let (status, right) = training_set(&node, "spoiled");
    assert_eq!((status, &right["spoiled__value"]), (200, &json!(13)));
    scrub_until(&node, |report| report["corrupt"] == json!([]));
    assert_eq!(corrupt_files(&node, "spoiled"), Some(0.0));
}

#[test]
fn a_missing_segment_and_a_changed_commit_are_found_too() {
    let node = node_with_segments();
    let dir = node.dir().join("offline/spoiled");
    std::fs::remove_file(files(&dir, ".parquet").remove(0)).unwrap();
    let commit = files(&dir.join("_delta_log"), ".json").pop().unwrap();
    // In the last line, the rows' own.
    flip(&commit, (std::fs::read(&commit).unwrap().len() - 20) * 8);
    let report =
        scrub_until(&node, |report| report["corrupt"].as_array().is_some_and(|files| files.len() == 2));
    let reasons = report["corrupt"].to_string();
    assert!(
        reasons.contains("the file is missing") && reasons.contains("the commit has changed"),
        "{reasons}"
    );
}

/// A start reads the ends of the logs; the rest is looked through right after it.
#[test]
fn an_older_commit_that_changed_is_found_soon_after_a_start() {
    let mut node = node_with_segments();
    write(&node, "spoiled", 10);
    write(&node, "spoiled", 20);
    let commits = files(&node.dir().join("offline/spoiled/_delta_log"), ".json");
    let older = &commits[commits.len() - 2];
    flip(older, (std::fs::read(older).unwrap().len() - 20) * 8);
    node.restart();
    let reasons = loop {
        let (status, answer) = node.get("/readyz");
        if status == 503 {
            break answer["reasons"].to_string();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(reasons.contains("`spoiled`") && reasons.contains("the commit has changed"), "{reasons}");
    let rows = json!({ "rows": [{ "key": 1, "event_time": T0, "value": 1 }] });
    let (status, problem) = node.post_json("/v1/feature-views/sound/rows", &rows);
    assert_eq!(status, 503, "{problem}");
    assert_eq!(node.read(&["sound:value"], json!([{ "key": 1 }]))["values"][0][0], 1);
}

/// A merge must not give changed bytes a new, right checksum, however often the segment was found right before.
#[test]
fn a_changed_segment_is_not_merged() {
    let mut node = node_with_segments();
    node.set("offline.scrub_bytes_per_second", "0B");
    node.set("offline.compact_segments", "2");
    node.restart();
    assert_eq!(training_set(&node, "spoiled").0, 200);
    let dir = node.dir().join("offline/spoiled");
    let segment = files(&dir, ".parquet").remove(0);
    flip(&segment, std::fs::read(&segment).unwrap().len() / 2 * 8);
    write(&node, "spoiled", 10);
    // The merge comes after the seal; a second one makes sure that it was tried.
    write(&node, "spoiled", 20);
    let (status, problem) = training_set(&node, "spoiled");
    assert_eq!(status, 503, "{problem:#}");
    assert_eq!(files(&dir, ".parquet").len(), 3);
}

/// Every bit counts: whichever is flipped in a table's files, opening and reading it is an error, or the rows are right.
#[test]
fn no_flipped_bit_is_silent() {
    let flips: u64 = std::env::var("LARDER_FLIPS").map_or(60, |n| n.parse().unwrap());
    let seed: u64 = match std::env::var("LARDER_FLIPS_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    };
    println!("LARDER_FLIPS_SEED={seed}");
    let node = node_with_segments();
    write(&node, "spoiled", 10);
    let schema = node.running().app().doors.parts.catalog.current().table("spoiled").unwrap().clone();
    // A copy, small steps, a checkpoint: all kinds of files that there are.
    let dir = tempfile::tempdir().unwrap();
    let options = || OfflineOptions { checkpoint_commits: 3, ..OfflineOptions::default() };
    let source = OfflineStore::open(&node.dir().join("offline"), OfflineOptions::default()).unwrap();
    let rows: Vec<_> = read(&source, &schema).unwrap();
    let table = OfflineStore::open(dir.path(), options()).unwrap().table(&schema).unwrap();
    let rows = rows.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)));
    let by_seq: BTreeMap<i64, RecordBatch> = rows.map(|row| (seq(&row), row)).collect();
    for (seq, row) in by_seq {
        table.append(&schema, vec![row], seq as u64 + 1).unwrap();
    }
    drop(table);
    let read_all = || {
        let store = OfflineStore::open(dir.path(), options())?;
        read(&store, &schema)
    };
    let sorted = |batches: Vec<RecordBatch>| {
        let mut text: Vec<String> = batches.iter().flat_map(lines).collect();
        text.sort();
        text
    };
    let right = sorted(read_all().unwrap());
    assert_eq!(right.len(), 20);
    let mut targets = files(&dir.path().join("spoiled"), "");
    targets.extend(files(&dir.path().join("spoiled/_delta_log"), ""));
    assert!(targets.iter().any(|path| path.to_string_lossy().ends_with(".checkpoint.parquet")));
    let (mut loud, mut harmless, mut silent) = (0, 0, Vec::new());
    for flip_number in 0..flips {
        let random = |salt: u64, below: usize| {
            let bytes = [flip_number.to_le_bytes(), salt.to_le_bytes()].concat();
            (xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, seed) % below as u64) as usize
        };
        let path = &targets[random(1, targets.len())];
        let whole = std::fs::read(path).unwrap();
        if whole.is_empty() {
            continue;
        }
        let bit = random(2, whole.len() * 8);
        flip(path, bit);
        match read_all() {
            Err(_) => loud += 1,
            Ok(rows) if sorted(rows.clone()) == right => harmless += 1,
            Ok(_) => silent.push((path.clone(), bit)),
        }
        std::fs::write(path, whole).unwrap();
    }
    println!("flips={flips} loud={loud} harmless={harmless} silent={}", silent.len());
    assert!(silent.is_empty(), "{silent:?}");
    assert!(loud > 0, "no flip was noticed at all");
    assert_eq!(sorted(read_all().unwrap()), right);
}

fn read(
    store: &OfflineStore,
    schema: &larder::model::TableSchema,
) -> Result<Vec<RecordBatch>, larder::offline::OfflineError> {
    let table = store.table(schema)?;
    let history = History::open(&table, &NoTail, schema)?;
    let columns: Vec<String> = history.schema().fields().iter().map(|f| f.name().clone()).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    history.scan(&columns)?.collect()
}

fn seq(row: &RecordBatch) -> i64 {
    row.column_by_name("_seq").unwrap().as_primitive::<Int64Type>().value(0)
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1).columns())).collect()
}
