//! Times on their way in: what says itself what it means is read, what is declared is read as declared, nothing is guessed.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
        TimestampNanosecondArray,
    },
    ipc::writer::StreamWriter,
};
use serde_json::{Value as Json, json};

use crate::support::{ARROW, CSV, JSON, NDJSON, PARQUET, TestNode, answer};

const NOW: &str = "2024-06-01T00:00:00Z";
const NOON: &str = "2024-05-01T12:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "k"
join_keys = [{ name = "k", type = "string" }]

[[feature_view]]
name = "plain"
entities = ["k"]
feature = [{ name = "x", type = "float64" }, { name = "t", type = "timestamp" }]

[[feature_view]]
name = "declared"
entities = ["k"]
time_unit = "ms"
time_zone = "Europe/Berlin"
feature = [{ name = "x", type = "float64" }, { name = "t", type = "timestamp" }]

[[source]]
name = "events"
kind = "push"
time_unit = "s"
schema = { k = "string", n = "int64" }

[[on_demand_feature_view]]
name = "asked"
request = { at = "timestamp" }
feature = [{ name = "year", type = "int64", expression = "CAST(extract(year from at) AS bigint)" }]
"#;

fn node() -> TestNode {
    let node = TestNode::at(NOW);
    node.apply(DEFINITIONS);
    node
}

/// Of the newest version of `k` in `view`.
fn event_time(node: &TestNode, view: &str, k: &str) -> Json {
    let body =
        json!({ "features": [format!("{view}:x")], "entities": [{ "k": k }], "include": ["event_time"] });
    node.post_json("/v1/online-features", &body).1["event_time"][0][0].clone()
}

fn rows(node: &TestNode, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> (u16, String) {
    let (status, answer) = node.post_bytes(path, content_type, body);
    (status, answer.to_string())
}

fn stream(times: ArrayRef) -> Vec<u8> {
    let rows = times.len();
    let batch = RecordBatch::try_from_iter([
        ("k", Arc::new(StringArray::from(vec!["arrow"; rows])) as ArrayRef),
        ("x", Arc::new(Float64Array::from(vec![1.0; rows]))),
        ("event_time", times),
    ])
    .unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn numbers_without_a_unit_are_refused_in_every_format() {
    let node = node();
    let path = "/v1/feature-views/plain/rows";
    let bodies = [
        (NDJSON, br#"{"k":"a","x":1,"event_time":1714564800000}"#.to_vec()),
        (JSON, br#"{"rows":[{"k":"a","x":1,"event_time":1714564800000}]}"#.to_vec()),
        (JSON, br#"{"rows":[{"k":"a","x":1,"event_time":"1714564800000"}]}"#.to_vec()),
        (CSV, b"k,x,event_time\na,1,1714564800000\n".to_vec()),
        (ARROW, stream(Arc::new(Int64Array::from(vec![1_714_564_800_000])))),
        (ARROW, stream(Arc::new(Float64Array::from(vec![1_714_564_800_000.0])))),
    ];
    for (content_type, body) in bodies {
        let (status, said) = rows(&node, path, content_type, body);
        assert_eq!(status, 422, "{content_type}: {said}");
        for part in
            ["2024-05-01T12:00:00Z in ms", "1970-01-20T20:16:04.800Z in us", "time_unit", "event_time"]
        {
            assert!(said.contains(part), "{content_type}: no {part} in {said}");
        }
        assert!(said.contains("\"row\":0"), "{content_type}: {said}");
    }
    let (_, said) = rows(&node, path, JSON, r#"{"rows":[{"k":"a","event_time":"20240501"}]}"#);
    assert!(said.contains("if it is a date, write 2024-05-01T00:00:00Z"), "{said}");
    let (status, said) =
        rows(&node, path, JSON, format!(r#"{{"rows":[{{"k":"a","event_time":"{NOON}","t":1714564800}}]}}"#));
    assert!(status == 422 && said.contains("\"field\":\"t\""), "{said}");
    assert_eq!(event_time(&node, "plain", "a"), Json::Null, "nothing was stored");
}

#[test]
fn what_is_declared_is_read_as_declared() {
    let node = node();
    let declared = "/v1/feature-views/declared/rows";
    for (k, time) in [
        ("a", "1714564800000"),
        ("b", "\"2024-05-01 14:00:00\""),
        ("c", "\"2024-05-01T12:00:00Z\""),
        ("d", "1714564800000.0"),
    ] {
        let (status, said) =
            rows(&node, declared, NDJSON, format!(r#"{{"k":"{k}","x":1,"t":{time},"event_time":{time}}}"#));
        assert_eq!(status, 200, "{said}");
        assert_eq!(event_time(&node, "declared", k), NOON, "{time}");
        let read = node.read(&["declared:t"], json!([{ "k": k }]));
        assert_eq!(read["values"][0][0], NOON, "{time}");
    }
    // A request says it for a view that does not, and over one that does.
    let (status, _) =
        rows(&node, "/v1/feature-views/plain/rows?time_unit=s", CSV, "k,x,event_time\na,1,1714564800\n");
    assert_eq!((status, event_time(&node, "plain", "a")), (200, json!(NOON)));
    let (status, _) =
        rows(&node, &format!("{declared}?time_unit=s"), CSV, "k,x,event_time\ne,1,1714564800\n");
    assert_eq!((status, event_time(&node, "declared", "e")), (200, json!(NOON)));
    let (status, said) =
        rows(&node, "/v1/sources/events/events", NDJSON, r#"{"k":"a","n":1,"event_time":1714564800}"#);
    assert_eq!(status, 200, "{said}");
    let (status, said) = node.post_json(
        "/v1/feature-views/declared/delete",
        &json!({ "entities": [{ "k": "a" }], "event_time": "2024-05-01 15:00:00" }),
    );
    assert_eq!(status, 200, "{said}");
    assert_eq!(node.read(&["declared:x"], json!([{ "k": "a" }]))["values"], json!([[null]]));
    for (query, part) in [("time_unit=weeks", "ms"), ("time_zone=Mars", "IANA")] {
        let (status, said) = rows(&node, &format!("{declared}?{query}"), NDJSON, "{}");
        assert!(status == 422 && said.contains(part), "{said}");
    }
}

#[test]
fn columns_of_data_frames_follow_the_declaration() {
    let node = node();
    let micros = 1_714_564_800_000_000_i64;
    let naive = stream(Arc::new(TimestampMicrosecondArray::from(vec![micros])));
    let date = stream(Arc::new(Date32Array::from(vec![19_844])));
    for body in [&naive, &date] {
        let (status, said) = rows(&node, "/v1/feature-views/plain/rows", ARROW, body.clone());
        assert!(status == 422 && said.contains("time_zone") && said.contains("2024-05-01"), "{said}");
    }
    let zoned = |zone: &str, body: &[u8]| {
        let path = format!("/v1/feature-views/plain/rows?time_zone={zone}");
        assert_eq!(rows(&node, &path, ARROW, body).0, 200);
        event_time(&node, "plain", "arrow")
    };
    assert_eq!(zoned("Europe%2FBerlin", &date), "2024-04-30T22:00:00Z", "a date is its zone's midnight");
    assert_eq!(zoned("UTC", &date), "2024-05-01T00:00:00Z");
    assert_eq!(zoned("UTC", &naive), NOON);
    let int96 = include_bytes!("../fixtures/frames/int96.parquet");
    let (status, said) = rows(&node, "/v1/feature-views/plain/rows", PARQUET, int96.to_vec());
    assert_eq!(status, 200, "{said}");
    assert_eq!(event_time(&node, "plain", "now"), NOON, "INT96 is an instant in UTC");
    assert_eq!(event_time(&node, "plain", "before"), "1969-12-31T23:59:59.999999Z");
}

#[test]
fn ambiguous_and_skipped_local_times_name_both_candidates() {
    let node = node();
    let send = |time: &str| {
        let body = format!(r#"{{"k":"a","x":1,"event_time":"{time}"}}"#);
        rows(&node, "/v1/feature-views/declared/rows", NDJSON, body)
    };
    let (status, said) = send("2023-10-29 02:30:00");
    assert!(
        status == 422 && said.contains("2023-10-29T00:30:00Z") && said.contains("2023-10-29T01:30:00Z"),
        "{said}"
    );
    let (status, said) = send("2024-03-31 02:30:00");
    assert!(
        status == 422 && said.contains("2024-03-31T00:30:00Z") && said.contains("2024-03-31T01:30:00Z"),
        "{said}"
    );
}

#[test]
fn spines_are_read_by_the_same_rules() {
    let node = node();
    node.write("plain", json!([{ "k": "a", "x": 7, "event_time": "1970-01-01T00:00:00Z" }]));
    let join = |query: &str, content_type: &str, body: Vec<u8>| {
        let request = node.post(&format!("/v1/training-sets?features=plain:x{query}"));
        answer(
            request.header("Content-Type", content_type).header("Accept", NDJSON).body(body).send().unwrap(),
        )
    };
    let csv = |time: &str| format!("k,event_time\na,{time}\n").into_bytes();
    let (status, said) = join("", CSV, csv("1714564800"));
    assert!(status == 422 && said.to_string().contains("2024-05-01T12:00:00Z in s"), "{said}");
    assert_eq!(join("&time_unit=s", CSV, csv("1714564800")).1["plain__x"], 7.0);
    assert_eq!(join("&time_zone=UTC", CSV, csv("2024-05-01")).1["plain__x"], 7.0);
    assert_eq!(join("", CSV, csv("2024-05-01 12:00:00+00")).1["plain__x"], 7.0);
    // A nanosecond before 1970 is before the version of 1970: rounded down, never up.
    let spine = |times: ArrayRef| {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["a"; times.len()]));
        let batch = RecordBatch::try_from_iter([("k", keys), ("event_time", times)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let nanos = |nanos| spine(Arc::new(TimestampNanosecondArray::from(vec![nanos]).with_timezone("UTC")));
    assert_eq!(join("", ARROW, nanos(-1)).1["plain__x"], Json::Null);
    assert_eq!(join("", ARROW, nanos(0)).1["plain__x"], 7.0);
    let ints = || spine(Arc::new(Int64Array::from(vec![1_714_564_800_000_i64])));
    assert_eq!(join("", ARROW, ints()).0, 422);
    assert_eq!(join("&time_unit=ms", ARROW, ints()).1["plain__x"], 7.0);
    // The same for a job, whose spine is stored, and for columns of the request.
    let job = json!({
        "spine": { "inline": [{ "k": "a", "event_time": 1_714_564_800, "at": 0 }] }, "features": ["plain:x", "asked:year"],
        "name": "set", "format": "ndjson", "time_unit": "s",
    });
    let (status, accepted) = node.post_json("/v1/training-sets/jobs", &job);
    assert_eq!(status, 202, "{accepted}");
    let path = format!("/v1/training-sets/jobs/{}", accepted["id"].as_str().unwrap());
    let done = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        node.get(&path).1["state"] == "done"
    });
    assert!(done, "{}", node.get(&path).1);
    let data = node.get("/v1/training-sets/set/data").1;
    assert_eq!((&data["plain__x"], &data["asked__year"]), (&json!(7.0), &json!(1970)), "{data}");
}

#[test]
fn requests_for_on_demand_features_and_moments() {
    let node = node();
    let ask = |more: Json| {
        let mut body = json!({ "features": ["asked:year"], "entities": [{}] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node.post_json("/v1/online-features", &body)
    };
    assert_eq!(ask(json!({ "request": { "at": 1_714_564_800 } })).0, 422);
    assert_eq!(
        ask(json!({ "request": { "at": 1_714_564_800 }, "time_unit": "s" })).1["values"],
        json!([[2024]])
    );
    assert_eq!(
        ask(json!({ "request": { "at": "2024-01-01" }, "time_zone": "UTC" })).1["values"],
        json!([[2024]])
    );
    let (status, said) = ask(json!({ "request": { "at": NOON }, "as_of": 1_714_564_800_000_i64 }));
    assert!(
        (400..=422).contains(&status) && said.to_string().contains("2024-05-01T12:00:00Z in ms"),
        "{said}"
    );
}

#[test]
fn quarantined_rows_are_tried_again_as_they_were_meant() {
    let node = node();
    let strict = DEFINITIONS.replacen(
        r#"{ name = "x", type = "float64" }"#,
        r#"{ name = "x", type = "float64", validate = { max = 1 } }"#,
        1,
    );
    node.apply(&strict);
    let path = "/v1/feature-views/plain/rows?on_error=quarantine&time_unit=s";
    let (status, said) = rows(&node, path, NDJSON, r#"{"k":"q","x":5,"event_time":1714564800}"#);
    assert!(status == 200 && said.contains("\"quarantined\":1"), "{said}");
    node.apply(DEFINITIONS);
    let (status, retried) = node.post_json("/v1/quarantine/retry?view=plain", &json!({}));
    assert_eq!((status, &retried["accepted"]), (200, &json!(1)), "{retried}");
    assert_eq!(event_time(&node, "plain", "q"), NOON);
}

#[test]
fn declarations_are_checked_and_described() {
    let node = node();
    let described = node.get("/v1/feature-views/declared").1;
    assert_eq!((&described["time_unit"], &described["time_zone"]), (&json!("ms"), &json!("Europe/Berlin")));
    for (from, to, part) in [
        ("\"ms\"", "\"weeks\"", "`weeks` is not a unit"),
        ("Europe/Berlin", "Mars/Base", "`Mars/Base` is not a time zone"),
    ] {
        let (status, said) = node.post_bytes(
            "/v1/registry/apply",
            "application/toml",
            DEFINITIONS.replace(from, to).as_bytes(),
        );
        assert!((400..=422).contains(&status) && said.to_string().contains(part), "{said}");
    }
    // Another declaration concerns rows to come.
    let changed = node.apply(&DEFINITIONS.replace("\"ms\"", "\"s\""));
    assert!(changed.to_string().contains("time_unit"), "{changed}");
}
