//! kill -9 while events are counted and while they are counted anew: what is served is what history says.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use larder::clock::Clock;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    server::{Launch, Server, client},
};

const SOURCE: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
time_unit = "us"
event_id = "id"
schema = { user = "int64", amount = "float64", page = "string", id = "int64" }
"#;

const USERS: i64 = 40;

/// A view that asks for one aggregate more each time, so that its state is begun anew.
fn definitions(round: u64) -> String {
    let extra: String = (0..round)
        .map(|i| {
            format!(
                "{{ name = \"x{i}\", function = \"sum\", column = \"amount\", window = \"{}h\" }}, ",
                i + 2
            )
        })
        .collect();
    format!(
        "{SOURCE}\n[[stream_feature_view]]\nname = \"activity\"\nentities = [\"user\"]\nsource = \"clicks\"\naggregation = [\
         {{ name = \"n\", function = \"count\", window = \"lifetime\" }}, \
         {{ name = \"hour\", function = \"sum\", column = \"amount\", window = \"1h\", mode = \"exact\" }}, \
         {{ name = \"spread\", function = \"stddev\", column = \"amount\", window = \"30d\", filter = \"amount > 3\" }}, \
         {{ name = \"pages\", function = \"approx_count_distinct\", column = \"page\", window = \"7d\" }}, \
         {{ name = \"last\", function = \"last_n\", n = 3, column = \"page\", window = \"2d\" }}, {extra}]\n"
    )
}

#[test]
fn kill_9_leaves_windows_as_history_has_them() {
    let _alone = alone();
    let kills = amount("LARDER_WINDOW_KILLS", 8, 40);
    let mut dice = Dice::new("windows");
    let dir = TempDir::new().unwrap();
    let (acked, sent) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut server = Launch::new(dir.path()).start();
    server.apply(&definitions(0));
    let (mut compared, mut mismatches) = (0, 0);
    for kill in 1..=kills {
        let after = Duration::from_millis(100 + dice.roll(600));
        let stop = AtomicBool::new(false);
        let base = server.base.clone();
        server = std::thread::scope(|scope| {
            for writer in 0..3u64 {
                let seed = dice.roll(u64::MAX) ^ writer;
                let (base, stop, acked, sent) = (&base, &stop, &acked, &sent);
                scope.spawn(move || write(base, seed, stop, acked, sent));
            }
            std::thread::sleep(after);
            // Every other time the kill comes while older events are counted for a new definition.
            if kill % 2 == 0 {
                server.apply(&definitions(kill / 2));
                std::thread::sleep(Duration::from_millis(dice.roll(60)));
            }
            server.kill();
            stop.store(true, Ordering::Relaxed);
            Launch::new(dir.path()).start()
        });
        wait_until_ready(&server);
        let (same, other) = compare(&server);
        compared += same + other;
        mismatches += other;
    }
    let counted = total(&server);
    let (acked, sent) = (acked.into_inner(), sent.into_inner());
    println!(
        "window kills={kills} acked={acked} counted={counted} compared={compared} mismatches={mismatches}"
    );
    assert!(acked > 100 * kills, "the load was no load");
    assert!((acked..=sent).contains(&counted), "{acked} acknowledged, {counted} counted, {sent} sent");
    assert_eq!(mismatches, 0);
}

/// Sends batches until there is no answer: some events late by up to three days, some sent before.
fn write(base: &str, seed: u64, stop: &AtomicBool, acked: &AtomicU64, sent: &AtomicU64) {
    let mut state = seed | 1;
    let mut roll = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let client = client();
    while !stop.load(Ordering::Relaxed) {
        let now = Clock::system().now().micros();
        let rows: Vec<Json> = (0..20)
            .map(|_| {
                let late = if roll(20) == 0 { roll(72 * 3600) } else { roll(30) } as i64 * 1_000_000;
                json!({ "user": roll(USERS as u64), "event_time": now - late, "amount": roll(1000) as f64 / 7.0,
                    "page": format!("p{}", roll(300)), "id": roll(u64::MAX >> 2) })
            })
            .collect();
        sent.fetch_add(rows.len() as u64, Ordering::Relaxed);
        let mut again = rows.clone();
        again.truncate(2);
        for (body, new) in [(&rows, rows.len() as u64), (&again, 0)] {
            let url = format!("{base}/v1/sources/clicks/events");
            match client.post(url).json(&json!({ "rows": body })).send() {
                Ok(response) if response.status() == 200 => {
                    acked.fetch_add(new, Ordering::Relaxed);
                }
                Ok(_) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => return,
            }
        }
    }
}

fn wait_until_ready(server: &Server) {
    for _ in 0..2000 {
        let (status, text) = server.get("/v1/feature-views/activity/backfill");
        if status == 200 && serde_json::from_str::<Json>(&text).unwrap()["state"] == "ready" {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the backfill does not end:\n{}", server.log());
}

/// Values that are the same online and as of that moment from history, and values that are not.
fn compare(server: &Server) -> (u64, u64) {
    let users: Vec<Json> = (0..USERS).map(|user| json!({ "user": user })).collect();
    let mut body = json!({ "features": ["activity"], "entities": users, "include": ["window"] });
    let (status, online) = server.post("/v1/online-features", &body);
    assert_eq!(status, 200, "{online}");
    // The end of an exact window is the moment of the read.
    body["as_of"] = online["window"][0][1][1].clone();
    let (status, history) = server.post("/v1/online-features", &body);
    assert_eq!(status, 200, "{history}");
    let (mut same, mut other) = (0, 0);
    for (user, (a, b)) in pairs(&online).zip(pairs(&history)).enumerate() {
        for (feature, (a, b)) in a.as_array().unwrap().iter().zip(b.as_array().unwrap()).enumerate() {
            if a == b {
                same += 1;
            } else {
                println!("FAULT user {user}, feature {feature}: online {a}, history {b}");
                other += 1;
            }
        }
    }
    (same, other)
}

fn pairs(answer: &Json) -> impl Iterator<Item = &Json> {
    answer["values"].as_array().unwrap().iter()
}

fn total(server: &Server) -> u64 {
    let users: Vec<Json> = (0..USERS).map(|user| json!({ "user": user })).collect();
    let body = json!({ "features": ["activity:n"], "entities": users });
    pairs(&server.post("/v1/online-features", &body).1).map(|row| row[0].as_u64().unwrap()).sum()
}
