//! Rows from the future: they do not hide the present, with and without history.

use serde_json::{Value as Json, json};

use crate::support::{JSON, TestNode};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "string" }]

[[feature_view]]
name = "live"
entities = ["user"]
offline = false
ttl = "1h"
feature = [{ name = "n", type = "int64" }, { name = "text", type = "string" }]

[[feature_view]]
name = "kept"
entities = ["user"]
ttl = "1h"
feature = [{ name = "n", type = "int64" }, { name = "text", type = "string" }]
"#;

fn node() -> TestNode {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    node
}

fn time(minute: i64) -> String {
    format!("2024-05-01T{:02}:{:02}:00Z", 12 + minute.div_euclid(60), minute.rem_euclid(60))
}

fn row(user: &str, minute: i64, n: i64) -> Json {
    json!({ "user": user, "event_time": time(minute), "n": n, "text": format!("text {n}") })
}

/// What both views say of a user, which has to be the same: the number, and its status.
fn reads(node: &TestNode, user: &str) -> (Json, Json) {
    let features = ["live:n", "live:text", "kept:n", "kept:text"];
    let answer = node.read(&features, json!([{ "user": user }]));
    let (values, status) = (&answer["values"][0], &answer["status"][0]);
    assert_eq!((&values[0], &values[1], &status[0]), (&values[2], &values[3], &status[2]), "{answer}");
    if !values[0].is_null() {
        assert_eq!(values[1], format!("text {}", values[0]));
    }
    (values[0].clone(), status[0].clone())
}

fn write(node: &TestNode, rows: &[Json]) {
    for view in ["live", "kept"] {
        node.write(view, json!(rows));
    }
}

fn is(n: i64) -> (Json, Json) {
    (json!(n), json!("PRESENT"))
}

fn none() -> (Json, Json) {
    (Json::Null, json!("NOT_FOUND"))
}

/// The case as it was filed.
#[test]
fn the_present_is_there_after_a_row_from_the_future_and_after_it_is_written_again() {
    let node = node();
    write(&node, &[row("a", 0, 1)]);
    assert_eq!(reads(&node, "a"), is(1));
    write(&node, &[row("a", 30, 2)]);
    assert_eq!(reads(&node, "a"), is(1));
    write(&node, &[row("a", 0, 3)]);
    assert_eq!(reads(&node, "a"), is(3));
}

#[test]
fn versions_take_their_turn_as_time_passes() {
    let mut node = node();
    // In one batch, out of order, with the present among them; then apart, before and behind what is there.
    write(&node, &[row("a", 20, 20), row("b", 5, 5), row("a", -10, -10), row("a", 10, 10), row("a", 20, 21)]);
    write(&node, &[row("a", 15, 15), row("c", 40, 40)]);
    write(&node, &[row("a", -5, -5), row("a", -20, -20)]);
    assert_eq!((reads(&node, "a"), reads(&node, "b"), reads(&node, "c")), (is(-5), none(), none()));
    node.restart();
    assert_eq!((reads(&node, "a"), reads(&node, "b")), (is(-5), none()));
    for (minute, expected) in [(9, -5), (10, 10), (14, 10), (15, 15), (20, 21)] {
        node.set_time(&time(minute));
        assert_eq!(reads(&node, "a"), is(expected), "at {minute}");
    }
    assert_eq!(reads(&node, "b"), is(5));
    // What counted before does not come back, and the ttl is that of what counts.
    write(&node, &[row("a", 12, 12), row("a", 90, 90)]);
    assert_eq!(reads(&node, "a"), is(21));
    node.set_time(&time(81));
    assert_eq!(reads(&node, "a"), (Json::Null, json!("OUTSIDE_MAX_AGE")));
    node.set_time(&time(90));
    assert_eq!(reads(&node, "a"), is(90));
}

#[test]
fn a_deletion_is_a_version_among_them() {
    let node = node();
    write(&node, &[row("a", 0, 1), row("a", 10, 10), row("a", 30, 30)]);
    for view in ["live", "kept"] {
        let body = json!({ "entities": [{ "user": "a" }], "event_time": time(20) });
        let (status, answer) = node.post_json(&format!("/v1/feature-views/{view}/delete"), &body);
        assert_eq!(status, 200, "{answer}");
    }
    for (minute, expected) in [(0, is(1)), (10, is(10)), (20, none()), (29, none()), (30, is(30))] {
        node.set_time(&time(minute));
        assert_eq!(reads(&node, "a"), expected, "at {minute}");
    }
}

/// Where a view keeps no history there is a bound on what is yet to come; a batch that goes beyond it leaves all as it was.
#[test]
fn more_versions_in_the_future_than_are_kept_are_refused() {
    let node = node();
    let ahead: Vec<Json> = (1..=16).map(|n| row("a", n, n)).collect();
    write(&node, &ahead);
    let rows = json!({ "rows": [row("b", 0, 1), row("a", 0, 0), row("a", 17, 17)] });
    let (status, problem) = node.post_json("/v1/feature-views/live/rows", &rows);
    assert_eq!(status, 422, "{problem}");
    assert_eq!(problem["errors"][0]["row"], 2, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("offline = false"), "{problem}");
    assert_eq!((reads(&node, "a"), reads(&node, "b")), (none(), none()));
    // In place of one of them, and when the first one's time has come.
    write(&node, &[row("a", 16, 160)]);
    node.set_time(&time(1));
    write(&node, &[row("a", 17, 17)]);
    assert_eq!(reads(&node, "a"), is(1));
    node.set_time(&time(16));
    assert_eq!(reads(&node, "a"), is(160));
}

#[test]
fn what_is_yet_to_come_is_explained() {
    let node = node();
    write(&node, &[row("a", 0, 1), row("a", 30, 2)]);
    let body = json!({ "features": ["live:n"], "entities": [{ "user": "a" }] });
    let (status, said) = node.post_json("/v1/explain", &body);
    assert_eq!(status, 200, "{said}");
    let text = said.to_string();
    assert!(text.contains(&time(0)) && text.contains(&time(30)) && text.contains("\"online\""), "{text}");
}

/// A row that leaves a feature out keeps it as it was at its own time.
#[test]
fn partial_updates_go_by_the_version_at_their_time() {
    let node = node();
    write(&node, &[row("a", 0, 1), row("a", 30, 30)]);
    let merge = |minute: i64, n: i64| {
        let rows = json!({ "rows": [{ "user": "a", "event_time": time(minute), "n": n }] });
        for view in ["live", "kept"] {
            let path = format!("/v1/feature-views/{view}/rows?mode=merge");
            let (status, answer) = node.post_json(&path, &rows);
            assert_eq!(status, 200, "{answer}");
        }
    };
    merge(0, 5);
    merge(10, 10);
    merge(40, 40);
    for (minute, n, text) in [(0, 5, "text 1"), (10, 10, "text 1"), (30, 30, "text 30"), (40, 40, "text 30")]
    {
        node.set_time(&time(minute));
        let features = ["live:n", "live:text", "kept:n", "kept:text"];
        let answer = node.read(&features, json!([{ "user": "a" }]));
        assert_eq!(answer["values"][0], json!([n, text, n, text]), "at {minute}");
    }
}

#[test]
fn the_order_within_a_body_does_not_matter() {
    let node = node();
    let lines: String = [row("a", 30, 2), row("a", 0, 1)].map(|row| format!("{row}\n")).concat();
    let (status, _) = node.post_bytes("/v1/feature-views/live/rows", "application/x-ndjson", lines);
    assert_eq!(status, 200);
    let body = json!({ "rows": [row("a", 0, 1), row("a", 30, 2)] }).to_string();
    assert_eq!(node.post_bytes("/v1/feature-views/kept/rows", JSON, body).0, 200);
    assert_eq!(reads(&node, "a"), is(1));
}
