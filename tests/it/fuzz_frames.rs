//! Random Arrow schemas as rows, as events and as spines, in Arrow and in Parquet, answered in every format: every answer is
//! a 2xx or a 4xx that says why, and what comes back of a spine is what was sent.
//!
//! `LARDER_FUZZ_FRAMES=20000 cargo test --test it fuzz_frames` tries that many instead of a few hundred, and
//! `LARDER_FUZZ_SEED=7` begins elsewhere. A failure names its seed: `LARDER_FUZZ_SEED=… LARDER_FUZZ_FRAMES=1` repeats it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray},
    compute::concat_batches,
    datatypes::{Field, Schema},
    ipc::writer::{FileWriter, StreamWriter},
};
use bytes::Bytes;
use larder::format::{Format, ReadOptions, TableReader, plain_batch};
use serde_json::Value as Json;

use crate::{
    random_frames::{Random, column},
    support::{ARROW, CSV, JSON, NDJSON, PARQUET, TestNode},
};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "int64" }]

[[entity]]
name = "device"
join_keys = [{ name = "device_id", type = "uuid" }]

[[feature_view]]
name = "all"
entities = ["user"]
feature = [
  { name = "c0", type = "bool" },
  { name = "c1", type = "int32" },
  { name = "c2", type = "int64" },
  { name = "c3", type = "float32" },
  { name = "c4", type = "float64" },
  { name = "c5", type = "string" },
  { name = "c6", type = "bytes" },
  { name = "c7", type = "timestamp" },
  { name = "c8", type = "json" },
  { name = "c9", type = "array<string>" },
  { name = "c10", type = "array<float32, 2>" },
]

[[feature_view]]
name = "seen"
entities = ["device"]
feature = [{ name = "n", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
schema = { user_id = "int64", c4 = "float64", c5 = "string" }
"#;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_schemas_are_answered_and_never_end_in_a_panic() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    let first = setting("LARDER_FUZZ_SEED", 1);
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    for seed in first..first + setting("LARDER_FUZZ_FRAMES", 300) {
        let random = &mut Random(seed);
        let tried = AssertUnwindSafe(|| match seed % 3 {
            0 => rows(&node, random, seed, &mut counts),
            _ => spine(&node, random, seed, &mut counts),
        });
        if std::panic::catch_unwind(tried).is_err() {
            failed.push(seed);
        }
    }
    eprintln!("{counts:?}");
    assert!(failed.is_empty(), "these seeds failed, each as said above: {failed:?}");
    // The test is of use only where many frames get as far as an answer.
    if first == 1 {
        assert!(counts.accepted * 4 > counts.sent && counts.refused > 0, "{counts:?}");
    }
}

#[derive(Debug, Default)]
struct Counts {
    sent: usize,
    accepted: usize,
    refused: usize,
}

impl Counts {
    /// Takes an answer's status; one that is no success must say what was wrong with what was sent.
    fn take(&mut self, seed: u64, status: u16, body: &[u8]) -> bool {
        self.sent += 1;
        if status == 200 {
            self.accepted += 1;
            return true;
        }
        let text = String::from_utf8_lossy(body);
        assert!((400..500).contains(&status), "seed {seed}: {status} {text}");
        // Said where a reader panicked on bytes; these are sound.
        assert!(!text.contains("gave up"), "seed {seed}: {text}");
        let problem: Json = serde_json::from_slice(body).unwrap();
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "seed {seed}: {text}");
        for notation in ["Utf8", "Float64", "Timestamp(", "Int64", "Dictionary("] {
            assert!(!text.contains(notation), "seed {seed}: `{notation}` is nobody's word: {text}");
        }
        self.refused += 1;
        false
    }
}

fn batch(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// A good key and a good time, now and then anything.
fn keyed(random: &mut Random, rows: usize) -> Vec<(String, ArrayRef)> {
    let mut keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|n| n as i64 % 3)));
    let micros = (0..rows).map(|n| 1_714_561_200_000_000 + n as i64);
    let mut times: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"));
    if random.one_in(12) {
        keys = column(random, rows, 2);
    }
    if random.one_in(12) {
        times = column(random, rows, 2);
    }
    vec![("user_id".to_owned(), keys), ("event_time".to_owned(), times)]
}

/// The batch in some parts as Arrow (a stream or a file) or Parquet, where its writer can.
fn encoded(random: &mut Random, batch: &RecordBatch) -> (&'static str, Vec<u8>) {
    let cut = random.below(batch.num_rows() + 1);
    let parts = [batch.slice(0, cut), batch.slice(cut, batch.num_rows() - cut)];
    if random.one_in(2) {
        let written = std::panic::catch_unwind(AssertUnwindSafe(|| -> Option<Vec<u8>> {
            let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).ok()?;
            for part in &parts {
                writer.write(part).ok()?;
            }
            writer.into_inner().ok()
        }));
        if let Ok(Some(bytes)) = written {
            return (PARQUET, bytes);
        }
    }
    if random.one_in(4) {
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        // Its writer refuses a second dictionary.
        writer.write(batch).unwrap();
        return (ARROW, writer.into_inner().unwrap());
    }
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    for part in &parts {
        writer.write(part).unwrap();
    }
    (ARROW, writer.into_inner().unwrap())
}

fn rows(node: &TestNode, random: &mut Random, seed: u64, counts: &mut Counts) {
    let rows = random.below(20);
    let events = random.one_in(4);
    let names: Vec<String> =
        if events { vec!["c4".into(), "c5".into()] } else { (0..11).map(|n| format!("c{n}")).collect() };
    let mut columns = keyed(random, rows);
    for name in names {
        if random.one_in(3) {
            columns.push((name, column(random, rows, 2)));
        }
    }
    if random.one_in(10) {
        columns.push(("c4".to_owned(), column(random, rows, 1)));
    }
    let (media, body) = encoded(random, &batch(columns));
    let path = if events { "/v1/sources/clicks/events" } else { "/v1/feature-views/all/rows" };
    // The good rows are stored, so that more than the types is looked at.
    let path = format!("{path}?on_error={}", random.pick(&["reject", "quarantine"]));
    let response = node.post(&path).header("Content-Type", media).body(body).send().unwrap();
    let status = response.status().as_u16();
    counts.take(seed, status, &response.bytes().unwrap());
}

fn spine(node: &TestNode, random: &mut Random, seed: u64, counts: &mut Counts) {
    let rows = random.below(20);
    let mut columns = keyed(random, rows);
    for n in 0..1 + random.below(3) {
        columns.push((format!("x{n}"), column(random, rows, 3)));
    }
    let mut features = "all:c0,all:c4,all:c9".to_owned();
    if random.one_in(5) {
        columns.push(("device_id".to_owned(), column(random, rows, 1)));
        features += ",seen:n";
    }
    if random.one_in(15) {
        columns.push(("x0".to_owned(), column(random, rows, 1)));
    }
    let sent = batch(columns);
    let (media, body) = encoded(random, &sent);
    let split = match random.one_in(6) {
        true => "&split=%7B%22hash%22:%7B%22key%22:%22x0%22,%22fractions%22:%7B%22a%22:1%7D%7D%7D",
        false => "",
    };
    for accept in [ARROW, PARQUET, CSV, NDJSON, JSON] {
        let path = format!("/v1/training-sets?features={features}{split}");
        let request = node.post(&path).header("Content-Type", media).header("Accept", accept);
        let response = request.body(body.clone()).send().unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().unwrap();
        if counts.take(seed, status, &body) {
            check_answer(seed, accept, body, &sent, media);
        }
    }
}

/// As many rows as were sent; in Arrow the spine's own columns are the same values.
fn check_answer(seed: u64, accept: &str, body: Bytes, sent: &RecordBatch, media: &str) {
    let format = Format::from_media_type(accept).unwrap();
    if format == Format::Json {
        let document: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["rows"].as_array().unwrap().len(), sent.num_rows(), "seed {seed}");
        return;
    }
    let reader = TableReader::from_bytes(format, body, &ReadOptions::default());
    let reader = reader.unwrap_or_else(|error| panic!("seed {seed}, {accept}: {error}"));
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, sent.num_rows(), "seed {seed}, {accept}");
    if format == Format::ArrowStream && media == ARROW && rows > 0 {
        let batches: Vec<_> = batches.iter().map(|batch| plain_batch(batch).unwrap()).collect();
        let back = concat_batches(&batches[0].schema(), &batches).unwrap();
        assert!(schema.fields().len() >= sent.num_columns());
        let sent = plain_batch(sent).unwrap();
        for (field, column) in sent.schema().fields().iter().zip(sent.columns()) {
            assert_eq!(back.column_by_name(field.name()).unwrap(), column, "seed {seed}: {field}");
        }
    }
}
