//! Partial updates: `mode=merge` keeps what a row leaves out as it was at the row's event time.

use std::collections::BTreeMap;

use bytes::Bytes;
use larder::format::{Format, ReadOptions, TableReader, TableWriter};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRng, TestRunner},
};
use serde_json::{Map, Value as Json, json};

use crate::support::{ARROW, CSV, JSON, NDJSON, TestNode, answer};

const NOW: &str = "2024-05-01T12:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "string" }]

[[feature_view]]
name = "profile"
entities = ["user"]
feature = [
  { name = "a", type = "int64" },
  { name = "b", type = "string" },
  { name = "c", type = "array<float32>" },
]
"#;

fn node() -> TestNode {
    let node = TestNode::at(NOW);
    node.apply(DEFINITIONS);
    node
}

fn at(minute: i64) -> String {
    format!("2024-05-01T10:{minute:02}:00Z")
}

fn row(user: &str, minute: i64, features: Json) -> Json {
    let mut row = features.as_object().unwrap().clone();
    row.insert("user".to_owned(), json!(user));
    row.insert("event_time".to_owned(), json!(at(minute)));
    Json::Object(row)
}

fn send(node: &TestNode, query: &str, rows: &Json) -> (u16, Json) {
    node.post_json(&format!("/v1/feature-views/profile/rows?{query}"), &json!({ "rows": rows }))
}

#[track_caller]
/// Sends again what is answered 503, which other merges of the same entity can cause.
fn merge(node: &TestNode, rows: Json) -> Json {
    for _ in 0..100 {
        let (status, body) = send(node, "mode=merge", &rows);
        if status != 503 {
            assert_eq!(status, 200, "{body:#}");
            return body;
        }
    }
    panic!("other merges came first a hundred times");
}

fn now(node: &TestNode, user: &str) -> Json {
    let features = ["profile:a", "profile:b", "profile:c"];
    node.read(&features, json!([{ "user": user }]))["values"][0].clone()
}

fn as_of(node: &TestNode, user: &str, minute: i64) -> Json {
    let body = json!({ "features": ["profile"], "entities": [{ "user": user }], "as_of": at(minute) });
    let (status, body) = node.post_json("/v1/online-features", &body);
    assert_eq!(status, 200, "{body:#}");
    body["values"][0].clone()
}

#[test]
fn what_a_row_leaves_out_stays() {
    let mut node = node();
    let ack = node.write("profile", json!([row("u", 0, json!({ "a": 1, "b": "x", "c": [0.5, null] }))]));
    assert_eq!(ack["incomplete"], 0);
    assert_eq!(merge(&node, json!([row("u", 1, json!({ "a": 2 }))]))["incomplete"], 1);
    assert_eq!(now(&node, "u"), json!([2, "x", [0.5, null]]));
    // A null that is named is a value.
    merge(&node, json!([row("u", 2, json!({ "b": null }))]));
    assert_eq!(now(&node, "u"), json!([2, null, [0.5, null]]));
    node.restart();
    merge(&node, json!([row("u", 3, json!({ "b": "y" })), row("new", 3, json!({ "a": 9 }))]));
    assert_eq!(now(&node, "u"), json!([2, "y", [0.5, null]]));
    assert_eq!(now(&node, "new"), json!([9, null, null]));
    // At the same time the later one wins, with what the earlier one had.
    merge(&node, json!([row("u", 3, json!({ "a": 4 }))]));
    assert_eq!(now(&node, "u"), json!([4, "y", [0.5, null]]));
    // Without the mode what is left out is null, and the answer says so.
    let ack = node.write(
        "profile",
        json!([row("u", 4, json!({ "a": 5 })), row("v", 4, json!({ "a": 1, "b": "", "c": [] }))]),
    );
    assert_eq!((ack["accepted"].as_u64(), ack["incomplete"].as_u64()), (Some(2), Some(1)));
    assert_eq!(now(&node, "u"), json!([5, null, null]));
    for (minute, values) in [
        (0, json!([1, "x", [0.5, null]])),
        (1, json!([2, "x", [0.5, null]])),
        (2, json!([2, null, [0.5, null]])),
        (3, json!([4, "y", [0.5, null]])),
        (4, json!([5, null, null])),
    ] {
        assert_eq!(as_of(&node, "u", minute), values, "{minute}");
    }
}

#[test]
fn a_late_row_is_merged_with_its_own_time() {
    let node = node();
    node.write("profile", json!([row("u", 10, json!({ "a": 1, "b": "x", "c": null }))]));
    node.write("profile", json!([row("u", 30, json!({ "a": 3, "b": "z", "c": null }))]));
    let ack = merge(&node, json!([row("u", 20, json!({ "a": 2 })), row("u", 5, json!({ "b": "w" }))]));
    assert_eq!((ack["accepted"].as_u64(), ack["late"].as_u64()), (Some(2), Some(2)));
    assert_eq!(now(&node, "u"), json!([3, "z", null]));
    let seen: Vec<Json> = [5, 10, 20, 30].map(|minute| as_of(&node, "u", minute)).into();
    assert_eq!(
        seen,
        [json!([null, "w", null]), json!([1, "x", null]), json!([2, "x", null]), json!([3, "z", null])]
    );
    // From segments as well.
    node.set_time("2024-05-01T14:00:00Z");
    node.wait_until_sealed("profile");
    merge(&node, json!([row("u", 25, json!({ "b": "q" }))]));
    assert_eq!(as_of(&node, "u", 29), json!([2, "q", null]));
    assert_eq!(now(&node, "u"), json!([3, "z", null]));
}

#[test]
fn after_a_delete_there_is_nothing_to_keep() {
    let node = node();
    node.write("profile", json!([row("u", 0, json!({ "a": 1, "b": "x", "c": [1.0] }))]));
    let gone = json!({ "entities": [{ "user": "u" }], "event_time": at(10) });
    assert_eq!(node.post_json("/v1/feature-views/profile/delete", &gone).0, 200);
    merge(&node, json!([row("u", 11, json!({ "b": "y" })), row("u", 5, json!({ "a": 2 }))]));
    assert_eq!(now(&node, "u"), json!([null, "y", null]));
    assert_eq!(as_of(&node, "u", 5), json!([2, "x", [1.0]]));
    assert_eq!(as_of(&node, "u", 10), json!([null, null, null]));
    // Between a deletion in history and a row of the same batch.
    merge(&node, json!([row("u", 9, json!({ "a": 7 })), row("u", 10, json!({ "a": 8 }))]));
    assert_eq!(as_of(&node, "u", 10), json!([8, null, null]));
}

#[test]
fn an_older_value_than_the_ttl_allows_is_not_kept() {
    let node = TestNode::at(NOW);
    node.apply(&DEFINITIONS.replace("name = \"profile\"\n", "name = \"profile\"\nttl = \"10m\"\n"));
    node.write("profile", json!([row("u", 0, json!({ "a": 1, "b": "x", "c": null }))]));
    merge(&node, json!([row("u", 10, json!({ "a": 2 }))]));
    merge(&node, json!([row("u", 21, json!({ "a": 3 }))]));
    assert_eq!(as_of(&node, "u", 10), json!([2, "x", null]));
    assert_eq!(as_of(&node, "u", 21), json!([3, null, null]));
}

#[test]
fn every_format_says_what_it_leaves_out() {
    let node = node();
    let times = |minute| at(minute);
    node.write("profile", json!([row("u", 0, json!({ "a": 1, "b": "x", "c": [1.0] }))]));
    let path = "/v1/feature-views/profile/rows?mode=merge";
    // Row by row.
    let lines = format!(
        "{{\"user\":\"u\",\"event_time\":\"{}\",\"a\":2}}\n{{\"user\":\"u\",\"event_time\":\"{}\",\"b\":\"y\"}}\n",
        times(1),
        times(2)
    );
    let (status, ack) = node.post_bytes(path, NDJSON, lines);
    assert_eq!((status, ack["incomplete"].as_u64()), (200, Some(2)), "{ack:#}");
    assert_eq!(now(&node, "u"), json!([2, "y", [1.0]]));
    // By column: an empty field is a null that is named.
    let (status, ack) = node.post_bytes(path, CSV, format!("user,event_time,a\nu,{},\n", times(3)));
    assert_eq!((status, ack["incomplete"].as_u64()), (200, Some(1)), "{ack:#}");
    assert_eq!(now(&node, "u"), json!([null, "y", [1.0]]));
    let spine = format!("user,event_time,c\nu,{},[2]\n", times(4));
    let types = [("event_time", larder::model::DataType::Timestamp)].map(|(name, t)| (name.to_owned(), t));
    let options = ReadOptions { types: types.into(), ..ReadOptions::default() };
    let mut reader = TableReader::from_bytes(Format::Csv, Bytes::from(spine), &options).unwrap();
    let batch = reader.next().unwrap().unwrap().project(&[0, 1]).unwrap();
    for (content_type, format) in [(ARROW, Format::ArrowStream), (crate::support::PARQUET, Format::Parquet)] {
        let mut writer = TableWriter::new(format, Vec::new(), batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let (status, ack) = node.post_bytes(path, content_type, writer.finish().unwrap());
        assert_eq!((status, ack["incomplete"].as_u64()), (200, Some(1)), "{ack:#}");
        assert_eq!(now(&node, "u"), json!([null, "y", [1.0]]));
    }
}

#[test]
fn a_repeat_is_the_first_answer_and_the_mode_is_part_of_it() {
    let node = node();
    let keyed = |query: &str, rows: Json| {
        let request =
            node.post(&format!("/v1/feature-views/profile/rows?{query}")).header("Content-Type", JSON);
        let response =
            request.header("Idempotency-Key", "k").body(json!({ "rows": rows }).to_string()).send().unwrap();
        let replayed = response.headers().contains_key("idempotency-replayed");
        (answer(response), replayed)
    };
    let rows = json!([row("u", 1, json!({ "a": 1 }))]);
    let (first, replayed) = keyed("mode=merge", rows.clone());
    assert_eq!((first.0, replayed), (200, false));
    merge(&node, json!([row("u", 1, json!({ "a": 2 }))]));
    assert_eq!(keyed("mode=merge", rows.clone()), (first, true));
    assert_eq!(now(&node, "u"), json!([2, null, null]));
    assert_eq!(keyed("mode=replace", rows.clone()).0.0, 422);
    assert_eq!(keyed("mode=merge&on_error=quarantine", rows).0.0, 422);
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let node = TestNode::at(NOW);
    node.apply(
        &DEFINITIONS
            .replace("type = \"int64\" }", "type = \"int64\", validate = { not_null = true, max = 5 } }")
            .replace("[[feature_view]]", "[[source]]\nname = \"clicks\"\nkind = \"push\"\nschema = { n = \"int64\" }\n\n[[feature_view]]"),
    );
    let (status, body) = node.post_json("/v1/sources/clicks/events?mode=merge", &json!({ "rows": [] }));
    assert_eq!((status, body["errors"][0]["field"].as_str()), (422, Some("mode")), "{body:#}");
    assert_eq!(send(&node, "mode=upsert", &json!([])).0, 400);
    // What must not be null and is left out needs a value to keep.
    let rows = json!([row("u", 1, json!({ "a": 1 })), row("v", 1, json!({ "b": "x" }))]);
    let (status, body) = send(&node, "mode=merge", &rows);
    assert_eq!(status, 422, "{body:#}");
    assert_eq!(
        (body["errors"][0]["row"].as_u64(), body["errors"][0]["field"].as_str()),
        (Some(1), Some("a"))
    );
    assert!(body["errors"][0]["reason"].as_str().unwrap().contains("no value to keep"), "{body:#}");
    assert_eq!(now(&node, "u"), json!([null, null, null]), "nothing of it is stored");
    // In quarantine it keeps its mode, and what it left out.
    let (status, ack) = send(&node, "mode=merge&on_error=quarantine", &rows);
    assert_eq!(
        (status, ack["accepted"].as_u64(), ack["quarantined"].as_u64()),
        (200, Some(1), Some(1)),
        "{ack:#}"
    );
    let (status, ack) =
        send(&node, "mode=merge&on_error=quarantine", &json!([row("u", 2, json!({ "a": 6 }))]));
    assert_eq!((status, ack["quarantined"].as_u64()), (200, Some(1)), "{ack:#}");
    let kept = node.get("/v1/quarantine?view=profile").1;
    assert_eq!(kept["rows"][1]["raw"], json!({ "user": "u", "event_time": at(2), "a": 6 }));
    merge(&node, json!([row("v", 1, json!({ "a": 4 })), row("u", 1, json!({ "b": "kept" }))]));
    node.apply(
        &DEFINITIONS
            .replace("type = \"int64\" }", "type = \"int64\", validate = { not_null = true, max = 9 } }")
            .replace("[[feature_view]]", "[[source]]\nname = \"clicks\"\nkind = \"push\"\nschema = { n = \"int64\" }\n\n[[feature_view]]"),
    );
    let (_, retried) = node.post_json("/v1/quarantine/retry?view=profile", &json!({}));
    assert_eq!(
        (retried["accepted"].as_u64(), retried["remaining"].as_u64()),
        (Some(2), Some(0)),
        "{retried:#}"
    );
    assert_eq!(now(&node, "v"), json!([4, "x", null]));
    assert_eq!(now(&node, "u"), json!([6, "kept", null]));
}

#[test]
fn rows_of_older_versions_are_kept_in_the_new_types() {
    let node = TestNode::at(NOW);
    node.apply(&DEFINITIONS.replace("\"int64\"", "\"int32\""));
    node.write("profile", json!([row("u", 1, json!({ "a": 7, "b": "x", "c": [1.5] }))]));
    node.apply(
        &DEFINITIONS.replace("{ name = \"b\"", "{ name = \"d\", type = \"float64\" },\n  { name = \"b\""),
    );
    merge(&node, json!([row("u", 2, json!({ "d": 0.5 }))]));
    let read = node.read(&["profile:a", "profile:b", "profile:c", "profile:d"], json!([{ "user": "u" }]));
    assert_eq!(read["values"][0], json!([7, "x", [1.5], 0.5]));
}

#[test]
fn a_view_without_history_merges_what_is_newest() {
    let node = TestNode::at(NOW);
    node.apply(&DEFINITIONS.replace("name = \"profile\"\n", "name = \"profile\"\noffline = false\n"));
    merge(&node, json!([row("u", 5, json!({ "a": 1 })), row("u", 6, json!({ "b": "x" }))]));
    let ack = merge(&node, json!([row("u", 1, json!({ "c": [1.0] })), row("u", 7, json!({ "b": "y" }))]));
    assert_eq!((ack["accepted"].as_u64(), ack["late"].as_u64()), (Some(2), Some(1)));
    // A late row changes nothing there, in either mode.
    assert_eq!(now(&node, "u"), json!([1, "y", null]));
}

#[test]
fn what_is_kept_is_bounded() {
    let node = TestNode::with(NOW, &[("limits.body_bytes", "1MiB")]);
    node.apply(DEFINITIONS);
    let text = "x".repeat(60_000);
    for first in (0..160).step_by(16) {
        let rows: Vec<Json> = (first..first + 16)
            .map(|n| row(&format!("u{n}"), 0, json!({ "a": 1, "b": text, "c": null })))
            .collect();
        node.write("profile", json!(rows));
    }
    let of = |users: std::ops::Range<i32>| {
        users.map(|n| row(&format!("u{n}"), 1, json!({ "a": 2 }))).collect::<Json>()
    };
    let (status, body) = send(&node, "mode=merge", &of(0..160));
    let most = node.running().app().doors.parts.ingest.limits.max_decoded_bytes;
    let expected = if 160 * 60_000 > most { 413 } else { 200 };
    assert_eq!(status, expected, "{most} {body:#}");
    assert_eq!(expected, 413, "{most}: the test needs more rows");
    assert_eq!(now(&node, "u0")[0], 1, "nothing of it is stored");
    assert_eq!(send(&node, "mode=merge", &of(0..16)).0, 200);
    assert_eq!(now(&node, "u0"), json!([2, text, null]));
}

#[test]
fn the_command_line_keeps_what_each_row_leaves_out() {
    let node = node();
    node.write(
        "profile",
        json!([
            row("u", 0, json!({ "a": 1, "b": "x", "c": [1.0] })),
            row("v", 0, json!({ "a": 5, "b": "y", "c": null }))
        ]),
    );
    let dir = tempfile::tempdir().unwrap();
    let ingest = |name: &str, text: String, more: &[&str]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command
            .arg("ingest")
            .arg(path)
            .args(["--server", &format!("http://{}", node.running().address())])
            .args(more);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let merge = ["--view", "profile", "--merge"];
    let lines =
        [row("u", 1, json!({ "a": 2 })), row("v", 1, json!({ "b": null })), row("u", 2, json!({ "b": "z" }))];
    let lines: String = lines.iter().map(|row| format!("{row}\n")).collect();
    let (done, said) = ingest("rows.ndjson", lines, &merge);
    assert!(done, "{said}");
    assert_eq!((now(&node, "u"), now(&node, "v")), (json!([2, "z", [1.0]]), json!([5, null, null])));
    let (done, said) =
        ingest("rows.json", json!({ "rows": [row("u", 3, json!({ "c": [] }))] }).to_string(), &merge);
    assert!(done, "{said}");
    let csv = format!("user,event_time,a\nu,{},3\n", at(4));
    let (done, said) = ingest("rows.csv", csv.clone(), &merge);
    assert!(done, "{said}");
    assert_eq!(now(&node, "u"), json!([3, "z", []]));
    // The same file without it is another write.
    let (done, said) = ingest("rows.csv", csv, &["--view", "profile"]);
    assert!(done, "{said}");
    assert_eq!(now(&node, "u"), json!([3, null, null]));
    assert!(!ingest("rows.ndjson", String::new(), &["--source", "profile", "--merge"]).0);
}

/// Versions of one entity in order of acceptance: time, and values where it is no deletion.
#[derive(Debug, Default)]
struct Naive(BTreeMap<String, Vec<Version>>);

/// Event time, and the features; none for a tombstone.
type Version = (i64, Option<Map<String, Json>>);

impl Naive {
    /// The newest at or before a time, of those accepted so far.
    fn version(&self, user: &str, minute: i64) -> Option<&Map<String, Json>> {
        let versions = self.0.get(user)?.iter().filter(|(time, _)| *time <= minute);
        versions.max_by_key(|(time, _)| *time)?.1.as_ref()
    }

    fn values(&self, user: &str, minute: i64) -> Json {
        let version = self.version(user, minute);
        ["a", "b", "c"].iter().map(|name| version.map_or(Json::Null, |v| v[*name].clone())).collect()
    }

    fn store(&mut self, user: &str, minute: i64, values: Option<Map<String, Json>>) {
        self.0.entry(user.to_owned()).or_default().push((minute, values));
    }

    /// A batch: merged in the order of time, stored in the order of the batch.
    fn batch(&mut self, rows: &[(String, i64, Map<String, Json>)], merged: bool) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|row| rows[*row].1);
        let mut done: Vec<(usize, Map<String, Json>)> = Vec::new();
        for row in order {
            let (user, minute, named) = &rows[row];
            let own = done.iter().rev().find(|(before, _)| rows[*before].0 == *user);
            let stored = self.0.get(user).map_or(&[][..], Vec::as_slice);
            let stored = stored.iter().filter(|(time, _)| time <= minute).max_by_key(|(time, _)| *time);
            let base = match (own, stored) {
                (Some((before, _)), Some((time, values))) if rows[*before].1 < *time => values.as_ref(),
                (Some((_, values)), _) => Some(values),
                (None, stored) => stored.and_then(|(_, values)| values.as_ref()),
            };
            let base = base.filter(|_| merged).cloned().unwrap_or_default();
            let value = |name: &str| named.get(name).or(base.get(name)).cloned().unwrap_or(Json::Null);
            let values = ["a", "b", "c"].map(|name| (name.to_owned(), value(name))).into_iter().collect();
            done.push((row, values));
        }
        done.sort_by_key(|(row, _)| *row);
        for (row, values) in done {
            self.store(&rows[row].0, rows[row].1, Some(values));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Rows { rows: Vec<(String, i64, Map<String, Json>)>, merged: bool, lines: bool },
    Delete(String, i64),
    Seal,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let user = || prop_oneof![Just("u".to_owned()), Just("v".to_owned())];
    let feature = prop_oneof![
        (0..100i64).prop_map(|n| ("a", json!(n))),
        "[a-z]{0,12}".prop_map(|text| ("b", json!(text))),
        proptest::collection::vec(0..4i8, 0..4)
            .prop_map(|items| ("c", json!(items.iter().map(|i| f64::from(*i)).collect::<Vec<_>>()))),
        (0..3usize).prop_map(|i| (["a", "b", "c"][i], Json::Null)),
    ];
    let features = proptest::collection::vec(feature, 0..4).prop_map(|pairs| {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>()
    });
    let rows = proptest::collection::vec((user(), 0..20i64, features), 1..5);
    prop_oneof![
        12 => (rows, prop::bool::weighted(0.8), any::<bool>()).prop_map(|(rows, merged, lines)| Step::Rows { rows, merged, lines }),
        2 => (user(), 0..20i64).prop_map(|(user, minute)| Step::Delete(user, minute)),
        1 => Just(Step::Seal),
        1 => Just(Step::Restart),
    ]
}

fn training(node: &TestNode, users: &[&str]) -> Vec<Json> {
    let mut spine = String::new();
    for user in users {
        (0..20)
            .for_each(|minute| spine += &format!("{}\n", json!({ "user": user, "event_time": at(minute) })));
    }
    let path = "/v1/training-sets?features=profile&full_feature_names=false";
    let request = node.post(path).header("Content-Type", NDJSON).header("Accept", NDJSON).body(spine);
    let response = request.send().unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    rows.map(|row| json!([row["a"], row["b"], row["c"]])).collect()
}

#[test]
fn merges_equal_a_naive_computation_in_both_stores() {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &[7; 32]),
    );
    for _ in 0..4 {
        let steps = proptest::collection::vec(step(), 40).new_tree(&mut runner).unwrap().current();
        let (mut node, mut naive, mut hour) = (node(), Naive::default(), 12);
        for (number, step) in steps.into_iter().enumerate() {
            match &step {
                Step::Rows { rows, merged, lines } => {
                    let sent: Vec<Json> =
                        rows.iter().map(|(user, minute, named)| row(user, *minute, json!(named))).collect();
                    let path = format!(
                        "/v1/feature-views/profile/rows?mode={}",
                        if *merged { "merge" } else { "replace" }
                    );
                    let (status, ack) = match lines {
                        true => {
                            let lines: Vec<String> = sent.iter().map(Json::to_string).collect();
                            node.post_bytes(&path, NDJSON, lines.join("\n"))
                        }
                        false => node.post_json(&path, &json!({ "rows": sent })),
                    };
                    assert_eq!(status, 200, "{ack:#}");
                    let incomplete = rows.iter().filter(|(.., named)| named.len() < 3).count() as u64;
                    assert_eq!(ack["incomplete"].as_u64(), Some(incomplete));
                    naive.batch(rows, *merged);
                }
                Step::Delete(user, minute) => {
                    let gone = json!({ "entities": [{ "user": user }], "event_time": at(*minute) });
                    assert_eq!(node.post_json("/v1/feature-views/profile/delete", &gone).0, 200);
                    naive.store(user, *minute, None);
                }
                Step::Seal => {
                    hour += 1;
                    node.set_time(&format!("2024-05-01T{:02}:00:00Z", hour.min(23)));
                    node.wait_until_sealed("profile");
                }
                Step::Restart => node.restart(),
            }
            for user in ["u", "v"] {
                assert_eq!(now(&node, user), naive.values(user, 59), "{number} {step:?}");
            }
        }
        let users = ["u", "v"];
        let expected: Vec<Json> =
            users.iter().flat_map(|user| (0..20).map(|minute| naive.values(user, minute))).collect();
        assert_eq!(training(&node, &users), expected);
        for minute in [0, 7, 13, 19] {
            assert_eq!(as_of(&node, "u", minute), naive.values("u", minute));
        }
    }
}

/// Each writer merges its own feature, at random times: whatever order the shard took them in, each version has its writer's
/// value and keeps what was there before it.
#[cfg(feature = "sql")]
#[test]
fn concurrent_merges_lose_nothing() {
    let node = node();
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let node = &node;
            scope.spawn(move || {
                for n in 0..40u64 {
                    let minute = ((n * 37 + writer * 11) % 19).cast_signed();
                    let feature = ["a", "b"][writer as usize % 2];
                    let value = if feature == "a" {
                        json!(1000 * writer + n)
                    } else {
                        json!(format!("{writer}-{n}"))
                    };
                    merge(node, json!([row("u", minute, json!({ feature: value }))]));
                }
            });
        }
    });
    let query = "SELECT a, b, event_time, _seq FROM profile ORDER BY _seq";
    let (status, body) = node.post_json("/v1/sql", &json!({ "query": query }));
    assert_eq!(status, 200, "{body:#}");
    let rows = body["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 160);
    let mut kept = 0;
    for (seq, row) in rows.iter().enumerate() {
        let time = |row: &Json| row["event_time"].as_str().unwrap().to_owned();
        let base =
            rows[..seq].iter().filter(|before| time(before) <= time(row)).max_by_key(|before| time(before));
        let (a, b) = base.map_or((Json::Null, Json::Null), |base| (base["a"].clone(), base["b"].clone()));
        // One of the two is its own, the other as before.
        assert!((row["a"] == a) != (row["b"] == b), "{row} after {base:?}");
        kept += usize::from(base.is_some());
    }
    assert!(kept > 100, "{kept}");
    assert_eq!(
        now(&node, "u")[0],
        rows.iter().max_by_key(|row| row["event_time"].as_str().map(str::to_owned)).unwrap()["a"]
    );
}
