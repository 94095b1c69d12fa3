//! SQL over what is kept offline: what it sees, what it refuses, what it is held to.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use bytes::Bytes;
use larder::format::{Format, ReadOptions, TableReader};
use serde_json::{Value as Json, json};

use crate::support::{ARROW, CSV, JSON, NDJSON, PARQUET, TestNode, answer, flights_data};

const NOW: &str = "2024-05-01T12:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "shop"
join_keys = [{ name = "country", type = "string" }, { name = "id", type = "int64" }]

[[feature_view]]
name = "sales"
entities = ["shop"]
feature = [
  { name = "total", type = "float64" },
  { name = "note", type = "string" },
  { name = "tags", type = "array<string>" },
]

[[feature_view]]
name = "sizes"
entities = ["shop"]
feature = [{ name = "area", type = "int64" }]

[[feature_view]]
name = "online_only"
entities = ["shop"]
offline = false
feature = [{ name = "x", type = "int64" }]

[[source]]
name = "visits"
kind = "push"
event_time = "at"
event_id = "visit"
schema = { country = "string", id = "int64", visit = "string", minutes = "float64" }

[[stream_feature_view]]
name = "visit_counts"
entities = ["shop"]
source = "visits"
aggregation = [{ name = "visits_1d", function = "count", window = "1d" }]
"#;

fn node(settings: &[(&str, &str)]) -> TestNode {
    let node = TestNode::with(NOW, settings);
    node.apply(DEFINITIONS);
    node
}

fn sql(node: &TestNode, query: &str) -> (u16, Json) {
    node.post_json("/v1/sql", &json!({ "query": query }))
}

/// The rows of a query that must be answered.
#[track_caller]
fn rows(node: &TestNode, query: &str) -> Json {
    let (status, body) = sql(node, query);
    assert_eq!(status, 200, "{query}\n{body:#}");
    body["rows"].clone()
}

fn time(minute: u32) -> String {
    format!("2024-04-{:02}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60)
}

/// Versions of few entities: late ones, equal times, nulls, tombstones. As (country, id, minute, total, deleted).
fn write_sales(node: &TestNode, first: u32, last: u32) -> Vec<(String, i64, u32, Option<f64>, bool)> {
    let mut written = Vec::new();
    for n in first..last {
        let (country, id) = (["de", "fr", "jp"][n as usize % 3], i64::from(n / 3 % 4));
        let minute = (n * 7919) % 2000 / 5 * 5;
        if n % 11 == 10 {
            let key = json!({ "country": country, "id": id });
            let body = json!({ "entities": [key], "event_time": time(minute) });
            let (status, body) = node.post_json("/v1/feature-views/sales/delete", &body);
            assert_eq!(status, 200, "{body}");
            written.push((country.to_owned(), id, minute, None, true));
        } else {
            let total = (n % 5 != 0).then_some(f64::from(n) / 4.0);
            node.write(
                "sales",
                json!([{ "country": country, "id": id, "event_time": time(minute), "total": total,
                    "note": format!("n{n}"), "tags": ["a", "b"] }]),
            );
            written.push((country.to_owned(), id, minute, total, false));
        }
    }
    written
}

#[test]
fn every_version_is_seen_once_from_the_tail_and_from_segments() {
    let mut node = node(&[("offline.seal_after", "1h")]);
    let mut written = write_sales(&node, 0, 120);
    let all = "SELECT country, id, event_time, total, _deleted, _seq FROM sales ORDER BY _seq";
    let check = |node: &TestNode, written: &[(String, i64, u32, Option<f64>, bool)]| {
        let expected: Vec<Json> = written
            .iter()
            .enumerate()
            .map(|(seq, (country, id, minute, total, deleted))| {
                json!({ "country": country, "id": id, "event_time": time(*minute), "total": total,
                    "_deleted": deleted, "_seq": seq })
            })
            .collect();
        let got = rows(node, all);
        for (got, expected) in got.as_array().unwrap().iter().zip(&expected) {
            let same_time =
                |row: &Json| larder::model::Timestamp::parse(row["event_time"].as_str().unwrap()).unwrap();
            assert_eq!(same_time(got), same_time(expected));
            for column in ["country", "id", "total", "_deleted", "_seq"] {
                assert_eq!(got[column], expected[column], "{column}");
            }
        }
        assert_eq!(got.as_array().unwrap().len(), expected.len());
        // The newest version: greatest (event time, seq); none where it is a tombstone.
        let mut newest: BTreeMap<(&str, i64), (u32, usize)> = BTreeMap::new();
        for (seq, (country, id, minute, ..)) in written.iter().enumerate() {
            let at = newest.entry((country, *id)).or_insert((*minute, seq));
            *at = (*at).max((*minute, seq));
        }
        let live: Vec<Json> = newest
            .into_iter()
            .filter(|(_, (_, seq))| !written[*seq].4)
            .map(|((country, id), (_, seq))| json!({ "country": country, "id": id, "_seq": seq, "total": written[seq].3 }))
            .collect();
        let latest = "SELECT country, id, _seq, total FROM sales__latest ORDER BY country, id";
        assert_eq!(rows(node, latest), Json::Array(live));
    };
    // All in the tail; all in a segment; in both, and once more after a restart with more in the tail.
    check(&node, &written);
    node.set_time("2024-05-01T14:00:00Z");
    node.wait_until_sealed("sales");
    check(&node, &written);
    written.extend(write_sales(&node, 120, 180));
    check(&node, &written);
    node.restart();
    check(&node, &written);
    node.set_time("2024-05-01T16:00:00Z");
    node.wait_until_sealed("sales");
    written.extend(write_sales(&node, 180, 200));
    check(&node, &written);
    assert_eq!(rows(&node, "SELECT count(*) AS n FROM sales"), json!([{ "n": 200 }]));
}

#[test]
fn views_join_and_events_count_once() {
    let node = node(&[]);
    for id in 0..4 {
        node.write("sizes", json!([{ "country": "de", "id": id, "event_time": time(0), "area": id * 100 }]));
        node.write("sales", json!([{ "country": "de", "id": id, "event_time": time(5), "total": id + 1 }]));
    }
    let query = "SELECT s.id, total / area AS per_area FROM sales__latest s JOIN sizes__latest z \
                 ON s.country = z.country AND s.id = z.id WHERE area > 0 ORDER BY s.id";
    assert_eq!(
        rows(&node, query),
        json!([{ "id": 1, "per_area": 0.02 }, { "id": 2, "per_area": 0.015 }, { "id": 3, "per_area": 4.0 / 300.0 }])
    );
    let event = json!({ "country": "de", "id": 1, "visit": "v1", "minutes": 3.5, "at": time(9) });
    for _ in 0..3 {
        let (status, body) = node.post_json("/v1/sources/visits/events", &json!({ "rows": [event] }));
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(
        rows(&node, "SELECT count(*) AS n, sum(minutes) AS m FROM visits"),
        json!([{ "n": 1, "m": 3.5 }])
    );
    let between = |from: u32, to: u32| {
        let body = json!({ "query": "SELECT count(*) AS n FROM visits WHERE at >= $from AND at < $to",
            "parameters": { "from": time(from), "to": time(to) } });
        node.post_json("/v1/sql", &body).1["rows"][0]["n"].clone()
    };
    assert_eq!([between(0, 9), between(9, 10), between(10, 99)], [json!(0), json!(1), json!(0)]);
}

#[test]
fn a_year_of_flights_equals_a_naive_computation() {
    let node = TestNode::at("2014-01-01T00:00:00Z");
    node.apply_flights();
    let landings = flights_data("landings-2013-01.parquet");
    let (status, body) = node.post_bytes("/v1/sources/landings/events", PARQUET, landings.clone());
    assert_eq!(status, 200, "{body}");
    let mut expected: BTreeMap<(String, String), (u64, f64)> = BTreeMap::new();
    let after = larder::model::Timestamp::parse("2013-01-15T00:00:00Z").unwrap().micros();
    for batch in
        TableReader::from_bytes(Format::Parquet, Bytes::from(landings), &ReadOptions::default()).unwrap()
    {
        let batch = batch.unwrap();
        let text = |name: &str| {
            let text =
                arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
            text.unwrap().as_string::<i32>().clone()
        };
        let (origin, dest) = (text("origin"), text("dest"));
        let air = batch.column_by_name("air_time").unwrap().as_primitive::<arrow::datatypes::Float64Type>();
        let at = arrow::compute::cast(
            batch.column_by_name("event_time").unwrap(),
            &larder::model::DataType::arrow_timestamp(),
        )
        .unwrap();
        let at = at.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            if at.value(row) >= after && !air.is_null(row) {
                let sum =
                    expected.entry((origin.value(row).to_owned(), dest.value(row).to_owned())).or_default();
                *sum = (sum.0 + 1, sum.1 + air.value(row));
            }
        }
    }
    let query = "SELECT origin, dest, count(air_time) AS n, avg(air_time) AS mean FROM landings \
                 WHERE event_time >= '2013-01-15T00:00:00Z' GROUP BY origin, dest HAVING count(air_time) > 0 ORDER BY 1, 2";
    let check = || {
        let got = rows(&node, query);
        let got = got.as_array().unwrap();
        assert_eq!(got.len(), expected.len());
        for (row, ((origin, dest), (n, sum))) in got.iter().zip(&expected) {
            assert_eq!(
                (row["origin"].as_str().unwrap(), row["dest"].as_str().unwrap()),
                (&origin[..], &dest[..])
            );
            assert_eq!(row["n"], json!(n));
            assert!((row["mean"].as_f64().unwrap() - sum / *n as f64).abs() < 1e-9);
        }
    };
    check();
    node.set_time("2014-01-01T02:00:00Z");
    node.wait_until_sealed("landings");
    check();
    // What the event time excludes is not read.
    let explained =
        rows(&node, "EXPLAIN SELECT origin FROM landings WHERE event_time > '2020-01-01T00:00:00Z'");
    assert!(explained.to_string().contains("columns=[event_time, origin], portions=0"), "{explained:#}");
}

#[test]
fn answers_come_in_every_format() {
    let node = node(&[]);
    write_sales(&node, 0, 9);
    let query = "SELECT country, id, event_time, total, tags, INTERVAL '1 day' AS i, 1::smallint AS s FROM sales ORDER BY _seq";
    let mut seen = Vec::new();
    for (accept, format) in [
        (ARROW, Format::ArrowStream),
        (PARQUET, Format::Parquet),
        (JSON, Format::Json),
        (NDJSON, Format::NdJson),
        (CSV, Format::Csv),
    ] {
        let response =
            node.post("/v1/sql").header("Accept", accept).json(&json!({ "query": query })).send().unwrap();
        assert_eq!(response.status(), 200, "{accept}");
        assert_eq!(response.headers()["content-type"], accept);
        assert_eq!(response.headers()["larder-rows"], "9");
        let bytes = response.bytes().unwrap();
        let reader = TableReader::from_bytes(format, bytes, &ReadOptions::default()).unwrap();
        seen.push(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>());
    }
    assert_eq!(seen, [9; 5]);
    // No rows have columns, too.
    let none = node
        .post("/v1/sql")
        .header("Accept", CSV)
        .json(&json!({ "query": "SELECT id, total FROM sales LIMIT 0" }));
    assert_eq!(none.send().unwrap().text().unwrap(), "id,total\n");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let node = node(&[]);
    for (query, said, field) in [
        ("SELEC 1", "an SQL statement", Some("query:1:1")),
        ("DROP TABLE sales", "only a SELECT", None),
        ("SELECT id,\n  FROM sales WHERE", "", Some("query:2:")),
        ("SELECT totl FROM sales", "totl", Some("query:1:8")),
        ("SELECT 1 FROM sale", "unknown table `sale`; known: sales, sizes, visits", None),
        ("SELECT 1 FROM visits__latest", "is for feature views", None),
        ("SELECT 1 FROM visit_counts", "computed from the events of `visits`", None),
        ("SELECT 1 FROM online_only", "keeps no history", None),
        ("SELECT 1 FROM information_schema.tables", "unknown table", None),
        ("SELECT nope(1)", "nope", None),
        ("SELECT id, id FROM sales", "id", None),
        ("SELECT s.id, z.id FROM sales s, sizes z", "two columns are named `id`", None),
        ("SELECT $x", "`$x` has no value", None),
        ("SELECT ?", "", None),
        ("", "empty", None),
        ("SELECT 1; SELECT 2", "2 statements", None),
        ("SELECT 'a", "", Some("query:1:")),
    ] {
        let (status, body) = sql(&node, query);
        assert_eq!((status, body["code"].as_str().unwrap()), (422, "invalid"), "{query}\n{body:#}");
        assert!(body["detail"].as_str().unwrap().contains(said), "{query}\n{body:#}");
        if let Some(field) = field {
            assert!(
                body["errors"][0]["field"].as_str().unwrap_or_default().starts_with(field),
                "{query}\n{body:#}"
            );
        }
    }
    let list = json!({ "query": "SELECT $x", "parameters": { "x": [1] } });
    assert_eq!(node.post_json("/v1/sql", &list).0, 400);
    for (value, shown) in [
        (json!(1), json!(1)),
        (json!("a'b"), json!("a'b")),
        (json!(null), json!(null)),
        (json!(-2.5), json!(-2.5)),
    ] {
        let body = json!({ "query": "SELECT $x AS x", "parameters": { "x": value } });
        assert_eq!(node.post_json("/v1/sql", &body).1["rows"], json!([{ "x": shown }]));
    }
}

#[test]
fn limits_have_codes() {
    let node = node(&[
        ("limits.sql_rows", "1000"),
        ("limits.sql_timeout", "2s"),
        ("limits.sql_memory", "16MiB"),
        ("limits.sql_answer_bytes", "64KiB"),
    ]);
    let many: Vec<Json> =
        (0..2000).map(|n| json!({ "country": "de", "id": n, "event_time": time(0), "total": n, "note": "x".repeat(50) })).collect();
    node.write("sales", json!(many));
    for (query, status, code, setting) in [
        ("SELECT id FROM sales", 413, "too_large", "limits.sql_rows"),
        ("SELECT note, note || 'a' AS b FROM sales LIMIT 900", 413, "too_large", "limits.sql_answer_bytes"),
        (
            "SELECT a.id, b.id AS d, array_agg(c.note || b.note) FROM sales a, sales b, sales c GROUP BY 1, 2",
            413,
            "too_large",
            "limits.sql_memory",
        ),
        ("SELECT count(*) FROM sales a, sales b, sales c, sales d", 408, "timeout", "limits.sql_timeout"),
    ] {
        let (got, body) = sql(&node, query);
        assert_eq!((got, body["code"].as_str().unwrap()), (status, code), "{query}\n{body:#}");
        assert!(body["detail"].as_str().unwrap().contains(setting), "{body:#}");
    }
    assert_eq!(rows(&node, "SELECT count(*) AS n FROM sales"), json!([{ "n": 2000 }]));
}

#[test]
fn a_client_that_is_gone_gives_its_place_back() {
    let node = node(&[("limits.sql_concurrency", "1"), ("limits.sql_timeout", "1h")]);
    let many: Vec<Json> =
        (0..2000).map(|n| json!({ "country": "de", "id": n, "event_time": time(0), "total": n })).collect();
    node.write("sales", json!(many));
    let endless = "SELECT count(*) FROM sales a, sales b, sales c, sales d";
    let client =
        reqwest::blocking::Client::builder().timeout(std::time::Duration::from_secs(1)).build().unwrap();
    let address = node.running().address();
    let gone = client.post(format!("http://{address}/v1/sql")).json(&json!({ "query": endless })).send();
    assert!(gone.unwrap_err().is_timeout(), "it would run for an hour");
    assert_eq!(sql(&node, "SELECT 1 AS x").0, 200);
}

#[test]
fn a_short_query_does_not_wait_for_long_ones_and_too_many_of_these_are_refused_in_time() {
    let node = node(&[("limits.sql_concurrency", "2"), ("limits.sql_timeout", "3s")]);
    let many: Vec<Json> =
        (0..2000).map(|n| json!({ "country": "de", "id": n, "event_time": time(0), "total": n })).collect();
    node.write("sales", json!(many));
    let endless = "SELECT count(*) FROM sales a, sales b, sales c, sales d";
    let address = node.running().address();
    let client = reqwest::blocking::Client::builder().timeout(None).build().unwrap();
    let long = || {
        let request = client.post(format!("http://{address}/v1/sql")).json(&json!({ "query": endless }));
        std::thread::spawn(move || request.send().unwrap().status().as_u16())
    };
    let mut running: Vec<_> = (0..4).map(|_| long()).collect();
    let mut answered = 0;
    while !running.iter().any(|long| long.is_finished()) {
        assert_eq!(rows(&node, "SELECT count(*) AS n FROM sales"), json!([{ "n": 2000 }]));
        answered += 1;
    }
    assert!(answered > 1, "answered before the first long one had had its time");
    let mut statuses: Vec<u16> = running.drain(..).map(|long| long.join().unwrap()).collect();
    statuses.sort_unstable();
    assert!(statuses.contains(&408) && statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| [408, 429].contains(status)), "{statuses:?}");
}

#[test]
fn a_damaged_segment_is_no_wrong_number() {
    let mut node = node(&[]);
    write_sales(&node, 0, 60);
    node.set_time("2024-05-01T14:00:00Z");
    node.wait_until_sealed("sales");
    let sums = "SELECT sum(total) AS s FROM sales";
    let before = rows(&node, sums);
    let dir = node.dir().join("offline/sales");
    let segment = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|e| e == "parquet")).max().unwrap();
    let good = std::fs::read(&segment).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    std::fs::write(&segment, bad).unwrap();
    // This process has found the file right before; the next one looks again.
    node.restart();
    for query in [sums, "SELECT country FROM sales__latest"] {
        let (status, body) = sql(&node, query);
        assert_eq!((status, body["code"].as_str().unwrap()), (503, "unavailable"), "{body:#}");
        assert!(body["detail"].as_str().unwrap().contains("restore the file"), "{body:#}");
    }
    std::fs::write(&segment, good).unwrap();
    assert_eq!(rows(&node, sums), before);
}

/// Queries that are meant to do harm, with the statuses that are an answer.
pub fn hostile() -> Vec<String> {
    let deep = |open: &str, close: &str, core: &str, n: usize| {
        format!("SELECT {}{core}{} AS x", open.repeat(n), close.repeat(n))
    };
    let mut all: Vec<String> = [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'http://127.0.0.1/x'",
        "CREATE TABLE t AS SELECT * FROM sales",
        "CREATE VIEW v AS SELECT 1",
        "CREATE FUNCTION f(int) RETURNS int RETURN $1",
        "DROP TABLE sales",
        "INSERT INTO sales SELECT * FROM sales",
        "UPDATE sales SET total = 0",
        "DELETE FROM sales",
        "TRUNCATE sales",
        "MERGE INTO sales USING sizes ON true WHEN MATCHED THEN DELETE",
        "COPY sales TO '/tmp/x.csv'",
        "COPY (SELECT 1) TO '/tmp/x.parquet' STORED AS PARQUET",
        "SET datafusion.execution.target_partitions = 1000",
        "SET x = 1",
        "RESET ALL",
        "SHOW ALL",
        "SHOW TABLES",
        "SHOW CREATE TABLE sales",
        "DESCRIBE sales",
        "USE x",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "BEGIN",
        "COMMIT",
        "START TRANSACTION",
        "LOAD 'x'",
        "CALL f()",
        "EXPLAIN COPY sales TO '/tmp/x.csv'",
        "EXPLAIN INSERT INTO sales SELECT * FROM sales",
        "EXPLAIN EXPLAIN SELECT 1",
        "SELECT 1 INTO t",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/passwd.csv'",
        "SELECT * FROM \"/etc/passwd.csv\"",
        "SELECT * FROM 'http://127.0.0.1/x.parquet'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM parquet_metadata('x')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM generate_series(1, 1000000000000)",
        "SELECT * FROM range(0, 9223372036854775807)",
        "SELECT * FROM TABLE(generate_series(1, 10))",
        "SELECT * FROM LATERAL generate_series(1, 10)",
        "SELECT generate_series(1, 1000000000)",
        "SELECT range(1, 1000000000)",
        "SELECT unnest(range(1, 1000000000))",
        "SELECT array_repeat('x', 1000000000)",
        "SELECT repeat('x', 1000000000)",
        "SELECT lpad('x', 1000000000, 'y')",
        "SELECT rpad('x', 1000000000, 'y')",
        "SELECT array_resize([1], 1000000000, 0)",
        "SELECT input_file_name() FROM sales",
        "SELECT version()",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT current_setting('x')",
        "SELECT @@version",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION SELECT n FROM t) SELECT * FROM t",
        "SELECT * FROM sales a, sales b, sales c, sales d, sales e, sales f, sales g, sales h",
        "SELECT count(*) FROM sales a, sales b, sales c, sales d, sales e, sales f, sales g, sales h",
        "SELECT count(*) FROM sales a JOIN sales b ON a.total < b.total JOIN sales c ON b.total < c.total JOIN sales d ON c.total < d.total JOIN sales e ON d.total < e.total",
        "SELECT array_agg(a.note || b.note || c.note) FROM sales a, sales b, sales c",
        "SELECT string_agg(a.note || b.note, ',') FROM sales a, sales b, sales c, sales d",
        "SELECT a.*, row_number() OVER (ORDER BY a.note || b.note) FROM sales a, sales b, sales c",
        "SELECT DISTINCT a.note || b.note || c.note || d.note FROM sales a, sales b, sales c, sales d",
        "SELECT 1 / 0",
        "SELECT id / 0 FROM sales",
        "SELECT 1 % 0",
        "SELECT 9223372036854775807 + 1",
        "SELECT id + 9223372036854775807 FROM sales WHERE id > 0",
        "SELECT -9223372036854775808 / -1",
        "SELECT abs(-9223372036854775808)",
        "SELECT factorial(1000)",
        "SELECT power(10, 1000)",
        "SELECT CAST('x' AS INT)",
        "SELECT CAST(1e300 AS INT)",
        "SELECT CAST(99999999999999999999 AS BIGINT)",
        "SELECT 99999999999999999999999999999999999999999999999999999",
        "SELECT 1e999999",
        "SELECT timestamp '9999999-01-01'",
        "SELECT now() + INTERVAL '99999999999 years'",
        "SELECT INTERVAL '999999999999999999999 days'",
        "SELECT date_trunc('nonsense', now())",
        "SELECT date_bin(INTERVAL '0 days', now(), now())",
        "SELECT to_char(now(), '%')",
        "SELECT substr('abc', -9223372036854775808, 9223372036854775807)",
        "SELECT chr(-1)",
        "SELECT chr(1114112)",
        "SELECT round(1.5, 1000000000)",
        "SELECT make_date(0, 0, 0)",
        "SELECT arrow_cast(1, 'Nonsense')",
        "SELECT arrow_cast('x', 'FixedSizeBinary(2147483647)')",
        "SELECT arrow_cast([1], 'FixedSizeList(2147483647, Int64)')",
        "SELECT CAST(1 AS DECIMAL(76, 75)) * CAST(10 AS DECIMAL(76, 75))",
        "SELECT 'a' ~ '('",
        "SELECT regexp_like('a', '(((((((((((((((')",
        "SELECT regexp_like(repeat('a', 100), '(a*)*b')",
        "SELECT regexp_like('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '(a+)+$')",
        "SELECT regexp_like(note, '(((a{100}){100}){100}){100}') FROM sales",
        "SELECT regexp_like(note, '\\w{1000}{1000}') FROM sales",
        "SELECT regexp_replace(note, '', note || note || note, 'g') FROM sales",
        "SELECT note LIKE '%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%a' FROM sales",
        "SELECT note SIMILAR TO '(((a*)*)*)*' FROM sales",
        "SELECT * FROM sales TABLESAMPLE (10)",
        "SELECT * FROM sales FOR UPDATE",
        "SELECT * FROM sales LIMIT -1",
        "SELECT * FROM sales LIMIT 99999999999999999999",
        "SELECT * FROM sales OFFSET 9223372036854775807",
        "SELECT * FROM sales ORDER BY 99",
        "SELECT sum(total) OVER (ROWS BETWEEN 9223372036854775807 PRECEDING AND CURRENT ROW) AS s FROM sales",
        "SELECT nth_value(total, -9223372036854775808) OVER () FROM sales",
        "SELECT ntile(0) OVER () FROM sales",
        "SELECT lag(total, -9223372036854775808) OVER () FROM sales",
        "SELECT approx_percentile_cont(total, 2) FROM sales",
        "SELECT (SELECT id FROM sales) AS x",
        "SELECT * FROM sales WHERE id = (SELECT id FROM sizes, sales)",
        "SELECT x.y.z.a.b.c FROM sales",
        "SELECT \"\"",
        "SELECT * FROM a.b.c.d.e",
        "SELECT * EXCEPT (id, total, note) FROM sales",
        "SELECT FROM sales",
        "SELECT * FROM sales PIVOT (sum(total) FOR id IN (1, 2))",
        "SELECT * FROM sales MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS true)",
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a INT PATH '$'))",
        "FROM sales |> AGGREGATE count(*)",
        "VALUES (1), (2, 3)",
        "TABLE sales",
        "SELECT $$dollar$$",
        "SELECT U&'\\FFFF'",
        "SELECT X'zz'",
        "SELECT E'\\x'",
        "SELECT '\u{0}'",
        "\u{0}",
        "SELECT /* /* /* unclosed",
        "-- nothing",
        ";;;;",
        "((((((((((",
        "SELECT ))))",
        "SELECT 1 AS \u{202e}x",
        "🦀",
    ]
    .map(str::to_owned)
    .into();
    for n in [20, 49, 60, 500, 20_000] {
        all.push(deep("(", ")", "1", n));
        all.push(deep("abs(", ")", "1", n));
        all.push(deep("-", "", "1", n));
        all.push(deep("NOT ", "", "true", n));
        all.push(deep("CASE WHEN ", " THEN true END", "true", n));
        all.push(deep("(SELECT ", ")", "1", n));
        all.push(deep("[", "]", "1", n));
        all.push(deep("CAST(", " AS INT)", "1", n));
        all.push(deep("1 IN (", ")", "1", n));
        all.push(deep("EXISTS (SELECT 1 WHERE ", ")", "true", n));
        all.push(deep("1 + ", "", "1", n));
        all.push(deep("1 = 1 OR ", "", "true", n));
        all.push(deep("'a' || ", "", "'b'", n));
        all.push(deep("", "::int", "1", n));
        all.push(deep("", "[1]", "[1]", n));
        all.push(deep("substring(", " from 1)", "'abc'", n));
        all.push(deep("trim(both from ", ")", "'abc'", n));
        all.push(deep("extract(year from ", ")", "now()", n));
        all.push(deep("position('a' in ", ")", "'abc'", n));
        all.push(deep("INTERVAL ", "", "'1 day'", n));
        all.push(deep("struct(", ")", "1", n));
        all.push(deep("{'a': ", "}", "1", n));
        all.push(deep("MAP {1: ", "}", "1", n));
        all.push(deep("ARRAY<", ">", "INT", n));
        all.push(deep("STRUCT<a ", ">", "INT", n));
        all.push(deep("CAST(NULL AS ARRAY<", ">)", "INT", n));
        all.push(format!("SELECT * FROM {}sales{}", "(".repeat(n), ")".repeat(n)));
        all.push(format!("SELECT * FROM {}sales{}", "(SELECT * FROM ".repeat(n), ") AS t".repeat(n)));
        all.push(format!("{}SELECT 1{}", "(".repeat(n), ")".repeat(n)));
        all.push(format!("SELECT 1 AS x{}", " UNION ALL SELECT 1".repeat(n)));
        all.push(format!("SELECT 1 AS x{}", " INTERSECT SELECT 1".repeat(n)));
        all.push(format!("SELECT count(*) AS n FROM sales{}", ", sales".repeat(n)));
        all.push(format!(
            "SELECT count(*) AS n FROM sales t0{}",
            (1..n.min(3000)).map(|i| format!(" JOIN sales t{i} USING (id)")).collect::<String>()
        ));
        all.push(format!(
            "SELECT 1{}",
            (0..n.min(5000)).map(|i| format!(", {i} AS c{i}")).collect::<String>()
        ));
        all.push(format!("SELECT id FROM sales WHERE id IN (1{})", ", 2".repeat(n)));
        all.push(format!("SELECT concat('a'{}) AS x", ", 'b'".repeat(n)));
        all.push(format!("SELECT * FROM sales ORDER BY id{}", ", id".repeat(n)));
        all.push(format!("SELECT id FROM sales GROUP BY CUBE (id{})", ", total".repeat(n)));
        all.push(format!("VALUES (1){}", ", (1)".repeat(n)));
        all.push(format!("SELECT '{}' AS x FROM sales", "x".repeat(n * 10)));
        all.push(format!("SELECT {} AS x", "9".repeat(n)));
        // A text that doubles at each step.
        let steps: String =
            (1..n.min(400)).map(|i| format!(", t{i} AS (SELECT x || x AS x FROM t{})", i - 1)).collect();
        all.push(format!(
            "WITH t0 AS (SELECT 'abcdefgh' AS x){steps} SELECT length(x) AS n FROM t{}",
            n.min(400) - 1
        ));
        let steps: String = (1..n.min(400))
            .map(|i| format!(", t{i} AS (SELECT concat(x, x) AS x FROM t{})", i - 1))
            .collect();
        all.push(format!(
            "WITH t0 AS (SELECT note AS x FROM sales){steps} SELECT length(x) AS n FROM t{}",
            n.min(400) - 1
        ));
        let steps: String = (1..n.min(400))
            .map(|i| format!(", t{i} AS (SELECT replace(x, 'a', x) AS x FROM t{})", i - 1))
            .collect();
        all.push(format!(
            "WITH t0 AS (SELECT 'aaaaaaaa' AS x){steps} SELECT length(x) AS n FROM t{}",
            n.min(400) - 1
        ));
        let steps: String = (1..n.min(400))
            .map(|i| format!(", t{i} AS (SELECT a.x FROM t{p} a, t{p} b)", p = i - 1))
            .collect();
        all.push(format!(
            "WITH t0 AS (SELECT id AS x FROM sales){steps} SELECT count(*) AS n FROM t{}",
            n.min(400) - 1
        ));
    }
    all
}

/// In MiB.
fn resident(node: &TestNode) -> u64 {
    let text = node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap();
    let line = text.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
    line.split(' ').nth(1).unwrap().parse::<f64>().unwrap() as u64 >> 20
}

#[test]
fn hostile_queries_each_get_an_answer_within_the_limits() {
    let node = node(&[
        ("limits.sql_timeout", "2s"),
        ("limits.sql_memory", "64MiB"),
        ("limits.sql_concurrency", "2"),
    ]);
    let many: Vec<Json> = (0..3000)
        .map(|n| json!({ "country": "de", "id": n, "event_time": time(0), "total": n, "note": format!("note {n}") }))
        .collect();
    node.write("sales", json!(many));
    let before = resident(&node);
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for query in hostile() {
        let shown: String = query.chars().take(120).collect();
        let begun = std::time::Instant::now();
        let (status, body) = loop {
            let response =
                node.post("/v1/sql").header("Accept", ARROW).json(&json!({ "query": query })).send().unwrap();
            match response.status().as_u16() {
                // Threads that were told to end are still about to.
                429 => std::thread::sleep(std::time::Duration::from_millis(50)),
                200 => break (200, Json::Null),
                _ => break answer(response),
            }
        };
        let took = begun.elapsed();
        if std::env::var_os("SHOW").is_some() {
            eprintln!("{status} {took:?} {} MiB {shown} {}", resident(&node), body["detail"]);
        }
        assert!([200, 400, 408, 413, 422].contains(&status), "{status} {shown}\n{body:#}");
        *counts.entry(status).or_default() += 1;
    }
    assert!(counts.values().sum::<usize>() >= 300, "{counts:?}");
    assert!(counts.len() == 5, "{counts:?}");
    let grown = resident(&node).saturating_sub(before);
    assert!(grown < 1024, "grown by {grown} MiB");
    assert_eq!(rows(&node, "SELECT count(*) AS n FROM sales"), json!([{ "n": 3000 }]));
    for refused in
        ["COPY sales TO '/tmp/x.csv'", "SET x = 1", "DROP TABLE sales", "SELECT * FROM read_csv('x')"]
    {
        assert_eq!(sql(&node, refused).0, 422, "{refused}");
    }
}
