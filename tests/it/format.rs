//! Data directories of every format are opened for ever; newer ones are refused before anything is touched.

use std::path::Path;

use serde_json::json;

use crate::damage::{Known, Opened, Written};

const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format-1/directory.zst");

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
        ("format = 2\n", "has format 2, this version of larder reads 1 to 1; use a newer larder"),
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
    assert!(std::fs::read_to_string(data.path().join("larder-format")).unwrap().contains("format = 1"));
}
