//! A clock that jumps: an hour back, a year ahead, across a restart.

use arrow::{
    array::AsArray,
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use larder::offline::History;
use serde_json::json;

use crate::{harness::alone, oracle::DEFINITIONS, support::TestNode};

const JUMPS: [&str; 6] = [
    "2024-05-01T12:00:00Z",
    "2024-05-01T11:00:00Z",
    "2025-05-01T11:00:00Z",
    "2024-05-01T12:00:01Z",
    "1970-01-01T00:00:00Z",
    "2025-05-01T12:00:00Z",
];

#[test]
fn a_clock_that_jumps_breaks_no_order() {
    let _alone = alone();
    let mut node = TestNode::at(JUMPS[0]);
    node.apply(DEFINITIONS);
    let (mut negative, mut written) = (0, 0);
    for round in 0..3 {
        for now in JUMPS {
            node.set_time(now);
            written += 1;
            let row = json!({ "key": 1, "event_time": 1_700_000_000_000_000i64 + written, "value": written, "batch": 0 });
            node.write("state", json!([row]));
            let answer = node.read(&["state"], json!([{ "key": 1 }]));
            let ages = answer["age_ms"][0].as_array().unwrap();
            negative += ages.iter().filter(|age| age.as_i64().is_some_and(|age| age < 0)).count();
            // Before the row's own time there is nothing to serve; otherwise it is the last write.
            if now > "2023-12-01" {
                assert_eq!(answer["values"], json!([[written, 0]]), "at {now}");
            }
            if round == 1 {
                node.restart();
            }
        }
    }
    let app = node.running().app();
    let schema = app.doors.parts.catalog.current().table("state").unwrap().clone();
    let table = app.doors.parts.reads.offline.table(&schema).unwrap();
    let history = History::open(&table, app.doors.parts.reads.tail.as_ref(), &schema).unwrap();
    let mut rows = Vec::new();
    for part in history.scan(&["_seq", "_accepted_at", "value"]).unwrap() {
        let part = part.unwrap();
        let column = |name: &str| part.column_by_name(name).unwrap().clone();
        let (seq, value) = (column("_seq"), column("value"));
        let accepted = column("_accepted_at");
        for i in 0..part.num_rows() {
            let number = |c: &arrow::array::ArrayRef| c.as_primitive::<Int64Type>().value(i);
            rows.push((
                number(&seq),
                accepted.as_primitive::<TimestampMicrosecondType>().value(i),
                number(&value),
            ));
        }
    }
    rows.sort_unstable();
    let backward = rows.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    let in_order = rows.iter().map(|row| row.2).eq(1..=written);
    println!(
        "clock: rows={written} in_order={in_order} negative_ages={negative} accepted_at_backward={backward}"
    );
    assert!(in_order, "{rows:?}");
    assert_eq!((negative, backward), (0, 0));
}
