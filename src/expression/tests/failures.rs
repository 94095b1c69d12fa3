use super::*;

#[test]
fn what_has_no_result_fails_for_its_row_alone() {
    check("a / b", "int64", ["3", "0", "failed", "null"]);
    check("a % b", "int64", ["1", "-2", "failed", "null"]);
    check("x / y", "float64", ["3.0", "-2.0", "failed", "null"]);
    check("x % y", "float64", ["0.0", "-0.0", "failed", "null"]);
    check("1.0 / x", "float64", ["0.6666666666666666", "-0.25", "failed", "null"]);
    check("i + 1", "int32", ["6", "failed", "1", "null"]);
    check("a * 9223372036854775807", "int64", ["failed", "failed", "0", "null"]);
    check(
        "(a - 9223372036854775807) * -1",
        "int64",
        ["9223372036854775800", "failed", "9223372036854775807", "null"],
    );
    check("x * 1e308", "float64", ["1.5e308", "failed", "0.0", "null"]);
    check("CAST(x * 1e300 AS real)", "float32", ["failed", "failed", "0.0", "null"]);
    check("CAST(s AS int)", "int32", ["failed", "42", "failed", "null"]);
    check("CAST(a * 1000000000000 AS int)", "int32", ["failed", "failed", "0", "null"]);
    check("CAST(x * 1e300 AS bigint)", "int64", ["failed", "failed", "0", "null"]);
    check("TRY_CAST(a / b AS int)", "int32", ["3", "0", "failed", "null"]);
}

#[test]
fn functions_fail_outside_of_their_domain() {
    check("sqrt(x)", "float64", ["1.224744871391589", "failed", "0.0", "null"]);
    check("ln(x)", "float64", ["0.4054651081081644", "failed", "failed", "null"]);
    check("exp(x * 1000)", "float64", ["failed", "0.0", "1.0", "null"]);
    check("power(x, -1)", "float64", ["0.6666666666666666", "-0.25", "failed", "null"]);
    check("acos(x)", "float64", ["failed", "failed", "1.5707963267948966", "null"]);
    check("abs(a - 9223372036854775806 - 4)", "int64", ["9223372036854775803", "failed", "failed", "null"]);
    check("chr(a)", "string", ["\u{7}", "failed", "\0", "null"]);
}

#[test]
fn a_failure_spreads_to_what_is_made_of_it() {
    check("a / b + 1", "int64", ["4", "1", "failed", "null"]);
    check("a / b IS NULL", "bool", ["false", "false", "failed", "true"]);
    check("a / b > 0", "bool", ["true", "false", "failed", "null"]);
    check("NOT a / b > 0", "bool", ["false", "true", "failed", "null"]);
    check("coalesce(a / b, 9)", "int64", ["3", "0", "failed", "9"]);
    check("nullif(9, a / b)", "int64", ["9", "9", "failed", "9"]);
    check("a / b IN (3)", "bool", ["true", "false", "failed", "null"]);
    check("CAST(a / b AS string) || '!'", "string", ["3!", "0!", "failed", "null"]);
    check("concat('n', CAST(a / b AS string))", "string", ["n3", "n0", "failed", "n"]);
    check("sqrt(a / b)", "float64", ["1.7320508075688772", "0.0", "failed", "null"]);
    check("(a / b > 0) IS NOT TRUE", "bool", ["false", "true", "failed", "true"]);
    check("a / b IS DISTINCT FROM 3", "bool", ["false", "true", "failed", "true"]);
    check("greatest(a / b, 1)", "int64", ["3", "1", "failed", "1"]);
}

#[test]
fn what_is_not_needed_does_not_fail() {
    check("CASE WHEN b = 0 THEN NULL ELSE a / b END", "int64", ["3", "0", "null", "null"]);
    check("CASE WHEN b <> 0 THEN a / b END", "int64", ["3", "0", "null", "null"]);
    check("CASE b WHEN 0 THEN -1 ELSE a / b END", "int64", ["3", "0", "-1", "null"]);
    check("CASE WHEN a / b > 0 THEN 1 ELSE 2 END", "int64", ["1", "2", "failed", "2"]);
    check("CASE WHEN TRUE THEN 1 WHEN a / b > 0 THEN 2 END", "int64", ["1"; 4]);
    check("coalesce(a, a / b)", "int64", ["7", "-2", "0", "null"]);
    check("a / nullif(b, 0)", "int64", ["3", "0", "null", "null"]);
    check("b <> 0 AND a / b > 1", "bool", ["true", "false", "false", "null"]);
    check("a / b > 1 AND b <> 0", "bool", ["true", "false", "false", "null"]);
    check("b = 0 OR a / b > 1", "bool", ["true", "false", "true", "null"]);
    check("a / b > 1 OR b = 0", "bool", ["true", "false", "true", "null"]);
    check("0 IN (a / b, b)", "bool", ["false", "true", "true", "null"]);
}

#[test]
fn infinities_that_came_in_are_carried_on() {
    let inputs = [Column { name: "x".to_owned(), data_type: DataType::Float64 }];
    let values = vec![f64::INFINITY, f64::NAN, f64::NEG_INFINITY, 1e308];
    let schema = Schema::new(vec![Field::new("x", DataType::Float64.arrow(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Float64Array::from(values))]).unwrap();
    let check = |text: &str, expected: [&str; 4]| {
        let evaluated = Expression::compile(text, &inputs, None).unwrap().evaluate(&batch);
        assert_eq!(shown(&evaluated), expected, "{text}");
    };
    check("x + 1", ["inf", "NaN", "-inf", "1e308"]);
    check("x * 10", ["inf", "NaN", "-inf", "failed"]);
    check("x / 0", ["failed", "failed", "failed", "failed"]);
    check("x - x", ["NaN", "NaN", "NaN", "0.0"]);
    check("sqrt(x)", ["inf", "NaN", "failed", "1e154"]);
    check("CAST(x AS int)", ["failed", "failed", "failed", "failed"]);
    check("CAST(x AS real)", ["inf", "NaN", "-inf", "failed"]);
    check("x = x", ["true"; 4]);
    check("x > 1e308", ["true", "true", "false", "false"]);
    check("isnan(x)", ["false", "true", "false", "false"]);
    check("nanvl(x, 0)", ["inf", "0.0", "-inf", "1e308"]);
}

#[test]
fn text_does_not_grow_without_bound() {
    let long = "s".repeat(3000);
    let schema = Schema::new(vec![Field::new("s", DataType::String.arrow(), true)]);
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some(long.as_str()), Some("s"), None]));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
    let inputs = [Column { name: "s".to_owned(), data_type: DataType::String }];
    for text in ["s || s", "concat(s, s)", "replace(s, 's', 'ss')"] {
        let evaluated = Expression::compile(text, &inputs, None).unwrap().evaluate(&batch);
        let expected = if text == "concat(s, s)" { "" } else { "null" };
        assert_eq!(shown(&evaluated), ["failed", "ss", expected], "{text}");
    }
    let evaluated = Expression::compile("upper(s)", &inputs, None).unwrap().evaluate(&batch);
    assert_eq!(shown(&evaluated)[0], "S".repeat(3000));
}

#[test]
fn a_batch_without_the_columns_fails_in_every_row() {
    let schema = Schema::new(vec![Field::new("z", DataType::Int64.arrow(), true)]);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let other = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
    assert_eq!(shown(&compiled("a + 1").evaluate(&other)), ["failed", "failed"]);
    // Of another type, which does not become an int64.
    let schema = Schema::new(vec![Field::new("a", DataType::arrow_timestamp(), true)]);
    let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC"));
    let _ = compiled("a + 1").evaluate(&RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap());
    // Another Arrow form of the same values.
    let schema = Schema::new(vec![Field::new("s", arrow::datatypes::DataType::Utf8View, true)]);
    let column: ArrayRef = Arc::new(arrow::array::StringViewArray::from(vec!["one", "two"]));
    let views = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
    assert_eq!(shown(&compiled("upper(s)").evaluate(&views)), ["ONE", "TWO"]);
}

#[test]
fn no_rows_have_no_values() {
    for text in ["a / b", "1", "sqrt(x)", "s || u", "CASE WHEN p THEN at END", "cosine_similarity(v, w)"] {
        let evaluated = compiled(text).evaluate(&batch().slice(0, 0));
        assert_eq!((evaluated.values.len(), evaluated.failed), (0, None), "{text}");
    }
}
