//! The leak guard and splits, against a naive account of what was there when.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::support::{CSV, NDJSON, TestNode};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
feature = [{ name = "n", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
availability_lag = "30m"
schema = { user = "int64", amount = "float64" }

[[stream_feature_view]]
name = "activity"
entities = ["user"]
source = "clicks"
aggregation = [
  { name = "n", function = "count", window = "2h", mode = "exact" },
  { name = "big", function = "count", window = "lifetime", filter = "amount > 50" },
  { name = "last", function = "last", column = "amount", window = "lifetime" },
]
"#;

const DAY: &str = "2024-05-01";

fn time(minute: i64) -> String {
    format!("{DAY}T{:02}:{:02}:00Z", minute / 60, minute % 60)
}

/// Of a row or an event: user, when (minutes), accepted when, value.
#[derive(Clone, Copy)]
struct Thing {
    user: i64,
    time: i64,
    accepted: i64,
    value: i64,
}

/// Most come in time, some late, some long after.
fn things(seed: i64) -> Vec<Thing> {
    let mut things: Vec<Thing> = (0..120)
        .map(|i| {
            let time = (i * 37 + seed) % 600;
            let delay = [0, 0, 0, 1, 45, 300][((i * 7 + seed) % 6) as usize];
            Thing { user: i % 4, time, accepted: time + delay, value: (i * 31 + seed) % 100 }
        })
        .collect();
    things.sort_by_key(|thing| thing.accepted);
    things
}

/// Questions: user, minute.
fn spine() -> Vec<(i64, i64)> {
    (0..150).map(|i| (i * 3 % 5, (i * 53) % 660)).collect()
}

fn filled() -> (TestNode, Vec<Thing>, Vec<Thing>) {
    let node = TestNode::with(&format!("{DAY}T00:00:00Z"), &[("offline.seal_rows", "50")]);
    node.apply(DEFINITIONS);
    let (rows, events) = (things(0), things(11));
    for (row, event) in rows.iter().zip(&events) {
        node.set_time(&time(row.accepted));
        node.write("profile", json!([{ "user": row.user, "event_time": time(row.time), "n": row.value }]));
        node.set_time(&time(event.accepted));
        let event = json!({ "user": event.user, "event_time": time(event.time), "amount": event.value });
        assert_eq!(node.post_json("/v1/sources/clicks/events", &json!({ "rows": [event] })).0, 200);
    }
    (node, rows, events)
}

/// Acceptance as larder has it: its time never goes back, even where the clock does.
fn accepted(things: &[Thing]) -> Vec<Thing> {
    let mut latest = i64::MIN;
    let later = |thing: &Thing| {
        latest = latest.max(thing.accepted);
        Thing { accepted: latest, ..*thing }
    };
    things.iter().map(later).collect()
}

struct Answer {
    rows: Vec<Json>,
    leaks: Json,
}

fn ask(node: &TestNode, guard: &str) -> Answer {
    let mut body = "user,event_time\n".to_owned();
    spine().iter().for_each(|(user, minute)| body.push_str(&format!("{user},{}\n", time(*minute))));
    let url = format!("/v1/training-sets?features=profile,activity&leak_guard={guard}");
    let request = node.post(&url).header("Content-Type", CSV).header("Accept", NDJSON).body(body);
    let response = request.send().unwrap();
    assert_eq!(response.status(), 200);
    let header = response.headers().get("larder-leaks").map(|it| it.to_str().unwrap().to_owned());
    let rows = response.text().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Answer { rows, leaks: header.map_or(Json::Null, |text| serde_json::from_str(&text).unwrap()) }
}

#[test]
fn the_guard_counts_and_leaves_out_what_a_naive_account_does() {
    let (node, rows, events) = filled();
    let (rows, events) = (accepted(&rows), accepted(&events));
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut expected: BTreeMap<bool, Vec<Json>> = BTreeMap::new();
    for (user, t) in spine() {
        for exclude in [false, true] {
            let there = |thing: &&Thing| thing.user == user && (!exclude || thing.accepted <= t);
            let newest = rows
                .iter()
                .enumerate()
                .filter(|(_, row)| there(row) && row.time <= t)
                .max_by_key(|(seq, row)| (row.time, *seq))
                .map(|(_, row)| *row);
            let happened = |start: i64, lag: i64| {
                let mut seen: Vec<(usize, Thing)> = events
                    .iter()
                    .enumerate()
                    .filter(|(_, e)| there(e) && e.time >= start && e.time < t && e.time + lag <= t)
                    .map(|(seq, event)| (seq, *event))
                    .collect();
                seen.sort_by_key(|(seq, event)| (event.time, *seq));
                seen.into_iter().map(|(_, event)| event).collect::<Vec<Thing>>()
            };
            let big = |events: Vec<Thing>| events.into_iter().filter(|e| e.value > 50).collect::<Vec<_>>();
            let (n, all) = (happened(t - 120, 30), happened(i64::MIN, 30));
            if !exclude {
                let mut count = |feature, lag: bool, later: bool| {
                    let (lagged, late) = counts.entry(feature).or_default();
                    *lagged += u64::from(lag);
                    *late += u64::from(later);
                };
                let late = |events: &[Thing]| events.iter().any(|event| event.accepted > t);
                count("profile:n", false, newest.is_some_and(|row| row.accepted > t));
                count("activity:n", n.len() < happened(t - 120, 0).len(), late(&n));
                let (large, unlagged) = (big(all.clone()), big(happened(i64::MIN, 0)));
                count("activity:big", large.len() < unlagged.len(), late(&large));
                count("activity:last", all.len() < happened(i64::MIN, 0).len(), late(&all));
            }
            expected.entry(exclude).or_default().push(json!({
                "user": user, "event_time": time(t), "profile__n": newest.map(|row| row.value),
                "activity__n": n.len(), "activity__big": big(all.clone()).len(),
                "activity__last": all.last().map(|event| event.value as f64),
            }));
        }
    }
    let header = |counts: &BTreeMap<&str, (u64, u64)>| {
        let found = counts.iter().filter(|(_, (lag, later))| *lag > 0 || *later > 0);
        Json::Object(
            found
                .map(|(name, (lag, later))| {
                    ((*name).to_owned(), json!({ "within_lag": lag, "accepted_later": later }))
                })
                .collect(),
        )
    };
    assert!(counts.values().all(|(_, later)| *later > 5), "the data are too tame: {counts:?}");
    assert!(counts["activity:n"].0 > 5, "the data are too tame: {counts:?}");
    assert_ne!(expected[&false], expected[&true]);

    let off = ask(&node, "off");
    assert_eq!((off.rows, off.leaks), (expected[&false].clone(), Json::Null));
    let report = ask(&node, "report");
    assert_eq!(report.rows, expected[&false]);
    assert_eq!(report.leaks, header(&counts));
    let exclude = ask(&node, "exclude");
    assert_eq!(exclude.rows, expected[&true]);
    assert_eq!(exclude.leaks, header(&counts), "it counts what would have been used");
    let lag = ask(&node, "lag");
    assert_eq!(lag.rows, expected[&false]);
    counts.values_mut().for_each(|(_, later)| *later = 0);
    assert_eq!(lag.leaks, header(&counts));
}

#[test]
fn a_named_set_has_the_counts_in_its_manifest_and_its_parts_in_a_column() {
    let (node, ..) = filled();
    let rows: Vec<Json> =
        spine().iter().map(|(user, t)| json!({ "user": user, "event_time": time(*t) })).collect();
    let body = json!({
        "spine": { "inline": rows }, "features": ["profile", "activity:n"], "name": "guarded", "format": "ndjson",
        "leak_guard": "exclude", "split": { "hash": { "key": "user", "fractions": { "train": 0.5, "test": 0.5 } } },
    });
    let (status, mut job) = node.post_json("/v1/training-sets/jobs", &body);
    assert_eq!(status, 202, "{job:#}");
    while job["state"] == "queued" || job["state"] == "running" {
        std::thread::sleep(std::time::Duration::from_millis(5));
        job = node.get(&format!("/v1/training-sets/jobs/{}", job["id"].as_str().unwrap())).1;
    }
    let manifest = &job["manifest"];
    assert_eq!(manifest["leak_guard"], "exclude", "{job:#}");
    let leaks = ask(&node, "report").leaks;
    for leak in manifest["leaks"].as_array().unwrap() {
        let counted = &leaks[leak["feature"].as_str().unwrap()];
        assert_eq!(leak["accepted_later"], counted["accepted_later"], "{leak:#}");
        assert_eq!(leak["within_lag"], counted["within_lag"], "{leak:#}");
    }
    assert_eq!(manifest["leaks"].as_array().unwrap().len(), 2);
    let response = node.request(reqwest::Method::GET, "/v1/training-sets/guarded/data").send().unwrap();
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    for line in response.text().unwrap().lines() {
        let row: Json = serde_json::from_str(line).unwrap();
        let part = row["split"].as_str().unwrap().to_owned();
        let before = parts.insert(row["user"].to_string(), part.clone());
        assert!(before.is_none_or(|before| before == part), "a user is in two parts");
    }
    assert_eq!(parts.len(), 5);
    let wrong = json!({ "spine": { "inline": [] }, "features": ["profile"], "split": { "hash": { "key": "none", "fractions": { "a": 1.0 } } } });
    assert_eq!(node.post_json("/v1/training-sets/jobs", &wrong).0, 422);
    let (status, problem) = node.post_bytes(
        "/v1/training-sets?features=profile&split=%7B%22time%22%3A%7B%7D%7D",
        CSV,
        "user,event_time\n1,2024-05-01T00:00:00Z\n",
    );
    assert_eq!(status, 422, "{problem:#}");
}
