//! Windowed aggregates over HTTP: by hand, and online against training on real data.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::TimestampMicrosecondType,
    ipc::writer::StreamWriter,
};
use larder::model::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reqwest::header::ACCEPT;
use serde_json::{Value as Json, json};

use crate::support::{ARROW, JSON, TestNode, answer, flights_data};

const CLICKS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[source]]
name = "clicks"
kind = "push"
event_id = "id"
schema = { user = "int64", amount = "float64", page = "string", id = "string" }
"#;

fn view(aggregations: &str) -> String {
    format!(
        "{CLICKS}\n[[stream_feature_view]]\nname = \"activity\"\nentities = [\"user\"]\nsource = \"clicks\"\n\
         aggregation = [{aggregations}]\n"
    )
}

const HOURLY: &str = r#"
  { name = "n", function = "count", window = "1h", mode = "exact" },
  { name = "total", function = "sum", column = "amount", window = "1h", mode = "exact" },
  { name = "big", function = "count", window = "lifetime", filter = "amount >= 10" },
  { name = "pages", function = "last_n", n = 2, column = "page", window = "1d" },
  { name = "least", function = "min", column = "amount", window = "1d", default = -1.0 },
"#;

fn send(node: &TestNode, events: Json) -> Json {
    let (status, body) = node.post_json("/v1/sources/clicks/events", &json!({ "rows": events }));
    assert_eq!(status, 200, "{body:#}");
    body
}

fn click(user: i64, time: &str, amount: f64, page: &str, id: &str) -> Json {
    json!({ "user": user, "event_time": time, "amount": amount, "page": page, "id": id })
}

fn activity(node: &TestNode, user: Json) -> (Json, Json) {
    let body = node.read(&["activity"], json!([{ "user": user }]));
    (body["values"][0].clone(), body["status"][0].clone())
}

#[test]
fn events_count_from_the_moment_that_they_are_acknowledged() {
    let mut node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(&view(HOURLY));
    let nothing = (
        json!([0, null, 0, null, -1.0]),
        json!(["PRESENT", "NULL_VALUE", "PRESENT", "NULL_VALUE", "DEFAULTED"]),
    );
    assert_eq!(activity(&node, json!(1)), nothing);
    assert_eq!(activity(&node, Json::Null), nothing, "a null key is an entity without events");

    send(
        &node,
        json!([
            click(1, "2024-05-01T11:00:00Z", 4.0, "a", "1"),
            click(1, "2024-05-01T10:59:59.999999Z", 100.0, "z", "2"),
            click(1, "2024-05-01T11:30:00Z", 20.0, "b", "3"),
            click(2, "2024-05-01T11:30:00Z", 1.0, "c", "4"),
        ]),
    );
    // The start of an exact window counts, the microsecond before it does not.
    assert_eq!(activity(&node, json!(1)).0, json!([2, 24.0, 2, ["a", "b"], 4.0]));
    // Late: it belongs to the window all the same. Sent again: it counts once. The end does not count, nor does what is
    // yet to come.
    let body = send(
        &node,
        json!([
            click(1, "2024-05-01T11:10:00Z", 0.5, "late", "5"),
            click(1, "2024-05-01T11:30:00Z", 20.0, "b", "3"),
            click(1, "2024-05-01T12:00:00Z", 7.0, "now", "6"),
            click(1, "2024-05-01T12:30:00Z", 9.0, "later", "7"),
        ]),
    );
    assert_eq!((&body["accepted"], &body["deduplicated"]), (&json!(3), &json!(1)));
    let expected = json!([3, 24.5, 2, ["late", "b"], 0.5]);
    assert_eq!(activity(&node, json!(1)).0, expected);
    node.restart();
    assert_eq!(activity(&node, json!(1)).0, expected, "after a restart");
    node.set_time("2024-05-01T12:30:00.000001Z");
    assert_eq!(activity(&node, json!(1)).0, json!([2, 16.0, 2, ["now", "later"], 0.5]));
    assert_eq!(activity(&node, json!(2)).0, json!([0, null, 0, ["c"], 1.0]));

    // As of an earlier moment, and as it was known then.
    let ask = |as_of: &str| {
        let body = json!({ "features": ["activity:n", "activity:total"], "entities": [{ "user": 1 }], "as_of": as_of,
            "include": ["window"] });
        node.post_json("/v1/online-features", &body).1
    };
    let body = ask("2024-05-01T12:00:00Z");
    assert_eq!(body["values"][0], json!([3, 24.5]));
    assert_eq!(body["window"][0][0], json!(["2024-05-01T11:00:00Z", "2024-05-01T12:00:00Z"]));
}

#[test]
fn what_was_sent_before_a_definition_is_counted_by_a_backfill() {
    let mut node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(CLICKS);
    let events: Vec<Json> = (0..500)
        .map(|i| {
            click(
                i % 7,
                &format!("2024-05-01T{:02}:{:02}:00Z", i / 60, i % 60),
                i as f64,
                "p",
                &i.to_string(),
            )
        })
        .collect();
    send(&node, json!(events));
    node.apply(&view(HOURLY));
    wait_until_ready(&node);
    let total: f64 = (0..500).filter(|i| i % 7 == 3).map(f64::from).sum();
    let count = (0..500).filter(|i| i % 7 == 3 && *i >= 10).count();
    let first = activity(&node, json!(3));
    assert_eq!((&first.0[2], &first.0[4]), (&json!(count), &json!(3.0)));

    // Another aggregate: the known ones go on while it is counted, then all are there.
    let more = format!(
        "{HOURLY}  {{ name = \"ever\", function = \"sum\", column = \"amount\", window = \"lifetime\" }},"
    );
    node.apply(&view(&more));
    let (values, status) = activity(&node, json!(3));
    assert_eq!(values[2], json!(count));
    assert!(
        status[5] == "BACKFILLING" && values[5].is_null() || values[5] == json!(total),
        "{values} {status}"
    );
    wait_until_ready(&node);
    send(&node, json!([click(3, "2024-05-01T11:00:00Z", 0.25, "p", "new")]));
    assert_eq!(activity(&node, json!(3)).0[5], json!(total + 0.25));
    node.restart();
    assert_eq!(activity(&node, json!(3)).0[5], json!(total + 0.25));

    // Asked for: counted anew, the same again.
    let (status, body) = node.post_json("/v1/feature-views/activity/backfill", &json!({}));
    assert_eq!(status, 202, "{body}");
    wait_until_ready(&node);
    assert_eq!(activity(&node, json!(3)).0[5], json!(total + 0.25));
    let (status, body) = node.post_json("/v1/feature-views/nothing/backfill", &json!({}));
    assert_eq!(status, 404, "{body}");
}

fn wait_until_ready(node: &TestNode) {
    for _ in 0..3000 {
        let (status, body) = node.get("/v1/feature-views/activity/backfill");
        assert_eq!(status, 200, "{body}");
        assert!(body["error"].is_null(), "{body}");
        if body["state"] == "ready" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the backfill does not end");
}

#[test]
fn what_cannot_be_is_refused() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(&view(HOURLY));
    let row = json!({ "rows": [{ "user": 1, "event_time": "2024-05-01T11:00:00Z", "n": 5 }] });
    let (status, body) = node.post_json("/v1/feature-views/activity/rows", &row);
    assert!((400..500).contains(&status), "{status} {body}");
    assert!(body.to_string().contains("/v1/sources/clicks/events"), "{body}");
    for bad in [
        r#"{ name = "x", function = "mean", column = "page", window = "1h" }"#,
        r#"{ name = "x", function = "mean", column = "amuont", window = "1h" }"#,
        r#"{ name = "x", function = "sum", window = "1h" }"#,
        r#"{ name = "x", function = "count", window = "0s" }"#,
        r#"{ name = "x", function = "count", window = "1h", filter = "amount + " }"#,
        r#"{ name = "x", function = "count", window = "1h", filter = "page > 3" }"#,
        r#"{ name = "x", function = "approx_percentile", column = "amount", window = "1h", p = 1.5 }"#,
    ] {
        let (status, body) =
            node.post_bytes("/v1/registry/apply?allow_retire=true", "application/toml", view(bad));
        assert_eq!(status, 422, "{bad}: {body}");
    }
    assert_eq!(activity(&node, json!(1)).0[0], json!(0), "nothing of it was applied");
}

/// A service keeps to a version whose column was an integer; the column is widened to a float: each version has its own
/// numbers, online and from history, while the new state is made and after.
#[test]
fn a_pinned_version_outlives_a_wider_column() {
    let mut node = TestNode::at("2024-05-01T12:00:00Z");
    let definitions = |amount: &str| {
        let sums = r#"{ name = "total", function = "sum", column = "amount", window = "lifetime" },
            { name = "last", function = "last", column = "amount", window = "lifetime" }"#;
        let text = view(sums).replace("amount = \"float64\"", &format!("amount = \"{amount}\""));
        format!("{text}\n[[feature_service]]\nname = \"old\"\nfeatures = [\"activity@1\"]\n")
    };
    let ask = |node: &TestNode, service: bool| {
        let mut body = json!({ "entities": [{ "user": 1 }] });
        match service {
            true => body["feature_service"] = json!("old"),
            false => body["features"] = json!(["activity"]),
        }
        let (status, online) = node.post_json("/v1/online-features", &body);
        assert_eq!(status, 200, "{online}");
        body["as_of"] = json!("2024-05-01T12:00:00Z");
        let (status, history) = node.post_json("/v1/online-features", &body);
        assert_eq!(status, 200, "{history}");
        (online["values"][0].clone(), history["values"][0].clone())
    };
    node.apply(&definitions("int32"));
    let whole = |amount: i64, time: &str, id: &str| json!({ "user": 1, "event_time": time, "amount": amount, "page": "p", "id": id });
    send(&node, json!([whole(3, "2024-05-01T10:00:00Z", "1"), whole(4, "2024-05-01T10:01:00Z", "2")]));
    node.apply(&definitions("float64"));
    assert_eq!(ask(&node, true), (json!([7, 4]), json!([7, 4])), "the old state goes on");
    send(&node, json!([click(1, "2024-05-01T10:02:00Z", 5.0, "p", "3")]));
    assert_eq!(ask(&node, true), (json!([12, 5]), json!([12, 5])), "of the new column, in the old type");
    wait_until_ready(&node);
    for round in 0..2 {
        assert_eq!(ask(&node, true), (json!([12, 5]), json!([12, 5])), "{round}");
        assert_eq!(ask(&node, false), (json!([12.0, 5.0]), json!([12.0, 5.0])), "{round}");
        node.restart();
    }
}

const STREAM_FEATURES: [&str; 4] = ["aircraft_delays", "airport_congestion", "carrier_week", "route_delays"];

/// A small generator of numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn parquet(name: &str) -> RecordBatch {
    read_parquet(flights_data(name))
}

fn read_parquet(bytes: Vec<u8>) -> RecordBatch {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn times(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("event_time").unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column =
        arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8).unwrap();
    let column = column.as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

/// January: half a day at a time, one event in twenty up to two days late, some sent twice, with restarts. After each step
/// the online answer at that moment is compared with the training set at that moment, and counts with a naive count.
#[test]
fn online_is_what_training_sees() {
    const HOUR: i64 = 3_600_000_000;
    let mut node = TestNode::with("2013-01-01T00:00:00Z", &[("offline.seal_after", "1s")]);
    node.apply_flights();
    let mut dice = Dice(88_172_645_463_325_252);
    let sources = ["landings", "departures"].map(|name| (name, parquet(&format!("{name}-2013-01.parquet"))));
    let arrivals = sources.clone().map(|(_, batch)| {
        let late = |time: i64, dice: &mut Dice| match dice.below(20) {
            0 => time + dice.below(48 * 3600) as i64 * 1_000_000,
            _ => time + 1,
        };
        times(&batch).into_iter().map(|time| late(time, &mut dice)).collect::<Vec<i64>>()
    });
    let start = Timestamp::parse("2013-01-01T00:00:00Z").unwrap().micros();
    let (mut compared, mut mismatches) = (0, 0);
    let mut landed: HashMap<String, Vec<i64>> = HashMap::new();
    for step in 1..=60 {
        let now = start + step * 12 * HOUR;
        node.clock.set(Timestamp::from_micros(now));
        for ((name, batch), arrivals) in sources.iter().zip(&arrivals) {
            let due = |at: i64| at < now && (step == 1 || at >= now - 12 * HOUR);
            let mut rows: Vec<u32> =
                (0..batch.num_rows()).filter(|&i| due(arrivals[i])).map(|i| i as u32).collect();
            if *name == "landings" {
                for &row in &rows {
                    let tailnum = text_column(batch, "tailnum", row);
                    landed.entry(tailnum).or_default().push(times(&batch.slice(row as usize, 1))[0]);
                }
            }
            // One in fifty once more.
            rows.extend(rows.clone().iter().filter(|_| dice.below(50) == 0));
            post(&node, name, &take_record_batch(batch, &UInt32Array::from(rows)).unwrap());
        }
        if step % 20 == 0 {
            node.restart();
        }
        let landings = &sources[0].1;
        let entities: Vec<Json> = (0..25)
            .map(|_| {
                let row = dice.below(landings.num_rows() as u64) as usize;
                let of = |name: &str| text(&landings.slice(row, 1), name, 0);
                json!({ "tailnum": of("tailnum"), "origin": of("origin"), "dest": of("dest"), "carrier": of("carrier") })
            })
            .collect();
        let online = node.read(&STREAM_FEATURES, json!(entities));
        let training = training(&node, &entities, now);
        let names: Vec<&str> =
            online["feature_names"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        for (entity, (values, row)) in
            entities.iter().zip(online["values"].as_array().unwrap().iter().zip(&training))
        {
            for (name, value) in names.iter().zip(values.as_array().unwrap()) {
                compared += 1;
                let trained = &row[name.replace(':', "__")];
                if value != trained {
                    mismatches += 1;
                    println!(
                        "{} {entity} {name}: online {value}, training {trained}",
                        Timestamp::from_micros(now)
                    );
                }
            }
            let day = now - 24 * HOUR;
            let count = landed.get(entity["tailnum"].as_str().unwrap());
            let count = count.map_or(0, |times| times.iter().filter(|t| (day..now).contains(*t)).count());
            let place = names.iter().position(|name| *name == "aircraft_delays:landings_24h").unwrap();
            assert_eq!(values[place], json!(count), "{entity} at {}", Timestamp::from_micros(now));
        }
    }
    println!("compared={compared} mismatches={mismatches}");
    assert!(compared >= 60 * 25 * 20);
    assert_eq!(mismatches, 0);
}

/// Events in order; at many random moments one entity is asked for online, with a backfill and restarts on the way; then all
/// of it in one training set. `LARDER_WINDOW_DATA` names a directory with the whole year's landings.parquet and
/// departures.parquet, `LARDER_WINDOW_MOMENTS` how many moments: the full form is the year and 10,000.
#[test]
fn many_moments_of_a_replay_are_what_training_sees() {
    let moments = std::env::var("LARDER_WINDOW_MOMENTS").map_or(400, |text| text.parse().unwrap());
    let mut node = TestNode::at("2013-01-01T00:00:00Z");
    node.apply_flights();
    let sources = ["landings", "departures"].map(|name| (name, events(name)));
    let all = sources.clone().map(|(_, batch)| times(&batch));
    let (first, last) = (all[0][0].min(all[1][0]), all[0].last().unwrap().max(all[1].last().unwrap()));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut asked: Vec<i64> =
        (0..moments).map(|_| first + dice.below((last - first) as u64) as i64).collect();
    asked.sort_unstable();
    let (mut sent, mut rows, mut online) = ([0, 0], Vec::new(), Vec::new());
    for (i, &now) in asked.iter().enumerate() {
        node.clock.set(Timestamp::from_micros(now));
        for (s, (name, batch)) in sources.iter().enumerate() {
            let due = all[s].partition_point(|time| *time < now);
            for from in (sent[s]..due).step_by(50_000) {
                post(&node, name, &batch.slice(from, 50_000.min(due - from)));
            }
            sent[s] = due;
        }
        if i % (moments / 3).max(1) == 1 {
            for view in STREAM_FEATURES {
                let (status, body) =
                    node.post_json(&format!("/v1/feature-views/{view}/backfill"), &json!({}));
                assert_eq!(status, 202, "{body}");
            }
        }
        if i % (moments / 5).max(1) == 2 {
            node.restart();
        }
        // Mostly of somebody who has been seen lately.
        let landings = &sources[0].1;
        let row = sent[0].saturating_sub(1 + dice.below(2000) as usize);
        let of = |name: &str| text(&landings.slice(row, 1), name, 0);
        let entity = json!({ "tailnum": of("tailnum"), "origin": of("origin"), "dest": of("dest"), "carrier": of("carrier") });
        online.push(node.read(&STREAM_FEATURES, json!([entity]))["values"][0].clone());
        let mut row = entity;
        row["event_time"] = json!(Timestamp::from_micros(now).to_string());
        rows.push(row);
    }
    let names = node.read(&STREAM_FEATURES, json!([rows[0]]))["feature_names"].clone();
    let mut mismatches = 0;
    for (rows, online) in rows.chunks(5000).zip(online.chunks(5000)) {
        let request = node.post(&format!("/v1/training-sets?features={}", STREAM_FEATURES.join(",")));
        let (status, body) =
            answer(request.header(ACCEPT, JSON).json(&json!({ "rows": rows })).send().unwrap());
        assert_eq!(status, 200, "{body:#}");
        for ((row, values), trained) in rows.iter().zip(online).zip(body["rows"].as_array().unwrap()) {
            for (name, value) in names.as_array().unwrap().iter().zip(values.as_array().unwrap()) {
                let trained = &trained[name.as_str().unwrap().replace(':', "__")];
                if value != trained {
                    mismatches += 1;
                    println!("{row} {name}: online {value}, training {trained}");
                }
            }
        }
    }
    let compared = online.len() * names.as_array().unwrap().len();
    println!("moments={} compared={compared} mismatches={mismatches}", online.len());
    assert_eq!(mismatches, 0);
}

/// All of a source's events that are at hand, by time.
fn events(source: &str) -> RecordBatch {
    match std::env::var("LARDER_WINDOW_DATA") {
        Ok(dir) => read_parquet(std::fs::read(format!("{dir}/{source}.parquet")).unwrap()),
        Err(_) => parquet(&format!("{source}-2013-01.parquet")),
    }
}

fn text_column(batch: &RecordBatch, name: &str, row: u32) -> String {
    text(&batch.slice(row as usize, 1), name, 0).unwrap_or_default()
}

fn post(node: &TestNode, source: &str, batch: &RecordBatch) {
    if batch.num_rows() == 0 {
        return;
    }
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    let body = writer.into_inner().unwrap();
    let (status, body) = node.post_bytes(&format!("/v1/sources/{source}/events"), ARROW, body);
    assert_eq!(status, 200, "{body:#}");
}

fn training(node: &TestNode, entities: &[Json], now: i64) -> Vec<Json> {
    let now = Timestamp::from_micros(now).to_string();
    let rows: Vec<Json> = entities
        .iter()
        .map(|entity| {
            let mut row = entity.clone();
            row["event_time"] = json!(now);
            row
        })
        .collect();
    let features = STREAM_FEATURES.join(",");
    let request = node.post(&format!("/v1/training-sets?features={features}"));
    let response = request.header(ACCEPT, JSON).json(&json!({ "rows": rows })).send().unwrap();
    let (status, body) = answer(response);
    assert_eq!(status, 200, "{body:#}");
    body["rows"].as_array().unwrap().clone()
}
