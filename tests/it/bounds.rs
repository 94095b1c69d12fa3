//! Requests that would take more memory or time than they are worth: each is answered with what is too much.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::support::{ARROW, CSV, JSON, NDJSON, TestNode, answer};

const NOW: &str = "2024-06-01T00:00:00Z";
const T: &str = "2024-05-01T12:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "k"
join_keys = [{ name = "k", type = "string" }]

[[feature_view]]
name = "v"
entities = ["k"]
feature = [
  { name = "x", type = "float64", validate = { max = 10 } }, { name = "s", type = "string" }, { name = "a", type = "array<float32>" },
]

[[feature_service]]
name = "svc"
features = ["v:x"]
"#;
const ROWS: &str = "/v1/feature-views/v/rows";

fn node(settings: &[(&str, &str)]) -> TestNode {
    let node = TestNode::with(NOW, settings);
    node.apply(DEFINITIONS);
    node
}

fn code(answer: &Json) -> String {
    answer.to_string()
}

#[test]
fn unknown_columns_cost_one_suggestion_a_row() {
    let node = node(&[]);
    let mut body = String::from("{\"rows\":[");
    for row in 0..20 {
        write!(body, "{}{{\"k\":\"a\",\"event_time\":\"{T}\"", if row > 0 { "," } else { "" }).unwrap();
        (0..40_000 / 20).for_each(|column| write!(body, ",\"c{row}_{column}\":1").unwrap());
        body.push('}');
    }
    body.push_str("]}");
    let (status, said) = node.post_bytes(ROWS, JSON, body);
    assert_eq!(status, 422, "{said}");
    let errors = said["errors"].as_array().unwrap();
    assert!(
        errors.len() <= 20
            && errors.iter().all(|e| e["reason"].as_str().unwrap().starts_with("unknown column")),
        "{said}"
    );
    // The first few say what is known, the rest do not look.
    assert!(said["errors"][0]["reason"].as_str().unwrap().contains("known"), "{said}");
    assert_eq!(errors.last().unwrap()["reason"], "unknown column", "{said}");
}

#[test]
fn rows_of_csv_are_counted() {
    let node = node(&[("limits.json_rows", "100")]);
    let csv = |rows: usize| format!("k,event_time\n{}", format!("a,{T}\n").repeat(rows));
    assert_eq!(node.post_bytes(ROWS, CSV, csv(100)).0, 200);
    let (status, said) = node.post_bytes(ROWS, CSV, csv(101));
    assert!(status == 413 && code(&said).contains("100"), "{said}");
}

#[test]
fn wrong_rows_of_an_arrow_stream_are_not_all_kept() {
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    let node = node(&[("limits.json_rows", "50")]);
    let stream = |rows: usize| {
        let columns: [(&str, ArrayRef); 3] = [
            ("k", std::sync::Arc::new(StringArray::from(vec!["a"; rows]))),
            ("event_time", std::sync::Arc::new(StringArray::from(vec![T; rows]))),
            ("s", std::sync::Arc::new(StringArray::from(vec!["x".repeat(70_000); rows]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let path = format!("{ROWS}?on_error=quarantine");
    assert_eq!(node.post_bytes(&path, ARROW, stream(50)).1["quarantined"], 50);
    let (status, said) = node.post_bytes(&path, ARROW, stream(51));
    assert!(status == 422 && code(&said).contains("more than 50 rows are wrong"), "{said}");
}

#[test]
fn arrays_have_a_size_in_every_format() {
    let node = node(&[("limits.array_bytes", "4KiB")]);
    let rows = |n: usize| json!([{ "k": "a", "event_time": T, "a": vec![1.5; n] }]);
    node.write("v", rows(1024));
    let (status, said) = node.post_json(ROWS, &json!({ "rows": rows(1100) }));
    assert!(status == 422 && code(&said).contains("limits.array_bytes"), "{said}");
    let (status, said) = node.post_bytes(ROWS, NDJSON, rows(1100)[0].to_string());
    assert!(status == 422 && code(&said).contains("limits.array_bytes"), "{said}");
    let csv = format!("k,event_time,a\na,{T},\"{}\"\n", json!(vec![1.5; 1100]));
    let (status, said) = node.post_bytes(ROWS, CSV, csv);
    assert!(status == 422 && code(&said).contains("limits.array_bytes"), "{said}");
}

#[test]
fn one_large_entity_asked_for_many_times_is_too_large_an_answer() {
    let node = node(&[("limits.answer_bytes", "1MiB")]);
    node.write("v", json!([{ "k": "a", "event_time": T, "s": "x".repeat(60_000), "x": 1 }]));
    let ask = |features: Json, entities: usize, accept: &str| {
        let body = json!({ "features": features, "entities": { "k": vec!["a"; entities] } });
        let response = node.post("/v1/online-features").header("Content-Type", JSON).header("Accept", accept);
        let response = response.body(body.to_string()).send().unwrap();
        (response.status().as_u16(), response.bytes().unwrap())
    };
    for accept in [JSON, ARROW] {
        assert_eq!(ask(json!(["v:s"]), 10, accept).0, 200, "{accept}");
        let (status, said) = ask(json!(["v:s"]), 100, accept);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(status == 413 && said.contains("limits.answer_bytes"), "{accept}: {said}");
        assert_eq!(ask(json!(["v:x"]), 1000, accept).0, 200, "{accept}: only what is asked for counts");
    }
}

#[test]
fn a_small_spine_joined_to_large_texts_is_too_large_an_answer() {
    let node = node(&[("limits.training_answer_bytes", "1MiB")]);
    node.write("v", json!([{ "k": "a", "event_time": T, "s": "x".repeat(60_000), "x": 1 }]));
    let join = |features: &str, rows: usize| {
        let spine = format!("k,event_time\n{}", format!("a,{NOW}\n").repeat(rows));
        let request =
            node.post(&format!("/v1/training-sets?features={features}")).header("Content-Type", CSV);
        let response = request.header("Accept", NDJSON).body(spine).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    assert_eq!(join("v:s", 10).0, 200);
    let (status, said) = join("v:s", 1000);
    assert!(status == 413 && said.contains("named training set"), "{said}");
    assert_eq!(join("v:x", 1000).0, 200);
}

#[test]
fn views_of_one_training_set_share_its_bytes_and_defaults_and_vectors_count() {
    let node = TestNode::with(NOW, &[("limits.training_answer_bytes", "1MiB")]);
    let mut definitions =
        "[[entity]]\nname = \"k\"\njoin_keys = [{ name = \"k\", type = \"string\" }]\n".to_owned();
    let default = "d".repeat(6_000);
    for (view, feature) in [
        ("first", r#"name = "s", type = "string""#.to_owned()),
        ("second", r#"name = "s", type = "string""#.to_owned()),
        ("wide", r#"name = "v", type = "array<float32, 256>""#.to_owned()),
        ("filled", format!(r#"name = "s", type = "string", default = "{default}""#)),
    ] {
        writeln!(
            definitions,
            "[[feature_view]]\nname = \"{view}\"\nentities = [\"k\"]\nfeature = [{{ {feature} }}]"
        )
        .unwrap();
    }
    node.apply(&definitions);
    for view in ["first", "second"] {
        node.write(view, json!([{ "k": "a", "event_time": T, "s": "x".repeat(6_000) }]));
    }
    node.write("wide", json!([{ "k": "a", "event_time": T, "v": vec![0.5; 256] }]));
    let join = |features: &str, key: &str, rows: usize| {
        let spine = format!("k,event_time\n{}", format!("{key},{NOW}\n").repeat(rows));
        let path = format!("/v1/training-sets?features={features}&full_feature_names=true");
        let request = node.post(&path).header("Content-Type", CSV);
        let response = request.header("Accept", NDJSON).body(spine).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    for (features, key, fits, exceeds) in [
        ("first:s", "a", 150, 200),
        ("first:s,second:s", "a", 80, 100),
        // 1 KiB each.
        ("wide:v", "a", 1000, 1100),
        // Of an entity that nothing is known of.
        ("filled:s", "nobody", 150, 200),
    ] {
        let (status, said) = join(features, key, fits);
        assert_eq!(status, 200, "{features}: {said}");
        let (status, said) = join(features, key, exceeds);
        assert!(status == 413 && said.contains("training set is built in parts"), "{features}: {status}");
    }
}

#[test]
fn what_clients_invent_makes_no_series() {
    let node = node(&[]);
    node.write("v", json!([{ "k": "a", "event_time": T, "x": 1 }]));
    let ask = |service: &str| {
        node.post_json(
            "/v1/online-features",
            &json!({ "feature_service": service, "entities": [{ "k": "a" }] }),
        )
        .0
    };
    assert_eq!((ask("svc"), ask("svc@1")), (200, 200));
    for zeros in 1..40 {
        assert!((400..=422).contains(&ask(&format!("svc@{}1", "0".repeat(zeros)))), "{zeros}");
        assert!((400..=422).contains(&ask(&format!("@{}1", "0".repeat(zeros)))), "{zeros}");
    }
    let text = node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap();
    let series =
        text.lines().filter(|line| line.starts_with("larder_online_requests_total{service=\"svc")).count();
    assert_eq!(series, 2, "{text}");
}

#[test]
fn quarantine_is_bounded_in_bytes_and_listed_in_pages() {
    let node = node(&[("ingest.quarantine_bytes", "1MiB")]);
    let path = format!("{ROWS}?on_error=quarantine");
    for n in 0..30 {
        let rows =
            json!({ "rows": [{ "k": format!("{n}"), "event_time": T, "x": 99, "s": "x".repeat(60_000) }] });
        let (status, said) = node.post_json(&path, &rows);
        assert_eq!((status, &said["quarantined"]), (200, &json!(1)), "{said}");
    }
    let (_, page) = node.get("/v1/quarantine?view=v&limit=1000");
    let rows = page["rows"].as_array().unwrap();
    assert!((10..=17).contains(&rows.len()), "{} rows of 60 kB in 1 MiB", rows.len());
    assert_eq!(rows.last().unwrap()["raw"]["k"], "29", "the newest stay");
    let (_, first) = node.get("/v1/quarantine?view=v&limit=3");
    let next = first["next"].as_u64().unwrap();
    let (_, second) = node.get(&format!("/v1/quarantine?view=v&limit=3&from={next}"));
    assert_eq!(second["rows"][0], rows[3], "pages follow each other");
    let retried = node.post("/v1/quarantine/retry?view=v").send().unwrap();
    assert_eq!(answer(retried).1["remaining"], rows.len());
}
