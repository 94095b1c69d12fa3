use super::*;

#[test]
fn the_examples_of_the_contract() {
    let column =
        |name: &str, data_type: &str| Column { name: name.to_owned(), data_type: data_type.parse().unwrap() };
    let inputs = [
        column("built_year", "int64"),
        column("wind_gust", "float64"),
        column("distance", "float64"),
        column("air_time_mean", "float64"),
        column("arr_delay", "float64"),
    ];
    for (text, data_type, columns) in [
        ("2013 - built_year", "int64", vec!["built_year"]),
        ("coalesce(wind_gust, 0) > 25", "bool", vec!["wind_gust"]),
        ("distance / (air_time_mean / 60)", "float64", vec!["distance", "air_time_mean"]),
        ("arr_delay > 15", "bool", vec!["arr_delay"]),
    ] {
        let expected = data_type.parse().unwrap();
        let expression = Expression::compile(text, &inputs, Some(&expected)).unwrap();
        assert_eq!(*expression.data_type(), expected);
        assert_eq!(expression.columns(), columns);
    }
}

#[test]
fn arithmetic() {
    check("a + b", "int64", ["9", "1", "0", "null"]);
    check("a / 2", "int64", ["3", "-1", "0", "null"]);
    check("a % 4", "int64", ["3", "-2", "0", "null"]);
    check("a + i", "int64", ["12", "2147483645", "0", "null"]);
    check("-a", "int64", ["-7", "2", "0", "null"]);
    check("x * y", "float64", ["0.75", "-8.0", "-0.0", "null"]);
    check("a * x", "float64", ["10.5", "8.0", "0.0", "null"]);
    check("1 + 2 * 3 - b", "int64", ["5", "4", "7", "null"]);
    check("(1 + 2) * b", "int64", ["6", "9", "0", "null"]);
    check(
        "a - -9223372036854775807",
        "int64",
        ["failed", "9223372036854775805", "9223372036854775807", "null"],
    );
    check("mod(a, 4)", "int64", ["3", "-2", "0", "null"]);
    check("+a", "int64", ["7", "-2", "0", "null"]);
}

#[test]
fn a_number_in_the_text_takes_the_type_of_what_it_meets() {
    check("i - 1", "int32", ["4", "2147483646", "-1", "null"]);
    check("f * 2", "float32", ["0.2", "5.0", "0.0", "null"]);
    check("f = 0.1", "bool", ["false", "false", "false", "null"]);
    check("f = 2.5", "bool", ["false", "true", "false", "null"]);
    check("a > 1.5", "bool", ["true", "false", "false", "null"]);
    check("i + 3000000000", "int64", ["3000000005", "5147483647", "3000000000", "null"]);
    check("coalesce(i, 0)", "int32", ["5", "2147483647", "0", "0"]);
}

#[test]
fn logic_has_three_values() {
    check("p AND q", "bool", ["true", "false", "false", "null"]);
    check("p OR NULL", "bool", ["true", "null", "null", "null"]);
    check("p AND FALSE", "bool", ["false", "false", "false", "false"]);
    check("NOT p", "bool", ["false", "true", "true", "null"]);
    check("p IS NULL", "bool", ["false", "false", "false", "true"]);
    check("p IS NOT NULL", "bool", ["true", "true", "true", "false"]);
    check("p IS TRUE", "bool", ["true", "false", "false", "false"]);
    check("p IS NOT TRUE", "bool", ["false", "true", "true", "true"]);
    check("p IS FALSE", "bool", ["false", "true", "true", "false"]);
    check("p IS UNKNOWN", "bool", ["false", "false", "false", "true"]);
    check("a IS DISTINCT FROM b", "bool", ["true", "true", "false", "false"]);
    check("x IS DISTINCT FROM y", "bool", ["true", "true", "false", "false"]);
    check("x IS NOT DISTINCT FROM NULL", "bool", ["false", "false", "false", "true"]);
}

#[test]
fn comparisons() {
    check("a >= b", "bool", ["true", "false", "true", "null"]);
    check("x = y", "bool", ["false", "false", "true", "null"]);
    check("x < y", "bool", ["false", "true", "false", "null"]);
    check("a BETWEEN 0 AND 7", "bool", ["true", "false", "true", "null"]);
    check("a NOT BETWEEN 0 AND 7", "bool", ["false", "true", "false", "null"]);
    check("5 BETWEEN 0 AND a", "bool", ["true", "false", "false", "null"]);
    check("a IN (7, 0)", "bool", ["true", "false", "true", "null"]);
    check("a IN (7, NULL)", "bool", ["true", "null", "null", "null"]);
    check("a NOT IN (7, b)", "bool", ["false", "true", "false", "null"]);
    check("1 IN (2, a, 1)", "bool", ["true", "true", "true", "true"]);
    check("s IN ('42', 'x')", "bool", ["false", "true", "false", "null"]);
    check("x IN (1.5, 0)", "bool", ["true", "false", "true", "null"]);
    check("at IN ('1970-01-01T00:00:00Z')", "bool", ["false", "false", "true", "null"]);
    check("s LIKE '%one'", "bool", ["true", "false", "false", "null"]);
    check("s LIKE '_nit%'", "bool", ["true", "false", "false", "null"]);
    check("s NOT LIKE '4_'", "bool", ["true", "false", "true", "null"]);
    check("s ILIKE 'ÜNIT%'", "bool", ["true", "false", "false", "null"]);
    check("s LIKE '4#2' ESCAPE '#'", "bool", ["false", "true", "false", "null"]);
}

#[test]
fn choices() {
    check("CASE WHEN a > 0 THEN 'up' WHEN a < 0 THEN 'down' END", "string", ["up", "down", "null", "null"]);
    check("CASE a WHEN 7 THEN x WHEN 0 THEN 9 ELSE b END", "float64", ["1.5", "3.0", "9.0", "null"]);
    check("CASE WHEN p THEN 1 ELSE 0 END", "int64", ["1", "0", "0", "0"]);
    check("coalesce(a, 1)", "int64", ["7", "-2", "0", "1"]);
    check("coalesce(NULL, x, a)", "float64", ["1.5", "-4.0", "0.0", "null"]);
    check("ifnull(s, 'none')", "string", ["Ünit one", "42", "", "none"]);
    check("nullif(a, 0)", "int64", ["7", "-2", "null", "null"]);
    check("nullif(a, b)", "int64", ["7", "-2", "null", "null"]);
    check("greatest(a, b, 1)", "int64", ["7", "3", "1", "1"]);
    check("least(a, x)", "float64", ["1.5", "-4.0", "0.0", "null"]);
    check("CASE 1 WHEN 1 THEN a ELSE b END", "int64", ["7", "-2", "0", "null"]);
}

#[test]
fn casts() {
    check("CAST(x AS int)", "int32", ["1", "-4", "0", "null"]);
    check("a::double", "float64", ["7.0", "-2.0", "0.0", "null"]);
    check("CAST(a AS varchar)", "string", ["7", "-2", "0", "null"]);
    check("TRY_CAST(s AS bigint)", "int64", ["null", "42", "null", "null"]);
    check("CAST(p AS int)", "int32", ["1", "0", "0", "null"]);
    check("CAST(NULL AS float64)", "float64", ["null"; 4]);
    check(
        "CAST(at AS string)",
        "string",
        ["2013-01-01T05:15:00.250Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "null"],
    );
    check("CAST('2013-01-01T05:15:00.25Z' AS timestamp) = at", "bool", ["true", "false", "false", "null"]);
    check("CAST(j AS string)", "string", ["{}", "[1]", "3", "null"]);
}

#[test]
fn names_are_found_as_sql_has_it() {
    check("A + B", "int64", ["9", "1", "0", "null"]);
    check("\"a\" + b", "int64", ["9", "1", "0", "null"]);
    // A column named like a keyword.
    check("year + 1", "int64", ["2014", "1970", "1", "null"]);
    check("extract(year from at) = year", "bool", ["true", "true", "false", "null"]);
    assert!(compile("\"A\" + b").is_err());
    let expression = compiled("coalesce(b, a) + b * f");
    assert_eq!(expression.columns(), ["b", "a", "f"]);
    assert!(compiled("1 + 1").columns().is_empty());
}

#[test]
fn constants_stand_for_every_row() {
    check("1 + 1", "int64", ["2"; 4]);
    check("'x' || 'y'", "string", ["xy"; 4]);
    check("pi() > 3", "bool", ["true"; 4]);
    check("NULL IS NULL", "bool", ["true"; 4]);
    check("9223372036854775807", "int64", ["9223372036854775807"; 4]);
    check("-9223372036854775808", "int64", ["-9223372036854775808"; 4]);
    check("1e3", "float64", ["1000.0"; 4]);
    check("'it''s'", "string", ["it's"; 4]);
}

#[test]
fn the_result_becomes_what_is_wanted_where_nothing_is_lost() {
    let wanted = |text: &str, data_type: &str| {
        let data_type: DataType = data_type.parse().unwrap();
        Expression::compile(text, &inputs(), Some(&data_type)).map(|expression| {
            assert_eq!(*expression.data_type(), data_type);
            shown(&expression.evaluate(&batch()))
        })
    };
    assert_eq!(wanted("a", "float64").unwrap(), ["7.0", "-2.0", "0.0", "null"]);
    assert_eq!(wanted("i", "int64").unwrap()[0], "5");
    assert_eq!(wanted("f", "float64").unwrap()[1], "2.5");
    assert_eq!(wanted("NULL", "string").unwrap(), ["null"; 4]);
    assert_eq!(wanted("1", "int32").unwrap(), ["1"; 4]);
    assert_eq!(wanted("'2024-05-01T00:00:00Z'", "timestamp").unwrap()[0], "2024-05-01T00:00:00Z");
    assert_eq!(wanted("v", "array<float32>").unwrap()[1], "[1.0, 0.0, 0.0]");
    for (text, data_type) in [
        ("a", "int32"),
        ("x", "float32"),
        ("x", "int64"),
        ("s", "int64"),
        ("a", "bool"),
        ("p", "int64"),
        ("at", "int64"),
        ("a", "string"),
        ("s", "json"),
        ("w", "array<float32, 3>"),
    ] {
        let error = wanted(text, data_type).unwrap_err().to_string();
        assert!(error.contains(&format!("but {data_type} is wanted")), "{text} {data_type}: {error}");
    }
}

#[test]
fn a_mask_is_true_where_the_value_is() {
    let mask = |text: &str| compiled(text).mask(&batch()).iter().collect::<Vec<bool>>();
    assert_eq!(mask("p"), [true, false, false, false]);
    assert_eq!(mask("10 / b > 3"), [true, false, false, false]);
    assert_eq!(mask("TRUE"), [true; 4]);
    assert_eq!(mask("a"), [false; 4]);
}
