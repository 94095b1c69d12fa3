//! A binary without the cargo feature `sql` says so where SQL is asked for, and does the rest.

use serde_json::json;

use crate::support::{CSV, TestNode};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
feature = [{ name = "n", type = "int64" }]
"#;
const BATCH: &str = r#"
[[batch_feature_view]]
name = "totals"
entities = ["user"]
schedule = "1d"
sql = "SELECT user, $as_of AS event_time, n AS total FROM profile"
feature = [{ name = "total", type = "int64" }]
"#;
const SAID: &str = "this binary was built without the cargo feature `sql`";

#[test]
fn sql_is_refused_and_nothing_else() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    let applied = node.apply(DEFINITIONS);
    let (status, problem) =
        node.post_bytes("/v1/registry/apply", "application/toml", format!("{DEFINITIONS}{BATCH}"));
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem["errors"][0]["reason"].as_str().unwrap().contains(SAID), "{problem:#}");
    assert_eq!(node.get("/v1/registry").1["version"], applied["version"]);

    node.write("profile", json!([{ "user": 1, "event_time": "2024-05-01T11:00:00Z", "n": 7 }]));
    let (status, problem) = node.post_json("/v1/sql", &json!({ "query": "SELECT n FROM profile" }));
    assert_eq!(status, 501, "{problem:#}");
    assert!(problem["detail"].as_str().unwrap().contains(SAID), "{problem:#}");
    let job = json!({ "spine": { "sql": "SELECT * FROM profile" }, "features": ["profile"] });
    let (status, problem) = node.post_json("/v1/training-sets/jobs", &job);
    assert_eq!(status, 501, "{problem:#}");
    assert_eq!(node.get("/v1/training-sets/jobs").1, json!({ "jobs": [] }));

    assert_eq!(node.read(&["profile"], json!([{ "user": 1 }]))["values"], json!([[7]]));
    let set =
        node.post("/v1/training-sets?features=profile").header("Content-Type", CSV).header("Accept", CSV);
    let set = set.body("user,event_time\n1,2024-05-01T12:00:00Z\n").send().unwrap().text().unwrap();
    assert_eq!(set.lines().nth(1).unwrap().rsplit(',').next(), Some("7"), "{set}");
}
