//! What SQL makes of values: three-valued conditions, integers, times. Expected rows were computed with duckdb.

use serde_json::{Value as Json, json};

use crate::support::{ARROW, CSV, NDJSON, PARQUET, TestNode};

const NOW: &str = "2024-05-01T12:34:56.789012Z";

fn node() -> TestNode {
    let node = TestNode::at(NOW);
    let mut definitions =
        "[[entity]]\nname = \"e\"\njoin_keys = [{ name = \"k\", type = \"int64\" }]\n".to_owned();
    for view in ["u", "v"] {
        definitions += &format!(
            "[[feature_view]]\nname = \"{view}\"\nentities = [\"e\"]\nfeature = [{{ name = \"id\", type = \"int64\" }}, \
             {{ name = \"g\", type = \"int64\" }}, {{ name = \"x\", type = \"float64\" }}]\n"
        );
    }
    node.apply(&definitions);
    let row = |(k, id, g): (i64, Option<i64>, Option<i64>)| json!({ "k": k, "id": id, "g": g, "event_time": "2024-01-01T00:00:00Z" });
    let u = [
        (1, Some(1), Some(1)),
        (2, None, Some(2)),
        (3, Some(4), Some(1)),
        (4, Some(4), None),
        (5, Some(7), Some(3)),
    ];
    node.write("u", u.map(row).into_iter().collect());
    let v = [
        (1, Some(1), Some(1)),
        (2, Some(2), Some(2)),
        (3, None, Some(3)),
        (4, Some(9), Some(4)),
        (5, Some(4), None),
    ];
    node.write("v", v.map(row).into_iter().collect());
    node
}

fn sql(node: &TestNode, query: &str) -> (u16, Json) {
    node.post_json("/v1/sql", &json!({ "query": query }))
}

#[track_caller]
fn rows(node: &TestNode, query: &str) -> Json {
    let (status, body) = sql(node, query);
    assert_eq!(status, 200, "{query}\n{body:#}");
    body["rows"].clone()
}

#[test]
fn conditions_on_queries_know_three_values() {
    let node = node();
    let cases: [(&str, &[i64]); 31] = [
        ("3 NOT IN (SELECT id FROM u WHERE u.g = v.g)", &[1, 3, 4, 5]),
        ("NOT (3 IN (SELECT id FROM u WHERE u.g = v.g))", &[1, 3, 4, 5]),
        ("id NOT IN (SELECT id FROM u WHERE u.g = v.g)", &[4, 5]),
        ("id NOT IN (SELECT u.id FROM u WHERE u.id = v.id)", &[2, 3, 4]),
        ("id NOT IN (SELECT id FROM u WHERE u.k > v.k)", &[2, 4, 5]),
        ("id NOT IN (SELECT id FROM u)", &[]),
        ("id NOT IN (SELECT id FROM u WHERE id IS NOT NULL)", &[2, 4]),
        ("id NOT IN (SELECT id FROM u WHERE k > 99)", &[1, 2, 3, 4, 5]),
        ("3 NOT IN (SELECT id FROM u)", &[]),
        ("3 NOT IN (SELECT id FROM u WHERE g = 1)", &[1, 2, 3, 4, 5]),
        ("CAST(NULL AS BIGINT) NOT IN (SELECT k FROM u)", &[]),
        ("CAST(NULL AS BIGINT) NOT IN (SELECT k FROM u WHERE k > 99)", &[1, 2, 3, 4, 5]),
        ("NULLIF(k, k) NOT IN (SELECT k FROM u)", &[]),
        ("id NOT IN (SELECT id FROM u WHERE u.g = v.g) OR k = 2", &[2, 4, 5]),
        ("(id IN (SELECT id FROM u WHERE u.g = v.g)) IS NULL", &[2, 3]),
        ("(id NOT IN (SELECT id FROM u)) IS NOT NULL", &[1, 5]),
        ("CASE WHEN id NOT IN (SELECT id FROM u WHERE u.g = v.g) THEN k > 3 ELSE k < 3 END", &[1, 2, 4, 5]),
        ("id IN (SELECT id FROM u WHERE u.g = v.g)", &[1]),
        ("id <> ALL (SELECT id FROM u WHERE u.g = v.g)", &[4, 5]),
        ("id = ANY (SELECT id FROM u)", &[1, 5]),
        ("k > ANY (SELECT v.k FROM v WHERE id <= 2)", &[2, 3, 4, 5]),
        ("k > ALL (SELECT v.k FROM v WHERE id <= 2)", &[3, 4, 5]),
        ("k = ANY (SELECT k FROM v WHERE id <= 2)", &[1, 2]),
        ("NOT (id > ALL (SELECT id FROM u WHERE u.g = v.g))", &[1]),
        ("NOT EXISTS (SELECT 1 FROM u WHERE u.g = v.g)", &[4, 5]),
        ("EXISTS (SELECT 1 FROM u WHERE u.g = v.g LIMIT 1)", &[1, 2, 3]),
        ("(SELECT count(*) FROM u WHERE u.g = v.g) = 0", &[4, 5]),
        ("(SELECT count(*) FROM u WHERE u.g = v.g) > 1", &[1]),
        ("coalesce((SELECT max(id) FROM u WHERE u.g = v.g), -1) = -1", &[2, 4, 5]),
        ("v.id IN (SELECT u.id FROM u WHERE u.g = v.g AND u.k NOT IN (SELECT g FROM v))", &[]),
        ("NOT (EXISTS (SELECT 1 FROM u WHERE u.g = v.g))", &[4, 5]),
    ];
    for (condition, expected) in cases {
        let expected: Json = expected.iter().map(|k| json!({ "k": k })).collect();
        assert_eq!(
            rows(&node, &format!("SELECT k FROM v WHERE {condition} ORDER BY k")),
            expected,
            "{condition}"
        );
    }
    let values = "SELECT k, id NOT IN (SELECT id FROM u WHERE u.g = v.g) AS n, id IN (SELECT id FROM u) AS i, \
                  EXISTS (SELECT 1 FROM u WHERE u.g = v.g) AS e, (SELECT count(*) FROM u WHERE u.g = v.g) AS c, \
                  (SELECT sum(id) FROM u WHERE u.g = v.g) AS s FROM v ORDER BY k";
    assert_eq!(
        rows(&node, values),
        json!([
            { "k": 1, "n": false, "i": true, "e": true, "c": 2, "s": 5 },
            { "k": 2, "n": null, "i": null, "e": true, "c": 1, "s": null },
            { "k": 3, "n": null, "i": null, "e": true, "c": 1, "s": 7 },
            { "k": 4, "n": true, "i": null, "e": false, "c": 0, "s": null },
            { "k": 5, "n": true, "i": true, "e": false, "c": 0, "s": null },
        ])
    );
    let outer = "SELECT v.k, u.k AS j FROM v LEFT JOIN u ON u.g = v.g AND u.id > 1 WHERE u.id IS NULL OR u.id = 4 ORDER BY 1, 2";
    assert_eq!(
        rows(&node, outer),
        json!([{ "k": 1, "j": 3 }, { "k": 2, "j": null }, { "k": 4, "j": null }, { "k": 5, "j": null }])
    );
    let sets = "SELECT id FROM (SELECT 'a' AS id UNION ALL SELECT 'a' AS id ORDER BY id) GROUP BY GROUPING SETS ((id), ())";
    let sets = rows(&node, sets);
    let found = sets.as_array().unwrap();
    assert!(
        found.len() == 2 && found.contains(&json!({ "id": "a" })) && found.contains(&json!({ "id": null })),
        "{sets}"
    );
}

#[test]
fn what_would_be_wrong_is_refused_with_what_is_right() {
    let node = node();
    for (condition, said) in [
        ("EXISTS (SELECT count(*) FROM u WHERE u.g = v.g)", "(SELECT count(*) FROM …) > 0"),
        ("2 IN (SELECT count(*) FROM u WHERE u.g = v.g)", "(SELECT count(*) FROM …) > 0"),
        ("EXISTS (SELECT 1 FROM u WHERE u.g = v.g OFFSET 1)", "cannot have LIMIT or OFFSET"),
        ("id IN (SELECT id FROM u WHERE u.g = v.g ORDER BY id LIMIT 1)", "cannot have LIMIT or OFFSET"),
        ("EXISTS (SELECT 1 FROM u WHERE u.g = v.g GROUP BY ROLLUP(u.k))", "aggregate all its rows"),
        (
            "EXISTS (SELECT 1 FROM (SELECT row_number() OVER (ORDER BY k) AS n FROM u WHERE u.g = v.g) WHERE n = 2)",
            "window functions",
        ),
        ("id IN (SELECT id, k FROM u)", "one column"),
    ] {
        let (status, body) = sql(&node, &format!("SELECT k FROM v WHERE {condition}"));
        assert_eq!(status, 422, "{condition}\n{body:#}");
        assert!(body["detail"].as_str().unwrap().contains(said), "{condition}\n{body:#}");
    }
    let (status, body) =
        sql(&node, "SELECT k, (SELECT count(*) FROM u WHERE u.g > v.g OR u.k = v.k) AS n FROM v");
    assert_eq!(status, 422, "{body:#}");
    assert!(body["detail"].as_str().unwrap().contains("join the tables"), "{body:#}");
}

#[test]
fn integers_that_leave_their_type_fail() {
    let node = node();
    for (query, said) in [
        ("SELECT 9223372036854775807 + 1", "9223372036854775807 + 1 is out of the range of int64"),
        ("SELECT k + 9223372036854775807 FROM v ORDER BY k", "is out of the range of int64"),
        ("SELECT -9223372036854775807 - k - 1 FROM v ORDER BY k", "is out of the range of int64"),
        ("SELECT k * 9223372036854775807 FROM v WHERE k > 1", "is out of the range of int64"),
        (
            "SELECT -(-9223372036854775807 - k) FROM v WHERE k = 1",
            "- -9223372036854775808 is out of the range",
        ),
        ("SELECT abs(-9223372036854775807 - k) FROM v WHERE k = 1", "overflow"),
        (
            "SELECT CAST(2147483647 AS INT) + CAST(k AS INT) FROM v WHERE k = 1",
            "2147483647 + 1 is out of the range of int32",
        ),
        ("SELECT k FROM v WHERE k + 9223372036854775807 > 0", "is out of the range"),
        ("SELECT count(*) FROM v GROUP BY k * 9223372036854775807", "is out of the range"),
        ("SELECT sum(k * 4611686018427387904) FROM v WHERE k = 2", "is out of the range of int64"),
        ("SELECT sum(4611686018427387904) FROM v", "a sum is out of the range of int64"),
        (
            "SELECT g, sum(9223372036854775806 + k / k) FROM u GROUP BY g",
            "a sum is out of the range of int64",
        ),
        ("SELECT sum(9223372036854775807) OVER (ORDER BY k) FROM v", "a sum is out of the range of int64"),
        (
            "SELECT sum(DISTINCT x), count(DISTINCT y) FROM (VALUES (9223372036854775807, 1), (1, 2), (1, 3)) AS t(x, y)",
            "a sum is out",
        ),
        ("SELECT k / (k - k) FROM v", "Divide by zero"),
        ("SELECT k % 0 FROM v", "Divide by zero"),
        ("SELECT mod(k, 0) FROM v", "Divide by zero"),
        ("SELECT CAST(k * 3000000000 AS INT) FROM v", "3000000000"),
        ("SELECT CAST(x * 1e30 AS BIGINT) FROM (SELECT k * 1.5e0 AS x FROM v)", "BIGINT"),
    ] {
        let (status, body) = sql(&node, query);
        assert_eq!(status, 400, "{query}\n{body:#}");
        let said = if said == "BIGINT" { "Int64" } else { said };
        assert!(body["detail"].as_str().unwrap().contains(said), "{query}\n{body:#}");
    }
    for (query, value) in [
        ("SELECT 9223372036854775806 + 1 AS x", json!(i64::MAX)),
        ("SELECT -9223372036854775808 AS x", json!(i64::MIN)),
        ("SELECT sum(x) AS x FROM (VALUES (9223372036854775807), (1), (-1)) AS t(x)", json!(i64::MAX)),
        ("SELECT sum(DISTINCT g) AS x FROM u", json!(6)),
        ("SELECT sum(g) FILTER (WHERE k > 2) AS x FROM u", json!(4)),
        ("SELECT sum(id) AS x FROM u WHERE k = 2", Json::Null),
        (
            "SELECT avg(x) AS x FROM (VALUES (9223372036854775807), (9223372036854775807)) AS t(x)",
            json!(9.223_372_036_854_776e18),
        ),
        ("SELECT CASE WHEN k < 0 THEN k * 9223372036854775807 ELSE 7 END AS x FROM v WHERE k = 3", json!(7)),
        ("SELECT count(*) - 10 AS x FROM v", json!(-5)),
        ("SELECT 1e308 * 10 AS x", Json::Null),
        ("SELECT mod(-7, 4) AS x", json!(-3)),
        ("SELECT MOD(7.5, k) AS x FROM v WHERE k = 2", json!(1.5)),
        ("SELECT sign(-3) AS x", json!(-1.0)),
        ("SELECT sign(x) AS x FROM (SELECT 2.5 AS x)", json!(1.0)),
    ] {
        assert_eq!(rows(&node, query), json!([{ "x": value }]), "{query}");
    }
    let moving =
        "SELECT sum(k) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS x FROM v ORDER BY k";
    assert_eq!(rows(&node, moving), json!([{ "x": 1 }, { "x": 3 }, { "x": 5 }, { "x": 7 }, { "x": 9 }]));
    // The column is named as the operator would be.
    assert_eq!(rows(&node, "SELECT k + 1 FROM v WHERE k = 1"), json!([{ "v.k + Int64(1)": 2 }]));
}

#[test]
fn times_are_moments_in_utc() {
    let node = node();
    for (query, value) in [
        ("TIMESTAMPTZ '2024-05-01 12:00:00'", "2024-05-01T12:00:00Z"),
        ("TIMESTAMP '2024-05-01 12:00:00'", "2024-05-01T12:00:00Z"),
        ("TIMESTAMP '2024-05-01'", "2024-05-01T00:00:00Z"),
        ("TIMESTAMP WITH TIME ZONE '2024-05-01T12:00:00+02:00'", "2024-05-01T10:00:00Z"),
        ("CAST('2024-05-01T12:00:00.5+02:00' AS TIMESTAMP)", "2024-05-01T10:00:00.500000Z"),
        ("'2024-05-01 12:00:00'::timestamptz + INTERVAL '90 minutes'", "2024-05-01T13:30:00Z"),
        ("TIMESTAMP '1969-12-31 23:59:59.9999999'", "1969-12-31T23:59:59.999999Z"),
        ("TIMESTAMP '2500-01-01'", "2500-01-01T00:00:00Z"),
        ("to_timestamp('2024-05-01T12:00:00')", "2024-05-01T12:00:00Z"),
        ("to_timestamp_millis(1714564800000)", "2024-05-01T12:00:00Z"),
        ("date_trunc('month', TIMESTAMP '2024-05-17 10:00:00')", "2024-05-01T00:00:00Z"),
    ] {
        let found = rows(&node, &format!("SELECT {query} AS t"));
        let moment = |text: &str| larder::model::Timestamp::parse(text).unwrap();
        let text = found[0]["t"].as_str().unwrap();
        assert!(text.ends_with('Z'), "{query}: {text}");
        assert_eq!(moment(text), moment(value), "{query}: {text}");
    }
    for condition in [
        "event_time = TIMESTAMP '2024-01-01 00:00:00'",
        "event_time = TIMESTAMPTZ '2024-01-01 01:00:00+01:00'",
        "event_time = '2024-01-01'",
        "event_time = DATE '2024-01-01'",
        "event_time BETWEEN TIMESTAMP '2023-12-31' AND TIMESTAMPTZ '2024-01-02'",
        "event_time + INTERVAL '1 day' < TIMESTAMP '2024-01-03'",
    ] {
        let query = format!("SELECT count(*) AS n FROM v WHERE {condition}");
        assert_eq!(rows(&node, &query), json!([{ "n": 5 }]), "{condition}");
    }
    // The table is asked for these times alone.
    for time in ["TIMESTAMP '2024-05-01'", "TIMESTAMPTZ '2024-05-01'"] {
        let explained = rows(&node, &format!("EXPLAIN SELECT k FROM v WHERE event_time > {time}"));
        assert!(explained.to_string().contains("partial_filters=[v.event_time > Timestamp"), "{explained:#}");
    }
}

#[test]
fn what_gives_something_else_each_time_is_refused() {
    let node = node();
    for function in [
        "localtimestamp",
        "localtime",
        "random()",
        "uuid()",
        "gen_random_uuid()",
        "date_trunc('day', localtime)",
    ] {
        for query in [
            format!("SELECT {function}"),
            format!("SELECT k FROM v WHERE k IN (SELECT k FROM u WHERE {function} IS NOT NULL)"),
        ] {
            let (status, body) = sql(&node, &query);
            assert_eq!(status, 422, "{query}\n{body:#}");
            let detail = body["detail"].as_str().unwrap();
            assert!(detail.contains("not deterministic") && detail.contains("use $as_of"), "{detail}");
        }
    }
    let query =
        "SELECT count(*) AS n FROM v WHERE event_time > CAST($as_of AS TIMESTAMP) - INTERVAL '7 days'";
    let body = json!({ "query": query, "parameters": { "as_of": "2024-01-02T00:00:00Z" } });
    assert_eq!(node.post_json("/v1/sql", &body).1["rows"], json!([{ "n": 5 }]));
}

/// A query of a person has the node's clock; a batch view, whose rows are to be the same each time, has `$as_of`.
#[test]
fn now_is_the_time_of_the_query() {
    let node = node();
    let info = node.get("/v1/info").1["now"].as_str().unwrap().to_owned();
    for function in ["now()", "NOW()", "current_timestamp"] {
        let (status, body) =
            sql(&node, &format!("SELECT {function} AS t, now() = current_timestamp AS same"));
        assert_eq!(status, 200, "{body:#}");
        assert_eq!(body["rows"], json!([{ "t": info, "same": true }]), "{function}");
    }
    let (status, body) = sql(
        &node,
        "SELECT current_date AS d, current_time IS NOT NULL AS t, date_trunc('day', now()) <= now() AS u",
    );
    assert_eq!((status, &body["rows"][0]["d"]), (200, &json!(info[..10])), "{body:#}");
    let (_, past) = sql(&node, "SELECT count(*) AS n FROM v WHERE event_time <= now()");
    let (_, ahead) = sql(&node, "SELECT count(*) AS n FROM v WHERE event_time > now() + INTERVAL '1 day'");
    let (_, all) = sql(&node, "SELECT count(*) AS n FROM v");
    let n = |body: &Json| body["rows"][0]["n"].as_i64().unwrap();
    assert!(n(&past) > 0 && n(&past) + n(&ahead) <= n(&all), "{past} {ahead} {all}");
}

#[test]
fn every_format_has_the_zone() {
    let node = node();
    let query = json!({ "query": "SELECT TIMESTAMP '2024-05-01 12:00:00' AS a, TIMESTAMPTZ '2024-05-01 14:34:56.789012+02:00' AS b, to_timestamp('2024-05-01') AS c" });
    let answered = |accept: &str| {
        let response = node.post("/v1/sql").header("Accept", accept).json(&query).send().unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().unwrap()
    };
    let line = "2024-05-01T12:00:00Z,2024-05-01T12:34:56.789012Z,2024-05-01T00:00:00Z";
    assert_eq!(answered(CSV), format!("a,b,c\n{line}\n"));
    assert_eq!(
        answered(NDJSON),
        "{\"a\":\"2024-05-01T12:00:00Z\",\"b\":\"2024-05-01T12:34:56.789012Z\",\"c\":\"2024-05-01T00:00:00Z\"}\n"
    );
    let arrow = answered(ARROW);
    let reader = arrow::ipc::reader::StreamReader::try_new(arrow.as_ref(), None).unwrap();
    let parquet =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(answered(PARQUET)).unwrap();
    for schema in [reader.schema(), parquet.schema().clone()] {
        for field in schema.fields() {
            let arrow::datatypes::DataType::Timestamp(_, zone) = field.data_type() else { panic!("{field}") };
            assert_eq!(zone.as_deref(), Some("UTC"), "{field}");
        }
    }
}
