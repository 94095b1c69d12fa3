//! The same rows in every format and encoding give the same stores.

use std::{io::Write as _, sync::Arc};

use arrow::{
    array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use serde_json::{Value as Json, json};

use crate::support::{ARROW, CSV, JSON, NDJSON, PARQUET, TestNode, answer};

const DEFINITIONS: &str = r#"
[[entity]]
name = "item"
join_keys = [{ name = "shop", type = "string" }, { name = "sku", type = "int64" }]

[[feature_view]]
name = "stock"
entities = ["item"]
time_unit = "us"
feature = [{ name = "price", type = "float64" }, { name = "label", type = "string" }]
"#;

fn batch() -> RecordBatch {
    let micros = 1_714_561_200_000_000; // 2024-05-01T11:00:00Z
    let schema = Schema::new(vec![
        Field::new("sku", DataType::Int64, false),
        Field::new("shop", DataType::Utf8, false),
        Field::new("event_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("price", DataType::Float64, true),
        Field::new("label", DataType::Utf8, true),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int64Array::from(vec![1, 2, i64::MAX])),
            Arc::new(StringArray::from(vec!["a", "a", "b"])),
            Arc::new(TimestampMicrosecondArray::from(vec![micros; 3]).with_timezone("UTC")),
            Arc::new(Float64Array::from(vec![Some(0.1), None, Some(-2e300)])),
            Arc::new(StringArray::from(vec![Some("x, \"y\""), Some("é"), None])),
        ],
    )
    .unwrap()
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let batch = batch();
    let mut arrow_bytes = Vec::new();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut arrow_bytes, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let mut parquet_bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut parquet_bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let t = "2024-05-01T11:00:00Z";
    let rows = [
        json!({ "sku": 1, "shop": "a", "event_time": t, "price": 0.1, "label": "x, \"y\"" }),
        json!({ "shop": "a", "sku": 2, "event_time": 1_714_561_200_000_000_i64, "price": null, "label": "é" }),
        json!({ "sku": i64::MAX, "shop": "b", "event_time": "2024-05-01T13:00:00+02:00", "price": -2e300 }),
    ];
    let ndjson: String = rows.iter().map(|r| format!("{r}\n")).collect();
    let csv = format!(
        "shop,sku,event_time,price,label\na,1,{t},0.1,\"x, \"\"y\"\"\"\na,2,{t},,é\nb,{},{t},-2e300,\n",
        i64::MAX
    );
    vec![
        (JSON, json!({ "rows": rows }).to_string().into_bytes()),
        (NDJSON, ndjson.into_bytes()),
        (CSV, csv.into_bytes()),
        (ARROW, arrow_bytes),
        (PARQUET, parquet_bytes),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_format_and_encoding_is_read() {
    for (content_type, body) in bodies() {
        for encoding in ["", "gzip", "zstd"] {
            let node = TestNode::at("2024-05-01T12:00:00Z");
            node.apply(DEFINITIONS);
            let sent = match encoding {
                "gzip" => gzip(&body),
                "zstd" => zstd::encode_all(body.as_slice(), 3).unwrap(),
                _ => body.clone(),
            };
            let mut request =
                node.post("/v1/feature-views/stock/rows").header("Content-Type", content_type).body(sent);
            if !encoding.is_empty() {
                request = request.header("Content-Encoding", encoding);
            }
            let (status, ack) = answer(request.send().unwrap());
            assert_eq!(
                (status, ack["accepted"].as_u64()),
                (200, Some(3)),
                "{content_type} {encoding}: {ack:#}"
            );
            let entities = json!([{ "shop": "a", "sku": 1 }, { "shop": "a", "sku": 2 }, { "shop": "b", "sku": i64::MAX }]);
            let read = node.read(&["stock:price", "stock:label"], entities);
            assert_eq!(
                read["values"],
                json!([[0.1, "x, \"y\""], [null, "é"], [-2e300, null]]),
                "{content_type} {encoding}"
            );
        }
    }
}

#[test]
fn training_sets_speak_every_format_both_ways() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    let (status, _) = node.post_bytes("/v1/feature-views/stock/rows", JSON, bodies()[0].1.clone());
    assert_eq!(status, 200);
    // The rows themselves make a spine, but for the columns that the answer brings.
    let spine = batch().project(&[0, 1, 2]).unwrap();
    let mut parquet_spine = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut parquet_spine, spine.schema(), None).unwrap();
    writer.write(&spine).unwrap();
    writer.close().unwrap();
    let t = "2024-05-01T11:00:00Z";
    let csv_spine = format!("sku,shop,event_time\n1,a,{t}\n2,a,{t}\n{},b,{t}\n", i64::MAX);
    let mut answers = Vec::new();
    for (content_type, body) in [(PARQUET, parquet_spine), (CSV, csv_spine.into_bytes())] {
        for accept in [NDJSON, CSV, ARROW, PARQUET, JSON] {
            let response = node
                .post("/v1/training-sets?features=stock")
                .header("Content-Type", content_type)
                .header("Accept", accept)
                .body(body.clone())
                .send()
                .unwrap();
            assert_eq!(response.status(), 200, "{content_type} → {accept}");
            assert!(response.headers()["content-type"].to_str().unwrap().starts_with(accept));
            let bytes = response.bytes().unwrap();
            if accept == NDJSON {
                let rows: Vec<Json> = std::str::from_utf8(&bytes)
                    .unwrap()
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect();
                assert_eq!(rows.len(), 3);
                assert_eq!(rows[0]["stock__price"], 0.1);
                assert_eq!(rows[2]["sku"], i64::MAX);
                answers.push(rows);
            }
        }
    }
    assert_eq!(answers[0], answers[1]);
}
