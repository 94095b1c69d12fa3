//! Many reads as of a moment at once: they share the rows that are in no segment yet, and each sees what was acknowledged.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value as Json, json};

use crate::support::TestNode;

const NOW: &str = "2024-06-01T00:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "k"
join_keys = [{ name = "k", type = "string" }]

[[feature_view]]
name = "v"
entities = ["k"]
feature = [{ name = "x", type = "int64" }, { name = "s", type = "string" }, { name = "a", type = "array<float32>" }]

[[on_demand_feature_view]]
name = "more"
uses = ["v:x"]
feature = [{ name = "twice", type = "int64", expression = "x * 2" }]
"#;

fn at(second: usize) -> String {
    format!("2024-05-01T00:{:02}:{:02}Z", second / 60, second % 60)
}

fn ask(node: &TestNode, features: &[&str], as_of: &str) -> Json {
    let body =
        json!({ "features": features, "entities": [{ "k": "a" }], "as_of": as_of, "include": ["status"] });
    let (status, said) = node.post_json("/v1/online-features", &body);
    assert_eq!(status, 200, "{said}");
    said
}

fn value(node: &TestNode, feature: &str, as_of: &str) -> Json {
    ask(node, &[feature], as_of)["values"][0][0].clone()
}

#[test]
fn every_read_sees_what_was_acknowledged_before_it_however_many_share_its_rows() {
    let node = TestNode::with(NOW, &[]);
    node.apply(DEFINITIONS);
    let done = AtomicBool::new(false);
    let (node, done) = (&node, &done);
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let x = value(node, "v:x", NOW).as_u64().unwrap_or(0);
                    assert!(x >= last, "{x} after {last}");
                    last = x;
                }
            });
        }
        let stop = Stop(done);
        for second in 1..=40 {
            node.write(
                "v",
                json!([{ "k": "a", "event_time": at(second), "x": second, "s": "y".repeat(second) }]),
            );
            assert_eq!(value(node, "v:x", NOW), json!(second));
            assert_eq!(value(node, "v:s", &at(second)), json!("y".repeat(second)));
            assert_eq!(value(node, "v:x", &at(second - 1)).as_u64().unwrap_or(0) as usize, second - 1);
        }
        drop(stop);
    });
}

/// Ends the readers, also when a check has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn features_come_alone_together_and_computed_from_rows_sealed_or_not() {
    let node = TestNode::with(NOW, &[("offline.seal_rows", "2"), ("offline.seal_after", "1h")]);
    node.apply(DEFINITIONS);
    let row = |second: usize| json!([{ "k": "a", "event_time": at(second), "x": second, "s": format!("s{second}"), "a": [second, 0.5] }]);
    node.write("v", row(1));
    let check = |second: usize| {
        let (t, x) = (at(second), second as f64);
        let all = json!([[x as i64, format!("s{second}"), [x, 0.5], 2 * second]]);
        let names = ["v:x", "v:s", "v:a", "more:twice"];
        assert_eq!(ask(&node, &names, &t)["values"], all);
        for (feature, name) in names.iter().enumerate() {
            let said = ask(&node, &[name], &t);
            assert_eq!(
                (&said["values"][0][0], &said["status"][0][0]),
                (&all[0][feature], &json!("PRESENT")),
                "{name}"
            );
        }
        assert_eq!(ask(&node, &["v:a", "v:x"], &t)["values"], json!([[[x, 0.5], second]]));
        let (missing, before) = (ask(&node, &["v:s"], &at(0)), json!([[null]]));
        assert_eq!((&missing["values"], &missing["status"][0][0]), (&before, &json!("NOT_FOUND")));
    };
    check(1);
    node.write("v", row(2));
    node.wait_until_sealed("v");
    (1..=2).for_each(check);
    node.write("v", row(3));
    (1..=3).for_each(check);
}
