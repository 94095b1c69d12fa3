//! What is wrong is refused with the right 4xx and a message that helps; nothing of it is stored, the node goes on.

use std::{io::Write as _, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use serde_json::{Value as Json, json};

use crate::support::{ARROW, CSV, JSON, NDJSON, PARQUET, TestNode, answer};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "string" }]

[[feature_view]]
name = "profile"
entities = ["user"]
feature = [
  { name = "n", type = "int64" },
  { name = "x", type = "float64" },
  { name = "text", type = "string" },
]
"#;

const ROWS: &str = "/v1/feature-views/profile/rows";
const T: &str = "2024-05-01T11:00:00Z";

fn node() -> TestNode {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    node
}

/// Nothing was stored, and the node still takes a good row and serves it.
fn check_untouched(node: &TestNode, what: &str) {
    let app = node.running().app();
    let table = app.doors.parts.catalog.current().table("profile").unwrap().table;
    assert_eq!(app.doors.parts.shards.committed().of(table).next_seq(), 0, "{what}: something was stored");
    assert_eq!(node.get("/readyz").0, 200, "{what}");
}

/// Sends a body that must be refused with `status`, in words that contain `says`.
fn refused(node: &TestNode, content_type: &str, body: impl Into<Vec<u8>>, status: u16, says: &str) {
    let body = body.into();
    let what = format!("{content_type} {}", String::from_utf8_lossy(&body[..body.len().min(120)]));
    let response = node.post(ROWS).header("Content-Type", content_type).body(body).send().unwrap();
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(response.headers().contains_key("x-request-id"), "{what}");
    let (got, problem) = answer(response);
    assert_eq!(got, status, "{what}: {problem:#}");
    assert!(media.starts_with("application/problem+json"), "{what}: {media}");
    assert_eq!(problem["status"], status, "{what}");
    for field in ["type", "title", "detail", "code", "request_id"] {
        assert!(problem[field].is_string(), "{what}: no {field} in {problem:#}");
    }
    let text = problem.to_string();
    assert!(text.contains(says), "{what}: `{says}` is not in {problem:#}");
    check_untouched(node, &what);
}

fn json_row(row: &Json) -> String {
    json!({ "rows": [row] }).to_string()
}

#[test]
fn malformed_json() {
    let node = node();
    refused(&node, JSON, "{\"rows\":[{\"user_id\":\"a\",", 400, "");
    refused(&node, JSON, "", 400, "");
    refused(&node, JSON, "[]", 400, "rows");
    refused(&node, JSON, "{\"row\":[]}", 400, "rows");
    refused(&node, JSON, b"{\"rows\":[{\"user_id\":\"\xff\xfe\"}]}".to_vec(), 400, "UTF-8");
    refused(&node, NDJSON, format!("{}\n{{\"user_id\"", json!({ "user_id": "a", "event_time": T })), 400, "");
    // Ten levels where none belong, and ten thousand.
    let deep = |n: usize| {
        format!(
            "{{\"rows\":[{{\"user_id\":\"a\",\"event_time\":\"{T}\",\"n\":{}1{}}}]}}",
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    refused(&node, JSON, deep(10), 422, "int64");
    refused(&node, JSON, deep(10_000), 400, "deep");
}

#[test]
fn wrong_rows() {
    let node = node();
    let good = json!({ "user_id": "a", "event_time": T });
    let with = |key: &str, value: Json| {
        let mut row = good.clone();
        row[key] = value;
        json_row(&row)
    };
    refused(&node, JSON, with("n", json!("one")), 422, "int64");
    refused(&node, JSON, with("n", json!(1.5)), 422, "int64");
    refused(&node, JSON, with("n", json!(true)), 422, "int64");
    let overflow = json_row(&good).replace("}]", ",\"n\":9223372036854775808}]");
    refused(&node, JSON, overflow, 422, "int64");
    refused(&node, JSON, with("x", json!("1.0")), 422, "float64");
    refused(&node, JSON, with("text", json!(5)), 422, "string");
    refused(&node, JSON, with("nn", json!(5)), 422, "nn");
    refused(&node, JSON, with("event_time", json!("2024-05-01T11:00:00")), 422, "zone");
    refused(&node, JSON, with("event_time", json!("yesterday")), 422, "RFC 3339");
    refused(&node, JSON, with("event_time", json!(i64::MAX)), 422, "event_time");
    refused(&node, JSON, with("event_time", Json::Null), 422, "event_time");
    refused(&node, JSON, with("user_id", Json::Null), 422, "user_id");
    refused(&node, JSON, json_row(&json!({ "event_time": T })), 422, "user_id");
    refused(&node, JSON, json_row(&json!({ "user_id": "a" })), 422, "event_time");
    refused(&node, JSON, with("user_id", json!("k".repeat(1025))), 422, "user_id");
    refused(&node, JSON, with("text", json!("k".repeat(64 * 1024 + 1))), 422, "text");
    refused(&node, JSON, json!({ "rows": ["a"] }).to_string(), 422, "");
    let duplicate = format!("{{\"rows\":[{{\"user_id\":\"a\",\"user_id\":\"b\",\"event_time\":\"{T}\"}}]}}");
    refused(&node, JSON, duplicate, 422, "user_id");
}

#[test]
fn wrong_csv() {
    let node = node();
    refused(&node, CSV, format!("user_id,event_time,nn\na,{T},1\n"), 422, "nn");
    refused(&node, CSV, format!("event_time,n\n{T},1\n"), 422, "user_id");
    refused(&node, CSV, format!("user_id,event_time,n\na,{T},one\n"), 422, "int64");
    refused(&node, CSV, format!("user_id,event_time,n\na,{T}\n"), 422, "");
    refused(&node, CSV, "user_id,event_time\na,2024-05-01 11:00:00\n", 422, "event_time");
    refused(&node, CSV, b"user_id,event_time\n\xff,2024-05-01T11:00:00Z\n".to_vec(), 400, "UTF-8");
}

fn batch(zone: Option<&str>, extra: bool) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(vec![1_714_561_200_000_000]).with_timezone_opt(zone);
    let mut fields = vec![
        Field::new("user_id", DataType::Utf8, true),
        Field::new("event_time", DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into)), true),
    ];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec!["a"])), Arc::new(times)];
    if extra {
        fields.push(Field::new("nn", DataType::Float64, true));
        arrays.push(Arc::new(Float64Array::from(vec![1.0])));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn ipc(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn wrong_columns() {
    let node = node();
    for (media, encode) in [(PARQUET, parquet as fn(&RecordBatch) -> Vec<u8>), (ARROW, ipc)] {
        let whole = encode(&batch(Some("UTC"), false));
        refused(&node, media, whole[..whole.len() / 2].to_vec(), 400, "");
        refused(&node, media, "not that at all", 400, "");
        refused(&node, media, "", 400, "");
        refused(&node, media, encode(&batch(None, false)), 422, "zone");
        refused(&node, media, encode(&batch(Some("UTC"), true)), 422, "nn");
    }
    // Any byte changed: refused or, where the byte does not matter, read; never a crash.
    for (media, encode) in [(PARQUET, parquet as fn(&RecordBatch) -> Vec<u8>), (ARROW, ipc)] {
        let whole = encode(&batch(Some("UTC"), false));
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let (status, _) = node.post_bytes(ROWS, media, damaged);
            assert!(matches!(status, 200 | 400 | 413 | 422), "{media}: {status} at byte {at}");
        }
        assert_eq!(node.get("/livez").0, 200);
    }
}

#[test]
fn compressed_bombs_and_unknown_encodings() {
    let node = node();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let send = |encoding: &str, body: Vec<u8>| {
        let request = node.post(ROWS).header("Content-Type", JSON).header("Content-Encoding", encoding);
        answer(request.body(body).send().unwrap())
    };
    let (status, problem) = send("gzip", bomb);
    assert_eq!(status, 413, "{problem:#}");
    let bomb = zstd::encode_all(vec![b' '; 64 << 20].as_slice(), 19).unwrap();
    assert_eq!(send("zstd", bomb).0, 413);
    assert_eq!(send("gzip", b"no gzip".to_vec()).0, 400);
    assert_eq!(send("br", b"{}".to_vec()).0, 415);
    check_untouched(&node, "bombs");
}

#[test]
fn limits() {
    let node = node();
    refused(&node, JSON, vec![b' '; (16 << 20) + 1], 413, "");
    let rows: Vec<Json> = (0..10_001).map(|i| json!({ "user_id": i.to_string(), "event_time": T })).collect();
    refused(&node, JSON, json!({ "rows": rows }).to_string(), 413, "10000");
    let get = |path: &str| node.request(reqwest::Method::GET, path).send().unwrap().status().as_u16();
    assert_eq!(get(&format!("/v1/features?query={}", "x".repeat(9000))), 414);
    let response =
        node.request(reqwest::Method::GET, "/livez").header("x-large", "x".repeat(20_000)).send().unwrap();
    assert_eq!(response.status(), 431);
    let entities: Vec<Json> = (0..1001).map(|i| json!({ "user_id": i.to_string() })).collect();
    let (status, problem) =
        node.post_json("/v1/online-features", &json!({ "features": ["profile"], "entities": entities }));
    assert_eq!(status, 413, "{problem:#}");
}

#[test]
fn wrong_addresses() {
    let node = node();
    let row = json_row(&json!({ "user_id": "a", "event_time": T }));
    let post = |path: &str, media: &str| node.post_bytes(path, media, row.clone());
    let (status, problem) = post("/v1/feature-views/profil/rows", JSON);
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("profile"), "{problem:#}");
    assert_eq!(post("/v1/sources/profile/events", JSON).0, 404);
    assert_eq!(post("/v1/nothing", JSON).0, 404);
    assert_eq!(post(ROWS, "application/x-unknown").0, 415);
    assert_eq!(node.get(ROWS).0, 405);
    assert_eq!(post(&format!("{ROWS}?on_error=ignore"), JSON).0, 400);
    check_untouched(&node, "addresses");
}

#[test]
fn wrong_reads() {
    let node = node();
    let read = |body: Json| node.post_json("/v1/online-features", &body);
    let entities = json!([{ "user_id": "a" }]);
    for (body, status, says) in [
        (json!({ "features": ["profile:m"], "entities": entities }), 404, "profile"),
        (json!({ "features": ["nothing"], "entities": entities }), 404, "nothing"),
        (json!({ "feature_service": "nothing", "entities": entities }), 404, "nothing"),
        (json!({ "features": ["profile"], "feature_service": "x", "entities": entities }), 400, "either"),
        (json!({ "entities": entities }), 400, "either"),
        (json!({ "features": ["profile"], "entities": [{ "id": "a" }] }), 422, "user_id"),
        (json!({ "features": ["profile"], "entities": [{ "user_id": 5 }] }), 422, "string"),
        (json!({ "features": ["profile"], "entities": ["a"] }), 422, "entities"),
        (json!({ "features": ["profile"], "entities": entities, "include": ["everything"] }), 400, "age_ms"),
        (json!({ "features": ["profile"], "entities": entities, "as_of": "2024-05-01" }), 400, "RFC 3339"),
        (json!({ "features": ["profile"], "entities": entities, "surprise": 1 }), 400, "surprise"),
    ] {
        let (got, problem) = read(body.clone());
        assert_eq!(got, status, "{body}: {problem:#}");
        assert!(problem.to_string().contains(says), "{body}: `{says}` is not in {problem:#}");
    }
    let spine = |body: &str| node.post_bytes("/v1/training-sets?features=profile", CSV, body);
    assert_eq!(spine("user_id\na\n").0, 422);
    assert_eq!(spine(&format!("event_time\n{T}\n")).0, 422);
    assert_eq!(spine("user_id,event_time\na,2024-05-01T11:00:00\n").0 / 100, 4);
    assert_eq!(spine("").0 / 100, 4);
}

#[test]
fn many_small_headers_are_refused_too() {
    let node = node();
    let mut request = node.request(reqwest::Method::GET, "/livez");
    for i in 0..900 {
        request = request.header(format!("x-{i}"), "0123456789abcdef");
    }
    assert_eq!(request.send().unwrap().status(), 431);
    assert_eq!(node.request(reqwest::Method::GET, "/livez").send().unwrap().status(), 200);
}
