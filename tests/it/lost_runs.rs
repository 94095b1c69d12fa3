//! Damage to a data directory that takes rows or records of a batch feature view's runs: `larder repair` has them done again.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use larder::{
    model::TableId,
    shard::{Run, Store, StoreOptions},
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    damage::{NOW, Opened, copy, journal},
    support::TestNode,
};

/// 40,000 rows a run, in two parts.
const DEFINITIONS: &str = include_str!("../fixtures/products.toml");
const SEEDS: i64 = 200;
const MOMENTS: [&str; 3] = ["2024-04-28T00:00:00Z", "2024-04-29T00:00:00Z", "2024-05-01T00:00:00Z"];

/// What a kill leaves after three runs, none of them sealed; and the view's table.
fn three_runs() -> (TempDir, TableId) {
    let node = TestNode::with(NOW, &[("offline.seal_after", "1h")]);
    node.apply(DEFINITIONS.split("[[batch").next().unwrap());
    let seed = |n: i64| json!({ "n": n, "event_time": "2024-04-01T00:00:00Z", "x": n + 1 });
    node.write("seeds", (0..SEEDS).map(seed).collect());
    node.apply(DEFINITIONS);
    let range = json!({ "from": MOMENTS[0], "to": MOMENTS[1] });
    assert_eq!(node.post_json("/v1/feature-views/products/materialize", &range).0, 202);
    wait(|| node.get("/v1/feature-views/products/materialize").1, 3);
    let dir = TempDir::new().unwrap();
    copy(node.dir(), dir.path());
    (dir, node.running().app().catalog.current().table("products").unwrap().table)
}

/// Waits until so many runs are done, and no others are there; returns them by moment.
#[track_caller]
fn wait(runs: impl Fn() -> Json, count: usize) -> BTreeMap<String, Json> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let body = runs();
        let runs = body["runs"].as_array().unwrap();
        if runs.len() == count && runs.iter().all(|run| run["state"] == "done") {
            return runs
                .iter()
                .map(|run| (run["moment"].as_str().unwrap().to_owned(), run.clone()))
                .collect();
        }
        assert!(Instant::now() < deadline, "{body:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn larder(command: &str, dir: &Path) -> (bool, Json, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_larder")).args([command, "--json"]).arg(dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or(Json::Null), said)
}

/// Every run has each of its rows in history, the first one's as often as is said; all are right, also online.
#[track_caller]
fn check(node: &Opened, rows_of_first: i64) {
    let pairs = SEEDS * SEEDS;
    for (moment, rows) in MOMENTS.into_iter().zip([rows_of_first, pairs, pairs]) {
        let asked = |what: &str| {
            let sql = format!("SELECT {what} FROM products WHERE event_time = TIMESTAMP '{moment}'");
            let (status, body) = node.post("/v1/sql", &json!({ "query": sql }));
            assert_eq!(status, 200, "{body:#}");
            body["rows"][0].clone()
        };
        let counted = asked("count(*) AS n, count(DISTINCT id) AS ids");
        assert_eq!(counted, json!({ "n": rows, "ids": pairs }), "{moment}");
        let off = asked("max(abs(product - (id / 1000 + 1) * (id % 1000 + 1))) AS off");
        assert_eq!(off, json!({ "off": 0 }), "{moment}");
    }
    for a in 0..SEEDS {
        let entities: Vec<Json> = (0..SEEDS).map(|b| json!({ "id": a * 1000 + b })).collect();
        let body = json!({ "features": ["products:product"], "entities": entities });
        let values: Vec<Json> = (0..SEEDS).map(|b| json!([(a + 1) * (b + 1)])).collect();
        assert_eq!(node.post("/v1/online-features", &body).1["values"], Json::Array(values));
    }
}

#[test]
fn a_run_that_has_lost_rows_is_done_again() {
    let (data, table) = three_runs();
    let runs = {
        let whole = TempDir::new().unwrap();
        copy(data.path(), whole.path());
        let node = Opened::start(whole.path()).unwrap();
        wait(|| node.get("/v1/feature-views/products/materialize").1, 3)
    };
    let mut run: Run = serde_json::from_value(runs[MOMENTS[0]].clone()).unwrap();
    assert_eq!((run.parts, run.rows), (2, 40_000));
    run.parts = 1;
    let id = run.batch_id(table);
    // In the rows of a blob of its first part: what the record says of it came later, and is whole.
    let path = journal(data.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(16).position(|window| window == id.as_bytes()).unwrap();
    bytes[at + 200] ^= 4;
    std::fs::write(&path, bytes).unwrap();

    let (healthy, report, _) = larder("doctor", data.path());
    assert!(!healthy, "{report:#}");
    let (done, report, said) = larder("repair", data.path());
    assert!(done, "{said}");
    assert_eq!(
        report["runs"],
        json!([{ "table": "products", "again": [MOMENTS[0]], "unreadable": [], "in_doubt": false }]),
        "{report:#}"
    );
    let (healthy, report, said) = larder("doctor", data.path());
    assert!(healthy, "{report:#}{said}");
    let node = Opened::start(data.path()).unwrap();
    let again = wait(|| node.get("/v1/feature-views/products/materialize").1, 3);
    assert_eq!(again[MOMENTS[0]]["rows"], 40_000);
    assert_eq!(again[MOMENTS[1]]["finished"], runs[MOMENTS[1]]["finished"]);
    // The part that was not lost is there in two versions.
    check(&node, 60_000);
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_removed() {
    let (data, table) = three_runs();
    {
        let options = StoreOptions { memtable: 8 << 20, block_cache: 8 << 20, max_journal: 256 << 20 };
        let (store, _) = Store::open(&data.path().join("online"), options, 1).unwrap();
        store.meta.insert(format!("run/{}/{:020}", table.0, 2), "{").unwrap();
        store.flush(Instant::now() + Duration::from_secs(20)).unwrap().unwrap();
    }
    let (healthy, report, _) = larder("doctor", data.path());
    assert!(!healthy, "{report:#}");
    assert!(report["problems"][0].as_str().unwrap().contains("of a run cannot be read"), "{report:#}");
    let (done, report, said) = larder("repair", data.path());
    assert!(done && !report["kept"].is_null(), "{said}");
    assert_eq!(report["runs"][0]["unreadable"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!((&report["lost"], &report["runs"][0]["again"]), (&json!([]), &json!([])));
    assert!(larder("doctor", data.path()).0);
    let node = Opened::start(data.path()).unwrap();
    wait(|| node.get("/v1/feature-views/products/materialize").1, 2);
    check(&node, SEEDS * SEEDS);
}
