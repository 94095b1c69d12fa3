//! What a training set says of a moment is what was served then, also of rows that are older than their retention.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use larder::offline::actor::{Maintain, Scrub};
use serde_json::{Value as Json, json};

use crate::support::{NDJSON, TestNode};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "string" }]

[[feature_view]]
name = "profile"
entities = ["user"]
retention = "1h"
feature = [{ name = "n", type = "int64" }]

[[feature_view]]
name = "session"
entities = ["user"]
retention = "1h"
ttl = "2h"
feature = [{ name = "n", type = "int64" }]
"#;

fn time(minute: i64) -> String {
    format!("2024-05-01T{:02}:{:02}:00Z", 10 + minute.div_euclid(60), minute.rem_euclid(60))
}

/// Returns when the segment writer has come to it.
fn maintain(node: &TestNode) {
    let queued = Arc::new(AtomicBool::new(true));
    let writer = node.running().writer();
    assert!(writer.send(Maintain) && writer.send(Scrub { bytes: 0, queued: Arc::clone(&queued) }));
    while queued.load(Ordering::Acquire) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn in_training(node: &TestNode, view: &str, user: &str, at: &str) -> Json {
    let spine = format!("{}\n", json!({ "user": user, "event_time": at }));
    let request = node.post(&format!("/v1/training-sets?features={view}:n")).header("Content-Type", NDJSON);
    let text = request.header("Accept", NDJSON).body(spine).send().unwrap().text().unwrap();
    serde_json::from_str::<Json>(text.trim()).unwrap()[format!("{view}__n")].clone()
}

fn online(node: &TestNode, view: &str, user: &str) -> Json {
    node.read(&[&format!("{view}:n")], json!([{ "user": user }]))["values"][0][0].clone()
}

fn rows_stored(node: &TestNode, view: &str) -> u64 {
    let app = node.running().app();
    let schema = app.doors.parts.catalog.current().table(view).unwrap().clone();
    app.doors
        .parts
        .reads
        .offline
        .table(&schema)
        .unwrap()
        .snapshot()
        .segments
        .iter()
        .map(|segment| segment.rows)
        .sum()
}

#[test]
fn a_version_that_is_served_is_in_training_sets_however_old() {
    let mut node = TestNode::with(&time(0), &[("offline.seal_rows", "1")]);
    node.apply(DEFINITIONS);
    let row = |user: &str, minute: i64, n: i64| json!({ "user": user, "event_time": time(minute), "n": n });
    for view in ["profile", "session"] {
        node.write(view, json!([row("a", -30, 0), row("a", -20, 1), row("b", -10, 2), row("gone", -10, 3)]));
        node.post_json(
            &format!("/v1/feature-views/{view}/delete"),
            &json!({ "entities": [{ "user": "gone" }] }),
        );
        node.wait_until_sealed(view);
    }
    for minute in [30, 61, 80, 100, 130, 400] {
        node.set_time(&time(minute));
        if minute == 80 {
            node.write("profile", json!([row("a", 80, 4), row("b", 70, 5)]));
            node.wait_until_sealed("profile");
        }
        if minute == 130 {
            node.restart();
        }
        for round in ["before maintenance", "after it", "after more of it"] {
            for view in ["profile", "session"] {
                for user in ["a", "b", "gone", "never"] {
                    let served = online(&node, view, user);
                    assert_eq!(
                        in_training(&node, view, user, &time(minute)),
                        served,
                        "{view} {user} {minute} {round}"
                    );
                    #[cfg(feature = "sql")]
                    if view == "profile" {
                        let query = format!("SELECT n FROM profile__latest WHERE \"user\" = '{user}'");
                        let (status, answer) = node.post_json("/v1/sql", &json!({ "query": query }));
                        assert_eq!(
                            (status, &answer["rows"][0]["n"]),
                            (200, &served),
                            "{user} {minute} {round}"
                        );
                    }
                }
            }
            maintain(&node);
        }
    }
    assert_eq!((online(&node, "profile", "a"), online(&node, "profile", "b")), (json!(4), json!(5)));
    // Of each entity one version; of those that a ttl has ended, none.
    assert_eq!((rows_stored(&node, "profile"), rows_stored(&node, "session")), (3, 0));
}
