//! The whole year on real data: every value of the training set equals an independent computation.

use std::collections::{BTreeMap, HashMap};

use arrow::{
    array::{Array, AsArray, Float64Array, RecordBatch},
    compute::concat_batches,
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use crate::support::{ARROW, PARQUET, TestNode, flights_data};

const TTL: i64 = 2 * 3600 * 1_000_000;
const WEATHER: [&str; 9] =
    ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"];

fn read_parquet(bytes: Vec<u8>) -> RecordBatch {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Vec<Option<&'a str>> {
    let column = batch.column_by_name(name).unwrap();
    match column.data_type() {
        arrow::datatypes::DataType::Utf8 => column.as_string::<i32>().iter().collect(),
        arrow::datatypes::DataType::LargeUtf8 => column.as_string::<i64>().iter().collect(),
        _ => column.as_string_view().iter().collect(),
    }
}

fn times(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("event_time").unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// The newest row at or before each time, by key: nothing of larder's own is used.
struct Naive(HashMap<String, BTreeMap<i64, usize>>);

impl Naive {
    fn new(batch: &RecordBatch, key: &str) -> Naive {
        let mut rows: HashMap<String, BTreeMap<i64, usize>> = HashMap::new();
        for (row, (key, time)) in strings(batch, key).into_iter().zip(times(batch)).enumerate() {
            rows.entry(key.unwrap().to_owned()).or_default().insert(time, row);
        }
        Naive(rows)
    }

    fn at(&self, key: Option<&str>, time: i64, ttl: Option<i64>) -> Option<usize> {
        let (&event_time, &row) = self.0.get(key?)?.range(..=time).next_back()?;
        ttl.is_none_or(|ttl| time - event_time <= ttl).then_some(row)
    }
}

fn training_set(node: &TestNode, labels: &[u8]) -> RecordBatch {
    let response = node
        .post("/v1/training-sets?feature_service=year")
        .header("Content-Type", PARQUET)
        .header("Accept", ARROW)
        .body(labels.to_vec())
        .send()
        .unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().unwrap());
    let bytes = response.bytes().unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// Compares every value; returns how many there were that are not null.
fn check(set: &RecordBatch, labels: &RecordBatch, weather: &RecordBatch, planes: &RecordBatch) -> usize {
    assert_eq!(set.num_rows(), labels.num_rows());
    let (by_airport, by_plane) = (Naive::new(weather, "origin"), Naive::new(planes, "tailnum"));
    let spine_times = times(labels);
    assert_eq!(times(set), spine_times, "the spine's order is kept");
    assert_eq!(strings(set, "flight_id"), strings(labels, "flight_id"));
    let mut present = 0;
    let mut float = |column: &str, source: &str, rows: &[Option<usize>]| {
        let got =
            set.column_by_name(column).unwrap_or_else(|| panic!("no {column}")).as_primitive::<Float64Type>();
        let values: &Float64Array = weather.column_by_name(source).unwrap().as_primitive::<Float64Type>();
        for (i, row) in rows.iter().enumerate() {
            let stored = row.filter(|r| values.is_valid(*r)).map(|r| values.value(r));
            // The one feature of the example with a default.
            let expected = stored.or((source == "wind_speed").then_some(0.0)).map(f64::to_bits);
            let actual = got.is_valid(i).then(|| got.value(i).to_bits());
            assert_eq!(actual, expected, "{column}, row {i}");
            present += usize::from(actual.is_some());
        }
    };
    let lookup = |key: &str, naive: &Naive, ttl| -> Vec<Option<usize>> {
        strings(labels, key).into_iter().zip(&spine_times).map(|(k, t)| naive.at(k, *t, ttl)).collect()
    };
    let origin = lookup("origin", &by_airport, Some(TTL));
    for feature in WEATHER {
        float(&format!("airport_weather__{feature}"), feature, &origin);
    }
    float("dest_weather__temp", "temp", &lookup("dest", &by_airport, Some(TTL)));
    let plane = lookup("tailnum", &by_plane, None);
    for feature in ["built_year", "engines", "seats"] {
        let got = set.column_by_name(&format!("plane__{feature}")).unwrap().as_primitive::<Int64Type>();
        let values = planes.column_by_name(feature).unwrap().as_primitive::<Int64Type>();
        for (i, row) in plane.iter().enumerate() {
            let expected = row.filter(|r| values.is_valid(*r)).map(|r| values.value(r));
            assert_eq!(got.is_valid(i).then(|| got.value(i)), expected, "{feature}, row {i}");
        }
    }
    let (got, values) = (strings(set, "plane__manufacturer"), strings(planes, "manufacturer"));
    for (i, row) in plane.iter().enumerate() {
        assert_eq!(got[i], row.and_then(|r| values[r]), "manufacturer, row {i}");
    }
    present
}

#[test]
fn the_year_equals_a_naive_join() {
    let mut node = TestNode::with("2014-01-01T00:00:00Z", &[("offline.seal_after", "1s")]);
    node.apply_flights();
    let service = r#"
[[feature_service]]
name = "year"
features = ["airport_weather", "plane", { view = "airport_weather", as = "dest_weather", features = ["temp"], join_keys = { origin = "dest" } }]
"#;
    let mut definitions = String::new();
    for name in ["entities", "sources", "views"] {
        definitions += &std::fs::read_to_string(format!("{}/{name}.toml", crate::support::FLIGHTS)).unwrap();
    }
    node.apply(&(definitions + service));

    let weather_bytes = flights_data("weather.parquet");
    let (weather, planes) =
        (read_parquet(weather_bytes.clone()), read_parquet(flights_data("planes.parquet")));
    let labels_bytes = flights_data("labels.parquet");
    let labels = read_parquet(labels_bytes.clone());
    assert_eq!((weather.num_rows(), planes.num_rows(), labels.num_rows()), (26_115, 3_322, 336_776));

    let (status, ack) = node.post_bytes("/v1/feature-views/airport_weather/rows", PARQUET, weather_bytes);
    assert_eq!((status, ack["accepted"].as_u64()), (200, Some(26_115)), "{ack:#}");
    let (status, ack) =
        node.post_bytes("/v1/feature-views/plane/rows", PARQUET, flights_data("planes.parquet"));
    assert_eq!((status, ack["accepted"].as_u64()), (200, Some(3_322)), "{ack:#}");

    // Acknowledged means visible: nothing is in a segment yet (the manual clock stands still).
    let from_outbox = training_set(&node, &labels_bytes);
    assert!(check(&from_outbox, &labels, &weather, &planes) > 2_000_000);

    node.set_time("2014-01-01T00:00:10Z");
    node.wait_until_sealed("airport_weather");
    node.wait_until_sealed("plane");
    let from_segments = training_set(&node, &labels_bytes);
    assert!(from_segments == from_outbox, "the same values, whichever store they rest in");

    node.restart();
    assert!(training_set(&node, &labels_bytes) == from_outbox, "and after a restart");

    // Online at a moment of the past: the same kernel, the same values.
    let body = json!({
        "features": ["airport_weather:temp"], "entities": [{ "origin": "JFK" }], "as_of": "2013-07-04T12:30:00Z",
    });
    let (_, online) = node.post_json("/v1/online-features", &body);
    let moment = 1_372_941_000_000_000;
    let row = Naive::new(&weather, "origin").at(Some("JFK"), moment, Some(TTL)).unwrap();
    let temp = weather.column_by_name("temp").unwrap().as_primitive::<Float64Type>().value(row);
    assert_eq!(online["values"][0][0], temp);
}
