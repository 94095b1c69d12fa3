//! Random operations against a plain map: writes, deletes, reads of now and of the past, pauses in which rows are sealed
//! and segments merged, and ends of both kinds.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    oracle::DEFINITIONS,
    server::{Launch, Server, client},
};

const KEYS: u64 = 5;
const TIMES: u64 = 40;
const OPERATIONS: u64 = 60;
const T0: i64 = 1_700_000_000_000_000;

/// Of each key: its versions by time; a version is a value, or none after a delete.
type Model = BTreeMap<i64, BTreeMap<i64, Option<i64>>>;

#[test]
fn random_operations_agree_with_a_plain_map() {
    let _alone = alone();
    let sequences = amount("LARDER_MODEL_SEQUENCES", 6, 60);
    let mut dice = Dice::new("model");
    let (mut operations, mut ends) = (0, 0);
    for sequence in 0..sequences {
        let dir = TempDir::new().unwrap();
        let mut server = launch(&dir).start();
        server.apply(DEFINITIONS);
        let mut model = Model::new();
        for step in 0..OPERATIONS {
            let at = format!("sequence {sequence}, step {step}");
            match dice.roll(20) {
                0..8 => write(&mut dice, &server, &mut model, step, &at),
                8..10 => delete(&mut dice, &server, &mut model, &at),
                10..14 => read_now(&server, &model, &at),
                14..17 => read_past(&mut dice, &server, &model, &at),
                17 | 18 => std::thread::sleep(Duration::from_millis(60 + dice.roll(80))),
                _ => {
                    ends += 1;
                    if dice.roll(3) == 0 {
                        server.signal(rustix::process::Signal::TERM);
                        assert!(server.wait(Duration::from_secs(30)).is_some(), "{at}: it does not end");
                    }
                    server.kill();
                    server = launch(&dir).start();
                }
            }
        }
        read_now(&server, &model, "the end");
        for _ in 0..3 {
            read_past(&mut dice, &server, &model, "the end");
        }
        operations += OPERATIONS;
    }
    println!("model: sequences={sequences} operations={operations} ends={ends} disagree=0");
}

fn launch(dir: &TempDir) -> Launch {
    Launch::new(dir.path())
        .env("LARDER__OFFLINE__SEAL_AFTER", "40ms")
        .env("LARDER__OFFLINE__COMPACT_SEGMENTS", "3")
}

/// A few rows, some of one key at one time: the later one counts.
fn write(dice: &mut Dice, server: &Server, model: &mut Model, step: u64, at: &str) {
    let mut rows = Vec::new();
    for i in 0..1 + dice.roll(6) {
        let (key, time) = (dice.roll(KEYS) as i64, T0 + dice.roll(TIMES) as i64 * 1_000_000);
        let value = (step * 10 + i) as i64;
        rows.push(json!({ "key": key, "event_time": time, "value": value, "batch": 0 }));
        model.entry(key).or_default().insert(time, Some(value));
    }
    let (status, answer) = server.post("/v1/feature-views/state/rows", &json!({ "rows": rows }));
    assert_eq!(status, 200, "{at}: {answer}");
}

fn delete(dice: &mut Dice, server: &Server, model: &mut Model, at: &str) {
    let (key, seconds) = (dice.roll(KEYS) as i64, dice.roll(TIMES) as i64);
    let time = T0 + seconds * 1_000_000;
    let text = larder::model::Timestamp::from_micros(time).to_string();
    let body = json!({ "entities": [{ "key": key }], "event_time": text });
    let (status, answer) = server.post("/v1/feature-views/state/delete", &body);
    assert_eq!(status, 200, "{at}: {answer}");
    model.entry(key).or_default().insert(time, None);
}

fn read_now(server: &Server, model: &Model, at: &str) {
    for key in 0..KEYS as i64 {
        let newest =
            model.get(&key).and_then(|versions| versions.last_key_value()).and_then(|(_, value)| *value);
        let (status, values) = server.read(&["state:value"], json!({ "key": key }));
        assert_eq!((status, values), (200, json!([newest])), "{at}: key {key} now, of {:?}", model.get(&key));
    }
}

/// The training join: every key at several moments.
fn read_past(dice: &mut Dice, server: &Server, model: &Model, at: &str) {
    let spine: Vec<(i64, i64)> = (0..20)
        .map(|_| (dice.roll(KEYS) as i64, T0 + dice.roll(TIMES + 2) as i64 * 1_000_000 - dice.roll(2) as i64))
        .collect();
    let body: String =
        spine.iter().map(|(key, time)| format!("{}\n", json!({ "key": key, "event_time": time }))).collect();
    let response = client()
        .post(format!("{}/v1/training-sets?features=state:value&time_unit=us", server.base))
        .header("Content-Type", "application/x-ndjson")
        .header("Accept", "application/x-ndjson")
        .body(body)
        .send()
        .unwrap();
    let (status, text) = (response.status(), response.text().unwrap());
    assert_eq!(status, 200, "{at}: {text}");
    for (line, (key, time)) in text.lines().zip(&spine) {
        let found: Json = serde_json::from_str(line).unwrap();
        let expected =
            model.get(key).and_then(|versions| versions.range(..=time).next_back()).and_then(|v| *v.1);
        let found = found["state__value"].as_i64();
        assert_eq!(found, expected, "{at}: key {key} at {time}, of {:?}", model.get(key));
    }
    assert_eq!(text.lines().count(), spine.len(), "{at}");
}
