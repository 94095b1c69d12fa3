//! What `/v1/explain` names, against a naive account of which rows and events count.

use serde_json::{Value as Json, json};

use crate::support::TestNode;

const DEFINITIONS: &str = r#"
[[entity]]
name = "aircraft"
join_keys = [{ name = "tailnum", type = "string" }]

[[feature_view]]
name = "plane"
entities = ["aircraft"]
ttl = "3h"
feature = [{ name = "seats", type = "int64" }, { name = "engine", type = "string", default = "unknown" }]

[[source]]
name = "landings"
kind = "push"
event_id = "flight_id"
schema = { tailnum = "string", arr_delay = "float64", flight_id = "string" }

[[stream_feature_view]]
name = "delays"
entities = ["aircraft"]
source = "landings"
aggregation = [
  { name = "landings", function = "count", window = "2h", mode = "exact" },
  { name = "late", function = "count", window = "7h", filter = "arr_delay > 15" },
  { name = "mean", function = "mean", column = "arr_delay", window = "1h", mode = "tumbling" },
  { name = "last", function = "last", column = "arr_delay", window = "lifetime" },
]

[[feature_service]]
name = "delay"
features = ["plane", "delays"]
"#;

const MINUTE: i64 = 60_000_000;
/// 2013-06-01T00:00:00Z.
const START: i64 = 1_370_044_800_000_000;

fn time(minute: i64) -> String {
    larder::model::Timestamp::from_micros(START + minute * MINUTE).to_string()
}

/// A row or an event; its place in its list is its seq.
#[derive(Clone)]
struct Version {
    tailnum: String,
    minute: i64,
    accepted: i64,
    value: Option<i64>,
    deleted: bool,
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % end
    }
}

struct Filled {
    node: TestNode,
    rows: Vec<Version>,
    events: Vec<Version>,
    dice: Dice,
}

/// 300 rows and 400 events of six aircraft over a day, most in time, some late, some deletions, some sent twice.
fn filled() -> Filled {
    let node = TestNode::with(&time(0), &[("offline.seal_rows", "120"), ("offline.compact_segments", "2")]);
    node.apply(DEFINITIONS);
    let mut dice = Dice(20_130_601);
    let (mut rows, mut events) = (Vec::new(), Vec::new());
    let mut now = 0;
    for i in 0..300 {
        now += dice.below(10);
        node.set_time(&time(now));
        let tailnum = format!("N{}", dice.below(6));
        let minute = now - [0, 0, 1, 90][dice.below(4) as usize];
        let deleted = i % 25 == 24;
        let value = (dice.below(5) > 0 && !deleted).then(|| dice.below(300));
        if deleted {
            let body = json!({ "entities": [{ "tailnum": tailnum }], "event_time": time(minute) });
            assert_eq!(node.post_json("/v1/feature-views/plane/delete", &body).0, 200);
        } else {
            node.write("plane", json!([{ "tailnum": tailnum, "event_time": time(minute), "seats": value }]));
        }
        rows.push(Version { tailnum, minute, accepted: now, value, deleted });
        for _ in 0..1 + i % 2 {
            let tailnum = format!("N{}", dice.below(6));
            let minute = now - [0, 2, 5, 200][dice.below(4) as usize];
            let value = (dice.below(6) > 0).then(|| dice.below(60) - 10);
            let event = json!({ "tailnum": tailnum, "event_time": time(minute), "arr_delay": value,
                "flight_id": events.len().to_string() });
            // Every seventh comes twice, and counts once.
            let times = 1 + usize::from(events.len() % 7 == 0);
            let body = json!({ "rows": vec![event; times] });
            assert_eq!(node.post_json("/v1/sources/landings/events", &body).0, 200);
            events.push(Version { tailnum, minute, accepted: now, value, deleted: false });
        }
    }
    Filled { node, rows, events, dice }
}

fn explain(node: &TestNode, body: &Json) -> Json {
    let (status, answer) = node.post_json("/v1/explain", body);
    assert_eq!(status, 200, "{answer:#}");
    answer
}

fn value<'a>(answer: &'a Json, feature: &str) -> &'a Json {
    let values = answer["values"].as_array().unwrap();
    values
        .iter()
        .find(|value| value["feature"] == feature)
        .unwrap_or_else(|| panic!("no {feature} in {answer:#}"))
}

/// The version that counts at `t`, as known at `k`: its seq.
fn newest(rows: &[Version], tailnum: &str, t: i64, k: i64) -> Option<usize> {
    let seen = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.tailnum == tailnum && row.minute <= t && row.accepted <= k);
    seen.max_by_key(|(seq, row)| (row.minute, *seq)).map(|(seq, _)| seq)
}

/// Seqs of the events in a window, in their order.
fn within(
    events: &[Version],
    tailnum: &str,
    (start, end): (i64, i64),
    k: i64,
    counts: impl Fn(&Version) -> bool,
) -> Vec<usize> {
    let mut seen: Vec<usize> = (0..events.len())
        .filter(|&seq| {
            let event = &events[seq];
            event.tailnum == tailnum
                && start <= event.minute
                && event.minute < end
                && event.accepted <= k
                && counts(event)
        })
        .collect();
    seen.sort_by_key(|&seq| (events[seq].minute, seq));
    seen
}

fn check(filled: &Filled, answer: &Json, tailnum: &str, t: i64, k: i64) {
    let Filled { rows, events, .. } = filled;
    let seats = value(answer, "plane:seats");
    let seen = &seats["from_version"]["version"];
    let expected = newest(rows, tailnum, t, k);
    assert_eq!(
        seen["seq"].as_u64().map(|seq| seq as usize),
        expected,
        "{tailnum} at {}: {answer:#}",
        time(t)
    );
    let status = match expected.map(|seq| &rows[seq]) {
        None => "NOT_FOUND",
        Some(row) if row.deleted => "NOT_FOUND",
        Some(row) if t - row.minute > 180 => "OUTSIDE_MAX_AGE",
        Some(row) if row.value.is_none() => "NULL_VALUE",
        Some(_) => "PRESENT",
    };
    assert_eq!(seats["status"], status, "{answer:#}");
    if let Some(row) = expected.map(|seq| &rows[seq]) {
        assert_eq!(seen["event_time"], time(row.minute));
        assert_eq!(seen["accepted_at"], time(row.accepted));
        assert_eq!(seen["deleted"], row.deleted);
        let version = &seats["from_version"];
        assert_eq!(version["age_ms"], (t - row.minute) * 60_000);
        assert_eq!(version["within_ttl"], t - row.minute <= 180);
        assert_eq!(version["ttl"], "3h");
    }
    let engine = value(answer, "plane:engine");
    assert_eq!((&engine["value"], &engine["status"]), (&json!("unknown"), &json!("DEFAULTED")));
    assert!(engine["reason"].as_str().unwrap().starts_with("the default stands in: "));

    let hour = t.div_euclid(60) * 60;
    // Below 12 h a sawtooth begins at a multiple of five minutes.
    let sawtooth = (t - 420).div_euclid(5) * 5;
    let expected = [
        ("delays:landings", (t - 120, t), within(events, tailnum, (t - 120, t), k, |_| true)),
        (
            "delays:late",
            (sawtooth, t),
            within(events, tailnum, (sawtooth, t), k, |e| e.value.is_some_and(|v| v > 15)),
        ),
        (
            "delays:mean",
            (hour - 60, hour),
            within(events, tailnum, (hour - 60, hour), k, |e| e.value.is_some()),
        ),
        ("delays:last", (i64::MIN, t), within(events, tailnum, (i64::MIN, t), k, |e| e.value.is_some())),
    ];
    for (feature, (start, end), seqs) in expected {
        let found = value(answer, feature);
        let window = &found["from_window"];
        assert_eq!(window["end"], time(end), "{found:#}");
        assert_eq!(
            window["start"],
            if start == i64::MIN { Json::Null } else { json!(time(start)) },
            "{found:#}"
        );
        assert_eq!(window["events_total"], seqs.len(), "{feature} of {tailnum} at {}: {found:#}", time(t));
        let listed: Vec<Json> = seqs[seqs.len().saturating_sub(100)..]
            .iter()
            .map(|&seq| {
                let event = &events[seq];
                let value = if matches!(feature, "delays:mean" | "delays:last") { json!(event.value.map(|v| v as f64)) } else { Json::Null };
                json!({ "event_time": time(event.minute), "seq": seq, "accepted_at": time(event.accepted), "value": value })
            })
            .collect();
        assert_eq!(window["events"], json!(listed), "{feature} of {tailnum} at {}", time(t));
    }
}

#[test]
fn random_values_of_the_past_rest_on_the_rows_and_events_of_a_naive_account() {
    let mut filled = filled();
    let end = filled.rows.last().unwrap().accepted;
    for round in 0..40 {
        let tailnum = format!("N{}", filled.dice.below(7));
        let t = filled.dice.below(end + 100);
        let k = if round % 2 == 0 { i64::MAX } else { filled.dice.below(end) };
        let mut body =
            json!({ "feature_service": "delay", "entities": [{ "tailnum": tailnum }], "as_of": time(t) });
        if k != i64::MAX {
            body["known_at"] = json!(time(k));
        }
        let answer = explain(&filled.node, &body);
        check(&filled, &answer, &tailnum, t, k);
        let by = |feature: &str, key: &str| value(&answer, feature)[key]["answered_by"].clone();
        assert_eq!(
            (by("plane:seats", "from_version"), by("delays:late", "from_window")),
            (json!("history"), json!("history"))
        );
        // It explains the read that there is.
        let read = filled.node.post_json("/v1/online-features", &{
            let mut body = body.clone();
            body["include"] = json!(["status"]);
            body
        });
        let values = answer["values"].as_array().unwrap();
        let column = |key: &str| Json::Array(values.iter().map(|value| value[key].clone()).collect());
        assert_eq!((&read.1["values"][0], &read.1["status"][0]), (&column("value"), &column("status")));
    }
}

#[test]
fn values_of_now_are_explained_by_the_row_and_the_state_that_serve() {
    let filled = filled();
    let end = filled.rows.last().unwrap().accepted + 1;
    filled.node.set_time(&time(end));
    for tailnum in ["N0", "N1", "N2", "N3", "N4", "N5", "N6"] {
        let body = json!({ "feature_service": "delay", "entities": [{ "tailnum": tailnum }] });
        let answer = explain(&filled.node, &body);
        check(&filled, &answer, tailnum, end, i64::MAX);
        let seats = &value(&answer, "plane:seats")["from_version"];
        let late = &value(&answer, "delays:late")["from_window"];
        assert_eq!(
            (&seats["answered_by"], &late["answered_by"]),
            (&json!("online"), &json!("state")),
            "{answer:#}"
        );
        if tailnum != "N6" {
            assert_eq!(seats["cache_hit"], true, "what was just written is in the cache: {seats:#}");
            assert_eq!(seats["version"]["schema_version"], 1);
            assert_eq!(late["state"]["generation"], 1);
            assert!(late["state"]["head_bytes"].as_u64().unwrap() > 0 || late["state"]["tiles"] == true);
        }
    }
    // A row from the future hides nothing: history answers, and the explanation says why.
    filled.node.write("plane", json!([{ "tailnum": "N0", "event_time": time(end + 60), "seats": 1 }]));
    let body = json!({ "features": ["plane:seats"], "entities": [{ "tailnum": "N0" }] });
    let answer = explain(&filled.node, &body);
    let version = &value(&answer, "plane:seats")["from_version"];
    assert_eq!(
        (&version["answered_by"], &version["yet_to_come"]),
        (&json!("history"), &json!(time(end + 60)))
    );
    let expected = newest(&filled.rows, "N0", end, i64::MAX);
    assert_eq!(version["version"]["seq"].as_u64().map(|seq| seq as usize), expected);
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let node = TestNode::at(&time(0));
    node.apply(DEFINITIONS);
    let ask = |body: Json| node.post_json("/v1/explain", &body).0;
    assert_eq!(ask(json!({ "features": ["plane"], "entities": [] })), 400);
    assert_eq!(
        ask(json!({ "features": ["plane"], "entities": [{ "tailnum": "a" }, { "tailnum": "b" }] })),
        400
    );
    assert_eq!(ask(json!({ "features": ["plane"], "entities": [{}] })), 422);
    assert_eq!(ask(json!({ "features": ["none"], "entities": [{ "tailnum": "a" }] })), 404);
    assert_eq!(ask(json!({ "features": ["plane"], "entities": [{ "tailnum": "a" }], "include": [] })), 400);
    let nobody = json!({ "feature_service": "delay", "entities": [{ "tailnum": null }] });
    let answer = explain(&node, &nobody);
    assert_eq!(value(&answer, "plane:seats")["status"], "NOT_FOUND");
    assert_eq!(value(&answer, "delays:landings")["from_window"]["events_total"], 0);
}

const ON_DEMAND: &str = r#"
[[on_demand_feature_view]]
name = "context"
request = { distance = "float64" }
uses = ["plane:seats", "delays:landings"]
feature = [
  { name = "seat_miles", type = "float64", expression = "seats * distance" },
  { name = "per_landing", type = "float64", expression = "seat_miles / landings" },
]
"#;

#[test]
fn what_is_computed_on_demand_shows_its_expression_and_what_went_in() {
    let node = TestNode::at(&time(60));
    node.apply(&format!("{DEFINITIONS}{ON_DEMAND}"));
    node.write("plane", json!([{ "tailnum": "N1", "event_time": time(30), "seats": 100 }]));
    let body =
        json!({ "features": ["context"], "entities": [{ "tailnum": "N1" }], "request": { "distance": 2.5 } });
    let answer = explain(&node, &body);
    let miles = value(&answer, "context:seat_miles");
    assert_eq!((&miles["value"], &miles["status"]), (&json!(250.0), &json!("PRESENT")), "{answer:#}");
    let inputs = json!([
        { "column": "seats", "from": "plane:seats", "value": 100 },
        { "column": "distance", "from": "request", "value": 2.5 },
    ]);
    assert_eq!(miles["computed"], json!({ "expression": "seats * distance", "inputs": inputs }));
    // No landing: a division by zero.
    let failed = value(&answer, "context:per_landing");
    assert_eq!((&failed["value"], &failed["status"]), (&Json::Null, &json!("ERROR")));
    assert_eq!(failed["computed"]["inputs"][0]["from"], "context:seat_miles");
    // What they rest on is explained as well.
    assert_eq!(value(&answer, "plane:seats")["from_version"]["version"]["seq"], 0);
    assert_eq!(value(&answer, "delays:landings")["from_window"]["events_total"], 0);
}
