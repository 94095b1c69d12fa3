//! Text as files have it, over HTTP: CSV's quotes, byte-order marks, other encodings, names given twice.

use serde_json::{Value as Json, json};

use crate::support::{CSV, JSON, NDJSON, TestNode};

const DEFINITIONS: &str = r#"
[[entity]]
name = "item"
join_keys = [{ name = "k", type = "string" }]

[[feature_view]]
name = "v"
entities = ["item"]
feature = [{ name = "s", type = "string" }, { name = "n", type = "int64" }]
"#;

const T: &str = "2024-05-01T11:00:00Z";
const ROWS: &str = "/v1/feature-views/v/rows";

fn node() -> TestNode {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    node
}

fn stored(node: &TestNode, key: &str) -> Json {
    node.read(&["v:s", "v:n"], json!([{ "k": key }]))["values"][0].clone()
}

fn joined(node: &TestNode, spine: &str, accept: &str) -> String {
    let request =
        node.post("/v1/training-sets?features=v:n").header("Content-Type", CSV).header("Accept", accept);
    let response = request.body(spine.to_owned()).send().unwrap();
    let (status, text) = (response.status(), response.text().unwrap());
    assert_eq!(status, 200, "{text}");
    text
}

/// Status and the whole problem as text.
fn refused(node: &TestNode, path: &str, media: &str, body: impl Into<Vec<u8>>) -> (u16, String) {
    let (status, problem) = node.post_bytes(path, media, body);
    (status, problem.to_string())
}

#[test]
fn in_csv_nothing_is_null_and_quotes_are_the_empty_string() {
    let node = node();
    let body = format!("k,event_time,s,n\na,{T},,\nb,{T},\"\",\"\"\nc,{T},\"x\ny\",\"7\"\n\"\",{T},z,\n");
    let (status, ack) = node.post_bytes(ROWS, CSV, body);
    assert_eq!((status, ack["accepted"].as_u64()), (200, Some(4)), "{ack}");
    assert_eq!(stored(&node, "a"), json!([null, null]));
    assert_eq!(stored(&node, "b"), json!(["", null]));
    assert_eq!(stored(&node, "c"), json!(["x\ny", 7]));
    assert_eq!(stored(&node, ""), json!(["z", null]), "a key may be the empty string");
    let spine = format!("k,event_time,note\na,{T},\nb,{T},\"\"\nc,{T},\"q \"\"r\"\"\"\n");
    assert_eq!(
        joined(&node, &spine, CSV),
        format!("k,event_time,note,v__n\na,{T},,\nb,{T},\"\",\nc,{T},\"q \"\"r\"\"\",7\n")
    );
}

#[test]
fn further_columns_of_a_spine_come_back_as_they_were_written() {
    let node = node();
    let header = "k,event_time,price,flag,id,big,zero,at,plain,whole,year";
    let cells = "1.10,True,12345678901234567890,1e5,-0,2024-05-01T13:00:00+02:00,0.5,7,007";
    let answer = joined(&node, &format!("{header}\na,{T},{cells}\n"), CSV);
    assert_eq!(answer, format!("{header},v__n\na,{T},{cells},\n"));
    // What can be written again as it was has its type elsewhere; the rest is text.
    let answer: Json =
        serde_json::from_str(&joined(&node, &format!("{header}\na,{T},{cells}\n"), NDJSON)).unwrap();
    assert_eq!((&answer["plain"], &answer["whole"]), (&json!(0.5), &json!(7)));
    assert_eq!((&answer["price"], &answer["id"]), (&json!("1.10"), &json!("12345678901234567890")));
    assert_eq!((&answer["flag"], &answer["at"]), (&json!("True"), &json!("2024-05-01T13:00:00+02:00")));
}

#[test]
fn a_quote_that_is_not_closed_is_refused_with_its_line() {
    let node = node();
    let rows = format!("k,event_time,s\na,{T},\"x\nb,{T},y\n");
    let (status, text) = refused(&node, ROWS, CSV, rows.clone());
    assert!(status == 400 && text.contains("begins in line 2 is not closed"), "{status} {text}");
    assert_eq!(stored(&node, "a"), json!([null, null]), "nothing is stored");
    let (status, text) = refused(&node, "/v1/training-sets?features=v", CSV, rows);
    assert!(status == 400 && text.contains("begins in line 2 is not closed"), "{status} {text}");
    let (status, text) = refused(&node, ROWS, CSV, format!("k,event_time,s\na,{T},\"x\"y\n"));
    assert!(status == 422 && text.contains("written twice") && text.contains("line 2"), "{status} {text}");
}

#[test]
fn byte_order_marks_are_skipped_in_every_text() {
    let node = node();
    let marked = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
    for (media, body) in [
        (CSV, format!("k,event_time,n\ncsv,{T},1\n")),
        (NDJSON, json!({ "k": "ndjson", "event_time": T, "n": 1 }).to_string()),
        (JSON, json!({ "rows": [{ "k": "json", "event_time": T, "n": 1 }] }).to_string()),
    ] {
        let (status, ack) = node.post_bytes(ROWS, media, marked(&body));
        assert_eq!((status, ack["accepted"].as_u64()), (200, Some(1)), "{media}: {ack}");
        let (status, answer) = node.post_bytes("/v1/training-sets?features=v", media, marked(&body));
        assert_eq!(status, 200, "{media}: {answer}");
    }
    assert_eq!(stored(&node, "ndjson"), json!([null, 1]));
    let (status, answer) = node.post_bytes("/v1/registry/apply", "application/toml", marked(DEFINITIONS));
    assert_eq!(status, 200, "{answer}");
    let online = json!({ "features": ["v:n"], "entities": [{ "k": "csv" }] }).to_string();
    let (status, answer) = node.post_bytes("/v1/online-features", JSON, marked(&online));
    assert_eq!((status, &answer["values"]), (200, &json!([[1]])), "{answer}");
}

#[test]
fn other_encodings_are_named_with_line_and_byte() {
    let node = node();
    let latin = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let csv = format!("k,event_time,s\na,{T},café\n");
    let ndjson = format!("{{\"k\":\"a\",\"event_time\":\"{T}\"}}\n{{\"k\":\"é\",\"event_time\":\"{T}\"}}\n");
    let toml = format!("# caf\u{e9}\n{DEFINITIONS}");
    let (rows, apply) = (ROWS, "/v1/registry/apply");
    for (path, media, body, place) in [
        (rows, CSV, &csv, "line 2, byte 27"),
        (rows, NDJSON, &ndjson, "line 2, byte 7"),
        (apply, "application/toml", &toml, "line 1, byte 6"),
    ] {
        let (status, text) = refused(&node, path, media, latin(body));
        assert!(
            status == 400 && text.contains("é` in Latin-1") && text.contains("UTF-8"),
            "{media} {status} {text}"
        );
        assert!(text.contains(place), "{media}: {text}");
        let (status, text) = refused(&node, path, media, utf16(body));
        assert!(
            status == 400 && text.contains("the text is UTF-16; save it as UTF-8"),
            "{media} {status} {text}"
        );
    }
    let (status, text) = refused(&node, "/v1/training-sets?features=v", CSV, latin(&csv));
    assert!(status == 400 && text.contains("line 2, field 3: byte 0xE9"), "{status} {text}");
}

#[test]
fn names_given_twice_are_refused_everywhere() {
    let node = node();
    let row = format!("{{\"k\":\"a\",\"event_time\":\"{T}\",\"n\":1,\"n\":2}}");
    let (sets, jobs) = ("/v1/training-sets?features=v", "/v1/training-sets/jobs");
    for (path, media, body, place) in [
        (ROWS, JSON, format!("{{\"rows\":[{row}]}}"), "n"),
        (ROWS, NDJSON, row.clone(), "n"),
        (ROWS, CSV, format!("k,event_time,n,n\na,{T},1,2\n"), "n"),
        (ROWS, JSON, format!("{{\"rows\":[],\"rows\":[{row}]}}"), "rows"),
        (sets, NDJSON, row.clone(), "n"),
        (sets, JSON, format!("{{\"rows\":[{row}]}}"), "n"),
        (sets, CSV, format!("k,event_time,n,n\na,{T},1,2\n"), "n"),
        (
            jobs,
            JSON,
            format!("{{\"features\":[\"v\"],\"spine\":{{\"inline\":[{row}]}}}}"),
            "row 0, column `n`",
        ),
        ("/v1/online-features", JSON, r#"{"features":["v"],"entities":[{"k":"a","k":"b"}]}"#.to_owned(), "k"),
        (
            "/v1/online-features",
            JSON,
            r#"{"features":["v"],"entities":{"k":["a"],"k":["b"]}}"#.to_owned(),
            "k",
        ),
        (
            "/v1/online-features",
            JSON,
            r#"{"features":["v"],"entities":[],"entities":[]}"#.to_owned(),
            "entities",
        ),
        (
            "/v1/online-features",
            JSON,
            r#"{"features":["v"],"entities":[{"k":"a"}],"request":[{"x":1,"x":2}]}"#.to_owned(),
            "`[0]` has the key `x` twice",
        ),
        ("/v1/feature-views/v/delete", JSON, r#"{"entities":[{"k":"a","k":"b"}]}"#.to_owned(), "entities[0]"),
        (
            "/v1/explain",
            JSON,
            r#"{"features":["v"],"entities":[{"k":"a","k":"b"}]}"#.to_owned(),
            "the key is given twice",
        ),
        (
            "/v1/registry/apply",
            JSON,
            r#"{"entity":[{"name":"e","name":"f","join_keys":[{"name":"k","type":"string"}]}]}"#.to_owned(),
            "entity[0].name",
        ),
    ] {
        let (status, text) = refused(&node, path, media, body.clone());
        let said = text.contains("twice") || text.contains("duplicate field");
        assert!(matches!(status, 400 | 422) && said, "{path} {media} {body}: {status} {text}");
        assert!(text.contains(place), "{path} {media} {body}: {text}");
    }
    assert_eq!(stored(&node, "a"), json!([null, null]));
}

#[test]
fn what_is_not_json_is_named_with_what_would_be_right() {
    let node = node();
    let row = format!("{{\"k\":\"a\",\"event_time\":\"{T}\",\"n\":NaN}}");
    for (path, media, body, place) in [
        (ROWS, NDJSON, format!("{{\"k\":\"b\",\"event_time\":\"{T}\"}}\n{row}\n"), "line 2: `NaN` at column"),
        (ROWS, JSON, format!("{{\"rows\":[\n{row}]}}"), "`NaN` at line 2 column"),
        ("/v1/training-sets?features=v", NDJSON, row.clone(), "line 1: `NaN` at column"),
        (
            "/v1/online-features",
            JSON,
            r#"{"features":["v"],"entities":[{"k":NaN}]}"#.to_owned(),
            "`NaN` at line 1",
        ),
    ] {
        let (status, text) = refused(&node, path, media, body);
        assert_eq!(status, 400, "{path} {media}: {text}");
        assert!(text.contains(place) && text.contains("is not JSON; write null"), "{path} {media}: {text}");
    }
}
