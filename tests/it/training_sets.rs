//! Named training sets: the same bytes for the same inputs, versions, jobs, verification, lineage.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::{CSV, PARQUET, TestNode, answer};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
ttl = "30d"
feature = [{ name = "n", type = "int64" }, { name = "label", type = "string", default = "none" }]

[[source]]
name = "clicks"
kind = "push"
event_id = "id"
schema = { user = "int64", amount = "float64", id = "string" }

[[stream_feature_view]]
name = "activity"
entities = ["user"]
source = "clicks"
aggregation = [
  { name = "n", function = "count", window = "1h" },
  { name = "mean", function = "mean", column = "amount", window = "7d" },
  { name = "last", function = "last", column = "amount", window = "lifetime" },
]

[[feature_service]]
name = "model"
features = ["profile", "activity"]
"#;

const NOW: &str = "2024-05-10T00:00:00Z";

fn node() -> TestNode {
    let node = TestNode::with(NOW, &[("offline.seal_rows", "1"), ("offline.compact_segments", "2")]);
    node.apply(DEFINITIONS);
    node
}

fn time(hour: u64) -> String {
    format!("2024-05-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24)
}

/// `count` rows and events from `from` on, of seven users.
fn fill(node: &TestNode, from: u64, count: u64) {
    let rows = (from..from + count).map(|i| {
        let n = if i % 5 == 0 { Json::Null } else { json!(i) };
        json!({ "user": i % 7, "event_time": time(i % 200), "n": n, "label": format!("l{}", i % 3) })
    });
    node.write("profile", rows.collect());
    let events = (from..from + count).map(
        |i| json!({ "user": i % 7, "event_time": time(i * 13 % 200), "amount": i as f64 / 3.0, "id": i.to_string() }),
    );
    let events = json!({ "rows": events.collect::<Vec<_>>() });
    assert_eq!(node.post_json("/v1/sources/clicks/events", &events).0, 200);
}

/// 200 labels of eight users, one of whom nobody has heard of, in no order of time.
fn spine() -> Vec<u8> {
    let mut text = "user,event_time,y\n".to_owned();
    for i in 0..200u64 {
        text.push_str(&format!("{},{},{}\n", i * 3 % 8, time(i * 37 % 210), i % 2));
    }
    text.into_bytes()
}

fn ended(node: &TestNode, job: &Json) -> Json {
    let id = job["id"].as_str().unwrap_or_else(|| panic!("no job: {job:#}")).to_owned();
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let (status, job) = node.get(&format!("/v1/training-sets/jobs/{id}"));
        assert_eq!(status, 200, "{job:#}");
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            return job;
        }
        assert!(Instant::now() < until, "still {job:#}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Builds a set that must come to be, and gives its manifest and its bytes.
fn build(node: &TestNode, query: &str) -> (Json, Vec<u8>) {
    let (status, job) = node.post_bytes(&format!("/v1/training-sets/jobs?{query}"), CSV, spine());
    assert_eq!(status, 202, "{job:#}");
    let job = ended(node, &job);
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!((&job["rows_done"], &job["rows_total"]), (&json!(200), &json!(200)));
    let id = job["id"].as_str().unwrap();
    (job["manifest"].clone(), bytes(node, &format!("/v1/training-sets/jobs/{id}/data")))
}

fn bytes(node: &TestNode, path: &str) -> Vec<u8> {
    let response = node.request(Method::GET, path).send().unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.bytes().unwrap().to_vec()
}

fn verdict(node: &TestNode, set: &str) -> Json {
    let (status, job) = node.post_json(&format!("/v1/training-sets/{set}"), &Json::Null);
    assert_eq!(status, 202, "{job:#}");
    let job = ended(node, &job);
    assert_eq!(job["state"], "done", "{job:#}");
    job["verdict"].clone()
}

const QUERY: &str = "feature_service=model&name=churn";

#[test]
fn the_same_inputs_give_the_same_bytes_and_late_data_do_not_change_what_was_known() {
    let mut node = node();
    fill(&node, 0, 300);
    let (first, data) = build(&node, QUERY);
    assert_eq!((&first["name"], &first["version"]), (&json!("churn"), &json!(1)));
    assert_eq!(first["feature_service"], "model@1");

    // Across sealing, a restart and a compaction.
    for table in ["profile", "clicks"] {
        node.wait_until_sealed(table);
    }
    let (second, again) = build(&node, QUERY);
    assert_eq!(second["version"], 2);
    assert!(data == again, "sealing changed the bytes");
    assert_eq!(first["data"]["sha256"], second["data"]["sha256"]);
    node.restart();
    assert!(data == build(&node, QUERY).1, "a restart changed the bytes");
    assert_eq!(bytes(&node, "/v1/training-sets/churn/data?version=1"), data);

    // Late rows, corrections at the same time, a tombstone, late events; all in the microsecond in which the first set
    // was built, as the clock stands still.
    for part in 0..4 {
        fill(&node, 1000 + part * 50, 50);
        for table in ["profile", "clicks"] {
            node.wait_until_sealed(table);
        }
    }
    node.write("profile", json!([{ "user": 1, "event_time": time(1), "n": -1, "label": "corrected" }]));
    let gone = json!({ "entities": [{ "user": 2 }], "event_time": time(30) });
    assert_eq!(node.post_json("/v1/feature-views/profile/delete", &gone).0, 200);
    let (now, changed) = build(&node, QUERY);
    assert!(data != changed, "late data changed nothing");
    assert_ne!(first["data"]["sha256"], now["data"]["sha256"]);

    let known_at = first["known_at"].as_str().unwrap();
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("known_at", known_at).finish();
    assert!(
        data == build(&node, &format!("{QUERY}&{query}")).1,
        "known_at of the first build gave other bytes"
    );
    assert!(
        data == build(&node, "feature_service=model&known_at=churn@1").1,
        "known_at=churn@1 gave other bytes"
    );
    assert!(
        data == build(&node, "features=profile,activity&known_at=churn@1").1,
        "listed, they are the same features"
    );
    node.set_time("2024-06-01T00:00:00Z");
    node.restart();
    assert!(data == build(&node, &format!("{QUERY}&{query}")).1, "and after another restart");
    for version in [1, 2] {
        let verdict = verdict(&node, &format!("churn/verify?version={version}"));
        assert_eq!(verdict, json!({ "matches": true, "sha256": first["data"]["sha256"], "differences": [] }));
    }
    let compacted = node.running().app().doors.parts.reads.offline.opened();
    let segments = compacted.iter().map(|table| table.snapshot().segments.len()).max().unwrap();
    assert!(segments < 4, "nothing was compacted: {segments} segments");

    // What the synchronous call gives now is what a job gives now.
    let (_, now) = build(&node, QUERY);
    let response = node
        .post("/v1/training-sets?feature_service=model")
        .header("Content-Type", CSV)
        .header("Accept", PARQUET)
        .body(spine());
    assert!(response.send().unwrap().bytes().unwrap() == now);
}

#[test]
fn a_set_keeps_the_versions_of_its_definitions() {
    let node = node();
    fill(&node, 0, 100);
    let (first, data) = build(&node, QUERY);
    assert_eq!(first["views"][0], json!({ "name": "profile", "version": 1 }));
    let activity = json!({ "name": "activity", "version": 1, "source": "clicks", "source_version": 1 });
    assert_eq!(first["views"][1], activity);
    // A new feature and another default make a new version of the view; the set stays what it is.
    node.apply(
        &DEFINITIONS
            .replace(r#"default = "none" }"#, r#"default = "other" }, { name = "more", type = "int64" }"#),
    );
    assert!(build(&node, QUERY).1 != data);
    assert_eq!(verdict(&node, "churn/verify?version=1")["matches"], true);

    let (status, lineage) = node.get("/v1/lineage/training_set/churn@1");
    assert_eq!(status, 200, "{lineage:#}");
    let upstream: Vec<String> = lineage["upstream"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            format!(
                "{} {} {}",
                node["kind"].as_str().unwrap(),
                node["name"].as_str().unwrap(),
                node["version"]
            )
        })
        .collect();
    let expected = [
        "feature_service model 1",
        "feature_view profile 1",
        "feature_view activity 1",
        "entity user null",
        "source clicks 1",
    ];
    assert_eq!(upstream, expected, "{lineage:#}");
    assert_eq!(node.get("/v1/lineage/training_set/churn").1["object"]["version"], 2);
    assert_eq!(node.get("/v1/lineage/training_set/nobody").0, 404);

    // Without the view it cannot be made again, and says so; what is stored stays.
    let without = DEFINITIONS.replace(r#"features = ["profile", "activity"]"#, r#"features = ["activity"]"#);
    let start = without.find("[[feature_view]]").unwrap();
    let end = without.find("[[source]]").unwrap();
    node.apply(&format!("{}{}", &without[..start], &without[end..]));
    let gone = verdict(&node, "churn/verify?version=1");
    assert_eq!((&gone["matches"], &gone["sha256"]), (&json!(false), &Json::Null));
    let said = gone["differences"][0].as_str().unwrap();
    assert!(said.contains("profile") && said.contains("retired"), "{said}");
    assert_eq!(bytes(&node, "/v1/training-sets/churn/data?version=1"), data);
}

#[test]
fn verification_says_what_has_changed() {
    let mut node = node();
    fill(&node, 0, 100);
    let (manifest, data) = build(&node, QUERY);
    let dir = node.dir().join("training_sets/churn/1");
    // A byte of the stored data.
    let mut broken = data.clone();
    broken[data.len() / 2] ^= 1;
    std::fs::write(dir.join("data.parquet"), &broken).unwrap();
    let verdict_of_broken = verdict(&node, "churn/verify");
    assert_eq!(verdict_of_broken["matches"], false);
    assert_eq!(verdict_of_broken["sha256"], manifest["data"]["sha256"], "made again it is what it was");
    assert!(verdict_of_broken["differences"][0].as_str().unwrap().contains("data.parquet"));
    std::fs::write(dir.join("data.parquet"), &data).unwrap();

    // A bound in the manifest that takes in rows of which it was not made: what differs is named by column and row.
    node.write("profile", json!([{ "user": 3, "event_time": time(1), "n": 4711, "label": "x" }]));
    let file = dir.join("manifest.json");
    let mut changed: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    changed["tables"]["profile"]["next_seq"] = json!(101);
    std::fs::write(&file, changed.to_string()).unwrap();
    let differs = verdict(&node, "churn/verify");
    let said = differs["differences"].to_string();
    assert_eq!(differs["matches"], false);
    assert!(said.contains("the column `profile__n` differs in") && said.contains("4711"), "{said}");
    std::fs::write(&file, manifest.to_string()).unwrap();

    // Rows that their retention has removed.
    node.apply(&DEFINITIONS.replace("ttl = \"30d\"", "ttl = \"30d\"\nretention = \"3d\""));
    node.set_time("2024-05-20T00:00:00Z");
    node.wait_until_sealed("profile");
    let table = node.running().app().doors.parts.reads.offline.opened();
    let table = table.iter().find(|table| table.name() == "profile").unwrap();
    let horizon = larder::model::Timestamp::parse("2024-05-20T00:00:00Z").unwrap().micros();
    assert!(table.expire(larder::compute::retention::Horizon { time: horizon, ttl: None }).unwrap() > 0);
    let expired = verdict(&node, "churn/verify");
    let said = expired["differences"].to_string();
    assert!(said.contains("`profile`") && said.contains("rows that the set was made of are gone"), "{said}");

    // The spine.
    std::fs::write(dir.join("spine.parquet"), b"PAR1").unwrap();
    let said = verdict(&node, "churn/verify")["differences"].to_string();
    assert!(said.contains("spine"), "{said}");
    node.restart();
    assert_eq!(node.get("/v1/training-sets/churn").1, manifest);
}

#[test]
fn verification_says_which_definitions_are_others() {
    let node = node();
    let derived = |factor: u32| {
        format!(
            "{DEFINITIONS}\n[[on_demand_feature_view]]\nname = \"scaled\"\nuses = [\"base:m\"]\n\
             feature = [{{ name = \"x\", type = \"int64\", expression = \"m + 0\" }}]\n\
             [[on_demand_feature_view]]\nname = \"base\"\nuses = [\"profile:n\"]\n\
             feature = [{{ name = \"m\", type = \"int64\", expression = \"n * {factor}\" }}]\n"
        )
    };
    node.apply(&derived(1));
    fill(&node, 0, 100);
    let (manifest, _) = build(&node, "features=scaled,activity&name=churn");
    let views: Vec<&str> =
        manifest["views"].as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap()).collect();
    assert_eq!(views.len(), 4, "what is used is a part of it: {views:?}");
    node.apply(&derived(2).replace("kind = \"push\"", "kind = \"push\"\navailability_lag = \"2h\""));
    let differs = verdict(&node, "churn/verify");
    let said = differs["differences"].to_string();
    assert_eq!(differs["matches"], false);
    for change in [
        "the feature view `base` has changed",
        "the source `clicks` has changed",
        "version 1, made again of 2",
    ] {
        assert!(said.contains(change), "{change}: {said}");
    }
    assert!(!said.contains("`profile`"), "{said}");
}

#[test]
fn versions_are_listed_read_in_part_and_deleted() {
    let node = node();
    fill(&node, 0, 50);
    assert_eq!(node.get("/v1/training-sets").1, json!({ "training_sets": [] }));
    let (manifest, data) = build(&node, QUERY);
    build(&node, &format!("{QUERY}&format=csv"));
    assert_eq!(node.get("/v1/training-sets").1["training_sets"][0]["versions"], json!([1, 2]));
    assert_eq!(node.get("/v1/training-sets/churn?version=1").1, manifest);
    let versions = node.get("/v1/training-sets/churn/versions").1;
    assert_eq!(versions["versions"][0]["sha256"], manifest["data"]["sha256"]);
    assert!(bytes(&node, "/v1/training-sets/churn/data").starts_with(b"user,event_time,y,profile__n"));

    let path = "/v1/training-sets/churn/data?version=1";
    let asked = |name: &str, value: &str| node.request(Method::GET, path).header(name, value).send().unwrap();
    let etag = format!("\"{}\"", manifest["data"]["sha256"].as_str().unwrap());
    assert_eq!(asked("If-None-Match", &etag).status(), 304);
    let part = asked("Range", "bytes=10-19");
    assert_eq!((part.status().as_u16(), part.headers()["etag"].to_str().unwrap()), (206, etag.as_str()));
    assert_eq!(part.bytes().unwrap(), data[10..20]);
    // A part of this version is of no use to a client that has begun another one.
    let if_range = |condition: &str| {
        let request = node.request(Method::GET, path).header("Range", "bytes=10-19");
        let response = request.header("If-Range", condition).send().unwrap();
        (response.status().as_u16(), response.bytes().unwrap())
    };
    assert_eq!(if_range(&etag), (206, data[10..20].to_vec().into()));
    for stale in ["\"other\"", &format!("W/{etag}"), "Wed, 01 May 2024 12:00:00 GMT"] {
        assert_eq!(if_range(stale), (200, data.clone().into()), "{stale}");
    }
    let outside = asked("Range", "bytes=999999999-");
    assert_eq!(outside.status(), 416);
    assert_eq!(outside.headers()["content-range"], format!("bytes */{}", data.len()));
    for many in ["bytes=0-1,4-5", "bytes=0-5,2-9", "bytes=9-1", "rows=1-2"] {
        assert_eq!(asked("Range", many).bytes().unwrap(), data, "{many}");
    }
    let head = node.request(Method::HEAD, path).header("Range", "bytes=10-19").send().unwrap();
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
        (200, data.len().to_string().as_str())
    );
    assert_eq!(asked("If-None-Match", &format!("\"x\", W/{etag}")).status(), 304);

    assert_eq!(node.request(Method::DELETE, "/v1/training-sets/churn/2").send().unwrap().status(), 204);
    assert_eq!(node.get("/v1/training-sets/churn").1["version"], 1);
    assert_eq!(node.get("/v1/training-sets/churn?version=2").0, 404);
    assert_eq!(node.request(Method::DELETE, "/v1/training-sets/churn/2").send().unwrap().status(), 404);
    assert_eq!(build(&node, QUERY).0["version"], 3, "a number is not given twice");
    for path in ["/v1/training-sets/none", "/v1/training-sets/none/data", "/v1/training-sets/none/versions"] {
        assert_eq!(node.get(path).0, 404, "{path}");
    }
    for name in ["..", "%2e%2e%2f", "A", ".jobs"] {
        let status = node.get(&format!("/v1/training-sets/{name}/data")).0;
        assert!(matches!(status, 404 | 422), "{name}: {status}");
    }
}

#[test]
fn a_job_that_was_acknowledged_is_done_by_whoever_starts_next() {
    let mut node = node();
    fill(&node, 0, 100);
    let (expected, _) = build(&node, "feature_service=model&name=other");
    let jobs: Vec<Json> =
        (0..8).map(|_| node.post_bytes(&format!("/v1/training-sets/jobs?{QUERY}"), CSV, spine()).1).collect();
    node.restart();
    for job in &jobs {
        let job = ended(&node, job);
        assert_eq!(job["state"], "done", "{job:#}");
        assert_eq!(job["manifest"]["data"], expected["data"]);
    }
    let versions = node.get("/v1/training-sets/churn/versions").1;
    assert_eq!(versions["versions"].as_array().unwrap().len(), jobs.len(), "each job made one version");
    // What was half written when a process died is nobody's.
    let jobs = node.dir().join("training_sets/.jobs");
    std::fs::create_dir(jobs.join("0190-half")).unwrap();
    std::fs::write(jobs.join("0190-half/spine.parquet"), b"PAR1").unwrap();
    node.restart();
    assert!(!jobs.join("0190-half").exists());
}

#[test]
fn a_cancel_that_was_acknowledged_outlives_the_process() {
    let mut node = node();
    fill(&node, 0, 10);
    let (_, job) = node.post_bytes(&format!("/v1/training-sets/jobs?{QUERY}"), CSV, spine());
    let id = job["id"].as_str().unwrap().to_owned();
    ended(&node, &job);
    let file = node.dir().join("training_sets/.jobs").join(&id).join("job.json");
    let mut stored: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    stored["job"]["state"] = json!("queued");
    stored["cancelled"] = json!(true);
    std::fs::write(&file, stored.to_string()).unwrap();
    node.restart();
    assert_eq!(ended(&node, &job)["state"], "cancelled");
}

fn long_spine(rows: u64) -> Vec<u8> {
    let mut text = "user,event_time,y\n".to_owned();
    for i in 0..rows {
        text.push_str(&format!("{},{},{}\n", i * 3 % 8, time(i * 37 % 210), i % 2));
    }
    text.into_bytes()
}

#[test]
fn definitions_applied_while_a_job_runs_are_not_its_own() {
    let node = node();
    // By its many columns a set of so many rows is made in several portions.
    let texts: String = (0..190).map(|i| format!("{{ name = \"t{i}\", type = \"string\" }}, ")).collect();
    let ours =
        DEFINITIONS.replace(r#"feature = [{ name = "n""#, &format!(r#"feature = [{texts}{{ name = "n""#));
    let other = ours.replace(r#"default = "none""#, r#"default = "other""#);
    node.apply(&ours);
    fill(&node, 0, 100);
    let mut in_the_middle = 0;
    for round in 1..=20u64 {
        let (status, job) =
            node.post_bytes(&format!("/v1/training-sets/jobs?{QUERY}&format=csv"), CSV, long_spine(60_000));
        assert_eq!(status, 202, "{job:#}");
        let path = format!("/v1/training-sets/jobs/{}", job["id"].as_str().unwrap());
        let begun =
            |now: &Json| now["state"] != "queued" && (now["state"] != "running" || now["rows_done"] != 0);
        while !begun(&node.get(&path).1) {}
        let (mine, next) = match round % 2 {
            1 => ("none", &other),
            _ => ("other", &ours),
        };
        node.apply(next);
        let now = node.get(&path).1;
        in_the_middle += u64::from(now["state"] == "running" && now["rows_done"] != now["rows_total"]);
        let job = ended(&node, &job);
        assert_eq!(job["state"], "done", "{job:#}");
        let (manifest, data) = (&job["manifest"], bytes(&node, &format!("{path}/data")));
        assert_eq!(manifest["views"][0], json!({ "name": "profile", "version": round + 1 }), "{manifest:#}");
        let text = String::from_utf8(data).unwrap();
        let at = text.lines().next().unwrap().split(',').position(|name| name == "profile__label").unwrap();
        let defaults =
            |wanted: &str| text.lines().filter(|line| line.split(',').nth(at) == Some(wanted)).count();
        let foreign = if mine == "none" { "other" } else { "none" };
        assert!(defaults(mine) > 1_000 && defaults(foreign) == 0, "{mine}: {}", defaults(foreign));
        if in_the_middle == 2 {
            return;
        }
    }
    panic!("{in_the_middle} jobs were seen under way");
}

#[test]
fn a_cancel_that_a_restart_follows_at_once_is_kept() {
    let mut node = node();
    fill(&node, 0, 100);
    let url = format!("/v1/training-sets/jobs?{QUERY}");
    // Long enough that it is still under way when it is cancelled, also on a busy machine.
    let jobs: Vec<String> = [long_spine(240_000), spine(), spine(), spine()]
        .map(|spine| node.post_bytes(&url, CSV, spine).1["id"].as_str().unwrap().to_owned())
        .into();
    // The one that runs, or is about to, and one that waits.
    for id in [&jobs[0], &jobs[2]] {
        let request = node.request(Method::DELETE, &format!("/v1/training-sets/jobs/{id}"));
        assert_eq!(answer(request.send().unwrap()).0, 200);
    }
    node.restart();
    for (at, id) in jobs.iter().enumerate() {
        let job = ended(&node, &json!({ "id": id }));
        assert_eq!(job["state"], if at % 2 == 0 { "cancelled" } else { "done" }, "{at}: {job:#}");
        assert_eq!(job["manifest"].is_null(), at % 2 == 0, "{job:#}");
    }
    let versions = node.get("/v1/training-sets/churn/versions").1;
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2, "{versions:#}");
}

#[test]
fn one_damaged_version_does_not_stand_in_the_way_of_the_others() {
    let node = node();
    fill(&node, 0, 10);
    let (first, data) = build(&node, QUERY);
    build(&node, QUERY);
    std::fs::write(node.dir().join("training_sets/churn/2/manifest.json"), "{").unwrap();
    assert_eq!(node.get("/v1/training-sets/churn?version=2").0, 503);
    fill(&node, 100, 10);
    let known_at = first["known_at"].as_str().unwrap();
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("known_at", known_at).finish();
    let (third, again) = build(&node, &format!("{QUERY}&{query}"));
    assert_eq!(third["version"], 3);
    assert!(data == again, "the first version's time gave other bytes");
    let (status, listed) = node.get("/v1/training-sets/churn/versions");
    let versions: Vec<&Json> =
        listed["versions"].as_array().unwrap().iter().map(|version| &version["version"]).collect();
    assert_eq!((status, versions), (200, vec![&json!(1), &json!(3)]));
}

#[test]
fn a_job_that_ended_the_node_three_times_is_not_begun_again() {
    let mut node = node();
    fill(&node, 0, 10);
    let (_, job) = node.post_bytes(&format!("/v1/training-sets/jobs?{QUERY}"), CSV, spine());
    let id = job["id"].as_str().unwrap().to_owned();
    ended(&node, &job);
    let dir = node.dir().join("training_sets/.jobs").join(&id);
    let mut stored: Json = serde_json::from_slice(&std::fs::read(dir.join("job.json")).unwrap()).unwrap();
    stored["job"]["state"] = json!("queued");
    stored["attempts"] = json!(3);
    std::fs::write(dir.join("job.json"), stored.to_string()).unwrap();
    node.restart();
    let job = ended(&node, &job);
    assert_eq!(job["state"], "failed");
    assert!(job["error"].as_str().unwrap().contains("3 times"), "{job:#}");
}

#[test]
fn spines_come_inline_or_from_a_directory_that_is_named() {
    let spines = TempDir::new().unwrap();
    std::fs::write(spines.path().join("labels.csv"), spine()).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", spines.path().join("out.csv")).unwrap();
    let mut node = node();
    fill(&node, 0, 100);
    let post = |node: &TestNode, spine: Json| {
        let body = json!({ "spine": spine, "feature_service": "model", "name": "churn" });
        node.post_json("/v1/training-sets/jobs", &body)
    };
    let (status, problem) = post(&node, json!({ "path": "labels.csv" }));
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem.to_string().contains("data.spine_dir"), "{problem:#}");
    node.set("data.spine_dir", spines.path().to_str().unwrap());
    node.restart();
    let (_, job) = post(&node, json!({ "path": "labels.csv" }));
    let by_path = ended(&node, &job);
    assert_eq!(by_path["manifest"]["data"], build(&node, QUERY).0["data"], "{by_path:#}");
    for path in ["../labels.csv", "/etc/hostname", "out.csv", "none.csv", "."] {
        let (status, problem) = post(&node, json!({ "path": path }));
        assert_eq!(status, 422, "{path}: {problem:#}");
    }
    let body = json!({ "spine": { "path": "labels.csv" }, "feature_service": "model" });
    let (status, problem) = node.post_json("/v1/training-sets/jobs?name=churn", &body);
    assert_eq!(status, 422, "the name would be ignored: {problem:#}");
    assert!(problem.to_string().contains("query"), "{problem:#}");
    let (_, job) = post(&node, json!({ "inline": [{ "user": 1, "event_time": time(100) }] }));
    assert_eq!(ended(&node, &job)["manifest"]["rows"], 1);
    let (_, job) = post(&node, json!({ "inline": [] }));
    assert!(job["code"].is_string() || ended(&node, &job)["manifest"]["rows"] == 0, "{job:#}");
}

#[test]
#[cfg(feature = "sql")]
fn a_spine_may_be_what_a_query_answers() {
    let node = node();
    fill(&node, 0, 100);
    let post = |sql: &str| {
        let body = json!({ "spine": { "sql": sql }, "feature_service": "model", "name": "churn" });
        node.post_json("/v1/training-sets/jobs", &body)
    };
    let query = "SELECT \"user\", event_time, amount > 10 AS y FROM clicks ORDER BY id";
    let jobs = [post(query).1, post(query).1];
    let sets = jobs.map(|job| ended(&node, &job));
    assert_eq!(
        (&sets[0]["state"], &sets[0]["manifest"]["rows"]),
        (&json!("done"), &json!(100)),
        "{:#}",
        sets[0]
    );
    assert_eq!(sets[0]["manifest"]["spine"], sets[1]["manifest"]["spine"]);
    assert_eq!(verdict(&node, "churn/verify")["matches"], true);
    for (wrong, says) in [
        ("SELECT 1 AS n", "event_time"),
        ("SELECT FROM nowhere", "query"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("DROP TABLE clicks", "query"),
    ] {
        let (status, problem) = post(wrong);
        assert_eq!(status, 422, "{wrong}: {problem:#}");
        assert!(problem.to_string().contains(says), "{wrong}: {problem:#}");
    }
}

#[test]
fn what_is_wrong_is_told_before_a_job_is_stored() {
    let mut node = node();
    fill(&node, 0, 10);
    let refused = |node: &TestNode, query: &str, body: &str, status: u16, says: &str| {
        let (found, problem) = node.post_bytes(&format!("/v1/training-sets/jobs?{query}"), CSV, body);
        assert_eq!(found, status, "{query}: {problem:#}");
        assert!(problem.to_string().contains(says), "{query}: {problem:#}");
    };
    let good = "user,event_time\n1,2024-05-01T00:00:00Z\n";
    refused(&node, "feature_service=none", good, 404, "none");
    refused(&node, "", good, 400, "feature_service");
    refused(&node, "feature_service=model&name=jobs", good, 422, "jobs");
    refused(&node, "feature_service=model&name=No", good, 422, "No");
    refused(&node, "feature_service=model&format=arrow", good, 422, "parquet");
    refused(&node, "feature_service=model&known_at=yesterday@1", good, 404, "yesterday");
    refused(&node, "feature_service=model&known_at=12", good, 422, "time_unit");
    refused(&node, "feature_service=model&known_at=2024-05-10T00:00:00.000001Z", good, 422, "future");
    refused(&node, "feature_service=model", "user\n1\n", 422, "event_time");
    refused(&node, "feature_service=model", "event_time\n2024-05-01T00:00:00Z\n", 422, "user");
    refused(&node, "feature_service=model", "user,event_time\n1,\n", 422, "event_time");
    refused(&node, "feature_service=model&event_time=t", good, 422, "`t`");
    let taken = "user,event_time,profile__n\n1,2024-05-01T00:00:00Z,2\n";
    refused(&node, "feature_service=model", taken, 400, "profile__n");
    refused(&node, "feature_service=model&nme=churn", good, 400, "unknown field `nme`");
    refused(&node, "feature_service=model&spine=labels.csv", good, 400, "spine");
    refused(&node, "feature_service=model&split=train", good, 422, "fractions");
    for (body, status, says) in [
        (json!({ "feature_service": "model" }), 422, "spine"),
        (json!({ "spine": { "inline": [] }, "features": 7 }), 400, "a list of feature references"),
        (
            json!({ "spine": { "inline": [] }, "features": ["profile"], "nme": "a" }),
            400,
            "unknown field `nme`",
        ),
        (json!({ "spine": { "inline": [] }, "features": ["profile"], "split": "train" }), 422, "fractions"),
    ] {
        let (found, problem) = node.post_json("/v1/training-sets/jobs", &body);
        assert_eq!(found, status, "{body}: {problem:#}");
        assert!(problem.to_string().contains(says), "{body}: {problem:#}");
    }
    assert_eq!(node.get("/v1/training-sets/jobs").1, json!({ "jobs": [] }));
    let left: Vec<_> = std::fs::read_dir(node.dir().join("training_sets/.jobs")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");

    node.set("limits.training_set_bytes", "1KiB");
    node.restart();
    let spine = String::from_utf8(spine()).unwrap();
    refused(&node, QUERY, &spine, 507, "limits.training_set_bytes");
    node.set("limits.training_set_bytes", "1GiB");
    node.set("ingest.min_free_bytes", "1048576GiB");
    node.restart();
    refused(&node, QUERY, good, 507, "free");
}

#[test]
fn a_job_is_cancelled_or_forgotten() {
    let node = node();
    fill(&node, 0, 50);
    let delete = |id: &str| {
        answer(node.request(Method::DELETE, &format!("/v1/training-sets/jobs/{id}")).send().unwrap())
    };
    let jobs: Vec<Json> = (0..12)
        .map(|_| node.post_bytes(&format!("/v1/training-sets/jobs?{QUERY}"), CSV, spine()).1)
        .collect();
    let last = jobs.last().unwrap();
    let (status, _) = delete(last["id"].as_str().unwrap());
    assert_eq!(status, 200);
    let ends: Vec<Json> = jobs[..11].iter().map(|job| ended(&node, job)).collect();
    assert!(ends.iter().all(|job| job["state"] == "done"));
    let (status, job) = node.get(&format!("/v1/training-sets/jobs/{}", last["id"].as_str().unwrap()));
    assert!(status == 404 || job["state"] == "cancelled", "{job:#}");
    let versions = node.get("/v1/training-sets/churn/versions").1["versions"].as_array().unwrap().len();
    assert!(versions == 11 || status == 404, "{versions}");

    let (_, data) = build(&node, "feature_service=model");
    let id = node.get("/v1/training-sets/jobs").1["jobs"].as_array().unwrap().last().unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(bytes(&node, &format!("/v1/training-sets/jobs/{id}/data")), data);
    assert_eq!(delete(id).0, 200);
    assert_eq!(node.get(&format!("/v1/training-sets/jobs/{id}/data")).0, 404);
    assert_eq!(delete("none").0, 404);
    let set_data = bytes(&node, "/v1/training-sets/churn/data");
    assert_eq!(set_data, data, "a named set outlives its job");
}

#[test]
fn a_set_with_on_demand_features_is_made_again_and_counts_what_failed() {
    let node = node();
    let on_demand = r#"
[[on_demand_feature_view]]
name = "context"
request = { y = "int64" }
uses = ["profile:n"]
feature = [{ name = "ratio", type = "int64", expression = "n / y" }]
"#;
    node.apply(&format!("{DEFINITIONS}{on_demand}"));
    fill(&node, 0, 100);
    let (manifest, data) = build(&node, "features=context,profile:label&name=ratios&leak_guard=report");
    // Every other label has y = 0.
    assert!(manifest["failed_rows"]["context__ratio"].as_u64().unwrap() > 20, "{manifest:#}");
    assert_eq!(manifest["views"][0], json!({ "name": "context", "version": 1 }));
    let leaks: Vec<&str> =
        manifest["leaks"].as_array().unwrap().iter().map(|leak| leak["feature"].as_str().unwrap()).collect();
    assert_eq!(leaks, ["profile:n", "profile:label"], "of what was looked up, also for expressions");
    assert_eq!(verdict(&node, "ratios/verify")["matches"], true);
    assert!(build(&node, "features=context,profile:label&known_at=ratios@1&leak_guard=report").1 == data);
}

/// Views keyed by one column share the spine's order, under whatever name; those keyed by another must not.
#[test]
fn views_joined_together_answer_as_each_does_alone() {
    // Sealed soon, and no write has to wait for it: up to 16 times as many rows may be behind.
    let node = TestNode::with(NOW, &[("offline.seal_rows", "4")]);
    node.apply(
        r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[entity]]
name = "member"
join_keys = [{ name = "seat", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
ttl = "3d"
feature = [{ name = "n", type = "int64" }]

[[feature_view]]
name = "score"
entities = ["user"]
feature = [{ name = "m", type = "int64" }]

[[feature_view]]
name = "club"
entities = ["member"]
feature = [{ name = "since", type = "int64" }]

[[feature_service]]
name = "all"
features = ["profile", "score", { view = "profile", as = "friend", join_keys = { user = "other" } }, { view = "club", join_keys = { seat = "user" } }]
"#,
    );
    for (view, key, keys, feature) in
        [("profile", "user", 7, "n"), ("score", "user", 5, "m"), ("club", "seat", 4, "since")]
    {
        for from in [0, 30] {
            let row = |i: u64| json!({ key: i % keys, "event_time": time(i * 11 % 200), feature: i * keys });
            node.write(view, (from..from + 30).map(row).collect());
        }
    }
    let rows: Vec<(u64, u64)> = (0..100).map(|i| (i * 3 % 8, i * 37 % 210)).collect();
    let ask = |query: &str, spine: String| -> Vec<Json> {
        let request = node.post(&format!("/v1/training-sets?{query}")).header("Content-Type", CSV);
        let response = request.header("Accept", "application/x-ndjson").body(spine).send().unwrap();
        let (status, text) = (response.status(), response.text().unwrap());
        assert_eq!(status, 200, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let spine = |key: &str, of: fn(u64) -> u64| {
        let rows = rows.iter().map(|(user, hour)| format!("{},{}\n", of(*user), time(*hour)));
        format!("{key},event_time\n{}", rows.collect::<String>())
    };
    let all = rows.iter().map(|(user, hour)| format!("{user},{},{}\n", 7 - user, time(*hour)));
    let together = ask("feature_service=all", format!("user,other,event_time\n{}", all.collect::<String>()));
    let mut present = 0;
    for (column, alone, key, of) in [
        ("profile__n", "profile:n", "user", (|user| user) as fn(u64) -> u64),
        ("score__m", "score:m", "user", |user| user),
        ("friend__n", "profile:n", "user", |user| 7 - user),
        ("club__since", "club:since", "seat", |user| user),
    ] {
        let alone_column = alone.replace(':', "__");
        for (row, answer) in ask(&format!("features={alone}"), spine(key, of)).iter().enumerate() {
            assert_eq!(together[row][column], answer[&alone_column], "{column}, row {row}");
            present += usize::from(!answer[&alone_column].is_null());
        }
    }
    assert!(present > 100, "{present} values");
}
