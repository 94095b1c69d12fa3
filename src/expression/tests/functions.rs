use super::*;

#[test]
fn numbers() {
    check("abs(a)", "int64", ["7", "2", "0", "null"]);
    check("round(x / 7, 2)", "float64", ["0.21", "-0.57", "0.0", "null"]);
    check("floor(x)", "float64", ["1.0", "-4.0", "0.0", "null"]);
    check("ceil(x)", "float64", ["2.0", "-4.0", "0.0", "null"]);
    check("trunc(x)", "float64", ["1.0", "-4.0", "0.0", "null"]);
    check("sign(x)", "float64", ["1.0", "-1.0", "0.0", "null"]);
    check("power(a, 2)", "float64", ["49.0", "4.0", "0.0", "null"]);
    check("log(2, 8) + a", "float64", ["10.0", "1.0", "3.0", "null"]);
    check("log10(a * a + 51)", "float64", ["2.0", "1.7403626894942439", "1.7075701760979363", "null"]);
    check("round(degrees(radians(x)), 6)", "float64", ["1.5", "-4.0", "0.0", "null"]);
}

#[test]
fn text() {
    check("upper(s)", "string", ["ÜNIT ONE", "42", "", "null"]);
    check("length(s)", "int32", ["8", "2", "0", "null"]);
    check("octet_length(s)", "int32", ["9", "2", "0", "null"]);
    check("s || '-' || u", "string", ["Ünit one-one", "42-4", "-x", "null"]);
    check("concat(s, '-', u)", "string", ["Ünit one-one", "42-4", "-x", "-"]);
    check("substr(s, 2, 3)", "string", ["nit", "2", "", "null"]);
    check("substring(s from 2 for 3)", "string", ["nit", "2", "", "null"]);
    check("substring(s, 2)", "string", ["nit one", "2", "", "null"]);
    check("left(s, 2)", "string", ["Ün", "42", "", "null"]);
    check("right(s, 2)", "string", ["ne", "42", "", "null"]);
    check("strpos(s, 'one')", "int32", ["6", "0", "0", "null"]);
    check("replace(s, 'one', '1')", "string", ["Ünit 1", "42", "", "null"]);
    check("trim(both ' ' from '  ' || u)", "string", ["one", "4", "x", "null"]);
    check("trim(u)", "string", ["one", "4", "x", "null"]);
    check("starts_with(s, u)", "bool", ["false", "true", "false", "null"]);
    check("contains(s, u)", "bool", ["true", "true", "false", "null"]);
    check("split_part(s, ' ', 2)", "string", ["one", "", "", "null"]);
    check("reverse(u)", "string", ["eno", "4", "x", "null"]);
    check("lower(j)", "string", ["{}", "[1]", "3", "null"]);
}

#[test]
fn times() {
    check("date_part('hour', at)", "int32", ["5", "23", "0", "null"]);
    check("extract(minute from at)", "int32", ["15", "59", "0", "null"]);
    check("extract(dow from at)", "int32", ["2", "3", "4", "null"]);
    check("extract(doy from at)", "int32", ["1", "365", "1", "null"]);
    check("extract(epoch from at)", "float64", ["1357017300.25", "-1e-6", "0.0", "null"]);
    check(
        "date_trunc('hour', at)",
        "timestamp",
        ["2013-01-01T05:00:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z", "null"],
    );
    check(
        "at + interval '1 month'",
        "timestamp",
        ["2013-02-01T05:15:00.250Z", "1970-01-31T23:59:59.999999Z", "1970-02-01T00:00:00Z", "null"],
    );
    check(
        "at - interval '90' minute",
        "timestamp",
        ["2013-01-01T03:45:00.250Z", "1969-12-31T22:29:59.999999Z", "1969-12-31T22:30:00Z", "null"],
    );
    check("at > timestamp '2000-01-01T00:00:00Z'", "bool", ["true", "false", "false", "null"]);
    check("at > '2000-01-01'", "bool", ["true", "false", "false", "null"]);
    check("to_timestamp_seconds(a) > at", "bool", ["false", "false", "false", "null"]);
    check(
        "to_timestamp_millis(a * 1000) = to_timestamp_seconds(a)",
        "bool",
        ["true", "true", "true", "null"],
    );
    check(
        "to_timestamp_seconds(9223372036854775807 - b * 0 - a * 0)",
        "timestamp",
        ["failed", "failed", "failed", "null"],
    );
    check("at + interval '300000 years'", "timestamp", ["failed", "failed", "failed", "null"]);
}

#[test]
fn vectors() {
    check("dot(v, w)", "float64", ["18.0", "failed", "failed", "null"]);
    check("dot(v, v)", "float64", ["9.0", "1.0", "0.0", "null"]);
    check("cosine_similarity(v, w)", "float64", ["1.0", "failed", "failed", "null"]);
    check("cosine_similarity(v, v)", "float64", ["1.0", "1.0", "failed", "null"]);
    check("l2_distance(v, w)", "float64", ["3.0", "failed", "failed", "null"]);
    check("dot(v, NULL)", "float64", ["null"; 4]);
    check("v IS NULL", "bool", ["false", "false", "false", "true"]);
    check("coalesce(w, v) IS NOT NULL", "bool", ["true", "true", "true", "false"]);
}
