//! Batch feature views: rows that a query computes on a schedule.

use std::{collections::BTreeMap, time::Duration};

use larder::model::Timestamp;
use serde_json::{Value as Json, json};

use crate::support::TestNode;

const NOW: &str = "2024-05-01T12:00:00Z";
const BASE: &str = r#"
[[entity]]
name = "route"
join_keys = [{ name = "origin", type = "string" }, { name = "dest", type = "string" }]

[[source]]
name = "landings"
kind = "push"
event_time = "event_time"
availability_lag = "10m"
schema = { origin = "string", dest = "string", air_time = "float64" }

[[feature_view]]
name = "distances"
entities = ["route"]
feature = [{ name = "miles", type = "float64" }]
"#;
const STATS: &str = r#"
[[batch_feature_view]]
name = "route_stats"
entities = ["route"]
schedule = "1d"
ttl = "30d"
sql = """
SELECT origin, dest, $as_of AS event_time, avg(air_time) AS air_time_mean, count(*) AS landings
FROM landings GROUP BY origin, dest"""
feature = [{ name = "air_time_mean", type = "float64" }, { name = "landings", type = "int64" }]
"#;

fn micros(text: &str) -> i64 {
    Timestamp::parse(text).unwrap().micros()
}

fn runs(node: &TestNode, view: &str) -> Json {
    let (status, body) = node.get(&format!("/v1/feature-views/{view}/materialize"));
    assert_eq!(status, 200, "{body:#}");
    body
}

/// Waits for what the runs of a view come to.
#[track_caller]
fn wait(node: &TestNode, view: &str, until: impl Fn(&Json) -> bool) -> Json {
    for _ in 0..1200 {
        let now = runs(node, view);
        if until(&now) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{:#}", runs(node, view));
}

fn is_idle(now: &Json) -> bool {
    now["state"] == "idle" && now["runs"].as_array().is_some_and(|runs| !runs.is_empty())
}

fn done(count: usize) -> impl Fn(&Json) -> bool {
    move |now| {
        let runs = now["runs"].as_array().unwrap();
        runs.len() == count && runs.iter().all(|run| run["state"] == "done")
    }
}

fn materialize(node: &TestNode, view: &str, body: &Json) -> Json {
    let (status, body) = node.post_json(&format!("/v1/feature-views/{view}/materialize"), body);
    assert_eq!(status, 202, "{body:#}");
    body
}

fn send(node: &TestNode, events: &[(&str, &str, String, Option<f64>)]) {
    let rows: Vec<Json> = events
        .iter()
        .map(|(origin, dest, at, air)| json!({ "origin": origin, "dest": dest, "event_time": at, "air_time": air }))
        .collect();
    let (status, body) = node.post_json("/v1/sources/landings/events", &json!({ "rows": rows }));
    assert_eq!(status, 200, "{body:#}");
}

fn query(node: &TestNode, text: &str) -> Vec<Json> {
    let (status, body) = node.post_json("/v1/sql", &json!({ "query": text }));
    assert_eq!(status, 200, "{body:#}");
    body["rows"].as_array().unwrap().clone()
}

type Events = Vec<(&'static str, &'static str, String, Option<f64>)>;

/// Landings of twelve days, some with no time in the air.
fn events() -> Events {
    let (origins, dests) = (["EWR", "JFK"], ["LAX", "SFO", "BOS"]);
    (0..300u32)
        .map(|n| {
            let at = format!("2024-04-{:02}T{:02}:{:02}:00Z", 15 + n / 25, n % 24, n * 7 % 60);
            (
                origins[n as usize % 2],
                dests[(n / 2) as usize % 3],
                at,
                (n % 13 != 0).then_some(f64::from(n * 31 % 97)),
            )
        })
        .collect()
}

/// Per route the mean and the count of what was known at `moment`, ten minutes after it happened.
fn naive(events: &Events, moment: i64) -> BTreeMap<(String, String), (Option<f64>, u64)> {
    let mut sums: BTreeMap<(String, String), (f64, u64, u64)> = BTreeMap::new();
    for (origin, dest, at, air) in events {
        if micros(at) + 600_000_000 <= moment {
            let sum = sums.entry(((*origin).to_owned(), (*dest).to_owned())).or_default();
            sum.2 += 1;
            if let Some(air) = air {
                (sum.0, sum.1) = (sum.0 + air, sum.1 + 1);
            }
        }
    }
    let mean = |(sum, n, all): (f64, u64, u64)| ((n > 0).then(|| sum / n as f64), all);
    sums.into_iter().map(|(route, sum)| (route, mean(sum))).collect()
}

/// All rows of the view, oldest version first, by moment.
fn stored(node: &TestNode) -> BTreeMap<i64, Vec<Json>> {
    let rows = query(node, "SELECT * FROM route_stats ORDER BY _seq");
    let mut stored: BTreeMap<i64, Vec<Json>> = BTreeMap::new();
    for row in rows {
        stored.entry(micros(row["event_time"].as_str().unwrap())).or_default().push(row);
    }
    stored
}

#[track_caller]
fn check(rows: &[Json], expected: &BTreeMap<(String, String), (Option<f64>, u64)>) {
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for row in rows {
        let route = (row["origin"].as_str().unwrap().to_owned(), row["dest"].as_str().unwrap().to_owned());
        let (mean, landings) = expected[&route];
        assert_eq!(row["landings"], json!(landings));
        assert!(match mean {
            None => row["air_time_mean"].is_null(),
            Some(mean) => (row["air_time_mean"].as_f64().unwrap() - mean).abs() < 1e-9,
        });
    }
}

#[test]
fn runs_come_with_the_clock() {
    let node = TestNode::at(NOW);
    node.apply(BASE);
    let events = events();
    send(&node, &events);
    node.apply(&format!("{BASE}{STATS}"));
    // The moment that was due last comes at once.
    let first = wait(&node, "route_stats", is_idle);
    assert_eq!(first["runs"][0]["cause"], "schedule");
    assert_eq!(micros(first["runs"][0]["moment"].as_str().unwrap()), micros("2024-05-01T00:00:00Z"));
    assert_eq!(micros(first["next"].as_str().unwrap()), micros("2024-05-02T00:00:00Z"));
    assert_eq!(first["runs"][0]["rows"], 6);
    check(&stored(&node)[&micros("2024-05-01T00:00:00Z")], &naive(&events, micros("2024-05-01T00:00:00Z")));
    // Served, with its age at the moment of the run.
    let read = node.read(
        &["route_stats:landings"],
        json!([{ "origin": "EWR", "dest": "LAX" }, { "origin": "X", "dest": "Y" }]),
    );
    assert_eq!(read["status"], json!([["PRESENT"], ["NOT_FOUND"]]));
    assert_eq!(read["values"][0][0], 50);

    send(
        &node,
        &[
            ("EWR", "LAX", "2024-05-01T23:45:00Z".to_owned(), Some(1.0)),
            ("EWR", "LAX", "2024-05-01T23:55:00Z".to_owned(), Some(1.0)),
        ],
    );
    node.set_time("2024-05-02T00:00:00Z");
    wait(&node, "route_stats", done(2));
    // Of the two the later one was not yet available.
    assert_eq!(
        node.read(&["route_stats:landings"], json!([{ "origin": "EWR", "dest": "LAX" }]))["values"],
        json!([[51]])
    );
    // Of moments that were missed, the last.
    node.set_time("2024-05-09T13:00:00Z");
    let third = wait(&node, "route_stats", done(3));
    assert_eq!(micros(third["runs"][0]["moment"].as_str().unwrap()), micros("2024-05-09T00:00:00Z"));
    // Training joins see each version from its moment on.
    let spine = "origin,dest,event_time\nEWR,LAX,2024-04-30T23:59:59Z\nEWR,LAX,2024-05-01T00:00:00Z\nEWR,LAX,2024-05-03T00:00:00Z\n";
    let set = node
        .post("/v1/training-sets?features=route_stats:landings")
        .header("Content-Type", "text/csv")
        .header("Accept", "text/csv");
    let set = set.body(spine).send().unwrap().text().unwrap();
    let last: Vec<&str> = set.lines().skip(1).map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(last, ["", "50", "51"]);
    let metrics = node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap();
    assert!(metrics.contains("larder_runs_total{view=\"route_stats\",result=\"done\"} "), "{metrics}");
    assert!(metrics.contains("larder_run_last_success_timestamp_seconds{view=\"route_stats\"}"));
}

#[test]
fn past_moments_are_computed_as_of_then_and_late_data_when_asked_again() {
    let mut node = TestNode::at("2024-04-28T06:00:00Z");
    let mut events = events();
    node.apply(BASE);
    send(&node, &events);
    node.apply(&format!("{BASE}{STATS}"));
    wait(&node, "route_stats", is_idle);
    let range = json!({ "from": "2024-04-18T00:00:00Z", "to": "2024-04-27T00:00:00Z" });
    let asked = materialize(&node, "route_stats", &range);
    let moments: Vec<i64> =
        asked["runs"].as_array().unwrap().iter().map(|run| micros(run["moment"].as_str().unwrap())).collect();
    assert_eq!(moments.len(), 10);
    wait(&node, "route_stats", done(11));
    let rows = stored(&node);
    assert_eq!(rows.len(), 11);
    for moment in &moments {
        check(&rows[moment], &naive(&events, *moment));
    }
    // An older moment is history only.
    let read = node.read(&["route_stats:landings"], json!([{ "origin": "EWR", "dest": "LAX" }]));
    assert_eq!(micros(read["event_time"][0][0].as_str().unwrap()), micros("2024-04-28T00:00:00Z"));

    // Late data change nothing until a moment is asked for again; then its later version counts.
    let late: Events = vec![("EWR", "LAX", "2024-04-20T12:00:00Z".to_owned(), Some(1000.0))];
    send(&node, &late);
    events.extend(late);
    node.restart();
    assert_eq!(stored(&node), rows);
    let range = json!({ "from": "2024-04-21T00:00:00Z", "to": "2024-04-22T00:00:00Z" });
    materialize(&node, "route_stats", &range);
    wait(&node, "route_stats", done(13));
    let again = stored(&node);
    for moment in &moments {
        let expected = naive(&events, *moment);
        let asked = [micros("2024-04-21T00:00:00Z"), micros("2024-04-22T00:00:00Z")].contains(moment);
        assert_eq!(again[moment].len(), if asked { 12 } else { 6 });
        if asked {
            check(&again[moment][6..], &expected);
        } else {
            assert_eq!(again[moment], rows[moment]);
        }
    }
}

#[test]
fn a_run_that_is_broken_off_goes_on_and_doubles_nothing() {
    let mut node = TestNode::at(NOW);
    let many = r#"
[[entity]]
name = "item"
join_keys = [{ name = "id", type = "int64" }]

[[source]]
name = "seeds"
kind = "push"
event_time = "event_time"
schema = { n = "int64" }

[[batch_feature_view]]
name = "products"
entities = ["item"]
schedule = "1d"
sql = "SELECT a.n * 1000 + b.n AS id, $as_of AS event_time, a.n + b.n AS total FROM seeds a, seeds b"
feature = [{ name = "total", type = "int64" }]
"#;
    let seeds = many.split("[[batch").next().unwrap();
    node.apply(seeds);
    let rows: Vec<Json> = (0..500).map(|n| json!({ "n": n, "event_time": "2024-04-30T00:00:00Z" })).collect();
    let (status, body) = node.post_json("/v1/sources/seeds/events", &json!({ "rows": rows }));
    assert_eq!(status, 200, "{body}");
    node.apply(many);
    // Ended again and again, wherever it happens to be.
    let mut seen = Vec::new();
    for _ in 0..40 {
        let now = wait(&node, "products", |now| {
            let run = &now["runs"][0];
            run["state"] == "done" || run["parts"].as_u64() > seen.last().copied()
        });
        if now["runs"][0]["state"] == "done" {
            break;
        }
        seen.push(now["runs"][0]["parts"].as_u64().unwrap());
        if seen.len() == 2 {
            // What comes later is no part of it.
            let more = json!({ "rows": [{ "n": 999, "event_time": "2024-04-30T00:00:00Z" }] });
            assert_eq!(node.post_json("/v1/sources/seeds/events", &more).0, 200);
        }
        node.restart();
    }
    let end = wait(&node, "products", is_idle);
    assert_eq!((&end["runs"][0]["rows"], end["runs"].as_array().unwrap().len()), (&json!(250_000), 1));
    assert!(seen.len() > 2, "it was not broken off: {seen:?}");
    let counts = query(&node, "SELECT count(*) AS n, count(DISTINCT id) AS d, sum(total) AS s FROM products");
    assert_eq!(counts, [json!({ "n": 250_000, "d": 250_000, "s": 2 * 500 * (499 * 500 / 2) })]);
}

#[test]
fn an_incremental_query_covers_each_event_once() {
    let node = TestNode::at("2024-05-01T00:30:00Z");
    let hourly = r#"
[[batch_feature_view]]
name = "hourly"
entities = ["route"]
schedule = "0 * * * *"
sql = """
SELECT origin, dest, $to AS event_time, count(*) AS landings FROM landings
WHERE event_time > $from AND event_time <= $to GROUP BY origin, dest"""
feature = [{ name = "landings", type = "int64" }]
"#;
    let definitions = format!("{}{hourly}", BASE.replace("10m", "0s"));
    node.apply(&definitions);
    wait(&node, "hourly", is_idle);
    let mut sent = 0;
    for hour in 1..5 {
        let at = |minute: u32| format!("2024-05-01T{:02}:{minute:02}:00Z", hour - 1);
        send(&node, &[("EWR", "LAX", at(31), None), ("EWR", "LAX", at(45), None)]);
        sent += 2;
        node.set_time(&format!("2024-05-01T{hour:02}:00:05Z"));
        wait(&node, "hourly", done(hour as usize + 1));
    }
    assert_eq!(
        query(&node, "SELECT count(*) AS n, sum(landings) AS s FROM hourly"),
        [json!({ "n": 4, "s": sent })]
    );
    let end = runs(&node, "hourly");
    for pair in end["runs"].as_array().unwrap().windows(2) {
        assert_eq!(pair[0]["from"], pair[1]["moment"]);
    }
}

#[test]
fn a_run_that_fails_is_shown_and_tried_again() {
    let node = TestNode::at(NOW);
    let ratio = r#"
[[batch_feature_view]]
name = "ratio"
entities = ["route"]
schedule = "1d"
sql = "SELECT origin, dest, $as_of AS event_time, 100 / CAST(miles AS BIGINT) AS per_mile FROM distances__latest"
feature = [{ name = "per_mile", type = "int64" }]
"#;
    node.apply(BASE);
    let at = "2024-04-01T00:00:00Z";
    node.write("distances", json!([{ "origin": "EWR", "dest": "LAX", "event_time": at, "miles": 0.0 }]));
    node.apply(&format!("{BASE}{ratio}"));
    let failing = wait(&node, "ratio", |now| now["runs"][0]["attempts"] == 1);
    assert_eq!(failing["state"], "failing");
    assert!(
        failing["runs"][0]["error"].as_str().unwrap().to_lowercase().contains("divide by zero"),
        "{failing:#}"
    );
    let next = micros(failing["runs"][0]["next_try"].as_str().unwrap());
    assert_eq!(next, micros(NOW) + 10_000_000);
    node.set_time("2024-05-01T12:00:11Z");
    let second = wait(&node, "ratio", |now| now["runs"][0]["attempts"] == 2);
    assert_eq!(micros(second["runs"][0]["next_try"].as_str().unwrap()), micros("2024-05-01T12:00:31Z"));
    // Serving goes on, and what was wrong can be put right.
    assert_eq!(
        node.read(&["ratio:per_mile"], json!([{ "origin": "EWR", "dest": "LAX" }]))["status"],
        json!([["NOT_FOUND"]])
    );
    node.write(
        "distances",
        json!([{ "origin": "EWR", "dest": "LAX", "event_time": "2024-04-02T00:00:00Z", "miles": 4.0 }]),
    );
    node.set_time("2024-05-01T12:01:00Z");
    let end = wait(&node, "ratio", is_idle);
    assert_eq!((&end["runs"][0]["attempts"], &end["runs"][0]["error"]), (&json!(2), &Json::Null));
    assert_eq!(
        node.read(&["ratio:per_mile"], json!([{ "origin": "EWR", "dest": "LAX" }]))["values"],
        json!([[25]])
    );
}

#[test]
fn what_cannot_be_stored_fails_the_run() {
    let node = TestNode::at(NOW);
    for (sql, said) in [
        ("SELECT origin, dest, event_time, air_time AS x FROM landings", "of one entity at one event time"),
        (
            "SELECT origin, NULL AS dest, $as_of AS event_time, 1 AS x FROM landings LIMIT 1",
            "must not be null",
        ),
        ("SELECT origin, dest, $as_of AS event_time, -1 AS x FROM landings LIMIT 1", "`x`"),
        (
            "SELECT origin, dest, $as_of AS event_time, 9223372036854775807 + count(*) AS x FROM landings GROUP BY 1, 2",
            "is out of the range of int64",
        ),
    ] {
        let view = format!(
            "[[batch_feature_view]]\nname = \"v\"\nentities = [\"route\"]\nschedule = \"1d\"\nsql = \"{sql}\"\n\
             feature = [{{ name = \"x\", type = \"float64\", validate = {{ min = 0 }} }}]\n"
        );
        node.apply(BASE);
        let at = "2024-04-01T00:00:00Z".to_owned();
        send(&node, &[("EWR", "LAX", at.clone(), Some(1.0)), ("EWR", "LAX", at, Some(2.0))]);
        node.apply(&format!("{BASE}{view}"));
        materialize(&node, "v", &json!({}));
        let now = wait(&node, "v", |now| {
            now["runs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|run| run["error"].as_str().is_some_and(|e| e.contains(said)))
        });
        assert_ne!(now["state"], "idle");
        // The next round is another view's.
        node.set_time(NOW);
    }
    assert_eq!(query(&node, "SELECT count(*) AS n FROM landings"), [json!({ "n": 8 })]);
}

#[test]
fn a_definition_that_cannot_run_is_refused_at_its_place() {
    let node = TestNode::at(NOW);
    node.apply(BASE);
    let view = |sql: &str, more: &str| {
        format!(
            "{BASE}\n[[batch_feature_view]]\nname = \"v\"\nentities = [\"route\"]\nsql = \"{sql}\"\n\
             feature = [{{ name = \"x\", type = \"int64\" }}]\n{more}\n"
        )
    };
    let daily = "schedule = \"1d\"";
    let good = "SELECT origin, dest, $as_of AS event_time, 1 AS x FROM landings";
    for (definitions, said) in [
        (
            view("SELECT origin, dest, $as_of AS event_time, 1 AS x FROM nowhere", daily),
            "unknown table `nowhere`",
        ),
        (view("SELECT origin, dest, $as_of AS event_time, nope AS x FROM landings", daily), "nope"),
        (
            view("SELECT origin, dest, $when AS event_time, 1 AS x FROM landings", daily),
            "`$when` has no value",
        ),
        (
            view("SELECT origin, $as_of AS event_time, 1 AS x FROM landings", daily),
            "`dest`: the column is missing",
        ),
        (view("SELECT origin, dest, 1 AS x FROM landings", daily), "`event_time`: the column is missing"),
        (
            view("SELECT origin, dest, $as_of AS event_time FROM landings", daily),
            "no column for the feature `x`",
        ),
        (view("SELECT origin, dest, $as_of AS event_time, 1 AS x, 2 AS y FROM landings", daily), "`y`"),
        (
            view("SELECT origin, dest, $as_of AS event_time, 'a' AS x FROM landings", daily),
            "`x`: expected int64",
        ),
        (
            view("SELECT origin, dest, $as_of AS event_time, air_time AS x FROM landings", daily),
            "`x`: expected int64",
        ),
        (view("SELECT origin, dest, now() AS event_time, 1 AS x FROM landings", daily), "not deterministic"),
        (
            view(
                "SELECT origin, dest, $as_of AS event_time, CAST(random() AS BIGINT) AS x FROM landings",
                daily,
            ),
            "not deterministic",
        ),
        (
            view("SELECT origin, dest, current_timestamp AS event_time, 1 AS x FROM landings", daily),
            "use $as_of",
        ),
        (
            view(
                "SELECT origin, dest, $as_of AS event_time, 1 AS x FROM landings WHERE event_time < current_date",
                daily,
            ),
            "`current_date` is not deterministic",
        ),
        (
            view(
                "SELECT origin, dest, $as_of AS event_time, 1 AS x FROM landings WHERE localtime > current_time",
                daily,
            ),
            "not deterministic",
        ),
        (
            view("SELECT origin, dest, localtimestamp AS event_time, 1 AS x FROM landings", daily),
            "use $as_of",
        ),
        (view("SELECT origin, dest, today() AS event_time, 1 AS x FROM landings", daily), "use $as_of"),
        (
            view("SELECT uuid() AS origin, dest, $as_of AS event_time, 1 AS x FROM landings", daily),
            "`uuid` is not",
        ),
        (view("DROP TABLE landings", daily), "only a SELECT"),
        (view("SELECT origin, dest, event_time, x FROM v", daily), "its rows would be made of its own"),
        (
            view("SELECT origin, dest, event_time, x FROM v__latest", daily),
            "its rows would be made of its own",
        ),
        (view(good, ""), "`schedule` is missing"),
        (view(good, "schedule = \"often\""), "no schedule"),
        (view(good, "schedule = \"5s\""), "too often"),
        (view(good, "schedule = \"61 * * * *\""), "no cron expression"),
        (view(good, "schedule = \"1d\"\nsource = \"landings\""), "unknown key `source`"),
    ] {
        let (status, body) =
            node.post_bytes("/v1/registry/apply?allow_retire=true", "application/toml", definitions.clone());
        assert_eq!(status, 422, "{definitions}\n{body:#}");
        let errors = body["errors"].to_string();
        assert!(errors.contains(said), "{said}\n{body:#}");
        let line = errors.split("definitions").next().unwrap();
        assert!(body["errors"][0]["field"].as_str().unwrap().contains(':'), "{line}");
    }
    // Two views that read each other.
    let pair = |name: &str, of: &str| {
        format!(
            "[[batch_feature_view]]\nname = \"{name}\"\nentities = [\"route\"]\nschedule = \"1d\"\n\
             sql = \"SELECT origin, dest, event_time, x FROM {of}\"\nfeature = [{{ name = \"x\", type = \"int64\" }}]\n"
        )
    };
    let cycle = format!("{BASE}{}{}", pair("a", "b"), pair("b", "a__latest"));
    let (status, body) = node.post_bytes("/v1/registry/apply?allow_retire=true", "application/toml", cycle);
    assert_eq!(status, 422);
    assert!(body["errors"].to_string().contains("a → b → a"), "{body:#}");

    // What a query reads stays as long as it is read.
    node.apply(&view(good, daily));
    let (status, body) = node.post_bytes(
        "/v1/registry/apply?allow_retire=true",
        "application/toml",
        view(good, daily).replace("name = \"landings\"", "name = \"arrivals\""),
    );
    assert_eq!(status, 422, "{body:#}");
    let (_, lineage) = node.get("/v1/lineage/source/landings");
    assert_eq!(lineage["downstream"], json!([{ "kind": "feature_view", "name": "v" }]));
    // Changed SQL is a new version; the same is none.
    let again = node.apply(&view(good, daily));
    assert_eq!(again["updated"], json!([]));
    let changed = node.apply(&view(&good.replace("1 AS x", "2 AS x"), daily));
    assert_eq!(changed["updated"][0]["changes"], json!(["sql changed"]));
    // A client's rows are refused.
    let row = json!({ "rows": [{ "origin": "a", "dest": "b", "event_time": NOW, "x": 1 }] });
    let (status, body) = node.post_json("/v1/feature-views/v/rows", &row);
    assert_eq!(status, 422, "{body:#}");
    assert!(body["detail"].as_str().unwrap().contains("larder materialize v"));
    assert_eq!(node.post_json("/v1/feature-views/v/delete", &json!({ "entities": [] })).0, 422);
    assert_eq!(node.post_json("/v1/feature-views/distances/materialize", &json!({})).0, 400);
    assert_eq!(node.post_json("/v1/feature-views/nope/materialize", &json!({})).0, 404);
    for range in [
        json!({ "to": NOW }),
        json!({ "from": "2024-05-01T01:00:00Z", "to": "2024-05-01T02:00:00Z" }),
        json!({ "from": "0001-01-01T00:00:00Z" }),
    ] {
        assert_eq!(node.post_json("/v1/feature-views/v/materialize", &range).0, 400, "{range}");
    }
}

#[test]
fn a_view_made_of_another_waits_for_it() {
    let node = TestNode::at(NOW);
    let top = r#"
[[entity]]
name = "start"
join_keys = [{ name = "origin", type = "string" }]

[[batch_feature_view]]
name = "busiest"
entities = ["start"]
schedule = "1d"
sql = "SELECT origin, $as_of AS event_time, max(landings) AS landings FROM route_stats__latest GROUP BY origin"
feature = [{ name = "landings", type = "int64" }]
"#;
    node.apply(BASE);
    let events = events();
    send(&node, &events);
    node.apply(&format!("{BASE}{STATS}{top}"));
    wait(&node, "busiest", is_idle);
    assert_eq!(
        query(&node, "SELECT origin, landings FROM busiest ORDER BY origin"),
        [json!({ "origin": "EWR", "landings": 50 }), json!({ "origin": "JFK", "landings": 50 })]
    );
    let range = json!({ "from": "2024-04-18T00:00:00Z", "to": "2024-04-20T00:00:00Z" });
    materialize(&node, "route_stats", &range);
    materialize(&node, "busiest", &range);
    wait(&node, "busiest", done(4));
    let most = |moment: &str| {
        let of_routes = naive(&events, micros(moment));
        let of_ewr = of_routes.iter().filter(|((origin, _), _)| origin == "EWR");
        of_ewr.map(|(_, (_, landings))| *landings).max().unwrap()
    };
    let rows = query(&node, "SELECT landings FROM busiest WHERE origin = 'EWR' ORDER BY event_time");
    let expected =
        ["2024-04-18T00:00:00Z", "2024-04-19T00:00:00Z", "2024-04-20T00:00:00Z", "2024-05-01T00:00:00Z"]
            .map(|m| json!({ "landings": most(m) }));
    assert_eq!(rows, expected);
}
