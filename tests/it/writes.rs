//! Writes: atomic batches, idempotency, duplicates, quarantine.

use serde_json::{Value as Json, json};

use crate::support::{JSON, TestNode, answer};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "string" }]

[[source]]
name = "clicks"
kind = "push"
event_time = "at"
event_id = "id"
schema = { id = "string", user_id = "string", n = "int64" }

[[feature_view]]
name = "score"
entities = ["user"]
feature = [{ name = "value", type = "float64", validate = { min = 0, max = 100, not_null = true } }]
"#;

fn node() -> TestNode {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(DEFINITIONS);
    node
}

fn row(user: &str, value: Json) -> Json {
    json!({ "user_id": user, "event_time": "2024-05-01T11:00:00Z", "value": value })
}

fn value_of(node: &TestNode, user: &str) -> Json {
    node.read(&["score:value"], json!([{ "user_id": user }]))["values"][0][0].clone()
}

/// All rows of a table as the offline store gives them: point-in-time values for the given users, far in the future.
fn history(node: &TestNode, users: &[&str]) -> Vec<Json> {
    let spine: String = users
        .iter()
        .map(|u| format!("{}\n", json!({ "user_id": u, "event_time": "2024-06-01T00:00:00Z" })))
        .collect();
    let response = node
        .post("/v1/training-sets?features=score:value")
        .header("Content-Type", "application/x-ndjson")
        .header("Accept", "application/x-ndjson")
        .body(spine)
        .send()
        .unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().unwrap();
    text.lines().map(|l| serde_json::from_str::<Json>(l).unwrap()["score__value"].clone()).collect()
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let node = node();
    let rows = json!({ "rows": [row("a", json!(1.0)), row("b", json!(101.0)), row("c", Json::Null), row("d", json!(4.0))] });
    let (status, problem) = node.post_json("/v1/feature-views/score/rows", &rows);
    assert_eq!(status, 422, "{problem:#}");
    assert_eq!(problem["errors"][0]["row"], 1);
    assert_eq!(problem["errors"][0]["field"], "value");
    assert_eq!(problem["errors"][1]["row"], 2);
    for user in ["a", "b", "c", "d"] {
        assert_eq!(value_of(&node, user), Json::Null);
    }
    assert_eq!(history(&node, &["a", "d"]), [Json::Null, Json::Null]);
}

#[test]
fn quarantine_keeps_the_bad_rows_and_lets_them_be_tried_again() {
    let node = node();
    let rows = json!({ "rows": [row("a", json!(1.0)), row("b", json!(101.0)), row("c", json!("x"))] });
    let (status, ack) = node.post_json("/v1/feature-views/score/rows?on_error=quarantine", &rows);
    assert_eq!(status, 200, "{ack:#}");
    assert_eq!((ack["accepted"].as_u64(), ack["quarantined"].as_u64()), (Some(1), Some(2)));
    assert_eq!(value_of(&node, "a"), 1.0);
    let (_, kept) = node.get("/v1/quarantine?view=score");
    assert_eq!(kept["rows"].as_array().unwrap().len(), 2);
    assert_eq!(kept["rows"][0]["raw"]["user_id"], "b");
    assert_eq!(kept["rows"][0]["batch_id"], ack["batch_id"]);

    // Still wrong: nothing changes.
    let (_, retried) = node.post_json("/v1/quarantine/retry?view=score", &json!({}));
    assert_eq!((retried["accepted"].as_u64(), retried["remaining"].as_u64()), (Some(0), Some(2)));
    // The rule was too strict: with a new definition one of them is fine.
    node.apply(&DEFINITIONS.replace("max = 100", "max = 1000"));
    let (_, retried) = node.post_json("/v1/quarantine/retry?view=score", &json!({}));
    assert_eq!((retried["accepted"].as_u64(), retried["remaining"].as_u64()), (Some(1), Some(1)));
    assert_eq!(value_of(&node, "b"), 101.0);
    let (_, kept) = node.get("/v1/quarantine?view=score");
    assert_eq!(kept["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn an_idempotency_key_makes_a_retry_safe() {
    let mut node = node();
    let send = |node: &TestNode, body: &str| {
        let response = node
            .post("/v1/feature-views/score/rows")
            .header("Content-Type", JSON)
            .header("Idempotency-Key", "k-1")
            .body(body.to_owned())
            .send()
            .unwrap();
        let replayed = response.headers().get("idempotency-replayed").is_some();
        let (status, body) = answer(response);
        (status, replayed, body)
    };
    let body = json!({ "rows": [row("a", json!(1.0))] }).to_string();
    let first = send(&node, &body);
    assert_eq!((first.0, first.1), (200, false));
    node.write("score", json!([row("a", json!(2.0))]));
    let again = send(&node, &body);
    assert_eq!((again.0, again.1, &again.2), (200, true, &first.2));
    assert_eq!(value_of(&node, "a"), 2.0, "the replay stored nothing");
    node.restart();
    let after_restart = send(&node, &body);
    assert_eq!((after_restart.0, after_restart.1, &after_restart.2), (200, true, &first.2));
    let other = send(&node, &json!({ "rows": [row("a", json!(3.0))] }).to_string());
    assert_eq!(other.0, 422, "{:#}", other.2);
}

/// Two compressions of the same rows: gzip notes the time.
fn gzipped(body: &str, time: u32) -> Vec<u8> {
    let level = flate2::Compression::new(if time.is_multiple_of(2) { 1 } else { 9 });
    let mut encoder = flate2::GzBuilder::new().mtime(time).write(Vec::new(), level);
    std::io::Write::write_all(&mut encoder, body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_same_rows_are_the_same_request_however_they_are_compressed() {
    let mut node = node();
    let send = |node: &TestNode, query: &str, encoding: &str, body: Vec<u8>| {
        let request = node.post(&format!("/v1/feature-views/score/rows{query}")).header("Content-Type", JSON);
        let request = request.header("Idempotency-Key", "k").header("Content-Encoding", encoding);
        let response = request.body(body).send().unwrap();
        let replayed = response.headers().contains_key("idempotency-replayed");
        let (status, body) = answer(response);
        (status, replayed, body["batch_id"].clone())
    };
    let body = json!({ "rows": [row("a", json!(1.0))] }).to_string();
    let first = send(&node, "", "gzip", gzipped(&body, 0));
    assert_eq!((first.0, first.1), (200, false));
    let again = (200, true, first.2);
    assert_ne!(gzipped(&body, 0), gzipped(&body, 1));
    assert_eq!(send(&node, "", "gzip", gzipped(&body, 1)), again);
    assert_eq!(send(&node, "", "zstd", zstd::encode_all(body.as_bytes(), 3).unwrap()), again);
    assert_eq!(send(&node, "", "identity", body.clone().into_bytes()), again);
    node.restart();
    assert_eq!(send(&node, "", "gzip", gzipped(&body, 3)), again);
    // Other rows, or another handling of bad ones, are another request.
    let other = json!({ "rows": [row("a", json!(2.0))] }).to_string();
    assert_eq!(send(&node, "", "gzip", gzipped(&other, 0)).0, 422);
    assert_eq!(send(&node, "?on_error=quarantine", "gzip", gzipped(&body, 0)).0, 422);
    assert_eq!(send(&node, "?on_error=reject", "gzip", gzipped(&body, 0)), again);
    assert_eq!(value_of(&node, "a"), 1.0);
}

#[test]
fn concurrent_requests_with_one_key_store_one_batch() {
    let node = node();
    let body =
        json!({ "rows": [{ "id": null, "user_id": "u", "n": 1, "at": "2024-05-01T11:00:00Z" }] }).to_string();
    let replays = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let response = node
                        .post("/v1/sources/clicks/events")
                        .header("Content-Type", JSON)
                        .header("Idempotency-Key", "same")
                        .body(body.clone())
                        .send()
                        .unwrap();
                    assert_eq!(response.status(), 200);
                    usize::from(response.headers().contains_key("idempotency-replayed"))
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>()
    });
    assert_eq!(replays, 7);
    let table = node.running().app().doors.parts.catalog.current().table("clicks").unwrap().table;
    assert_eq!(node.running().app().doors.parts.shards.committed().of(table).next_seq(), 1);
}

/// Sends one row; the batch is called `key` and comes after `after`.
fn send_after(node: &TestNode, key: &str, after: &str, value: f64) -> (u16, Json) {
    let request = node
        .post("/v1/feature-views/score/rows")
        .header("Content-Type", JSON)
        .header("Idempotency-Key", key)
        .header("Ingest-After", after)
        .body(json!({ "rows": [row("u", json!(value))] }).to_string());
    answer(request.send().unwrap())
}

#[test]
fn a_batch_is_stored_after_the_one_that_it_names() {
    let node = node();
    let (status, problem) = send_after(&node, "1", "0", 1.0);
    assert_eq!(status, 409, "{problem:#}");
    assert!(problem["detail"].as_str().unwrap().contains("the batch `0`"), "{problem:#}");
    assert_eq!(value_of(&node, "u"), Json::Null);
    assert_eq!(send_after(&node, "1", "1", 1.0).0, 400, "after itself");

    // All at once, last ones first: at equal times the later batch wins, so the value tells the order.
    let first = node.post("/v1/feature-views/score/rows").header("Content-Type", JSON);
    let first =
        first.header("Idempotency-Key", "0").body(json!({ "rows": [row("u", json!(0.0))] }).to_string());
    assert_eq!(answer(first.send().unwrap()).0, 200);
    std::thread::scope(|scope| {
        for n in (1..=20).rev() {
            let node = &node;
            scope.spawn(move || {
                let (key, after) = (n.to_string(), (n - 1).to_string());
                while send_after(node, &key, &after, f64::from(n)).0 == 409 {
                    std::thread::yield_now();
                }
            });
        }
    });
    assert_eq!(value_of(&node, "u"), 20.0);
    let table = node.running().app().doors.parts.catalog.current().table("score").unwrap().table;
    assert_eq!(node.running().app().doors.parts.shards.committed().of(table).next_seq(), 21);
    // One of another body under a known key is refused as ever, and a repeat is answered.
    assert_eq!(send_after(&node, "20", "19", 3.0).0, 422);
    assert_eq!(send_after(&node, "20", "19", 20.0).0, 200);
}

#[test]
fn an_event_with_a_known_id_counts_once() {
    let mut node = node();
    let events = |node: &TestNode, ids: &[(&str, &str)]| {
        let rows: Vec<Json> =
            ids.iter().map(|(id, at)| json!({ "id": id, "user_id": "u", "n": 1, "at": at })).collect();
        let (status, ack) = node.post_json("/v1/sources/clicks/events", &json!({ "rows": rows }));
        assert_eq!(status, 200, "{ack:#}");
        (ack["accepted"].as_u64().unwrap(), ack["deduplicated"].as_u64().unwrap())
    };
    let (t1, t2) = ("2024-05-01T11:00:00Z", "2024-05-01T11:00:01Z");
    assert_eq!(events(&node, &[("a", t1), ("b", t1), ("a", t1)]), (2, 1));
    assert_eq!(events(&node, &[("b", t1), ("b", t2), ("c", t1)]), (2, 1), "another time is another event");
    node.restart();
    assert_eq!(events(&node, &[("a", t1), ("d", t1)]), (1, 1));
}

#[test]
fn many_writers_lose_nothing() {
    let node = node();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let node = &node;
            scope.spawn(move || {
                for i in 0..25 {
                    let user = format!("w{writer}-{i}");
                    node.write("score", json!([row(&user, json!(f64::from(writer) + f64::from(i) / 100.0))]));
                    // Read-your-writes, online.
                    assert_eq!(value_of(node, &user), json!(f64::from(writer) + f64::from(i) / 100.0));
                }
            });
        }
    });
    // And offline, without waiting for a segment.
    let users: Vec<String> = (0..8).flat_map(|w| (0..25).map(move |i| format!("w{w}-{i}"))).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let expected: Vec<Json> =
        (0..8).flat_map(|w| (0..25).map(move |i| json!(f64::from(w) + f64::from(i) / 100.0))).collect();
    assert_eq!(history(&node, &names), expected);
}
