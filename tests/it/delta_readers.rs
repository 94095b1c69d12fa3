//! The offline tables are Delta tables: other software reads the same rows. Needs a Python with `deltalake` and
//! `polars`, named by LARDER_TEST_PYTHON; skipped where there is none (CI has one).

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use arrow::array::{BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use larder::{
    model::{Column, DataType, TableId, TableSchema},
    offline::{OfflineOptions, OfflineStore},
};
use serde_json::{Value as Json, json};

use crate::support::{PARQUET, TestNode, flights_data};

const SCRIPT: &str = r#"
import json, sys
import deltalake, polars as pl
path = sys.argv[1]
by_deltalake = pl.DataFrame(deltalake.QueryBuilder().register("t", deltalake.DeltaTable(path)).execute("select * from t").read_all())
by_polars = pl.read_delta(path)
order = ["_seq"]
columns = sorted(by_polars.columns)
a, b = by_deltalake.select(columns).sort(order), by_polars.select(columns).sort(order)
assert a.equals(b), "deltalake and polars disagree"
for row in b.iter_rows(named=True):
    print(json.dumps(row, default=lambda v: int(v.timestamp()) * 1_000_000 + v.microsecond))
"#;

fn read_with_python(path: &Path) -> Option<Vec<Json>> {
    let Ok(python) = std::env::var("LARDER_TEST_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "LARDER_TEST_PYTHON is not set");
        eprintln!("skipped: LARDER_TEST_PYTHON is not set");
        return None;
    };
    let output = Command::new(python).args(["-c", SCRIPT]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
feature = [{ name = "score", type = "float32" }, { name = "tags", type = "array<string>" }]
"#;

/// Small segments, deletes, a new column, a wider type, compaction: the table stays one that others can read.
#[test]
fn a_table_with_a_history_reads_the_same_elsewhere() {
    let mut node = TestNode::with(
        "2024-05-01T12:00:00Z",
        &[("offline.seal_rows", "1"), ("offline.compact_segments", "4")],
    );
    node.apply(DEFINITIONS);
    for i in 0..6 {
        node.write(
            "profile",
            json!([{ "user_id": i, "event_time": "2024-05-01T11:00:00Z", "score": 0.5, "tags": ["a", null] }]),
        );
        node.wait_until_sealed("profile");
    }
    node.post_json("/v1/feature-views/profile/delete", &json!({ "entities": [{ "user_id": 0 }] }));
    node.apply(
        &DEFINITIONS.replace("\"float32\" }", "\"float64\" }, { name = \"city\", type = \"string\" }"),
    );
    node.write(
        "profile",
        json!([{ "user_id": 9, "event_time": "2024-05-01T11:00:00Z", "score": 0.1, "city": "Bern" }]),
    );
    node.wait_until_sealed("profile");
    node.restart();
    let Some(rows) = read_with_python(&node.dir().join("offline/profile")) else { return };
    assert_eq!(rows.len(), 8);
    let time = 1_714_561_200_000_000_i64;
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row["_seq"], i);
        let (user, score, tags, city, deleted) = match i {
            6 => (0, Json::Null, Json::Null, Json::Null, true),
            7 => (9, json!(0.1), Json::Null, json!("Bern"), false),
            i => (i, json!(0.5), json!(["a", null]), Json::Null, false),
        };
        assert_eq!(row["user_id"], user, "{row}");
        assert_eq!((&row["score"], &row["tags"], &row["city"]), (&score, &tags, &city), "{row}");
        assert_eq!(row["_deleted"], deleted, "{row}");
        let accepted = 1_714_564_800_000_000_i64;
        assert_eq!(row["_accepted_at"], accepted, "{row}");
        assert_eq!(row["event_time"], if deleted { accepted } else { time }, "{row}");
    }
}

#[test]
fn the_weather_reads_the_same_elsewhere() {
    let node = TestNode::with("2014-01-01T00:00:00Z", &[("offline.seal_rows", "1")]);
    node.apply_flights();
    let (status, _) =
        node.post_bytes("/v1/feature-views/airport_weather/rows", PARQUET, flights_data("weather.parquet"));
    assert_eq!(status, 200);
    node.wait_until_sealed("airport_weather");
    let Some(rows) = read_with_python(&node.dir().join("offline/airport_weather")) else { return };
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(
        flights_data("weather.parquet"),
    ))
    .unwrap()
    .build()
    .unwrap();
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    for batch in reader {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let sent: Vec<Json> =
        std::str::from_utf8(&text).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((rows.len(), sent.len()), (26_115, 26_115));
    for (row, sent) in rows.iter().zip(&sent) {
        for column in [
            "origin",
            "temp",
            "dewp",
            "humid",
            "wind_dir",
            "wind_speed",
            "wind_gust",
            "precip",
            "pressure",
            "visib",
        ] {
            assert_eq!(row[column], *sent.get(column).unwrap_or(&Json::Null), "{column} of {row}");
        }
    }
}

/// Others read a table of which the first commits are gone: from its checkpoint on.
#[test]
fn a_log_that_was_cleaned_up_reads_the_same_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let column = |name: &str, data_type| Column { name: name.to_owned(), data_type };
    let keys = vec![column("user_id", DataType::Int64)];
    let schema =
        TableSchema::feature_view(TableId(1), "view", 1, keys, vec![column("score", DataType::Float64)]);
    let options = OfflineOptions { checkpoint_commits: 4, ..OfflineOptions::default() };
    let table = OfflineStore::open(dir.path(), options).unwrap().table(&schema).unwrap();
    for seq in 0..10 {
        let time = || Arc::new(TimestampMicrosecondArray::from(vec![1_000_000 + seq]).with_timezone("UTC"));
        let row = RecordBatch::try_new(
            Arc::clone(schema.offline()),
            vec![
                Arc::new(Int64Array::from(vec![seq % 3])),
                time(),
                Arc::new(Float64Array::from(vec![seq as f64 / 2.0])),
                Arc::new(Int64Array::from(vec![seq])),
                time(),
                Arc::new(BooleanArray::from(vec![false])),
            ],
        );
        table.append(&schema, vec![row.unwrap()], seq as u64 + 1).unwrap();
    }
    assert_eq!(table.forget_commits(Duration::ZERO).unwrap(), 4);
    let Some(rows) = read_with_python(&dir.path().join("view")) else { return };
    assert_eq!(rows.len(), 10);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!((&row["_seq"], &row["user_id"]), (&json!(i), &json!(i % 3)), "{row}");
        assert_eq!(row["score"], json!(i as f64 / 2.0), "{row}");
    }
}
