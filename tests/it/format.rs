//! Data directories of every format are opened for ever; newer ones are refused before anything is touched.

use std::path::Path;

use serde_json::json;

use crate::{
    damage::{Known, Opened, Written, copy},
    support::TestNode,
};

/// Of the format before window states.
const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format-1/directory.zst");
const FORMAT_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format-2/directory.zst");

/// A directory as one compressed file: for each file u32 path length, path, u64 length, bytes; little-endian.
fn pack(root: &Path, dir: &Path, out: &mut Vec<u8>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            pack(root, &path, out);
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        out.extend((name.len() as u32).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
    }
}

fn unpack(archive: &str, root: &Path) {
    let bytes = zstd::decode_all(std::fs::File::open(archive).unwrap()).unwrap();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (length, after) = rest.split_at(4);
        let (name, after) = after.split_at(u32::from_le_bytes(length.try_into().unwrap()) as usize);
        let (length, after) = after.split_at(8);
        let (content, after) = after.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let path = root.join(std::str::from_utf8(name).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        rest = after;
    }
}

/// What was written to the fixture of format 1: 40 batches to three views, one of them online only; half are sealed.
fn rows_of_format_1() -> Vec<Written> {
    let mut rows = Vec::new();
    for batch in 0..40 {
        let view = match batch {
            39 => "live",
            _ if batch % 3 == 2 => "other",
            _ => "state",
        };
        let count = if batch % 5 == 4 { 90 } else { 3 };
        rows.extend((0..count).map(|i| (view, (batch + i) % 50, batch * 100 + i, batch * 1000 + i)));
    }
    rows
}

const WINDOWS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
schema = { user = "int64", amount = "float64", page = "string" }

[[stream_feature_view]]
name = "activity"
entities = ["user"]
source = "clicks"
aggregation = [
  { name = "n", function = "count", window = "lifetime" },
  { name = "total", function = "sum", column = "amount", window = "30d", filter = "amount > 0" },
  { name = "mean", function = "mean", column = "amount", window = "7d" },
  { name = "spread", function = "variance", column = "amount", window = "1h", mode = "exact" },
  { name = "least", function = "min", column = "amount", window = "1d" },
  { name = "most", function = "max", column = "page", window = "1d", mode = "tumbling" },
  { name = "last", function = "last_n", n = 3, column = "page", window = "1d" },
  { name = "first", function = "first", column = "page", window = "lifetime" },
  { name = "pages", function = "approx_count_distinct", column = "page", window = "30d" },
  { name = "p75", function = "approx_percentile", p = 0.75, column = "amount", window = "30d" },
  { name = "silence", function = "time_since_last", window = "lifetime" },
]
"#;
const WINDOWS_AT: &str = "2024-05-01T12:00:00Z";

/// 600 clicks of five users, one every ten minutes; what they come to at [`WINDOWS_AT`] is the state's to say.
fn clicks() -> Vec<serde_json::Value> {
    let end = larder::model::Timestamp::parse(WINDOWS_AT).unwrap().micros();
    (0..600i64)
        .map(|i| {
            let time = larder::model::Timestamp::from_micros(end - (600 - i) * 600_000_000).to_string();
            json!({ "user": i % 5, "event_time": time, "amount": i as f64 / 8.0 - 5.0, "page": format!("p{}", i % 13) })
        })
        .collect()
}

fn ask_windows(node: &Opened, as_of: Option<&str>) -> serde_json::Value {
    let users: Vec<_> = (0..5).map(|user| json!({ "user": user })).collect();
    let mut body = json!({ "features": ["activity"], "entities": users });
    if let Some(as_of) = as_of {
        body["as_of"] = json!(as_of);
    }
    node.post("/v1/online-features", &body).1["values"].clone()
}

/// How the fixture of format 2 was made.
#[test]
fn a_directory_with_window_states_can_be_packed_and_unpacked() {
    let node = TestNode::at(WINDOWS_AT);
    node.apply(WINDOWS);
    for part in clicks().chunks(100) {
        let (status, body) = node.post_json("/v1/sources/clicks/events", &json!({ "rows": part }));
        assert_eq!(status, 200, "{body}");
    }
    let data = tempfile::TempDir::new().unwrap();
    copy(node.dir(), data.path());
    drop(node);
    let mut packed = Vec::new();
    pack(data.path(), data.path(), &mut packed);
    let archive = tempfile::NamedTempFile::new().unwrap();
    let path =
        std::env::var("LARDER_WRITE_FIXTURE_2").unwrap_or_else(|_| archive.path().display().to_string());
    std::fs::write(&path, zstd::encode_all(packed.as_slice(), 19).unwrap()).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 300_000);
    check_windows(&path);
}

#[test]
fn format_2_is_read_and_written_to() {
    check_windows(FORMAT_2);
}

/// The stored states answer as the events of history do, by which they are computed anew.
fn check_windows(archive: &str) {
    let data = tempfile::TempDir::new().unwrap();
    unpack(archive, data.path());
    for round in 0..2 {
        let node = Opened::start(data.path()).unwrap();
        assert_eq!(node.get("/readyz").0, 200);
        let values = ask_windows(&node, None);
        assert_eq!(values, ask_windows(&node, Some(WINDOWS_AT)), "round {round}");
        let counts: Vec<_> = values.as_array().unwrap().iter().map(|row| row[0].clone()).collect();
        assert_eq!(counts, [120 + round, 120, 120, 120, 120].map(|n| json!(n)));
        let click = json!({ "rows": [{ "user": 0, "event_time": "2024-05-01T11:59:00Z", "amount": 1.0, "page": "p" }] });
        assert_eq!(node.post("/v1/sources/clicks/events", &click).0, 200);
    }
}

/// How the fixture was made; it is made once for each format and never again.
#[test]
fn a_directory_can_be_packed_and_unpacked() {
    let known = Known::build();
    let data = known.copy();
    drop(Opened::start(data.path()).unwrap());
    let mut packed = Vec::new();
    pack(data.path(), data.path(), &mut packed);
    let archive = tempfile::NamedTempFile::new().unwrap();
    let path = std::env::var("LARDER_WRITE_FIXTURE").unwrap_or_else(|_| archive.path().display().to_string());
    std::fs::write(&path, zstd::encode_all(packed.as_slice(), 19).unwrap()).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 300_000);
    let again = tempfile::TempDir::new().unwrap();
    unpack(&path, again.path());
    assert_eq!(Opened::start(again.path()).unwrap().missing(&known.rows), (vec![], vec![]));
}

#[test]
fn format_1_is_read_and_written_to() {
    let data = tempfile::TempDir::new().unwrap();
    unpack(FORMAT_1, data.path());
    let rows = rows_of_format_1();
    for round in 0..2 {
        let node = Opened::start(data.path()).unwrap();
        assert_eq!(node.get("/readyz").0, 200);
        assert_eq!(node.missing(&rows), (vec![], vec![]), "round {round}");
        let body = json!({ "features": ["state:text"], "entities": [{ "key": 7 }] });
        assert_eq!(node.post("/v1/online-features", &body).1["values"], json!([["text ".repeat(8)]]));
        assert_eq!(node.write(&[("state", 4000 + round, 5_000, 1)]).0, 200);
    }
}

#[test]
fn a_newer_format_is_refused_before_anything_is_touched() {
    let data = tempfile::TempDir::new().unwrap();
    unpack(FORMAT_1, data.path());
    let mut before = Vec::new();
    pack(&data.path().join("online"), &data.path().join("online"), &mut before);
    for (text, says) in [
        ("format = 3\n", "has format 3, this version of larder reads 1 to 2; use a newer larder"),
        ("format = \"x\"\n", "does not say which format the directory has"),
        ("\u{0}\u{0}", "does not say which format the directory has"),
    ] {
        std::fs::write(data.path().join("larder-format"), text).unwrap();
        let error = Opened::start(data.path()).err().unwrap();
        assert!(error.contains(says), "{error}");
        assert!(larder::shard::integrity::doctor(data.path(), false).is_err());
    }
    let mut after = Vec::new();
    pack(&data.path().join("online"), &data.path().join("online"), &mut after);
    assert!(before == after, "something was changed");
    // A directory of before there was such a file.
    std::fs::remove_file(data.path().join("larder-format")).unwrap();
    drop(Opened::start(data.path()).unwrap());
    assert!(std::fs::read_to_string(data.path().join("larder-format")).unwrap().contains("format = 2"));
}
