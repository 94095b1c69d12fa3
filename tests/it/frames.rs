//! Data frames as other software writes them (tests/fixtures/frames, made by scripts/make-frames-fixtures.py): as rows, as
//! spines, from the command line.

use std::{path::PathBuf, process::Command, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int64Array, IntervalMonthDayNanoArray,
        ListArray, RecordBatch, RunArray, StringArray, StringViewArray, StructArray,
        TimestampMicrosecondArray, UnionArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields, Float64Type, Int32Type, Schema, UInt32Type, UnionFields},
    ipc::writer::StreamWriter,
};
use bytes::Bytes;
use larder::format::{Format, ReadOptions, TableReader, TableWriter, plain};
use serde_json::{Value as Json, json};

use crate::support::{ARROW, CSV, JSON, NDJSON, PARQUET, TestNode, answer};

const A: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const B: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c9";
const TIME: &str = "2024-05-01T11:00:00Z";

const DEFINITIONS: &str = r#"
[[entity]]
name = "device"
join_keys = [{ name = "device_id", type = "uuid" }]

[[feature_view]]
name = "state"
entities = ["device"]
feature = [
  { name = "seats", type = "int64" },
  { name = "price", type = "float64" },
  { name = "note", type = "string" },
  { name = "tags", type = "array<string>" },
  { name = "emb", type = "array<float32, 2>" },
  { name = "flag", type = "bool" },
  { name = "gone", type = "timestamp" },
  { name = "temp", type = "float64" },
]

[[source]]
name = "pings"
kind = "push"
schema = { device_id = "string", ms = "float64" }

[[stream_feature_view]]
name = "pinged"
entities = ["device"]
source = "pings"
aggregation = [{ name = "n", function = "count", window = "1d", mode = "exact" }]
"#;

const ROWS: &str = "/v1/feature-views/state/rows";
const FEATURES: [&str; 7] =
    ["state:seats", "state:price", "state:note", "state:tags", "state:emb", "state:flag", "state:gone"];

fn node() -> TestNode {
    let node = TestNode::with("2024-05-01T12:00:00Z", &[("offline.seal_rows", "1")]);
    node.apply(DEFINITIONS);
    node
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frames").join(name)
}

fn media(name: &str) -> &'static str {
    if name.ends_with(".parquet") { PARQUET } else { ARROW }
}

fn larder(node: &TestNode, arguments: &[&str]) -> (bool, String) {
    let server = format!("http://{}", node.running().address());
    let output = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(arguments)
        .args(["--server", &server])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Checks that both devices have what each library was given; `lists` where it writes lists.
fn check_stored(node: &TestNode, what: &str, lists: bool) {
    let answer = node.read(&FEATURES, json!([{ "device_id": A }, { "device_id": B }]));
    let (tags, emb) = if lists { (json!(["x"]), json!([0.1, 2.0])) } else { (Json::Null, Json::Null) };
    assert_eq!(answer["values"][0], json!([180, 10.5, "a", tags, emb, true, null]), "{what}");
    assert_eq!(answer["values"][1], json!([null, null, null, null, null, false, null]), "{what}");
}

#[test]
fn what_data_frames_write_is_stored_as_it_was_meant() {
    for name in [
        "pandas.parquet",
        "pandas.feather",
        "pyarrow.arrows",
        "pyarrow.arrow",
        "pyarrow.parquet",
        "pyarrow-empty-group.parquet",
        "polars.arrows",
        "polars.arrow",
        "polars.parquet",
        "duckdb.parquet",
        "fastparquet.parquet",
    ] {
        let node = node();
        let body = std::fs::read(fixture(name)).unwrap();
        let (status, answer) = node.post_bytes(ROWS, media(name), body);
        assert_eq!((status, &answer["accepted"]), (200, &json!(2)), "{name}: {answer:#}");
        check_stored(&node, name, !name.starts_with("fastparquet"));
    }
}

#[test]
fn the_command_line_reads_the_same_files() {
    for name in ["pandas.feather", "pandas-lz4.feather", "pyarrow.arrow", "polars.arrow", "duckdb.parquet"] {
        let node = node();
        let path = fixture(name).display().to_string();
        let (done, text) = larder(&node, &["ingest", &path, "--view", "state"]);
        assert!(done, "{name}: {text}");
        check_stored(&node, name, true);
        let out = node.dir().join("set.csv").display().to_string();
        let arguments = ["training-set", "--spine", &path, "--features", "pinged:n", "--out", &out];
        let (done, text) = larder(&node, &arguments);
        assert!(done, "{name}: {text}");
        let lines = std::fs::read_to_string(&out).unwrap().lines().count();
        assert_eq!(lines, 3, "{name}");
    }
    // Compressed buffers say their size themselves, so the node does not take them; it says what to do.
    let node = node();
    let body = std::fs::read(fixture("pandas-lz4.feather")).unwrap();
    let (status, problem) = node.post_bytes(ROWS, ARROW, body);
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("send them uncompressed"), "{problem:#}");
}

/// Names of the answer's columns, and its rows.
fn columns(format: Format, body: Bytes) -> (Vec<String>, usize) {
    let reader = TableReader::from_bytes(format, body, &ReadOptions::default()).unwrap();
    let names = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    (names, reader.map(|batch| batch.unwrap().num_rows()).sum())
}

const EMPTY: [&str; 9] = [
    "pandas-empty.parquet",
    "pandas-empty.feather",
    "pyarrow-empty.arrows",
    "pyarrow-empty.arrow",
    "pyarrow-empty.parquet",
    "polars-empty.arrows",
    "polars-empty.parquet",
    "duckdb-empty.parquet",
    "fastparquet-empty.parquet",
];

#[test]
fn frames_of_no_rows_are_rows_and_spines_like_any() {
    let node = node();
    let mut spines: Vec<(&str, &str, Vec<u8>)> =
        EMPTY.map(|name| (name, media(name), std::fs::read(fixture(name)).unwrap())).to_vec();
    spines.push(("csv", CSV, b"device_id,event_time\n".to_vec()));
    spines.push(("json", JSON, b"{\"rows\":[]}".to_vec()));
    spines.push(("ndjson", NDJSON, Vec::new()));
    for (name, media, body) in &spines {
        let (status, answer) = node.post_bytes(ROWS, media, body.clone());
        assert_eq!((status, &answer["accepted"]), (200, &json!(0)), "{name}: {answer:#}");
        for accept in [ARROW, PARQUET, CSV, NDJSON, JSON] {
            let request = node.post("/v1/training-sets?features=state:temp,pinged:n");
            let request = request.header("Content-Type", *media).header("Accept", accept).body(body.clone());
            let response = request.send().unwrap();
            let status = response.status();
            let body = response.bytes().unwrap();
            let what = format!("{name} as {accept}: {}", String::from_utf8_lossy(&body));
            assert_eq!(status, 200, "{what}");
            match accept {
                JSON => assert_eq!(&body[..], b"{\"rows\":[]}\n", "{what}"),
                NDJSON => assert!(body.is_empty(), "{what}"),
                _ => {
                    let (names, rows) = columns(Format::from_media_type(accept).unwrap(), body);
                    assert_eq!(rows, 0, "{what}");
                    for column in ["device_id", "event_time", "state__temp", "pinged__n"] {
                        assert!(names.iter().any(|name| name == column), "{what}: {names:?}");
                    }
                }
            }
        }
    }
    for name in ["pandas-empty.parquet", "fastparquet-empty.parquet", "pyarrow-empty.arrow"] {
        let (path, out) = (fixture(name).display().to_string(), node.dir().join("none.csv"));
        let out_name = out.display().to_string();
        let arguments = ["training-set", "--spine", &path, "--features", "pinged:n", "--out", &out_name];
        let (done, text) = larder(&node, &arguments);
        assert!(done, "{name}: {text}");
        let text = std::fs::read_to_string(&out).unwrap();
        assert!(
            text.lines().count() == 1 && text.contains("device_id") && text.contains("pinged__n"),
            "{text}"
        );
        let (done, text) = larder(&node, &["ingest", &path, "--view", "state"]);
        assert!(done, "{name}: {text}");
    }
}

fn spellings() -> [String; 5] {
    let bare = A.replace('-', "");
    [
        A.to_uppercase(),
        bare.clone(),
        format!("{{{A}}}"),
        format!("urn:uuid:{A}"),
        format!("URN:UUID:{}", A.to_uppercase()),
    ]
}

#[test]
fn a_uuid_is_one_entity_in_every_spelling() {
    let node = node();
    // Written in all spellings, read in all: each write is seen by every read, online and in a spine.
    for (n, written) in spellings().into_iter().enumerate() {
        let time = format!("2024-05-01T11:00:0{n}Z");
        node.write("state", json!([{ "device_id": written, "event_time": time, "seats": n }]));
        let event = json!({ "rows": [{ "device_id": written, "event_time": time, "ms": 1.0 }] });
        assert_eq!(node.post_json("/v1/sources/pings/events", &event).0, 200);
        for read in spellings() {
            let answer = node.read(&["state:seats", "pinged:n"], json!([{ "device_id": read }]));
            assert_eq!(answer["values"][0], json!([n, n + 1]), "{written} read as {read}");
        }
    }
    node.wait_until_sealed("state");
    node.wait_until_sealed("pings");
    let spine: Vec<Json> =
        spellings().map(|id| json!({ "device_id": id, "event_time": "2024-05-01T11:30:00Z" })).to_vec();
    let request = node.post("/v1/training-sets?features=state:seats,pinged:n").header("Accept", JSON);
    let (status, set) = answer(request.json(&json!({ "rows": spine })).send().unwrap());
    assert_eq!(status, 200, "{set:#}");
    for (row, spelling) in set["rows"].as_array().unwrap().iter().zip(spellings()) {
        // The spine's own column stays as it was written.
        assert_eq!(row["device_id"], spelling);
        assert_eq!((&row["state__seats"], &row["pinged__n"]), (&json!(4), &json!(5)));
    }
    let (status, explained) = node.post_json(
        "/v1/explain",
        &json!({ "features": ["state:seats"], "entities": [{ "device_id": spellings()[0] }], "as_of": "2024-05-01T11:30:00Z" }),
    );
    assert!(status == 200 && explained.to_string().contains("PRESENT"), "{explained:#}");
    let entity = format!("device_id={}", spellings()[1]);
    let (done, text) = larder(&node, &["get", "--features", "state:seats", "--entity", &entity]);
    assert!(done && text.contains("PRESENT"), "{text}");

    let gone = json!({ "entities": [{ "device_id": spellings()[2] }] });
    assert_eq!(node.post_json("/v1/feature-views/state/delete", &gone).0, 200);
    assert_eq!(node.read(&["state:seats"], json!([{ "device_id": A }]))["status"][0][0], "NOT_FOUND");
}

#[test]
fn what_is_no_uuid_is_refused_wherever_it_comes_in() {
    let node = node();
    let says = |what: &str, (status, problem): (u16, Json)| {
        assert_eq!(status, 422, "{what}: {problem:#}");
        let error = &problem["errors"][0];
        assert_eq!((&error["row"], &error["field"]), (&json!(0), &json!("device_id")), "{what}: {problem:#}");
        assert!(error["reason"].as_str().unwrap().contains("UUID"), "{what}: {problem:#}");
    };
    let row = json!({ "device_id": "banana", "event_time": TIME });
    let rows = json!({ "rows": [row] });
    let csv = format!("device_id,event_time\nbanana,{TIME}\n");
    says("JSON", node.post_json(ROWS, &rows));
    says("CSV", node.post_bytes(ROWS, CSV, csv.clone()));
    says("spine", node.post_json("/v1/training-sets?features=state:seats", &rows));
    says("CSV spine", node.post_bytes("/v1/training-sets?features=state:seats", CSV, csv));
    let entities = json!([{ "device_id": "banana" }]);
    says(
        "read",
        node.post_json("/v1/online-features", &json!({ "features": ["state:seats"], "entities": entities })),
    );
    says("delete", node.post_json("/v1/feature-views/state/delete", &json!({ "entities": entities })));
}

/// A join key that was a string becomes a UUID, as those were before UUIDs had a type of their own: what is stored in
/// canonical spelling stays.
#[test]
fn string_keys_become_uuids_in_place() {
    let mut node = TestNode::with("2024-05-01T12:00:00Z", &[("offline.seal_rows", "1")]);
    node.apply(&DEFINITIONS.replace("\"uuid\"", "\"string\""));
    node.write("state", json!([{ "device_id": A, "event_time": TIME, "seats": 1 }]));
    let event = json!({ "rows": [{ "device_id": A.to_uppercase(), "event_time": TIME, "ms": 1.0 }] });
    assert_eq!(node.post_json("/v1/sources/pings/events", &event).0, 200);
    node.wait_until_sealed("pings");
    let applied = node.apply(DEFINITIONS);
    assert!(applied.to_string().contains("string → uuid"), "{applied:#}");
    node.restart();
    for _ in 0..500 {
        let answer = node.read(&["state:seats", "pinged:n"], json!([{ "device_id": A.to_uppercase() }]));
        // The aggregates are counted anew, of events in any spelling.
        if answer["values"][0] == json!([1, 1]) {
            let (status, refused) = node.post_bytes(
                "/v1/registry/apply",
                "application/toml",
                DEFINITIONS.replace("\"uuid\"", "\"string\""),
            );
            assert_eq!(status, 409, "{refused:#}");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{:#}", node.read(&["state:seats", "pinged:n"], json!([{ "device_id": A }])));
}

#[test]
fn there_is_one_nan() {
    let node = node();
    let body = std::fs::read(fixture("pyarrow.arrows")).unwrap();
    let (_, batches) = {
        let reader =
            TableReader::from_bytes(Format::ArrowStream, body.clone().into(), &ReadOptions::default())
                .unwrap();
        (reader.schema().clone(), reader.map(Result::unwrap).collect::<Vec<_>>())
    };
    let sent = batches[0].column_by_name("temp").unwrap().as_primitive::<Float64Type>().value(0);
    assert_eq!(sent.to_bits(), 0xFFF8_0000_0000_0000, "the NaN of x86's 0/0, whose sign is set");
    assert_eq!(node.post_bytes(ROWS, ARROW, body).0, 200);
    let csv = format!("device_id,event_time,temp\n{A},2024-05-01T10:00:00Z,nan\n");
    assert_eq!(node.post_bytes(ROWS, CSV, csv).0, 200);
    node.wait_until_sealed("state");
    #[cfg(feature = "sql")]
    {
        let query = "SELECT count(*) AS n, count(DISTINCT temp) AS d FROM state WHERE temp > 100";
        let (status, answer) = node.post_json("/v1/sql", &json!({ "query": query }));
        assert_eq!((status, &answer["rows"][0]), (200, &json!({ "n": 3, "d": 1 })), "{answer:#}");
    }
}

/// A spine of one device with this further column.
fn spine_with(column: ArrayRef) -> RecordBatch {
    let rows = column.len();
    RecordBatch::try_from_iter_with_nullable([
        ("device_id", Arc::new(StringArray::from(vec![A; rows])) as ArrayRef, true),
        ("event_time", Arc::new(TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC")), true),
        ("extra", column, true),
    ])
    .unwrap()
}

fn stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn encoded_columns_of_a_spine_come_back_in_every_format() {
    let node = node();
    let words = Arc::new(StringViewArray::from(vec!["red", "a colour that is too long to be inlined"]));
    let keys = arrow::array::PrimitiveArray::<UInt32Type>::from(vec![Some(1), None, Some(0)]);
    let categories: ArrayRef = Arc::new(DictionaryArray::new(keys, words));
    let item = Arc::new(Field::new("item", categories.data_type().clone(), true));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), categories.clone(), None);
    let runs = RunArray::<Int32Type>::try_new(
        &arrow::array::Int32Array::from(vec![2, 3]),
        &Int64Array::from(vec![7, 8]),
    );
    let expected: [(ArrayRef, Json); 3] = [
        (categories, json!(["a colour that is too long to be inlined", null, "red"])),
        (Arc::new(lists), json!([["a colour that is too long to be inlined", null], [], ["red"]])),
        (Arc::new(runs.unwrap()), json!([7, 7, 8])),
    ];
    for (column, values) in expected {
        let sent = spine_with(column);
        for accept in [ARROW, PARQUET, CSV, NDJSON, JSON] {
            let request = node.post("/v1/training-sets?features=pinged:n").header("Accept", accept);
            let response = request.header("Content-Type", ARROW).body(stream(&sent)).send().unwrap();
            assert_eq!(response.status(), 200, "{accept} {}", sent.column(2).data_type());
            let body = response.bytes().unwrap();
            if accept == JSON {
                let answer: Json = serde_json::from_slice(&body).unwrap();
                let extra: Vec<&Json> =
                    answer["rows"].as_array().unwrap().iter().map(|row| &row["extra"]).collect();
                assert_eq!(json!(extra), values);
            }
            if accept == ARROW || accept == PARQUET {
                let format = Format::from_media_type(accept).unwrap();
                let mut reader = TableReader::from_bytes(format, body, &ReadOptions::default()).unwrap();
                let batch = reader.next().unwrap().unwrap();
                assert_eq!(
                    &plain(batch.column_by_name("extra").unwrap()).unwrap(),
                    &plain(sent.column(2)).unwrap(),
                    "{accept}"
                );
            }
        }
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused_by_name() {
    let node = node();
    let none = StructArray::new_empty_fields(1, None);
    let fields: UnionFields =
        [(0_i8, Arc::new(Field::new("n", DataType::Int64, true)))].into_iter().collect();
    let union = UnionArray::try_new(
        fields,
        vec![0_i8].into(),
        None,
        vec![Arc::new(Int64Array::from(vec![5])) as ArrayRef],
    );
    let interval =
        IntervalMonthDayNanoArray::from(vec![arrow::datatypes::IntervalMonthDayNano::new(1, 2, 3)]);
    let cases: [(ArrayRef, &[&str], &str); 3] = [
        (Arc::new(none), &[PARQUET], "its type is struct without members"),
        (Arc::new(union.unwrap()), &[ARROW, PARQUET, CSV, JSON, NDJSON], "its type is union"),
        (Arc::new(interval), &[PARQUET], "its type is interval"),
    ];
    for (column, refusing, says) in cases {
        let spine = spine_with(column);
        for accept in [ARROW, PARQUET, CSV, NDJSON, JSON] {
            let request = node.post("/v1/training-sets?features=pinged:n").header("Accept", accept);
            let request = request.header("Content-Type", ARROW).body(stream(&spine));
            let (status, problem) = answer(request.send().unwrap());
            if refusing.contains(&accept) {
                assert_eq!(
                    (status, &problem["errors"][0]["field"]),
                    (422, &json!("extra")),
                    "{accept}: {problem:#}"
                );
                assert!(problem["errors"][0]["reason"].as_str().unwrap().contains(says), "{problem:#}");
            } else {
                assert_eq!(status, 200, "{accept} {says}: {problem:#}");
            }
        }
    }
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let node = node();
    let column = |n: f64| Arc::new(Float64Array::from(vec![n])) as ArrayRef;
    let spine = spine_with(column(1.0));
    let mut fields: Vec<Field> = spine.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new("extra", DataType::Float64, true));
    let columns = [spine.columns(), &[column(2.0)]].concat();
    let twice = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut parquet = TableWriter::new(Format::Parquet, Vec::new(), twice.schema()).unwrap();
    parquet.write(&twice).unwrap();
    for (media, body) in [(ARROW, stream(&twice)), (PARQUET, parquet.finish().unwrap())] {
        for path in ["/v1/training-sets?features=pinged:n", "/v1/training-sets/jobs?features=pinged:n&name=x"]
        {
            let (status, problem) = node.post_bytes(path, media, body.clone());
            assert_eq!(
                (status, &problem["errors"][0]["field"]),
                (422, &json!("extra")),
                "{path} {problem:#}"
            );
            assert!(problem.to_string().contains("two columns of this name"), "{problem:#}");
        }
        // As rows: neither of the two names is known, or the known one is given twice.
        let (status, _) = node.post_bytes(ROWS, media, body);
        assert_eq!(status, 422);
    }
    let rows = RecordBatch::try_new(
        Arc::new(Schema::new(Fields::from(vec![
            Field::new("device_id", DataType::Utf8, true),
            Field::new("event_time", twice.schema().field(1).data_type().clone(), true),
            Field::new("temp", DataType::Float64, true),
            Field::new("temp", DataType::Float64, true),
        ]))),
        twice.columns().to_vec(),
    );
    let (status, problem) = node.post_bytes(ROWS, ARROW, stream(&rows.unwrap()));
    assert!(status == 422 && problem.to_string().contains("given twice"), "{problem:#}");
}

#[test]
fn keys_and_values_of_other_types_are_named_with_their_row() {
    let node = node();
    let spine = spine_with(Arc::new(Int64Array::from(vec![1])));
    let wrong = RecordBatch::try_from_iter_with_nullable([
        ("device_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef, true),
        ("event_time", spine.column(1).clone(), true),
    ])
    .unwrap();
    for path in ["/v1/training-sets?features=state:temp", ROWS] {
        let (status, problem) = node.post_bytes(path, ARROW, stream(&wrong));
        assert_eq!(status, 422, "{problem:#}");
        assert_eq!(problem["errors"][0]["row"], 0, "{problem:#}");
        let reason = problem["errors"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("expected uuid, got 64-bit integer: 7"), "{reason}");
    }
}
