//! What an operator sees: health, metrics, the API description, refusal of a second node, draining.

use std::collections::BTreeSet;

use larder::doors::Action;
use regex::Regex;
use serde_json::json;

use crate::support::TestNode;

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "string" }]

[[feature_view]]
name = "profile"
entities = ["user"]
feature = [{ name = "n", type = "int64" }]
"#;

#[test]
fn metrics_count_what_happened() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(&DEFINITIONS.replace("profile", "counted"));
    node.write(
        "counted",
        json!([
            { "user_id": "a", "event_time": "2024-05-01T11:59:00Z", "n": 1 },
            { "user_id": "a", "event_time": "2024-05-01T11:00:00Z", "n": null },
        ]),
    );
    node.read(&["counted:n"], json!([{ "user_id": "a" }, { "user_id": "b" }]));
    let text = node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap();
    let value = |name: &str, labels: &[&str]| -> f64 {
        let line = text
            .lines()
            .find(|l| l.starts_with(name) && labels.iter().all(|label| l.contains(label)))
            .unwrap_or_else(|| panic!("no {name} {labels:?} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("larder_ingest_rows_total", &["table=\"counted\"", "result=\"accepted\""]), 1.0);
    assert_eq!(value("larder_ingest_rows_total", &["table=\"counted\"", "result=\"late\""]), 1.0);
    assert_eq!(value("larder_online_values_total", &["view=\"counted\"", "PRESENT"]), 1.0);
    assert_eq!(value("larder_online_values_total", &["view=\"counted\"", "NOT_FOUND"]), 1.0);
    assert_eq!(value("larder_view_staleness_seconds", &["view=\"counted\""]), 60.0);
    assert!(value("larder_commit_seconds_count", &[]) >= 1.0);
    assert!(value("larder_fsync_seconds_count", &[]) >= 1.0);
    assert!(value("larder_online_memory_bytes", &["part=\"memtables\""]) > 0.0);
    assert!(text.contains("larder_online_seconds_bucket"), "histograms have buckets");
    assert!(text.contains("le=\"0.0001\""), "with sub-millisecond bounds");
    // Shared with the tests of this process that damage directories; that it stays 0 is seen in crash.rs.
    assert!(value("larder_invariant_violations_total", &[]) >= 0.0);
}

/// Routes as the handlers' sources declare them, and as the running node describes and answers them: found independently.
#[test]
fn openapi_describes_every_route() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    let (status, api) = node.get("/openapi.json");
    assert_eq!(status, 200);
    let mut described = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(Action::named(operation["x-action"].as_str().unwrap()).is_some(), "{method} {path}");
            assert!(
                ["read", "write", "long"].contains(&operation["x-timeout"].as_str().unwrap()),
                "{method} {path}"
            );
            described.insert((method.clone(), path.clone()));
        }
    }
    assert_eq!(described, declared_routes());
    for (method, path) in &described {
        let concrete = path.replace(['{', '}'], "");
        let request = node.request(method.to_uppercase().parse().unwrap(), &concrete);
        let response = request.header("Content-Type", "application/json").body("{}").send().unwrap();
        let (status, body) = (response.status().as_u16(), response.text().unwrap());
        let unmatched = status == 405 || body.contains("GET /openapi.json lists all paths");
        assert!(!unmatched, "{method} {path}: {status} {body}");
    }
}

/// What stands in `#[utoipa::path(…)]` of `src/http`, with the paths that the macro for registry objects is given.
fn declared_routes() -> BTreeSet<(String, String)> {
    let attribute = Regex::new(r#"#\[utoipa::path\((\w+), path = "([^"]+)""#).unwrap();
    let objects = Regex::new(r#"objects!\(\s*\w+,\s*\w+,\s*"([^"]+)",\s*"([^"]+)""#).unwrap();
    let mut declared = BTreeSet::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for found in attribute.captures_iter(&text) {
            declared.insert((found[1].to_owned(), found[2].to_owned()));
        }
        for found in objects.captures_iter(&text) {
            declared.extend([1, 2].map(|path| ("get".to_owned(), found[path].to_owned())));
        }
    }
    assert!(declared.len() > 30, "{declared:?}");
    declared
}

#[test]
fn every_kind_of_background_job_is_listed() {
    let mut definitions = DEFINITIONS.to_owned();
    definitions.push_str(
        r#"
[[source]]
name = "clicks"
kind = "push"
event_time = "event_time"
schema = { user_id = "string", amount = "float64" }

[[stream_feature_view]]
name = "spending"
entities = ["user"]
source = "clicks"
aggregation = [{ name = "n", function = "count", window = "1h" }]
"#,
    );
    if cfg!(feature = "sql") {
        definitions.push_str(
            r#"
[[batch_feature_view]]
name = "totals"
entities = ["user"]
schedule = "1d"
sql = "SELECT user_id, $as_of AS event_time, sum(amount) AS total FROM clicks GROUP BY user_id"
feature = [{ name = "total", type = "float64" }]
"#,
        );
    }
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(&definitions);
    let target = tempfile::tempdir().unwrap();
    let (status, backup) = node.post_json("/v1/admin/backup", &json!({ "dir": target.path().join("b") }));
    assert_eq!(status, 202, "{backup}");
    let spine = json!({ "spine": { "inline": [{ "user_id": "a", "event_time": "2024-05-01T00:00:00Z" }] },
        "features": ["profile:n"], "name": "january" });
    let (status, job) = node.post_json("/v1/training-sets/jobs", &spine);
    assert_eq!(status, 202, "{job}");
    let listed = |query: &str| {
        let (status, body) = node.get(&format!("/v1/jobs{query}"));
        assert_eq!(status, 200, "{body:#}");
        body["jobs"].as_array().unwrap().clone()
    };
    let done = |job: &serde_json::Value| job["state"] == "done";
    let began = std::time::Instant::now();
    let most = if cfg!(feature = "sql") { 4 } else { 3 };
    while listed("").len() < most || !listed("").iter().all(done) {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:#?}", listed(""));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let jobs = listed("");
    let mut kinds: Vec<(&str, &str)> =
        jobs.iter().map(|job| (job["kind"].as_str().unwrap(), job["subject"].as_str().unwrap())).collect();
    kinds.sort_unstable();
    let directory = target.path().join("b").display().to_string();
    let mut expected = vec![("backfill", "spending"), ("backup", &directory), ("training_set", "january")];
    if cfg!(feature = "sql") {
        expected.insert(2, ("run", "totals"));
    }
    assert_eq!(kinds, expected, "{jobs:#?}");
    for job in &jobs {
        assert_eq!(node.get(job["url"].as_str().unwrap()).0, 200, "each says where there is more: {job}");
    }
    assert_eq!(listed("?kind=backup").len(), 1);
    assert_eq!(listed("?state=failed").len(), 0);
    assert_eq!(listed("?subject=january")[0]["id"], job["id"]);
    assert_eq!(listed("?limit=1").len(), 1);
    for wrong in ["?kind=nothing", "?state=late", "?limit=-1", "?unknown=1"] {
        assert_eq!(node.get(&format!("/v1/jobs{wrong}")).0, 400, "{wrong}");
    }
}

#[test]
fn info_and_health() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    assert_eq!(node.get("/livez").0, 200);
    assert_eq!(node.get("/readyz"), (200, json!({ "ready": true, "reasons": [] })));
    let (_, info) = node.get("/v1/info");
    assert_eq!(info["durability"], "fsync");
    assert_eq!(info["now"], "2024-05-01T12:00:00Z");
}

#[test]
fn one_directory_has_one_node() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    let settings = [
        ("data.dir".to_owned(), node.dir().display().to_string()),
        ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    let config = larder::config::Config::load(None, std::iter::empty(), &settings).unwrap();
    let error = larder::node::spawn(config, node.clock.clone()).err().unwrap().to_string();
    assert!(error.contains("in use"), "{error}");
}

#[test]
fn a_full_disk_refuses_writes_and_not_reads() {
    let mut node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    node.write("profile", json!([{ "user_id": "a", "event_time": "2024-05-01T11:00:00Z", "n": 1 }]));
    node.set("ingest.min_free_bytes", "1048576GiB");
    node.restart();
    let rows = json!({ "rows": [{ "user_id": "a", "event_time": "2024-05-01T11:30:00Z", "n": 2 }] });
    let (status, problem) = node.post_json("/v1/feature-views/profile/rows", &rows);
    assert_eq!(status, 507, "{problem:#}");
    assert_eq!(node.read(&["profile:n"], json!([{ "user_id": "a" }]))["values"], json!([[1]]));
}

#[test]
fn too_much_in_flight_is_429_with_a_time_to_come_back() {
    let node = TestNode::with(
        "2024-05-01T12:00:00Z",
        &[("ingest.max_in_flight_bytes", "1MiB"), ("limits.body_bytes", "1MiB")],
    );
    node.apply(DEFINITIONS);
    let app = node.running().app();
    let held = app.doors.parts.shards.reserve(1 << 20).unwrap();
    let rows = json!({ "rows": [{ "user_id": "a", "event_time": "2024-05-01T11:30:00Z", "n": 2 }] });
    let response = node.post("/v1/feature-views/profile/rows").json(&rows).send().unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    drop(held);
    assert_eq!(node.post_json("/v1/feature-views/profile/rows", &rows).0, 200);
}
