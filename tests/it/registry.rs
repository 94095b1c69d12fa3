//! The registry over HTTP: versions, refusals, search, lineage.

use serde_json::{Value as Json, json};

use crate::support::TestNode;

const BASE: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
description = "What we know of a user"
owner = "team@example.com"
tags = { tier = "gold" }
feature = [{ name = "score", type = "float32", description = "How much they like us" }, { name = "city", type = "string" }]

[[feature_service]]
name = "model"
features = ["profile:score"]
"#;

fn toml(node: &TestNode, body: &str) -> (u16, Json) {
    node.post_bytes("/v1/registry/apply", "application/toml", body)
}

#[test]
fn versions_move_with_changes_and_only_with_them() {
    let mut node = TestNode::at("2024-05-01T12:00:00Z");
    assert_eq!(node.apply(BASE)["version"], 1);
    assert_eq!(node.apply(BASE)["version"], 1);
    let wider = BASE
        .replace("float32", "float64")
        .replace("\"string\" }]", "\"string\" }, { name = \"n\", type = \"int64\" }]");
    let (status, planned) =
        node.post_bytes("/v1/registry/apply?dry_run=true", "application/toml", wider.clone());
    assert_eq!(status, 200, "{planned:#}");
    assert_eq!(node.get("/v1/registry").1["version"], 1, "a dry run changes nothing");
    let applied = node.apply(&wider);
    assert_eq!(applied["version"], 2, "{applied:#}");
    assert_eq!(node.get("/v1/feature-views/profile").1["version"], 2);
    assert_eq!(node.get("/v1/feature-views/profile?version=1").1["version"], 1);
    assert_eq!(node.get("/v1/feature-views/profile?version=3").0, 404);
    node.restart();
    assert_eq!(node.get("/v1/registry").1["version"], 2);
    assert_eq!(node.get("/v1/feature-views/profile?version=1").1["version"], 1);
}

#[test]
fn old_rows_are_read_under_a_new_definition() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(BASE);
    let t = "2024-05-01T11:00:00Z";
    node.write("profile", json!([{ "user_id": 1, "event_time": t, "score": 0.5, "city": "Bern" }]));
    node.apply(&BASE.replace("float32", "float64").replace(
        "{ name = \"city\", type = \"string\" }",
        "{ name = \"n\", type = \"int64\", default = 7 }",
    ));
    node.write("profile", json!([{ "user_id": 2, "event_time": t, "score": 0.1, "n": 1 }]));
    let answer = node.read(&["profile"], json!([{ "user_id": 1 }, { "user_id": 2 }]));
    assert_eq!(answer["feature_names"], json!(["profile:score", "profile:n"]));
    assert_eq!(answer["values"], json!([[0.5, 7], [0.1, 1]]));
    // A pinned version keeps its own features.
    let pinned = node.read(&["profile@1"], json!([{ "user_id": 1 }]));
    assert_eq!(pinned["values"], json!([[0.5, "Bern"]]));
}

#[test]
fn what_would_break_is_refused_and_listed() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(BASE);
    for broken in [
        BASE.replace("float32", "string"),
        BASE.replace("user_id\", type = \"int64\"", "user_id\", type = \"string\""),
    ] {
        let (status, problem) = toml(&node, &broken);
        assert_eq!(status, 409, "{problem:#}");
        assert!(!problem["breaking"].as_array().unwrap().is_empty(), "{problem:#}");
    }
    assert_eq!(node.get("/v1/registry").1["version"], 1);
    let stale = node
        .post("/v1/registry/apply")
        .header("Content-Type", "application/toml")
        .header("If-Match", "7")
        .body(BASE)
        .send()
        .unwrap();
    assert_eq!(stale.status(), 412);
    let current = node
        .post("/v1/registry/apply")
        .header("Content-Type", "application/toml")
        .header("If-Match", "\"1\"")
        .body(BASE)
        .send()
        .unwrap();
    assert_eq!(current.status(), 200);
}

#[test]
fn errors_name_file_and_line_and_what_would_be_right() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    let files = json!({ "files": {
        "entities.toml": "[[entity]]\nname = \"user\"\njoin_keys = [{ name = \"user_id\", type = \"int65\" }]\n",
        "views.toml": "\n[[feature_view]]\nname = \"profile\"\nentities = [\"usr\"]\nttll = \"1h\"\nfeature = []\n",
    }});
    let (status, problem) = node.post_json("/v1/registry/apply", &files);
    assert_eq!(status, 422, "{problem:#}");
    let text = problem["errors"].to_string();
    for expected in ["entities.toml:3", "int65", "views.toml:5", "ttll", "ttl"] {
        assert!(text.contains(expected), "`{expected}` is not in {problem:#}");
    }
    let (status, problem) = toml(&node, "[[feature_view]\n");
    assert_eq!(status / 100, 4, "{problem:#}");
    let (status, problem) = toml(&node, "[[batch_feature_view]]\nname = \"x\"\n");
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem.to_string().contains("`sql` is missing"), "{problem:#}");
}

#[test]
fn features_are_found_and_traced() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(BASE);
    for query in ["query=score", "query=like", "owner=team@example.com", "tag=tier%3Dgold", "entity=user"] {
        let (status, hits) = node.get(&format!("/v1/features?{query}"));
        assert_eq!(status, 200);
        assert!(hits.to_string().contains("score"), "{query}: {hits:#}");
    }
    assert_eq!(node.get("/v1/features?query=nothing_like_it").1, json!([]));
    let (status, lineage) = node.get("/v1/lineage/feature_view/profile");
    assert_eq!(status, 200, "{lineage:#}");
    assert!(lineage["upstream"].to_string().contains("user"), "{lineage:#}");
    assert!(lineage["downstream"].to_string().contains("model"), "{lineage:#}");
    assert_eq!(node.get("/v1/lineage/feature_view/nothing").0, 404);
    assert_eq!(node.get("/v1/entities").1.as_array().unwrap().len(), 1);
}

const FLAGS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "int64" }]

[[feature_view]]
name = "v"
entities = ["user"]
offline = OFFLINE
online = ONLINE
feature = [{ name = "x", type = "float64" }]
"#;

/// A view that stops and begins again to keep history, or to be served, goes on with what it has.
#[test]
fn history_and_serving_can_be_switched_off_and_on() {
    let mut node = TestNode::with("2024-05-01T12:00:00Z", &[("offline.seal_rows", "1")]);
    let apply = |node: &TestNode, offline: bool, online: bool| {
        node.apply(&FLAGS.replace("OFFLINE", &offline.to_string()).replace("ONLINE", &online.to_string()))
    };
    let write = |node: &TestNode, minute: u32, x: f64| {
        node.write(
            "v",
            json!([{ "user_id": 1, "event_time": format!("2024-05-01T11:{minute:02}:00Z"), "x": x }]),
        )
    };
    let as_of = |node: &TestNode, minute: u32| {
        let body = json!({ "features": ["v:x"], "entities": [{ "user_id": 1 }], "as_of": format!("2024-05-01T11:{minute:02}:30Z") });
        let (status, answer) = node.post_json("/v1/online-features", &body);
        (status, answer["values"][0][0].clone())
    };
    let newest = |node: &TestNode| node.read(&["v:x"], json!([{ "user_id": 1 }]))["values"][0][0].clone();
    apply(&node, true, true);
    write(&node, 1, 1.0);
    apply(&node, false, true);
    write(&node, 2, 2.0);
    assert_eq!(newest(&node), 2.0);
    assert_eq!(as_of(&node, 2).0, 400, "a view without history has no past");
    node.wait_until_sealed("v");
    node.restart();
    assert_eq!(node.get("/readyz").0, 200);
    apply(&node, true, true);
    write(&node, 3, 3.0);
    node.wait_until_sealed("v");
    assert_eq!((as_of(&node, 2).1, as_of(&node, 3).1), (json!(1.0), json!(3.0)));
    apply(&node, true, false);
    write(&node, 4, 4.0);
    apply(&node, true, true);
    assert_eq!(newest(&node), 4.0, "not the value from before it was switched off");
    node.restart();
    assert_eq!(newest(&node), 4.0);
    assert_eq!(node.get("/readyz").0, 200);
}

/// Rows that wait for a segment keep what their version had, whatever is applied meanwhile.
#[test]
fn a_schema_applied_before_a_seal_loses_no_column() {
    let node = TestNode::with("2024-05-01T12:00:00Z", &[("offline.seal_after", "1h")]);
    node.apply(BASE);
    let t = "2024-05-01T11:00:00Z";
    node.write("profile", json!([{ "user_id": 1, "event_time": t, "score": 0.1, "city": "Bern" }]));
    // `city` goes, `n` comes, `score` is wider.
    node.apply(
        &BASE
            .replace("float32", "float64")
            .replace("{ name = \"city\", type = \"string\" }", "{ name = \"n\", type = \"int64\" }"),
    );
    node.write(
        "profile",
        json!([{ "user_id": 1, "event_time": "2024-05-01T11:01:00Z", "score": 0.1, "n": 5 }]),
    );
    let past = |features: &str, at: &str| {
        let body = json!({ "features": [features], "entities": [{ "user_id": 1 }], "as_of": at });
        node.post_json("/v1/online-features", &body).1["values"][0].clone()
    };
    for state in ["in the outbox", "in segments"] {
        // The pinned version has its own type: the float32 that was stored.
        assert_eq!(past("profile@1", t), json!([0.1, "Bern"]), "{state}");
        assert_eq!(past("profile", "2024-05-01T11:01:00Z"), json!([0.1, 5]), "{state}");
        node.set_time("2024-05-01T13:00:00Z");
        node.wait_until_sealed("profile");
    }
}

#[test]
fn a_widened_value_is_the_same_online_and_in_training() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(BASE);
    let t = "2024-05-01T11:00:00Z";
    node.write("profile", json!([{ "user_id": 1, "event_time": t, "score": 0.1 }]));
    node.apply(&BASE.replace("float32", "float64"));
    let online = node.read(&["profile:score"], json!([{ "user_id": 1 }]))["values"][0][0].clone();
    let body = json!({ "features": ["profile:score"], "entities": [{ "user_id": 1 }], "as_of": t });
    let past = node.post_json("/v1/online-features", &body).1["values"][0][0].clone();
    assert_eq!(online, past);
    assert_eq!(online, 0.1_f32 as f64);
}

const STREAM: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
schema = { user_id = "int64", page = "string", ms = "int32" }

[[stream_feature_view]]
name = "activity"
entities = ["user"]
source = "clicks"
aggregation = [
  { name = "clicks_1h", function = "count", window = "1h" },
  { name = "slowest", function = "max", column = "ms", window = "lifetime", filter = "ms > 0" },
]
"#;

#[test]
fn a_stream_feature_view_is_computed_and_not_written() {
    let mut node = TestNode::with("2024-05-01T12:00:00Z", &[("offline.seal_rows", "1")]);
    assert_eq!(node.apply(STREAM)["created"].as_array().unwrap().len(), 3);
    let row = json!({ "rows": [{ "user_id": 1, "event_time": "2024-05-01T11:00:00Z", "clicks_1h": 1 }] });
    for (path, body) in [
        ("/v1/feature-views/activity/rows", row.clone()),
        ("/v1/feature-views/activity/delete", json!({ "entities": [{ "user_id": 1 }] })),
        ("/v1/quarantine/retry?view=activity", json!({})),
        ("/v1/sources/activity/events", row),
    ] {
        let (status, problem) = node.post_json(path, &body);
        assert_eq!(status, 400, "{path}: {problem:#}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("send events to /v1/sources/clicks/events"), "{path}: {detail}");
    }
    assert_eq!(node.get("/v1/quarantine?view=activity").0, 400);
    let events = json!({ "rows": [{ "user_id": 1, "event_time": "2024-05-01T11:00:00Z", "ms": 7 }] });
    let (status, ack) = node.post_json("/v1/sources/clicks/events", &events);
    assert_eq!((status, &ack["accepted"]), (200, &json!(1)), "{ack:#}");
    node.wait_until_sealed("clicks");

    // A wider column of the source is a wider feature.
    let outcome = node.apply(&STREAM.replace("int32", "int64"));
    let updated: Vec<&str> =
        outcome["updated"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap()).collect();
    assert_eq!(updated, ["clicks", "activity"]);
    let described = |node: &TestNode, version: u32| {
        let (status, view) = node.get(&format!("/v1/feature-views/activity?version={version}"));
        assert_eq!((status, &view["source"]), (200, &json!("clicks")), "{view:#}");
        (view["features"][1]["type"].clone(), view["aggregations"][1]["column_type"].clone())
    };
    for _ in 0..2 {
        assert_eq!(described(&node, 1), (json!("int32"), json!("int32")));
        assert_eq!(described(&node, 2), (json!("int64"), json!("int64")));
        assert_eq!(node.get("/v1/features?query=slowest").1[0]["reference"], "activity:slowest");
        assert!(node.get("/v1/lineage/source/clicks").1["downstream"].to_string().contains("activity"));
        assert_eq!(node.get("/readyz").0, 200);
        node.restart();
    }
    let (status, problem) = toml(&node, &STREAM.replace("column = \"ms\"", "column = \"sm\""));
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem["errors"].to_string().contains("body:17"), "{problem:#}");
    // It has no table, so nothing of it lies among the tables.
    let offline = std::fs::read_dir(node.dir().join("offline")).unwrap();
    let names: Vec<String> =
        offline.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.contains("clicks")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("activity")), "{names:?}");
}
