//! Statistics in the log: what new files get, and files that an earlier larder or an earlier schema left.

use arrow::array::Float32Array;
use serde_json::Value as Json;

use super::*;
use crate::{
    model::Timestamp,
    offline::{NoTail, delta_log},
};

const COLUMNS: [&str; 4] = ["name", "x", "f", "g"];

fn wide(version: u32) -> TableSchema {
    let mut columns =
        vec![column("x", DataType::Float64), column("f", DataType::Float32), column("g", DataType::Int32)];
    columns.truncate(if version == 1 { 2 } else { 3 });
    TableSchema::feature_view(TableId(7), "view", version, vec![column("name", DataType::String)], columns)
}

/// Name, `x`, `f`.
type Values<'a> = (&'a str, Option<f64>, Option<f32>);

fn rows_of(schema: &TableSchema, first: usize, rows: &[Values<'_>]) -> RecordBatch {
    let micros = |n: usize| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter_values((0..rows.len() as i64).map(|i| i + n as i64));
        Arc::new(times.with_timezone("UTC"))
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        micros(1_000_000),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(Float32Array::from_iter(rows.iter().map(|row| row.2))),
    ];
    if schema.version > 1 {
        columns.push(Arc::new(Int32Array::from(vec![Some(5); rows.len()])));
    }
    columns.push(Arc::new(Int64Array::from_iter_values((first as i64..).take(rows.len()))));
    columns.push(micros(2_000_000));
    columns.push(Arc::new(BooleanArray::from(vec![false; rows.len()])));
    RecordBatch::try_new(Arc::clone(schema.offline()), columns).unwrap()
}

/// The statistics of the files that the log names now, by the log alone, in the order of their first row.
fn told(dir: &std::path::Path) -> Vec<Json> {
    let table = OfflineStore::open(dir, options()).unwrap().table(&wide(2)).unwrap();
    let snapshot = table.snapshot();
    let mut segments: Vec<_> = snapshot.segments.iter().collect();
    segments.sort_by_key(|segment| segment.seq);
    segments.iter().map(|segment| serde_json::from_str(&segment.stats().unwrap().json).unwrap()).collect()
}

#[test]
fn bounds_hold_whatever_the_values_are() {
    let dir = tempfile::tempdir().unwrap();
    let schema = wide(1);
    let table = OfflineStore::open(dir.path(), options()).unwrap().table(&schema).unwrap();
    let uuid = "8f31c4e6-0000-4000-8000-00000000abcd";
    let parts: [&[Values<'_>]; 5] = [
        &[(uuid, Some(1.5), Some(0.1)), ("9", None, Some(-0.0))],
        &[("a", Some(f64::NAN), None)],
        &[("b", Some(f64::INFINITY), None), ("c", Some(-1.0), None)],
        &[("d", None, Some(f32::NAN)), ("e", Some(2.0), Some(3.0))],
        &[(&"\u{10ffff}".repeat(80), Some(2.0), Some(3.0))],
    ];
    let mut sealed = 0;
    for rows in parts {
        let to = (sealed + rows.len()) as u64;
        table.append(&schema, vec![rows_of(&schema, sealed, rows)], to).unwrap();
        sealed = to as usize;
    }
    let told = told(dir.path());
    let bounds = |file: usize, column: &str| {
        (
            told[file].pointer(&format!("/minValues/{column}")),
            told[file].pointer(&format!("/maxValues/{column}")),
        )
    };
    assert_eq!(bounds(0, "name"), (Some(&uuid[..32].into()), Some(&"9".into())));
    assert_eq!(bounds(0, "x"), (Some(&1.5.into()), Some(&1.5.into())));
    assert_eq!(bounds(0, "f"), (Some(&(-0.0).into()), Some(&f64::from(0.1_f32).into())));
    assert_eq!(told[0]["nullCount"]["x"], 1);
    // A bound that is not there beside others would be null to delta-rs.
    for file in [1, 3, 4] {
        assert_eq!(
            (told[file].get("minValues"), told[file].get("maxValues")),
            (None, None),
            "{}",
            told[file]
        );
    }
    assert_eq!((told[1]["nullCount"].get("x"), &told[1]["nullCount"]["f"]), (None, &Json::from(1)));
    assert_eq!(bounds(2, "x"), (Some(&(-1.0).into()), Some(&"Infinity".into())));
    assert_eq!((bounds(2, "f"), &told[2]["nullCount"]["f"]), ((None, None), &Json::from(2)));
    // What larder reads of a file is there all the same.
    let snapshot = table.snapshot();
    for segments in [
        &snapshot.segments,
        &OfflineStore::open(dir.path(), options()).unwrap().table(&schema).unwrap().snapshot().segments,
    ] {
        assert!(
            segments
                .iter()
                .all(|segment| segment.event_time.is_some() && segment.seq.is_some() && segment.rows > 0)
        );
    }
}

#[test]
fn a_column_that_comes_later_is_null_in_the_files_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (v1, v2) = (wide(1), wide(2));
    let table = OfflineStore::open(dir.path(), options()).unwrap().table(&v1).unwrap();
    table
        .append(&v1, vec![rows_of(&v1, 0, &[("a", Some(1.0), None), ("b", Some(f64::NAN), None)])], 2)
        .unwrap();
    table.append(&v2, vec![rows_of(&v2, 2, &[("a", Some(1.0), None)])], 3).unwrap();
    let told = told(dir.path());
    assert_eq!((&told[0]["nullCount"]["g"], &told[1]["nullCount"]["g"]), (&Json::from(2), &Json::from(0)));
    assert_eq!(told[0]["nullCount"].get("x"), None);
    assert_eq!(table.restate(u64::MAX).unwrap(), 0);
}

/// The table as the larder before statistics had a form left it: its log has no such tags, and other statistics.
#[test]
fn maintenance_mends_what_an_earlier_larder_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let schema = wide(1);
    let open = || OfflineStore::open(dir.path(), options()).unwrap().table(&schema).unwrap();
    let table = open();
    let long = "x".repeat(40);
    table
        .append(&schema, vec![rows_of(&schema, 0, &[(&long, Some(1.0), Some(2.0)), ("y", None, None)])], 2)
        .unwrap();
    table
        .append(&schema, vec![rows_of(&schema, 2, &[("a", Some(f64::NAN), None), ("b", Some(7.0), None)])], 4)
        .unwrap();
    let before = contents_of(&table);
    drop(table);
    forget_form(&dir.path().join("view"));

    let table = open();
    let names =
        |table: &Table| -> Vec<String> { table.snapshot().segments.iter().map(|s| s.name.clone()).collect() };
    assert!(table.snapshot().segments.iter().all(|segment| segment.stats().is_none()));
    let (old, version) = (names(&table), table.snapshot().delta_version);
    // One after the other, where there is little time.
    assert!(table.restate(1).unwrap() > 0);
    assert!(table.restate(1).unwrap() > 0);
    assert_eq!(table.restate(1).unwrap(), 0);
    assert_eq!(table.snapshot().delta_version, version + 2);
    assert_eq!(contents_of(&table), before);
    table.verify().unwrap();
    let told = told(dir.path());
    assert_eq!(told[0]["minValues"]["name"], "x".repeat(32));
    assert_eq!(told[0]["maxValues"]["name"], "y");
    assert_eq!(told[1].get("maxValues"), None);
    // The file with the NaN is another one, of which Parquet's own statistics tell no bounds of floats.
    let new = names(&table);
    assert_eq!(new.iter().filter(|name| old.contains(name)).count(), 1);
    let rewritten = table.snapshot().segments.iter().find(|s| !old.contains(&s.name)).cloned().unwrap();
    let footer = crate::offline::segment_read::Footer::read(&rewritten).unwrap();
    let parquet = footer.parquet();
    let leaf = |name: &str| {
        parquet.file_metadata().schema_descr().columns().iter().position(|c| c.name() == name).unwrap()
    };
    let tells = |name: &str| {
        parquet.row_group(0).column(leaf(name)).statistics().is_some_and(|s| s.min_bytes_opt().is_some())
    };
    assert_eq!(COLUMNS[..3].iter().map(|name| tells(name)).collect::<Vec<_>>(), [true, false, false]);
    drop(table);
    assert_eq!(contents_of(&open()), before);
}

fn contents_of(table: &Arc<Table>) -> Vec<String> {
    let history = History::open(table, &NoTail, &wide(1)).unwrap();
    let mut rows: Vec<String> = Vec::new();
    for batch in history.scan(&["_seq", "name", "x", "f"]).unwrap() {
        let batch = batch.unwrap();
        rows.extend((0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1))));
    }
    rows.sort();
    rows
}

/// Rewrites the commits as they were before statistics had a form: without bounds of long strings, with those of the numbers
/// beside a NaN, and tagged with the checksum alone.
fn forget_form(dir: &std::path::Path) {
    for entry in std::fs::read_dir(delta_log::log_dir(dir)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            let actions = text.lines().skip(1).map(|line| {
                let mut action: Json = serde_json::from_str(line).unwrap();
                if let Some(add) = action.get_mut("add") {
                    let tags = add["tags"].as_object_mut().unwrap();
                    tags.retain(|name, _| name == "larder.crc32c");
                    let mut stats: Json = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
                    let time = Timestamp::from_micros(1_000_000).to_string();
                    stats["minValues"] = serde_json::json!({ "event_time": time, "_seq": 0, "x": 1.0 });
                    stats["maxValues"] = serde_json::json!({ "event_time": time, "_seq": 9, "x": 7.0 });
                    add["stats"] = stats.to_string().into();
                }
                action
            });
            let actions: Vec<Json> = actions.collect();
            let name = path.file_stem().unwrap().to_str().unwrap();
            std::fs::remove_file(&path).unwrap();
            let made = delta_log::commit("view", dir, name.parse().unwrap(), "WRITE", &actions);
            assert!(made.is_ok());
        }
    }
}
