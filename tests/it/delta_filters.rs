//! Other software finds by a filter what is there, whatever the values: a file's statistics never hide a row. Needs the Python
//! of `delta_readers`, with `duckdb`, `pandas` and `pyarrow`.

use std::{path::Path, process::Command, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
        ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{Int32Type, TimestampMicrosecondType},
};
use larder::{
    model::{Column, DataType, TableId, TableSchema},
    offline::{OfflineOptions, OfflineStore, Table},
};
use serde_json::json;

/// What readers miss; none where there is no Python.
fn differences(path: &Path) -> Option<Vec<String>> {
    let Ok(python) = std::env::var("LARDER_TEST_PYTHON") else {
        eprintln!("skipped: LARDER_TEST_PYTHON is not set");
        return None;
    };
    let output =
        Command::new(python).args(["-c", include_str!("delta_filters.py")]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn schema(version: u32) -> TableSchema {
    let column = |(name, data_type): (&str, DataType)| Column { name: name.to_owned(), data_type };
    let mut columns = vec![
        ("flag", DataType::Bool),
        ("small", DataType::Int32),
        ("large", DataType::Int64),
        ("single", DataType::Float32),
        ("double", DataType::Float64),
        ("text", DataType::String),
        ("document", DataType::Json),
        ("raw", DataType::Bytes),
        ("moment", DataType::Timestamp),
        ("list", DataType::Array(Box::new(DataType::Int32))),
    ];
    if version > 1 {
        columns.push(("later", DataType::String));
    }
    let keys = vec![column(("id", DataType::String))];
    TableSchema::feature_view(TableId(1), "view", version, keys, columns.into_iter().map(column).collect())
}

/// One row's values.
#[derive(Default, Clone, Copy)]
struct Row {
    flag: Option<bool>,
    small: Option<i32>,
    large: Option<i64>,
    single: Option<f32>,
    double: Option<f64>,
    text: Option<&'static str>,
    moment: Option<i64>,
}

const LONG: &str = "long strings, of which no more than the beginning is a bound";
const UMLAUTS: &str = "Überlängenzeichenfolgenobergrenzenrundungsprüfungsäöü";
const ASTRAL: &str = "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀";
const LAST: &str = "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}";

/// Each list is a file.
fn files() -> Vec<Vec<Row>> {
    let usual = Row {
        flag: Some(true),
        small: Some(7),
        large: Some(7),
        single: Some(0.1),
        double: Some(2.5),
        text: Some("a"),
        moment: Some(1_714_561_200_123_456),
    };
    vec![
        vec![usual, Row { flag: Some(false), text: Some(LONG), ..usual }],
        vec![Row::default()],
        vec![Row { double: Some(f64::NAN), single: Some(f32::NAN), ..usual }],
        vec![Row { double: Some(f64::NAN), ..usual }, Row { double: Some(3.0), ..usual }, Row::default()],
        vec![Row { double: Some(f64::INFINITY), ..usual }, Row { double: Some(f64::NEG_INFINITY), ..usual }],
        vec![Row { double: Some(-0.0), single: Some(0.0), ..usual }],
        vec![
            Row { large: Some(i64::MAX), small: Some(i32::MAX), text: Some(UMLAUTS), ..usual },
            Row { large: Some(i64::MIN), small: Some(i32::MIN), text: Some(ASTRAL), ..usual },
        ],
        vec![Row { double: Some(f64::MAX), single: Some(f32::MIN_POSITIVE), text: Some(""), ..usual }],
        vec![Row { text: Some(LAST), ..usual }, Row { text: Some("z"), ..usual }],
        // No later than delta-rs can count nanoseconds.
        vec![Row { moment: Some(-1), ..usual }, Row { moment: Some(7_258_118_400_000_001), ..usual }],
    ]
}

fn batch(schema: &TableSchema, first: usize, rows: &[Row]) -> RecordBatch {
    let numbers = || (first as i64..).take(rows.len());
    let times = |values: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    let own_times = || times(numbers().map(|n| Some(1_714_561_200_000_001 + n)).collect());
    let ids = numbers().map(|n| format!("{n:08x}-0000-4000-8000-0123456789ab"));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(ids)),
        own_times(),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.small).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.large).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.single).collect::<Float32Array>()),
        Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.text).collect::<StringArray>()),
        Arc::new(
            rows.iter()
                .map(|row| row.text.map(|text| json!({ "text": text }).to_string()))
                .collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.text.map(str::as_bytes)).collect::<BinaryArray>()),
        times(rows.iter().map(|row| row.moment).collect()),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
            rows.iter().map(|row| row.small.map(|n| vec![Some(n), None])),
        )),
    ];
    if schema.version > 1 {
        columns.push(Arc::new(StringArray::from(vec![Some("later"); rows.len()])));
    }
    columns.push(Arc::new(Int64Array::from_iter_values(numbers())));
    columns.push(own_times());
    columns.push(Arc::new(BooleanArray::from(vec![false; rows.len()])));
    let fields = schema.offline();
    let columns = columns
        .into_iter()
        .zip(fields.fields())
        .map(|(column, field)| arrow::compute::cast(&column, field.data_type()).unwrap());
    RecordBatch::try_new(Arc::clone(fields), columns.collect()).unwrap()
}

fn append(table: &Table, schema: &TableSchema, files: &[Vec<Row>]) {
    for rows in files {
        let first = table.sealed_seq() as usize;
        let up_to = (first + rows.len()) as u64;
        table.append(schema, vec![batch(schema, first, rows)], up_to).unwrap();
    }
}

#[test]
fn every_reader_finds_every_value_of_every_type() {
    let dir = tempfile::tempdir().unwrap();
    let schema = schema(1);
    let table = OfflineStore::open(dir.path(), OfflineOptions::default()).unwrap().table(&schema).unwrap();
    append(&table, &schema, &files());
    let Some(differences) = differences(&dir.path().join("view")) else { return };
    assert_eq!(differences, [] as [&str; 0]);
}

/// A new column, and segments merged: what was a file without bounds is one among others.
#[test]
fn a_table_that_grows_is_found_in_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (v1, v2) = (schema(1), schema(2));
    let options =
        OfflineOptions { compact_min_segments: 2, checkpoint_commits: 2, ..OfflineOptions::default() };
    let table = OfflineStore::open(dir.path(), options).unwrap().table(&v1).unwrap();
    append(&table, &v1, &files()[..2]);
    append(&table, &v2, &files()[6..7]);
    let Some(differences_before) = differences(&dir.path().join("view")) else { return };
    assert_eq!(differences_before, [] as [&str; 0]);
    append(&table, &v2, &files()[2..6]);
    assert!(table.compact().unwrap().merged > 0);
    assert_eq!(differences(&dir.path().join("view")).unwrap(), [] as [&str; 0]);
}

/// A table as the larder before wrote it: Parquet's own bounds of floats, which leave NaN out, and statistics without bounds of
/// long strings.
#[test]
fn maintenance_mends_a_table_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let schema = schema(1);
    let open = || OfflineStore::open(dir.path(), OfflineOptions::default()).unwrap().table(&schema).unwrap();
    drop(open());
    let path = dir.path().join("view");
    let (mut seq, mut rows_before) = (0, 0);
    for (version, rows) in files().iter().take(4).enumerate().map(|(at, rows)| (at + 1, rows)) {
        write_as_before(&path, version, &batch(&schema, seq, rows));
        seq += rows.len();
        rows_before += rows.len() as u64;
    }
    let Some(before) = differences(&path) else { return };
    let is_missed = |what: &str| before.iter().any(|line| line.starts_with(what));
    assert!(is_missed("dataset: text =") && is_missed("pandas: id ="), "{before:#?}");
    assert!(is_missed("QueryBuilder: double > 100"), "{before:#?}");
    let table = open();
    while table.restate(1).unwrap() > 0 {}
    table.verify().unwrap();
    assert_eq!(table.snapshot().segments.iter().map(|segment| segment.rows).sum::<u64>(), rows_before);
    assert_eq!(differences(&path).unwrap(), [] as [&str; 0]);
    drop(table);
    assert_eq!(open().sealed_seq(), seq as u64);
}

fn write_as_before(path: &Path, version: usize, rows: &RecordBatch) {
    let name = format!("part-{version:020}-{version}.parquet");
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    std::fs::write(path.join(&name), &file).unwrap();
    let mut short = serde_json::Map::new();
    let mut nulls = serde_json::Map::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        nulls.insert(field.name().clone(), json!(column.null_count()));
    }
    let times = rows.column_by_name("event_time").unwrap().as_primitive::<TimestampMicrosecondType>();
    let seqs = rows.column_by_name("_seq").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
    let text = |micros| larder::model::Timestamp::from_micros(micros).to_string();
    let bounds =
        |time: Option<i64>, seq: Option<i64>| json!({ "event_time": text(time.unwrap()), "_seq": seq });
    short.insert("numRecords".to_owned(), json!(rows.num_rows()));
    short.insert("minValues".to_owned(), bounds(arrow::compute::min(times), arrow::compute::min(seqs)));
    short.insert("maxValues".to_owned(), bounds(arrow::compute::max(times), arrow::compute::max(seqs)));
    short.insert("nullCount".to_owned(), nulls.into());
    let next = arrow::compute::max(seqs).unwrap() + 1;
    let actions = [
        json!({ "txn": { "appId": "larder", "version": next, "lastUpdated": 0 } }),
        json!({ "add": {
            "path": name, "partitionValues": {}, "size": file.len(), "modificationTime": 0, "dataChange": true,
            "stats": serde_json::Value::from(short).to_string(),
            "tags": { "larder.crc32c": format!("{:08x}", crc32c::crc32c(&file)) },
        }}),
    ];
    let actions: String = actions.iter().map(|action| format!("{action}\n")).collect();
    let info = json!({ "commitInfo": { "timestamp": 0, "operation": "WRITE", "operationParameters": {},
        "larderCrc32c": format!("{:08x}", crc32c::crc32c(actions.as_bytes())) } });
    std::fs::write(path.join(format!("_delta_log/{version:020}.json")), format!("{info}\n{actions}"))
        .unwrap();
}
