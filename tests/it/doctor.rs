//! Damage to a data directory: it is noticed, named and repaired, and never passed over.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::Instant,
};

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::damage::{Known, Opened, Written, copy, journal};

fn larder(args: &[&str], dir: &Path) -> (Output, Json) {
    let output = Command::new(env!("CARGO_BIN_EXE_larder")).args(args).arg(dir).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Json::Null);
    (output, json)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What became of a damaged directory.
enum Fate {
    Refused,
    Unharmed,
    Silent(String),
}

fn fate(data: &Path, rows: &[Written]) -> Fate {
    let node = match Opened::start(data) {
        Ok(node) => node,
        Err(error) => {
            assert!(error.contains("damaged") && error.contains("larder repair"), "{error}");
            return Fate::Refused;
        }
    };
    let (ready, reasons) = node.get("/readyz");
    let (written, answer) = node.write(&[("state", 999, 900_000, 1)]);
    // Where the definitions are gone too, there is no view to write to: 404.
    if ready == 503 && matches!(written, 503 | 404) && reasons.to_string().contains("damaged") {
        return Fate::Refused;
    }
    let missing = node.missing(rows);
    match missing == (Vec::new(), Vec::new()) && written == 200 && ready == 200 {
        true => Fate::Unharmed,
        false => Fate::Silent(format!("{ready} {reasons} {written} {answer} missing {missing:?}")),
    }
}

fn seed() -> u64 {
    match std::env::var("LARDER_FLIP_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    }
}

fn content(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1
}

/// Damages copies `count` times and counts what came of it.
fn try_damage(name: &str, count: u64, damage: impl Fn(&Path, u64) -> String) {
    let known = Known::build();
    assert!(matches!(fate(known.copy().path(), &known.rows), Fate::Unharmed), "the undamaged copy");
    let seed = seed();
    println!("LARDER_FLIP_SEED={seed}");
    let (mut refused, mut unharmed, mut silent) = (0, 0, Vec::new());
    for i in 0..count {
        let data = known.copy();
        let what = damage(data.path(), xxh3_64_with_seed(&i.to_le_bytes(), seed));
        match fate(data.path(), &known.rows) {
            Fate::Refused => refused += 1,
            Fate::Unharmed => unharmed += 1,
            Fate::Silent(how) => silent.push(format!("{what}: {how}")),
        }
    }
    println!("{name}={count} refused={refused} unharmed={unharmed} silent={}", silent.len());
    assert!(silent.is_empty(), "{silent:#?}");
    assert!(refused > 0, "no damage was noticed at all");
}

fn times(default: u64) -> u64 {
    std::env::var("LARDER_FLIPS").map_or(default, |flips| flips.parse().unwrap())
}

#[test]
fn a_flipped_bit_is_never_passed_over() {
    try_damage("flips", times(30), |data, random| {
        // One in eight hits the watermark, the rest the journal.
        let path = if random % 8 == 0 { data.join("online-watermark") } else { journal(data) };
        let mut bytes = std::fs::read(&path).unwrap();
        let bit = (random >> 8) as usize % (content(&bytes) * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        format!("{} bit {bit}", path.display())
    });
}

#[test]
fn a_cut_or_a_blank_page_in_a_journal_is_never_passed_over() {
    try_damage("cuts_and_blanks", times(30) / 2, |data, random| {
        let path = journal(data);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = (random >> 8) as usize % content(&bytes);
        match random % 2 {
            0 => bytes.truncate(at),
            _ => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill(0);
            }
        }
        std::fs::write(&path, bytes).unwrap();
        format!("{} {} from byte {at}", ["cut", "blanked"][(random % 2) as usize], path.display())
    });
}

#[test]
fn a_repaired_directory_has_all_but_the_damaged_batch() {
    let known = Known::build();
    let data = known.copy();
    let path = journal(data.path());
    let mut bytes = std::fs::read(&path).unwrap();
    // Batch 30 is one of three rows of `state`.
    let (before, batch) = known.batches[30].clone();
    let lost = known.rows[before..before + 3].to_vec();
    let id: Vec<u8> =
        (0..16).map(|i| u8::from_str_radix(&batch.replace('-', "")[i * 2..i * 2 + 2], 16).unwrap()).collect();
    let at = bytes.windows(16).rposition(|window| window == id).unwrap();
    // In the blob's rows, behind its header.
    bytes[at + 40] ^= 4;
    std::fs::write(&path, &bytes).unwrap();

    let error = Opened::start(data.path()).err().unwrap();
    assert!(error.contains("larder repair") && error.contains(&path.display().to_string()), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused journal is left as it is");

    let (output, report) = larder(&["doctor", "--json"], data.path());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(report["healthy"], false);
    let damage = &report["journals"].as_array().unwrap().last().unwrap()["damage"][0];
    let (from, until) = (damage["offset"].as_u64().unwrap(), damage["until"].as_u64().unwrap());
    assert!((from..until).contains(&(at as u64)), "{report:#}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the doctor changes nothing");

    let (output, report) = larder(&["repair", "--json"], data.path());
    assert!(output.status.success(), "{}", stderr(&output));
    let [only] = report["lost"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert_eq!((&only["table"], &only["history_is_whole"]), (&"state".into(), &false.into()));
    assert_eq!(only["until"].as_u64().unwrap() - only["from"].as_u64().unwrap(), 3);
    assert_eq!(only["batches"], json!([batch]));
    let kept = Path::new(report["kept"].as_str().unwrap()).join(path.file_name().unwrap());
    assert_eq!(std::fs::read(kept).unwrap()[..at + 41], bytes[..at + 41]);

    let (output, _) = larder(&["doctor", "--deep"], data.path());
    assert!(output.status.success(), "{}", stderr(&output));
    let there: Vec<Written> = known.rows.iter().filter(|row| !lost.contains(row)).copied().collect();
    for round in 0..3 {
        let node = Opened::start(data.path()).unwrap();
        assert_eq!(node.get("/readyz").0, 200);
        assert_eq!(node.missing(&there), (vec![], vec![]), "round {round}");
        assert_eq!(node.missing(&lost).0, lost);
        assert_eq!(node.write(&[("state", 5000, 1_000_000 + round, 1)]).0, 200);
    }
    let node = Opened::start(data.path()).unwrap();
    assert_eq!(node.write(&lost).0, 200, "what is lost can be sent again");
    assert_eq!(node.missing(&known.rows).0, vec![]);
}

#[test]
fn an_old_store_under_a_newer_watermark_is_served_but_not_written_to() {
    let known = Known::build();
    let data = known.copy();
    let more: Vec<Written> = (0..5).map(|i| ("state", 200 + i, 10_000, i)).collect();
    let old = tempfile::TempDir::new().unwrap();
    {
        let node = Opened::start(data.path()).unwrap();
        copy(&data.path().join("online"), old.path());
        assert_eq!(node.write(&more).0, 200);
    }
    std::fs::remove_dir_all(data.path().join("online")).unwrap();
    std::fs::create_dir(data.path().join("online")).unwrap();
    copy(old.path(), &data.path().join("online"));
    // The journal itself shows it: refused before it is opened.
    let error = Opened::start(data.path()).err().unwrap();
    assert!(error.contains("were acknowledged"), "{error}");

    // A store of which no journal speaks of the table is opened, and compared then.
    std::fs::remove_dir_all(data.path().join("online")).unwrap();
    {
        let node = Opened::start(data.path()).unwrap();
        let (status, ready) = node.get("/readyz");
        assert_eq!(status, 503);
        assert!(ready.to_string().contains("were acknowledged and are missing"), "{ready}");
        assert!(ready.to_string().contains("the registry"), "{ready}");
        let metrics = node.text("/metrics");
        let count = metrics.lines().find_map(|line| line.strip_prefix("larder_invariant_violations_total "));
        assert!(
            count.unwrap().parse::<f64>().unwrap() >= 3.0,
            "two tables' rows and the registry: {metrics}"
        );
        let entity = "[[entity]]\nname = \"e\"\njoin_keys = [{ name = \"e\", type = \"int64\" }]\n";
        let (status, body) =
            node.post("/v1/registry/apply?allow_retire=true", &json!({ "files": { "e.toml": entity } }));
        assert_eq!(status, 503, "{body}");
    }
}

#[test]
fn repair_gives_up_a_lost_end_and_takes_writes_again() {
    let known = Known::build();
    let data = known.copy();
    let path = journal(data.path());
    let bytes = std::fs::read(&path).unwrap();
    // Batches 38 and 39 go.
    let (before, batch) = &known.batches[38];
    let id: Vec<u8> =
        (0..16).map(|i| u8::from_str_radix(&batch.replace('-', "")[i * 2..i * 2 + 2], 16).unwrap()).collect();
    let at = bytes.windows(16).position(|window| window == id).unwrap();
    std::fs::write(&path, &bytes[..at]).unwrap();
    assert!(Opened::start(data.path()).is_err());
    let (output, report) = larder(&["repair", "--json"], data.path());
    assert!(output.status.success(), "{}", stderr(&output));
    let lost: u64 = report["lost"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lost| lost["until"].as_u64().unwrap() - lost["from"].as_u64().unwrap())
        .sum();
    // The last is of a view without history: its rows have no numbers.
    assert_eq!(lost as usize, known.batches[39].0 - before, "{report:#}");
    assert_eq!(
        report["lost_commits"],
        json!([{ "table": "live", "from": 1, "until": 2, "batches": [] }]),
        "{report:#}"
    );
    let node = Opened::start(data.path()).unwrap();
    assert_eq!(node.missing(&known.rows[..*before]).0, vec![]);
    assert_eq!(node.write(&known.rows[*before..known.batches[39].0]).0, 200);
}

#[test]
fn repair_names_lost_commits_of_a_view_without_history() {
    let known = Known::build();
    let data = known.copy();
    let at_kill = tempfile::TempDir::new().unwrap();
    let mut batches = Vec::new();
    {
        let node = Opened::start(data.path()).unwrap();
        for i in 0..4 {
            let key = format!("idempotency-{i}");
            let (status, answer) = node.write_once(&key, &[("live", 300 + i, 20_000 + i, i)]);
            assert_eq!(status, 200, "{answer}");
            batches.push(answer["batch_id"].clone());
        }
        copy(data.path(), at_kill.path());
    }
    let path = journal(at_kill.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(13).position(|window| window == b"idempotency-2").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (output, report) = larder(&["repair", "--json"], at_kill.path());
    assert!(output.status.success(), "{}", stderr(&output));
    // The first commit of the view was batch 39 of what was known.
    assert_eq!(
        report["lost_commits"],
        json!([{ "table": "live", "from": 4, "until": 5, "batches": [batches[2]] }]),
        "{report:#}"
    );
    assert_eq!(report["lost"], json!([]));
    let node = Opened::start(at_kill.path()).unwrap();
    assert_eq!(node.get("/readyz").0, 200);
    let online = |i: i64| node.missing(&[("live", 300 + i, 20_000 + i, i)]).1.is_empty();
    assert_eq!([online(0), online(1), online(2), online(3)], [true, true, false, true]);
    assert_eq!(node.write_once("idempotency-2", &[("live", 302, 20_002, 2)]).0, 200);
    assert!(online(2), "what is lost can be sent again under its key");
}

#[test]
fn a_batch_that_was_never_finished_is_no_damage() {
    let known = Known::build();
    let path = journal(known.dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let end = content(&bytes);
    // As after a kill in the middle of a write: the beginning of a batch like the last one, but with rows to come.
    for length in [1, 5, 13, 20, 40] {
        let data = known.copy();
        let mut torn = bytes.clone();
        let mut batch = vec![1, 2, 0, 0, 0];
        batch.extend(1_000_000u64.to_le_bytes());
        batch.extend([2, 0, 0]);
        batch.extend(3u64.to_le_bytes());
        batch.extend([8, 0, 50, 0, 0, 0, 50, 0, 0, 0]);
        batch.extend([7; 30]);
        torn.truncate(end);
        torn.extend(&batch[..length]);
        std::fs::write(journal(data.path()), torn).unwrap();
        assert!(matches!(fate(data.path(), &known.rows), Fate::Unharmed), "{length} bytes");
        let (output, _) = larder(&["doctor"], data.path());
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn the_doctor_finds_a_healthy_directory_healthy_and_leaves_a_node_alone() {
    let known = Known::build();
    let data = known.copy();
    let (output, report) = larder(&["doctor", "--deep", "--json"], data.path());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(report["healthy"], true, "{report:#}");
    let state = report["tables"].as_array().unwrap().iter().find(|table| table["name"] == "state").unwrap();
    let rows = known.rows.iter().filter(|row| row.0 == "state").count();
    assert_eq!(state["next_seq"], rows);
    assert_eq!(state["acknowledged"]["next_seq"], rows);
    assert_eq!(state["online_rows"], 50);
    let sealed = state["offline"]["sealed_seq"].as_u64().unwrap();
    assert_eq!(sealed + state["unsealed"].as_u64().unwrap(), rows as u64);
    assert!(sealed > 0, "{report:#}");
    let (output, report) = larder(&["repair", "--json"], data.path());
    assert!(output.status.success() && report["kept"].is_null(), "{report:#}");
    let names: Vec<_> =
        std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5, "online, offline, training sets, watermark, format: {names:?}");

    let segment = std::fs::read_dir(data.path().join("offline/state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "parquet"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert!(larder(&["doctor"], data.path()).0.status.success(), "sizes alone do not show it");
    let (output, _) = larder(&["doctor", "--deep"], data.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(segment.file_name().unwrap().to_str().unwrap()), "{}", stderr(&output));
    std::fs::remove_file(&segment).unwrap();
    assert_eq!(larder(&["doctor"], data.path()).0.status.code(), Some(1), "a missing file shows at once");

    let data = known.copy();
    let _node = Opened::start(data.path()).unwrap();
    for command in ["doctor", "repair"] {
        let (output, _) = larder(&[command], data.path());
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("in use by another process"), "{}", stderr(&output));
    }
}

/// fjall keeps a batch without a persist mode in its own memory, which kill -9 takes.
#[test]
fn without_fsync_an_acknowledged_write_still_survives_kill_9() {
    let known = Known::build();
    for mode in ["buffer", "interval"] {
        let data = known.copy();
        let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .env("LARDER__LOG__FORMAT", "json")
            .env("LARDER__DURABILITY__MODE", mode)
            .env("LARDER__DURABILITY__INTERVAL", "10s")
            .env("LARDER__OFFLINE__SEAL_AFTER", "1h")
            .env("LARDER__INGEST__MIN_FREE_BYTES", "1MiB")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<Json>(&line).ok())
            .find_map(|event| {
                (event["message"] == "ready").then(|| event["address"].as_str().unwrap().to_owned())
            });
        let client = reqwest::blocking::Client::new();
        let address = address.unwrap();
        let answer = client
            .post(format!("http://{address}/v1/feature-views/other/rows"))
            .json(&json!({ "rows": [{ "key": 77, "event_time": "2024-01-01T00:00:00Z", "value": 5 }] }))
            .send()
            .map(|response| response.status().as_u16());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(answer.unwrap(), 200);
        let node = Opened::start(data.path()).unwrap();
        assert_eq!(node.get("/readyz").0, 200, "{mode}");
        let body = json!({ "features": ["other:value"], "entities": [{ "key": 77 }] });
        assert_eq!(node.post("/v1/online-features", &body).1["values"], json!([[5]]), "{mode}");
    }
}

/// What the pre-flight costs at each start, with as much journal as there may be.
#[test]
fn a_journal_of_128_mib_is_checked_whole() {
    let known = Known::build();
    let data = known.copy();
    let path = journal(data.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(content(&bytes));
    // Whole batches, again and again, with rising sequence numbers and nothing for the store to replay.
    let mut seqno = 1_000_000u64;
    let items = batch_of_rows();
    let mut end = vec![3];
    end.extend(xxhash_rust::xxh3::xxh3_64(&items).to_le_bytes());
    end.extend(b"FJL\x03");
    while bytes.len() < 128 << 20 {
        bytes.push(1);
        bytes.extend(100u32.to_le_bytes());
        bytes.extend(seqno.to_le_bytes());
        bytes.extend(&items);
        bytes.extend(&end);
        seqno += 1;
    }
    std::fs::write(&path, &bytes).unwrap();
    let watermark = larder::shard::integrity::Watermark::read(&data.path().join("online")).unwrap();
    let online = data.path().join("online");
    let started = Instant::now();
    larder::shard::integrity::check_before_open(&online, &watermark).unwrap();
    println!("128 MiB of journal, {} batches: {:?}", seqno - 1_000_000, started.elapsed());
    // A changed byte with whole batches behind it is no torn end.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(larder::shard::integrity::check_before_open(&online, &watermark).is_err());
}

/// 100 rows of 100 bytes in a keyspace that there is not.
fn batch_of_rows() -> Vec<u8> {
    let mut items = Vec::new();
    for i in 0..100u64 {
        items.extend([2, 0, 0]);
        items.extend(9999u64.to_le_bytes());
        items.extend([8, 0, 100, 0, 0, 0, 100, 0, 0, 0]);
        items.extend(i.to_be_bytes());
        items.extend([5; 100]);
    }
    items
}
