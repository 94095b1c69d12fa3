//! Expressions that mean harm, over HTTP: each is refused with a clear problem or fails for its rows, and the node goes on.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

use crate::support::TestNode;

const BASE: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[feature_view]]
name = "profile"
entities = ["user"]
feature = [{ name = "n", type = "int64" }, { name = "x", type = "float64" }, { name = "s", type = "string" }]
"#;

fn definitions(data_type: &str, expression: &str) -> String {
    let expression = serde_json::to_string(expression).unwrap();
    format!(
        "{BASE}\n[[on_demand_feature_view]]\nname = \"evil\"\nrequest = {{ a = \"int64\", t = \"string\" }}\n\
         uses = [\"profile:n\", \"profile:x\", \"profile:s\"]\n\
         feature = [{{ name = \"f\", type = \"{data_type}\", expression = {expression} }}]\n"
    )
}

/// `(type, expression)`; none of them may be applied.
fn refused() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for depth in [100, 1_000, 100_000, 1_000_000] {
        all.push(("int64", format!("{}n{}", "(".repeat(depth), ")".repeat(depth))));
        all.push(("bool", format!("{} n = 1", "NOT ".repeat(depth))));
        all.push(("int64", format!("{}n", "- ".repeat(depth))));
        all.push(("int64", format!("{}n{}", "abs(".repeat(depth), ")".repeat(depth))));
        all.push(("int64", format!("n{}", " + n".repeat(depth))));
        all.push(("string", format!("s{}", " || s".repeat(depth))));
        all.push(("int64", format!("{}n{}", "CASE WHEN true THEN ".repeat(depth), " END".repeat(depth))));
        all.push(("int64", "(".repeat(depth)));
        all.push(("int64", "'".repeat(depth + 1)));
        // A hundred arguments are no harm.
        if depth > 100 {
            all.push(("string", format!("concat({}s)", "s, ".repeat(depth))));
            all.push(("bool", format!("n IN ({}1)", "1, ".repeat(depth))));
        }
    }
    for statement in [
        "SELECT 1",
        "(SELECT 1)",
        "n; DROP TABLE profile",
        "EXISTS (SELECT 1)",
        "n IN (SELECT n FROM profile)",
        "(WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r) SELECT * FROM r)",
        "*",
        "profile.*",
        "$1",
        "?",
        "@@version",
        "n -- comment\n + (",
        "/* open",
        "n::int[]",
        "ARRAY[1,2,3][1]",
        "n OVER ()",
        "row_number() OVER ()",
        "sum(n)",
        "count(*)",
        "COPY profile TO '/tmp/x'",
        "CREATE EXTERNAL TABLE t",
        "INSERT INTO profile VALUES (1)",
        "\0",
        "n\0",
        "",
        "   ",
        "é€",
        "'",
        "\"",
        "\"n",
        "n = 'x",
        "1e999",
        "99999999999999999999999999",
        "1 / 0",
        "9223372036854775807 + 1",
        "CAST('x' AS int)",
        "sqrt(-1)",
        "n +",
        "+ * /",
        "f + 1",
    ] {
        all.push(("int64", statement.to_owned()));
    }
    for function in [
        "read_csv",
        "read_parquet",
        "read_file",
        "load_file",
        "pg_read_file",
        "lo_import",
        "http_get",
        "url_fetch",
        "system",
        "exec",
        "shell",
        "xp_cmdshell",
        "dblink",
        "getenv",
        "pg_sleep",
        "sleep",
        "benchmark",
        "random",
        "uuid",
        "now",
        "current_timestamp",
        "current_date",
        "version",
        "current_user",
        "generate_series",
        "unnest",
        "glob",
        "parquet_scan",
        "query",
        "arrow_cast",
        "struct",
        "named_struct",
        "eval",
        "repeat",
        "lpad",
        "rpad",
        "regexp_replace",
        "make_array",
        "range",
        "array_repeat",
        "string_agg",
        "lag",
        "input_file_name",
    ] {
        for argument in ["", "'/etc/passwd'", "'http://127.0.0.1:1/x'", "n", "s, 1000000000"] {
            let known = (function, argument) == ("repeat", "s, 1000000000");
            all.extend((!known).then(|| ("string", format!("{function}({argument})"))));
        }
    }
    all.extend(endings().into_iter().map(|expression| ("int64", expression)));
    all.extend(soups().into_iter().map(|expression| ("int64", expression)));
    all.extend(unreadable().into_iter().map(|expression| ("int64", expression)));
    all
}

/// A sound expression with something after it that would make a statement of it, or reach for what it must not have.
fn endings() -> Vec<String> {
    let mut all = Vec::new();
    for ending in [
        "; DROP TABLE profile",
        "; SELECT 1",
        " UNION SELECT 1",
        " UNION ALL SELECT n FROM profile",
        " INTERSECT SELECT 1",
        " FROM profile",
        " FROM '/etc/passwd'",
        " INTO OUTFILE '/tmp/x'",
        " WHERE true",
        " GROUP BY n",
        " ORDER BY n",
        " LIMIT 1",
        " FOR UPDATE",
        " WINDOW w AS ()",
        " OVER (PARTITION BY n)",
        " FILTER (WHERE true)",
        "' OR '1' = '1",
        " OR 1 = (SELECT 1)",
        " /* open",
        ")",
        "]",
        "}",
        ", n",
        " AS y",
        " n",
        "::regclass",
        " ->> 'a'",
        " @> n",
        "[1]",
        ".y.z",
        " = ANY (SELECT n FROM profile)",
        " IN (TABLE profile)",
        " BETWEEN 1",
        " IS",
        " ESCAPE 'x'",
        "\\",
        "`",
        "#",
    ] {
        for sound in ["n", "abs(n)", "CASE WHEN n > 0 THEN n END", "(n + 1)", "coalesce(n, 0)"] {
            all.push(format!("{sound}{ending}"));
        }
    }
    all
}

/// Words of the language in any order; the last has to have something after it.
fn soups() -> Vec<String> {
    const WORDS: [&str; 32] = [
        "n", "x", "s", "a", "t", "f", "1", "0.5", "'x'", "NULL", "(", ")", "+", "-", "*", "/", "%", "||",
        "=", "<>", "AND", "OR", "NOT", "CASE", "WHEN", "THEN", "ELSE", "END", "IN", "BETWEEN", "LIKE",
        "abs(",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        WORDS[(state >> 59) as usize]
    };
    let soup = |length: usize| {
        let words: Vec<&str> = (0..length).map(|_| word()).collect();
        format!("{} +", words.join(" "))
    };
    (0..300).map(|i| 1 + i % 40).map(soup).collect()
}

/// Characters that no expression has.
fn unreadable() -> Vec<String> {
    let controls = (1..32).filter_map(char::from_u32).filter(|c| !c.is_whitespace());
    let others =
        "\u{7f}\u{200b}\u{202e}\u{2028}\u{feff}\u{fffd}\u{1f4a9}\u{2212}\u{2019}\u{ff08}\u{221e}\u{10ffff}";
    controls.chain(others.chars()).map(|c| format!("n {c} n")).collect()
}

/// `(type, expression)` that may be applied; each value is null or as given.
fn computed() -> Vec<(&'static str, &'static str)> {
    vec![
        ("int64", "n / a"),
        ("int64", "n % a"),
        ("int64", "n + 9223372036854775807"),
        ("int64", "n * n * n * n * n * n * n * n"),
        ("int64", "-9223372036854775807 - n - n"),
        ("int32", "CAST(n * 4294967296 AS int)"),
        ("float64", "x / (x - x)"),
        ("float64", "exp(n * 1000)"),
        ("float64", "ln(n - n)"),
        ("float64", "sqrt(0 - n)"),
        ("float64", "power(x, 100000)"),
        ("float64", "acos(n)"),
        ("int64", "CAST(t AS bigint)"),
        ("float64", "CAST(t AS double)"),
        ("timestamp", "CAST(t AS timestamp)"),
        ("bool", "CAST(t AS boolean)"),
    ]
}

#[test]
fn hostile_expressions_are_refused_or_fail_for_their_rows() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    node.apply(BASE);
    node.write(
        "profile",
        json!([{ "user": 1, "event_time": "2024-05-01T11:00:00Z", "n": 1_000_000, "x": 1e300, "s": "s" }]),
    );
    let version = || node.get("/v1/registry").1["version"].clone();
    let before = version();
    let began = Instant::now();
    let all = refused();
    // With the queries that tests/it/sql.rs sends.
    #[cfg(feature = "sql")]
    {
        let (expressions, queries) = (all.len(), crate::sql::hostile().len());
        assert!(expressions + queries >= 1_000, "{expressions} expressions and {queries} queries");
    }
    for (data_type, expression) in &all {
        let text = definitions(data_type, expression);
        let (status, problem) =
            node.post_bytes("/v1/registry/apply?allow_retire=true", "application/toml", text);
        let shown: String = expression.chars().take(60).collect();
        assert!((400..500).contains(&status), "{shown}: {status} {problem:#}");
        let said = problem["errors"][0]["reason"].as_str().or(problem["detail"].as_str()).unwrap_or_default();
        assert!((10..2_000).contains(&said.len()), "{shown}: {problem:#}");
        assert!(!problem.to_string().contains("defect of larder"), "{shown}: {problem:#}");
    }
    assert_eq!(version(), before, "nothing of it was applied");
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());

    for (data_type, expression) in computed() {
        node.apply(&definitions(data_type, expression));
        let body = json!({
            "features": ["evil:f"], "entities": [{ "user": 1 }, { "user": 2 }], "include": ["status"],
            "request": [{ "a": 0, "t": "nonsense" }, { "a": null, "t": null }],
        });
        let (status, mut answer) = node.post_json("/v1/online-features", &body);
        // Not all of them take all of the request.
        if status == 422 {
            let mut body = body.clone();
            let unknown: Vec<String> = answer["errors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["field"].as_str().unwrap().to_owned())
                .collect();
            for row in body["request"].as_array_mut().unwrap() {
                row.as_object_mut().unwrap().retain(|name, _| !unknown.contains(name));
            }
            let (status, second) = node.post_json("/v1/online-features", &body);
            assert_eq!(status, 200, "{expression}: {second:#}");
            answer = second;
        }
        assert_eq!(answer["status"][0][0], "ERROR", "{expression}: {answer}");
        assert_eq!(answer["values"], json!([[null], [null]]), "{expression}: {answer}");
        assert_eq!(answer["status"][1][0], "NULL_VALUE", "{expression}: {answer}");
    }
}

/// Text that would grow without end fails where it passes its bound; many features of one view, each of twice the one before.
#[test]
fn text_does_not_grow_without_end() {
    let node = TestNode::at("2024-05-01T12:00:00Z");
    let mut features = String::from("{ name = \"f0\", type = \"string\", expression = \"t\" },\n");
    for i in 1..60 {
        writeln!(features, "{{ name = \"f{i}\", type = \"string\", expression = \"f{0} || f{0}\" }},", i - 1)
            .unwrap();
    }
    node.apply(&format!(
        "{BASE}\n[[on_demand_feature_view]]\nname = \"evil\"\nrequest = {{ t = \"string\" }}\nfeature = [\n{features}]\n"
    ));
    let body = json!({ "features": ["evil:f59", "evil:f3"], "entities": [{}], "include": ["status"], "request": { "t": "abcd" } });
    let (status, answer) = node.post_json("/v1/online-features", &body);
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(answer["values"][0], json!([Json::Null, "abcd".repeat(8)]));
    assert_eq!(node.get("/livez").0, 200);
}
