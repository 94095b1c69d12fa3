//! Runs of different batch feature views do not hold each other up.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::TestNode;

const NOW: &str = "2024-05-01T12:00:00Z";
const BASE: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
event_time = "event_time"
schema = { user = "int64", event_time = "timestamp", amount = "int64" }
"#;

/// A view of one row for each click.
fn view(name: &str, schedule: &str) -> String {
    format!(
        r#"
[[batch_feature_view]]
name = "{name}"
entities = ["user"]
schedule = "{schedule}"
sql = "SELECT user, $as_of AS event_time, sum(amount) AS amount FROM clicks GROUP BY user"
feature = [{{ name = "amount", type = "int64" }}]
"#
    )
}

fn click(node: &TestNode, users: i64) {
    let at = "2024-04-30T00:00:00Z";
    let rows: Json = (0..users).map(|n| json!({ "user": n, "event_time": at, "amount": 1 })).collect();
    let (status, body) = node.post_json("/v1/sources/clicks/events", &json!({ "rows": rows }));
    assert_eq!(status, 200, "{body:#}");
}

fn materialize(view: &str) -> String {
    format!("/v1/feature-views/{view}/materialize")
}

/// Runs of a view that are done.
fn done(node: &TestNode, view: &str) -> usize {
    let (status, body) = node.get(&materialize(view));
    assert_eq!(status, 200, "{body:#}");
    body["runs"].as_array().unwrap().iter().filter(|run| run["state"] == "done").count()
}

#[track_caller]
fn wait(node: &TestNode, view: &str, count: usize) {
    let began = Instant::now();
    while done(node, view) < count {
        assert!(began.elapsed() < Duration::from_secs(60), "{:#}", node.get(&materialize(view)).1);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn runs_requested_of_one_views_past_do_not_hold_up_the_due_run_of_another() {
    let node = TestNode::at(NOW);
    node.apply(BASE);
    click(&node, 3);
    node.apply(&format!("{BASE}{}{}", view("daily", "1d"), view("hourly", "1h")));
    wait(&node, "daily", 1);
    wait(&node, "hourly", 1);
    let range = json!({ "from": "2021-08-31T00:00:00Z", "to": "2024-05-01T00:00:00Z" });
    let (status, body) = node.post_json(&materialize("daily"), &range);
    assert_eq!(status, 202, "{body:#}");
    assert_eq!(body["runs"].as_array().unwrap().len(), 975);
    node.set_time("2024-05-01T13:00:00Z");
    wait(&node, "hourly", 2);
    let before = done(&node, "daily");
    assert!(before < 490, "{before} requested runs were done before the due one");
    // What was requested goes on.
    wait(&node, "daily", before + 3);
}

#[test]
fn a_view_whose_table_is_behind_holds_up_no_other() {
    // Its rows cannot be sealed: a file is where its table should be.
    let node = TestNode::with(NOW, &[("offline.seal_rows", "1")]);
    node.apply(BASE);
    click(&node, 100);
    std::fs::write(node.dir().join("offline").join("behind"), "in the way").unwrap();
    node.apply(&format!("{BASE}{}{}", view("behind", "1h"), view("other", "1h")));
    wait(&node, "behind", 1);
    wait(&node, "other", 1);
    let (status, body) = node.post_json(&materialize("behind"), &json!({}));
    assert_eq!(status, 429, "{body:#}");
    node.set_time("2024-05-01T13:00:00Z");
    wait(&node, "other", 2);
    assert_eq!(done(&node, "behind"), 1);
}

#[test]
fn a_view_has_a_bounded_number_of_pending_runs() {
    let node = TestNode::at(NOW);
    node.apply(BASE);
    node.apply(&format!("{BASE}{}", view("daily", "1d")));
    wait(&node, "daily", 1);
    let range = json!({ "from": "2021-08-31T00:00:00Z", "to": "2024-05-01T00:00:00Z" });
    // 975 runs each; they are requested much faster than they are done.
    let statuses: Vec<u16> = (0..4).map(|_| node.post_json(&materialize("daily"), &range).0).collect();
    assert_eq!(statuses[..2], [202, 202], "{statuses:?}");
    let (status, body) = node.post_json(&materialize("daily"), &range);
    assert!(statuses.contains(&429) || status == 429, "{statuses:?}");
    if status == 429 {
        assert!(body["detail"].as_str().unwrap().contains("pending"), "{body:#}");
    }
    // What was accepted goes on.
    wait(&node, "daily", 2);
}
