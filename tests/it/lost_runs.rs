//! Damage to a data directory that takes rows or records of a batch feature view's runs: `larder repair` has them done again.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use larder::{
    model::{BatchId, TableId},
    shard::{Run, RunState, Store, StoreOptions},
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    damage::{NOW, Opened, copy},
    support::TestNode,
};

/// 40,000 rows a run, in two parts.
const DEFINITIONS: &str = include_str!("../fixtures/products.toml");
const SEEDS: i64 = 200;
const MATERIALIZE: &str = "/v1/feature-views/products/materialize";
const MOMENTS: [&str; 3] = ["2024-04-28T00:00:00Z", "2024-04-29T00:00:00Z", "2024-05-01T00:00:00Z"];

/// What a kill leaves after three runs, none of them sealed.
struct ThreeRuns {
    dir: TempDir,
    /// The view's.
    table: TableId,
    /// Of the last seeds.
    batch: BatchId,
    runs: BTreeMap<String, Run>,
}

/// Seeds that are sent apart from those before them.
const LAST_SEEDS: i64 = 50;

fn three_runs() -> ThreeRuns {
    let node = TestNode::with(NOW, &[("offline.seal_after", "1h")]);
    node.apply(DEFINITIONS.split("[[batch").next().unwrap());
    let seed = |n: i64| json!({ "n": n, "event_time": "2024-04-01T00:00:00Z", "x": n + 1 });
    node.write("seeds", (0..SEEDS - LAST_SEEDS).map(seed).collect());
    let last = node.write("seeds", (SEEDS - LAST_SEEDS..SEEDS).map(seed).collect());
    node.apply(DEFINITIONS);
    let range = json!({ "from": MOMENTS[0], "to": MOMENTS[1] });
    assert_eq!(node.post_json(MATERIALIZE, &range).0, 202);
    let runs = wait(|| node.get(MATERIALIZE).1, 3);
    let dir = TempDir::new().unwrap();
    copy(node.dir(), dir.path());
    ThreeRuns {
        dir,
        table: node.running().app().doors.parts.catalog.current().table("products").unwrap().table,
        batch: serde_json::from_value(last["batch_id"].clone()).unwrap(),
        runs: runs.into_iter().map(|(at, run)| (at, serde_json::from_value(run).unwrap())).collect(),
    }
}

impl ThreeRuns {
    fn data(&self) -> &Path {
        self.dir.path()
    }

    /// The run of the first moment.
    fn first(&self) -> &Run {
        &self.runs[MOMENTS[0]]
    }

    /// The batch of that run's first part.
    fn first_part(&self) -> BatchId {
        Run { parts: 1, ..self.first().clone() }.batch_id(self.table)
    }

    /// Stores the record of the first run as something else.
    fn set_record(&self, change: impl FnOnce(&[u8]) -> Vec<u8>) {
        let options = StoreOptions { memtable: 8 << 20, block_cache: 8 << 20, max_journal: 256 << 20 };
        let (store, _) = Store::open(&self.data().join("online"), options, 1).unwrap();
        let key = format!("run/{}/{:020}", self.table.0, self.first().number);
        let record = store.meta.get(&key).unwrap().unwrap();
        store.meta.insert(key, change(&record)).unwrap();
        store.db.persist(fjall::PersistMode::SyncAll).unwrap();
    }

    /// Changes the journal wherever a batch of rows is named in it.
    fn damage(&self, batch: BatchId, change: impl Fn(&mut [u8], usize)) {
        let mut found = 0;
        for entry in std::fs::read_dir(self.data().join("online")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "jnl") {
                continue;
            }
            let mut bytes = std::fs::read(&path).unwrap();
            for at in places(&bytes, batch.as_bytes()) {
                change(&mut bytes, at);
                found += 1;
            }
            std::fs::write(&path, bytes).unwrap();
        }
        assert!(found > 0, "{batch} is in no journal");
    }
}

/// Where `wanted` is in `bytes`, which end with many zeros.
fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0);
    (0..end).filter(|at| bytes[*at..].starts_with(wanted)).collect()
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

/// Repairs what the doctor finds to be wrong; the report, which kept what was there.
#[track_caller]
fn repair(data: &Path) -> Json {
    let (healthy, report, _) = larder("doctor", data);
    assert!(!healthy, "{report:#}");
    let (done, report, said) = larder("repair", data);
    assert!(done && !report["kept"].is_null(), "{report:#}{said}");
    let (healthy, doctor, said) = larder("doctor", data);
    assert!(healthy, "{doctor:#}{said}");
    report
}

#[test]
fn a_run_that_has_lost_rows_is_done_again() {
    let made = three_runs();
    assert_eq!((made.first().parts, made.first().rows), (2, 40_000));
    // In the rows of its first part: what the record says of it came later, and is whole.
    made.damage(made.first_part(), |bytes, at| bytes[at + 200] ^= 4);
    let report = repair(made.data());
    assert_eq!(
        report["runs"],
        json!([{ "table": "products", "again": [MOMENTS[0]], "unreadable": [], "in_doubt": false }]),
        "{report:#}"
    );
    let node = Opened::start(made.data()).unwrap();
    let again = wait(|| node.get(MATERIALIZE).1, 3);
    assert_eq!(again[MOMENTS[0]]["rows"], 40_000);
    assert_eq!(again[MOMENTS[1]], json!(made.runs[MOMENTS[1]]));
    // The part that was not lost is there in two versions.
    check(&node, 60_000);
}

#[test]
fn rows_that_no_batch_can_be_named_for_leave_the_runs_in_doubt() {
    let made = three_runs();
    // The item that a blob is: its tag lies before its header, its key and the blob's header up to the batch.
    made.damage(made.first_part(), |bytes, at| {
        let tag = at - 28 - 12 - 21;
        assert_eq!(bytes[tag], 2);
        bytes[tag] = 0;
    });
    let report = repair(made.data());
    assert_eq!(
        report["runs"],
        json!([{ "table": "products", "again": [], "unreadable": [], "in_doubt": true }]),
        "{report:#}"
    );
    assert_eq!(report["lost"][0]["batches"], json!([]), "{report:#}");
    let node = Opened::start(made.data()).unwrap();
    let kept = wait(|| node.get(MATERIALIZE).1, 3);
    assert_eq!(kept[MOMENTS[0]], json!(made.first()));
    // What the report advises.
    let range = json!({ "from": MOMENTS[0], "to": MOMENTS[0] });
    assert_eq!(node.post(MATERIALIZE, &range).0, 202);
    wait(|| node.get(MATERIALIZE).1, 4);
    check(&node, 60_000);
}

#[test]
fn a_run_under_way_that_has_lost_what_it_reads_begins_anew() {
    let made = three_runs();
    let under_way =
        Run { state: RunState::Running, parts: 1, rows: 20_000, finished: None, ..made.first().clone() };
    made.set_record(|_| serde_json::to_vec(&under_way).unwrap());
    made.damage(made.batch, |bytes, at| bytes[at + 30] ^= 4);
    let report = repair(made.data());
    assert_eq!(report["lost"][0]["table"], "seeds", "{report:#}");
    assert_eq!(
        report["runs"],
        json!([{ "table": "products", "again": [MOMENTS[0]], "unreadable": [], "in_doubt": false }]),
        "{report:#}"
    );
    let node = Opened::start(made.data()).unwrap();
    let runs = wait(|| node.get(MATERIALIZE).1, 3);
    let left = SEEDS - LAST_SEEDS;
    assert_eq!((&runs[MOMENTS[0]]["rows"], &runs[MOMENTS[0]]["parts"]), (&json!(left * left), &json!(2)));
    for moment in &MOMENTS[1..] {
        assert_eq!(runs[*moment], json!(made.runs[*moment]));
    }
}

#[test]
fn half_a_record_is_named_and_removed() {
    let made = three_runs();
    made.set_record(|record| record[..record.len() / 2].to_vec());
    let (_, report, _) = larder("doctor", made.data());
    assert!(report["problems"][0].as_str().unwrap().contains("of a run cannot be read"), "{report:#}");
    let report = repair(made.data());
    assert_eq!(report["runs"][0]["unreadable"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!((&report["lost"], &report["runs"][0]["again"]), (&json!([]), &json!([])));
    let node = Opened::start(made.data()).unwrap();
    wait(|| node.get(MATERIALIZE).1, 2);
    check(&node, SEEDS * SEEDS);
}

/// One that reads the seeds, as the products do, and one that reads the products.
const OTHERS: &str = r#"
[[batch_feature_view]]
name = "doubles"
entities = ["seed"]
schedule = "1d"
sql = "SELECT n, $as_of AS event_time, 2 * x AS double FROM seeds__latest"
feature = [{ name = "double", type = "int64" }]

[[batch_feature_view]]
name = "copies"
entities = ["pair"]
schedule = "1d"
sql = "SELECT id, $as_of AS event_time, product AS copy FROM products__latest"
feature = [{ name = "copy", type = "int64" }]
"#;

#[test]
fn half_a_record_holds_up_its_view_and_what_reads_it() {
    let made = three_runs();
    made.set_record(|record| record[..record.len() / 2].to_vec());
    let node = Opened::start(made.data()).unwrap();
    let definitions = json!({ "files": { "all.toml": format!("{DEFINITIONS}{OTHERS}") } });
    let (status, answer) = node.post("/v1/registry/apply?allow_retire=true", &definitions);
    assert_eq!(status, 200, "{answer:#}");
    let runs_of = |view: &str| node.get(&format!("/v1/feature-views/{view}/materialize"));
    wait(|| runs_of("doubles").1, 1);
    // Of the same moment, and before the other by its name.
    let (_, copies) = runs_of("copies");
    assert_eq!(
        (&copies["state"], &copies["runs"][0]["attempts"]),
        (&json!("queued"), &json!(0)),
        "{copies:#}"
    );
    for (status, problem) in [runs_of("products"), node.post(MATERIALIZE, &json!({}))] {
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem:#}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("`products`") && detail.contains("larder repair"), "{detail}");
    }
}
