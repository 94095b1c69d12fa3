//! Clients that would take more than their part, and pages of other sites.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use reqwest::{Method, header};
use serde_json::{Value as Json, json};

use crate::support::{CSV, JSON, TestNode, answer, documented::declares};

const NOW: &str = "2026-01-01T00:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[feature_view]]
name = "spend"
entities = ["user"]
feature = [{ name = "total", type = "float64" }]
"#;

fn node(settings: &[(&str, &str)]) -> TestNode {
    let node = TestNode::with(NOW, settings);
    node.apply(DEFINITIONS);
    node.write("spend", json!([{ "user": 1, "event_time": "2025-12-31T00:00:00Z", "total": 7.5 }]));
    node
}

fn value(node: &TestNode) -> Json {
    node.read(&["spend:total"], json!([{ "user": 1 }]))["values"][0][0].clone()
}

/// A connection whose request has begun, and no more.
fn begin(node: &TestNode, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.running().address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("{head}\r\nhost: localhost\r\n").as_bytes()).unwrap();
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn clients_that_send_nothing_keep_nobody_from_training_sets_and_jobs() {
    let node = node(&[]);
    let routes = ["/v1/training-sets?features=spend", "/v1/training-sets/jobs?features=spend&name=held"];
    let _held: Vec<TcpStream> = (0..40)
        .map(|i| {
            let mut stream = begin(&node, &format!("POST {} HTTP/1.1", routes[i % 2]));
            stream.write_all(b"content-type: text/csv\r\ncontent-length: 1000\r\n\r\nu").unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let spine = "user,event_time\n1,2025-12-31T12:00:00Z\n";
    let (status, body) = answer(
        node.post(routes[0]).header("Content-Type", CSV).header("Accept", JSON).body(spine).send().unwrap(),
    );
    assert_eq!((status, &body["rows"][0]["spend__total"]), (200, &json!(7.5)), "{body}");
    let (status, body) = node.post_bytes("/v1/training-sets/jobs?features=spend&name=mine", CSV, spine);
    assert_eq!(status, 202, "{body}");
}

#[test]
fn a_slow_body_of_a_call_without_a_deadline_ends() {
    let node = node(&[("server.stall_timeout", "1s")]);
    let started = Instant::now();
    let mut stream = begin(&node, "POST /v1/sql HTTP/1.1");
    stream.write_all(b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n").unwrap();
    let mut sender = stream.try_clone().unwrap();
    thread::spawn(move || {
        while sender.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let told = rest(stream);
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("limits.min_rate_bytes"), "{told}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn batches_that_wait_for_each_other_are_answered_at_once() {
    let node = node(&[]);
    let row = json!({ "user": 1, "event_time": "2025-12-31T00:00:00Z", "total": 1.0 });
    let body = json!({ "rows": vec![row; 3000] }).to_string();
    let send = |key: &str, after: &str| {
        let request = node.post("/v1/feature-views/spend/rows").header("Content-Type", JSON);
        let request = request.header("Idempotency-Key", key).header("Ingest-After", after);
        answer(request.body(body.clone()).send().unwrap())
    };
    let started = Instant::now();
    for round in 0..5 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| send(&a, &b));
            let other = scope.spawn(|| send(&b, &a));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert_eq!((one.0, other.0), (409, 409), "{one:?} {other:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    node.write("spend", json!([{ "user": 2, "event_time": "2025-12-31T00:00:00Z", "total": 1.0 }]));
}

#[test]
fn entities_are_counted_while_they_are_read() {
    let node = node(&[]);
    for entities in [vec!["{}"; 5_000_000].join(","), vec![r#"{"user":1}"#; 1_200_000].join(",")] {
        let body = format!(r#"{{"features":["spend:total"],"entities":[{entities}]}}"#);
        let started = Instant::now();
        let (status, body) = node.post_bytes("/v1/online-features", JSON, body);
        assert_eq!((status, &body["code"]), (413, &json!("too_large")), "{body}");
        assert!(body["detail"].as_str().unwrap().contains("more than the 1000 allowed"), "{body}");
        // Many times what it takes; all of them took several seconds with optimized code.
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }
}

#[test]
fn json_that_unfolds_in_memory_is_weighed_before_it_is_parsed() {
    let node = node(&[]);
    let small = vec![r#"{"a":1}"#; 1_000_000].join(",");
    for (path, body) in [
        (
            "/v1/online-features",
            format!(r#"{{"features":["spend:total"],"entities":[{{"user":1}}],"request":[{small}]}}"#),
        ),
        ("/v1/feature-views/spend/delete", format!(r#"{{"entities":[{small}]}}"#)),
        (
            "/v1/training-sets/jobs",
            format!(r#"{{"features":["spend"],"spine":{{"inline":[]}},"split":[{small}]}}"#),
        ),
        ("/v1/sql", format!(r#"{{"query":"SELECT 1","parameters":{{"a":[{small}]}}}}"#)),
        ("/v1/registry/apply", format!(r#"{{"files":[{small}]}}"#)),
    ] {
        let (status, body) = node.post_bytes(path, JSON, body);
        assert_eq!((status, &body["code"]), (413, &json!("too_large")), "{path} {body}");
    }
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let node = node(&[]);
    let backup = tempfile::tempdir().unwrap();
    let entities = json!({ "entities": [{ "user": 1 }] }).to_string();
    let dir = json!({ "dir": backup.path().join("stolen") }).to_string();
    for (path, body) in [("/v1/feature-views/spend/delete", &entities), ("/v1/admin/backup", &dir)] {
        for simple in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", ""]
        {
            let mut request = node.post(path).body(body.clone());
            if !simple.is_empty() {
                request = request.header("Content-Type", simple);
            }
            let (status, problem) = answer(request.send().unwrap());
            assert_eq!(
                (status, &problem["code"]),
                (415, &json!("unsupported_media_type")),
                "{path} {simple}"
            );
            assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{problem}");
        }
        let page = |name: &'static str, value: &str| {
            answer(
                node.post(path)
                    .header("Content-Type", JSON)
                    .header(name, value)
                    .body(body.clone())
                    .send()
                    .unwrap(),
            )
        };
        for origin in ["http://evil.example", "null", "http://localhost:1"] {
            assert_eq!(page("Origin", origin).0, 403, "{origin}");
        }
        assert_eq!(page("Sec-Fetch-Site", "cross-site").0, 403);
        assert_eq!(page("Host", "evil.example:6566").0, 421);
    }
    assert_eq!(value(&node), 7.5);
    assert!(!backup.path().join("stolen").exists());

    // A page that calls this node by a name of its own reads nothing, either.
    for path in ["/v1/info", "/metrics", "/openapi.json", "/docs/", "/nowhere"] {
        let request = node.request(Method::GET, path).header(header::HOST, "evil.example");
        assert_eq!(answer(request.send().unwrap()).0, 421, "{path}");
    }
    // Without a body there is nothing to see in it, and it is refused as well.
    let retry = node.post("/v1/quarantine/retry?view=spend").header("Content-Type", "text/plain");
    assert_eq!(answer(retry.send().unwrap()).0, 415);
    assert_eq!(answer(node.post("/v1/quarantine/retry?view=spend").send().unwrap()).0, 200);
}

#[test]
fn the_nodes_own_pages_and_those_of_the_configuration_may() {
    let node =
        node(&[("server.hosts", r#"["larder.test"]"#), ("server.origins", r#"["https://ml.example.com"]"#)]);
    let read = json!({ "features": ["spend:total"], "entities": [{ "user": 1 }] }).to_string();
    let page = |host: &str, origin: &str| {
        let request = node.post("/v1/online-features").header("Content-Type", JSON).header("Host", host);
        answer(request.header("Origin", origin).body(read.clone()).send().unwrap()).0
    };
    assert_eq!(page("localhost:7", "http://localhost:7"), 200);
    assert_eq!(page("larder.test", "https://larder.test"), 200);
    assert_eq!(page("larder.test", "https://ml.example.com"), 200);
    assert_eq!(page("larder.test", "https://larder.test.evil.example"), 403);
    assert_eq!(page("larder.test.evil.example", "https://larder.test.evil.example"), 421);
}

#[test]
fn what_curl_sends_by_itself_is_refused_with_what_to_write() {
    let node = node(&[]);
    let curl =
        node.post("/v1/feature-views/spend/rows").header("Content-Type", "application/x-www-form-urlencoded");
    let (status, problem) = answer(curl.body(r#"{"rows":[]}"#).send().unwrap());
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 415);
    assert!(
        detail.contains("text/csv") && detail.contains("add -H 'content-type: application/json'"),
        "{detail}"
    );
}

#[test]
fn invented_methods_paths_and_ids_make_no_metrics() {
    let node = node(&[]);
    let metrics = || node.request(Method::GET, "/metrics").send().unwrap().text().unwrap();
    let series = |text: &str| text.lines().filter(|line| line.starts_with("larder_http_")).count();
    let invent = |from: usize| {
        for i in from..from + 60 {
            let method = Method::from_bytes(format!("BREW{i}").as_bytes()).unwrap();
            let _ = node.request(method, "/v1/info").send().unwrap();
            let _ = node.request(Method::GET, &format!("/v1/invented/{i}")).send().unwrap();
            let _ = node.request(Method::GET, &format!("/v1/entities/e{i}")).send().unwrap();
            let _ = node.request(Method::GET, &format!("/v1/lineage/kind{i}/x")).send().unwrap();
        }
        series(&metrics())
    };
    let _ = invent(0);
    assert_eq!(invent(60), invent(120));
}

#[test]
fn every_operation_declares_its_problems_and_its_bodies() {
    let node = TestNode::at(NOW);
    let (status, api) = node.get("/openapi.json");
    assert_eq!(status, 200);
    for (route, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let of = |status: u16| declares(operation, status, Some("application/problem+json"));
            for status in [400, 414, 421, 431, 500, 503] {
                assert!(of(status), "{method} {route} {status}");
            }
            if method == "post" {
                assert!(of(403) && of(415) && of(429), "{method} {route}");
            }
            if operation["requestBody"].is_object() {
                assert!(of(408) && of(413), "{method} {route}");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                let has_body = !matches!(status.as_str(), "204" | "304");
                assert_eq!(response["content"].is_object(), has_body, "{method} {route} {status}");
            }
        }
    }
}
