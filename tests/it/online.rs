//! Online reads: semantics.md, pinned over HTTP.

use serde_json::{Value as Json, json};

use crate::support::{ARROW, TestNode};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
ttl = "1h"
feature = [
  { name = "score", type = "float64" },
  { name = "big", type = "int64" },
  { name = "city", type = "string", default = "nowhere" },
  { name = "tags", type = "array<string>" },
  { name = "embedding", type = "array<float32, 3>" },
  { name = "seen", type = "timestamp" },
  { name = "doc", type = "json" },
  { name = "raw", type = "bytes" },
  { name = "small", type = "float32" },
  { name = "flag", type = "bool" },
]

[[feature_service]]
name = "model"
features = ["profile:score", { view = "profile", as = "friend", features = ["score"], join_keys = { user_id = "friend_id" } }]
"#;

fn node() -> TestNode {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    node
}

#[test]
fn json_says_where_null_stands_for_no_number() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(
        "[[entity]]\nname = \"u\"\njoin_keys = [{ name = \"u\", type = \"int64\" }]\n\
         [[feature_view]]\nname = \"v\"\nentities = [\"u\"]\nfeature = [{ name = \"x\", type = \"float64\" }, \
         { name = \"y\", type = \"float32\" }, { name = \"l\", type = \"array<float32>\" }]",
    );
    let rows = "u,event_time,x,y,l\n1,2024-05-01T11:00:00Z,NaN,-inf,\n2,2024-05-01T11:00:00Z,inf,NaN,\"[1.5]\"\n\
                3,2024-05-01T11:00:00Z,1.5,,\n";
    let (status, body) = node.post_bytes("/v1/feature-views/v/rows", crate::support::CSV, rows);
    assert_eq!(status, 200, "{body:#}");
    let features = ["v:x", "v:y", "v:l"];
    let read = node.read(&features, json!({ "u": [1, 2, 3, 4] }));
    assert_eq!(
        read["values"],
        json!([[null, null, null], [null, null, [1.5]], [1.5, null, null], [null, null, null]])
    );
    assert_eq!(
        read["status"],
        json!([
            ["NOT_A_NUMBER", "INFINITE", "NULL_VALUE"],
            ["INFINITE", "NOT_A_NUMBER", "PRESENT"],
            ["PRESENT", "NULL_VALUE", "NULL_VALUE"],
            ["NOT_FOUND", "NOT_FOUND", "NOT_FOUND"],
        ])
    );
    let explain = json!({ "features": features, "entities": [{ "u": 1 }] });
    let (status, explained) = node.post_json("/v1/explain", &explain);
    assert_eq!(status, 200, "{explained:#}");
    assert_eq!(explained["values"][0]["status"], "NOT_A_NUMBER", "{explained:#}");
    // Arrow has them.
    let body = json!({ "features": features, "entities": { "u": [1, 2] }, "include": ["status"] });
    let response =
        node.post("/v1/online-features").header("Accept", crate::support::ARROW).json(&body).send().unwrap();
    let bytes = response.bytes().unwrap();
    let mut reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_ref(), None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    let column = |name: &str| {
        arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Float64)
            .unwrap()
    };
    let x = column("v:x");
    let x = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&x);
    assert!(x.value(0).is_nan() && x.value(1) == f64::INFINITY);
    let y = column("v:y");
    let y = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&y);
    assert!(y.value(0) == f64::NEG_INFINITY && y.value(1).is_nan());
    let status = arrow::array::AsArray::as_string::<i32>(batch.column_by_name("v:x:status").unwrap());
    assert_eq!(status.iter().flatten().collect::<Vec<_>>(), ["PRESENT"; 2]);
    // Training sets: null in JSON, NaN in CSV.
    let spine = "u,event_time\n1,2024-05-01T12:00:00Z\n2,2024-05-01T12:00:00Z\n";
    let answered = |accept: &str| {
        let request =
            node.post("/v1/training-sets?features=v:x,v:y").header("Content-Type", crate::support::CSV);
        request.header("Accept", accept).body(spine).send().unwrap().text().unwrap()
    };
    assert_eq!(
        answered(crate::support::CSV).lines().skip(1).collect::<Vec<_>>(),
        ["1,2024-05-01T12:00:00Z,NaN,-inf", "2,2024-05-01T12:00:00Z,inf,NaN"]
    );
    for line in answered(crate::support::NDJSON).lines() {
        assert!(line.ends_with("\"v__x\":null,\"v__y\":null}"), "{line}");
    }
}

#[test]
fn every_type_comes_back_as_it_was_sent() {
    let node = node();
    let row = json!({
        "user_id": 7, "event_time": "2024-05-01T11:59:00Z", "score": 0.1, "big": 9_007_199_254_740_993_i64,
        "city": "Zürich \"x\"\n", "tags": ["a", null, "c"], "embedding": [0.5, -1.25, 3.0],
        "seen": "2024-01-01T00:00:00.000001Z", "doc": {"a": [1, {"b": null}]}, "raw": "AAEC", "small": 0.1,
        "flag": true,
    });
    node.write("profile", json!([row]));
    let features = ["profile"];
    for round in ["from the cache", "again"] {
        let answer = node.read(&features, json!([{ "user_id": 7 }]));
        let expected = json!([[
            0.1, 9_007_199_254_740_993_i64, "Zürich \"x\"\n", ["a", null, "c"], [0.5, -1.25, 3.0],
            "2024-01-01T00:00:00.000001Z", {"a": [1, {"b": null}]}, "AAEC", 0.1, true
        ]]);
        assert_eq!(answer["values"], expected, "{round}");
        assert_eq!(answer["status"][0], json!(vec!["PRESENT"; 10]), "{round}");
        assert_eq!(answer["age_ms"][0][0], 60_000);
        assert_eq!(answer["event_time"][0][0], "2024-05-01T11:59:00Z");
    }
}

#[test]
fn statuses_say_what_a_value_is() {
    let node = node();
    node.write(
        "profile",
        json!([
            { "user_id": 1, "event_time": "2024-05-01T11:30:00Z", "score": 1.5, "city": "Bern" },
            { "user_id": 2, "event_time": "2024-05-01T11:30:00Z", "score": null },
            { "user_id": 3, "event_time": "2024-05-01T10:59:59.999999Z", "score": 3.0 },
            { "user_id": 5, "event_time": "2024-05-01T11:00:00Z", "score": 5.0 },
        ]),
    );
    let entities = json!([{ "user_id": 1 }, { "user_id": 2 }, { "user_id": 3 }, { "user_id": 4 }, { "user_id": 5 }, { "user_id": null }]);
    let answer = node.read(&["profile:score", "profile:city"], entities);
    assert_eq!(
        answer["values"],
        json!([
            [1.5, "Bern"],
            [null, "nowhere"],
            [null, "nowhere"],
            [null, "nowhere"],
            [5.0, "nowhere"],
            [null, "nowhere"]
        ])
    );
    assert_eq!(
        answer["status"],
        json!([
            ["PRESENT", "PRESENT"],
            ["NULL_VALUE", "DEFAULTED"],
            ["OUTSIDE_MAX_AGE", "DEFAULTED"],
            ["NOT_FOUND", "DEFAULTED"],
            // Exactly the ttl old: still valid.
            ["PRESENT", "DEFAULTED"],
            ["NOT_FOUND", "DEFAULTED"],
        ])
    );
    // The entity grows older than the ttl while nothing is written.
    node.set_time("2024-05-01T12:00:00.000001Z");
    let later = node.read(&["profile:score"], json!([{ "user_id": 5 }]));
    assert_eq!(later["status"], json!([["OUTSIDE_MAX_AGE"]]));
}

#[test]
fn the_newest_event_time_wins_and_at_equal_times_the_later_write() {
    let node = node();
    let write = |time: &str, score: f64| {
        node.write("profile", json!([{ "user_id": 1, "event_time": time, "score": score }]))
    };
    let read = || node.read(&["profile:score"], json!([{ "user_id": 1 }]))["values"][0][0].clone();
    assert_eq!(write("2024-05-01T11:50:00Z", 1.0)["late"], 0);
    assert_eq!(write("2024-05-01T11:40:00Z", 2.0)["late"], 1);
    assert_eq!(read(), 1.0);
    assert_eq!(write("2024-05-01T11:50:00Z", 3.0)["late"], 0);
    assert_eq!(read(), 3.0);
    // Within one batch the same rules hold.
    let batch = node.write(
        "profile",
        json!([
            { "user_id": 1, "event_time": "2024-05-01T11:55:00Z", "score": 4.0 },
            { "user_id": 1, "event_time": "2024-05-01T11:51:00Z", "score": 5.0 },
            { "user_id": 1, "event_time": "2024-05-01T11:55:00Z", "score": 6.0 },
        ]),
    );
    assert_eq!((batch["accepted"].as_u64(), batch["late"].as_u64()), (Some(3), Some(1)));
    assert_eq!(read(), 6.0);
}

#[test]
fn a_delete_is_a_version_like_any_other() {
    let node = node();
    let read = || node.read(&["profile:score"], json!([{ "user_id": 1 }]))["status"][0][0].clone();
    node.write("profile", json!([{ "user_id": 1, "event_time": "2024-05-01T11:50:00Z", "score": 1.0 }]));
    let delete = |body: Json| node.post_json("/v1/feature-views/profile/delete", &body).0;
    assert_eq!(delete(json!({ "entities": [{ "user_id": 1 }], "event_time": "2024-05-01T11:45:00Z" })), 200);
    assert_eq!(read(), "PRESENT", "an older delete does not touch a newer value");
    assert_eq!(delete(json!({ "entities": [{ "user_id": 1 }], "event_time": "2024-05-01T11:51:00Z" })), 200);
    assert_eq!(read(), "NOT_FOUND");
    node.write("profile", json!([{ "user_id": 1, "event_time": "2024-05-01T11:50:30Z", "score": 2.0 }]));
    assert_eq!(read(), "NOT_FOUND", "an older row does not undo a newer delete");
    node.write("profile", json!([{ "user_id": 1, "event_time": "2024-05-01T11:52:00Z", "score": 3.0 }]));
    assert_eq!(read(), "PRESENT");
    assert_eq!(delete(json!({ "entities": [{ "user": 1 }] })), 422);
    assert_eq!(delete(json!({ "entities": [{ "user_id": "x" }] })), 422);
}

#[test]
fn services_alias_views_and_map_join_keys() {
    let node = node();
    node.write(
        "profile",
        json!([
            { "user_id": 1, "event_time": "2024-05-01T11:50:00Z", "score": 1.0 },
            { "user_id": 2, "event_time": "2024-05-01T11:50:00Z", "score": 2.0 },
        ]),
    );
    for entities in [json!([{ "user_id": 1, "friend_id": 2 }]), json!({ "user_id": [1], "friend_id": [2] })] {
        let (status, answer) = node
            .post_json("/v1/online-features", &json!({ "feature_service": "model", "entities": entities }));
        assert_eq!(status, 200, "{answer:#}");
        assert_eq!(answer["feature_names"], json!(["profile:score", "friend:score"]));
        assert_eq!(answer["values"], json!([[1.0, 2.0]]));
        assert_eq!(answer["registry_version"], 1);
        assert!(answer.get("status").is_none());
    }
}

#[test]
fn arrow_gives_the_same_values() {
    let node = node();
    node.write(
        "profile",
        json!([{ "user_id": 1, "event_time": "2024-05-01T11:50:00Z", "score": 1.0, "big": 5, "tags": ["x"] }]),
    );
    let response = node
        .post("/v1/online-features")
        .header("Accept", ARROW)
        .json(&json!({ "features": ["profile"], "entities": [{ "user_id": 1 }, { "user_id": 2 }], "include": ["status"] }))
        .send()
        .unwrap();
    assert_eq!(response.status(), 200);
    let bytes = response.bytes().unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    let mut text = Vec::new();
    arrow::json::LineDelimitedWriter::new(&mut text).write(&batches[0]).unwrap();
    let rows: Vec<Json> =
        String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0]["profile:score"], 1.0);
    assert_eq!(rows[0]["profile:big"], 5);
    assert_eq!(rows[0]["profile:tags"], json!(["x"]));
    assert_eq!(rows[0]["profile:score:status"], "PRESENT");
    assert_eq!(rows[1]["profile:score:status"], "NOT_FOUND");
    assert_eq!(rows[1]["profile:city"], "nowhere");
}

#[test]
fn as_of_and_known_at_read_history() {
    let node = node();
    node.write("profile", json!([{ "user_id": 1, "event_time": "2024-05-01T11:00:00Z", "score": 1.0 }]));
    node.set_time("2024-05-01T12:10:00Z");
    node.write("profile", json!([{ "user_id": 1, "event_time": "2024-05-01T11:30:00Z", "score": 2.0 }]));
    let read = |extra: Json| {
        let mut body =
            json!({ "features": ["profile:score"], "entities": [{ "user_id": 1 }], "include": ["status"] });
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, answer) = node.post_json("/v1/online-features", &body);
        assert_eq!(status, 200, "{answer:#}");
        (answer["values"][0][0].clone(), answer["status"][0][0].clone())
    };
    assert_eq!(read(json!({})), (json!(2.0), json!("PRESENT")));
    assert_eq!(read(json!({ "as_of": "2024-05-01T11:29:59Z" })), (json!(1.0), json!("PRESENT")));
    assert_eq!(read(json!({ "as_of": "2024-05-01T11:30:00Z" })), (json!(2.0), json!("PRESENT")));
    assert_eq!(read(json!({ "as_of": "2024-05-01T10:00:00Z" })), (Json::Null, json!("NOT_FOUND")));
    assert_eq!(read(json!({ "as_of": "2024-05-01T13:00:00Z" })), (Json::Null, json!("OUTSIDE_MAX_AGE")));
    let known = json!({ "as_of": "2024-05-01T11:45:00Z", "known_at": "2024-05-01T12:05:00Z" });
    assert_eq!(read(known), (json!(1.0), json!("PRESENT")));
}

#[test]
fn a_row_from_the_future_does_not_hide_the_present() {
    let node = node();
    node.write(
        "profile",
        json!([
            { "user_id": 1, "event_time": "2024-05-01T11:30:00Z", "score": 1.0 },
            { "user_id": 1, "event_time": "2024-05-01T12:30:00Z", "score": 2.0 },
            { "user_id": 2, "event_time": "2024-05-01T12:30:00Z", "score": 3.0 },
        ]),
    );
    let read = || node.read(&["profile:score"], json!([{ "user_id": 1 }, { "user_id": 2 }]));
    assert_eq!(read()["values"], json!([[1.0], [null]]));
    assert_eq!(read()["status"], json!([["PRESENT"], ["NOT_FOUND"]]));
    node.set_time("2024-05-01T12:30:00Z");
    assert_eq!(read()["values"], json!([[2.0], [3.0]]));
}

#[test]
fn values_outlive_a_restart() {
    let mut node = node();
    node.write("profile", json!([{ "user_id": 1, "event_time": "2024-05-01T11:50:00Z", "score": 1.0 }]));
    node.restart();
    assert_eq!(node.read(&["profile:score"], json!([{ "user_id": 1 }]))["values"], json!([[1.0]]));
    // The registry too.
    assert_eq!(node.get("/v1/registry").1["version"], 1);
    // And the order of acceptance goes on where it was.
    node.write("profile", json!([{ "user_id": 1, "event_time": "2024-05-01T11:50:00Z", "score": 2.0 }]));
    assert_eq!(node.read(&["profile:score"], json!([{ "user_id": 1 }]))["values"], json!([[2.0]]));
}
