//! No text takes the process down: each is compiled, and run where it compiles, by a thread whose stack is an eighth of what
//! any of the node's threads has.

use super::{
    batches::{Random, random_batch, random_text},
    *,
};

/// A thread that nobody gave a size has 2 MiB.
const STACK: usize = 256 << 10;

/// Runs all texts in a small thread; a stack overflow would end the whole test binary.
fn survive(texts: impl IntoIterator<Item = String> + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK);
    let run = move || {
        let batch = random_batch(&mut Random(1), 5);
        for text in texts {
            if let Ok(expression) = compile(&text) {
                let evaluated = expression.evaluate(&batch);
                assert_eq!(evaluated.values.len(), 5, "{text}");
                assert!(evaluated.values.get_array_memory_size() < 1 << 20, "{text}");
            }
        }
    };
    thread.spawn(run).unwrap().join().unwrap();
}

/// Each way to nest, as deep as the length allows and at the limits.
#[test]
fn deep_texts() {
    let around = |open: &str, core: &str, close: &str, n: usize| {
        format!("{}{core}{}", open.repeat(n), close.repeat(n))
    };
    let mut texts = Vec::new();
    for n in
        [1, 10, 31, 32, 33, 47, 48, 49, 60, 62, 63, 64, 65, 66, 67, 100, 250, 333, 499, 500, 999, 2000, 4095]
    {
        for (open, core, close) in [
            ("(", "a", ")"),
            ("(", "", ")"),
            ("(", "a", ""),
            ("", "a", ")"),
            ("-", "a", ""),
            ("- ", "a", ""),
            ("+", "a", ""),
            ("NOT ", "p", ""),
            ("not(", "p", ")"),
            ("abs(", "a", ")"),
            ("sqrt(", "x", ""),
            ("1+", "1", ""),
            ("a+", "a", ""),
            ("(a+", "a", ")"),
            ("p and ", "p", ""),
            ("p or (", "p", ")"),
            ("a-", "a", ""),
            ("a = ", "a", ""),
            ("s||", "s", ""),
            ("concat(s,", "s", ")"),
            ("coalesce(a,", "a", ")"),
            ("nullif(a,", "a", ")"),
            ("CASE WHEN p THEN ", "a", " END"),
            ("CASE ", "a", " WHEN 1 THEN 2 END"),
            ("CASE WHEN ", "p", " THEN p END"),
            ("case ", "a", ""),
            ("CAST(", "a", " AS bigint)"),
            ("cast(", "a", ""),
            ("try_cast(", "a", " AS"),
            ("", "a", "::bigint"),
            ("", "a", " IS NULL"),
            ("", "a", " IN (1)"),
            ("a IN (", "1", ")"),
            ("a BETWEEN 1 AND ", "2", ""),
            ("a between ", "2", " and 1"),
            ("substring(", "s", " from 1)"),
            ("substring(", "s", ""),
            ("trim(", "s", ")"),
            ("trim(both ", "s", ""),
            ("trim(both 'x' from ", "s", ")"),
            ("position('a' in ", "s", ")"),
            ("position(", "s", ""),
            ("extract(year from ", "at", ")"),
            ("extract(", "at", ""),
            ("interval ", "'1 day'", ""),
            ("at + interval ", "'1 day'", ""),
            ("interval (", "'1 day'", ")"),
            ("timestamp ", "'1'", ""),
            ("case when ", "p", ""),
            ("x.", "a", ""),
            ("[", "a", "]"),
            ("{", "a", "}"),
            ("/*", "a", "*/"),
            ("--", "a", "\n"),
            ("$", "a", "$"),
            ("array<", "int", ">"),
            ("cast(a as array<", "int", ">)"),
            ("cast(a as struct<x ", "int", ">)"),
            ("(select ", "a", ")"),
            ("exists(", "a", ")"),
            ("f(value ", "a", ")"),
            ("abs(a value ", "a", ")"),
            ("a is distinct from ", "a", ""),
            ("s like ", "'a'", ""),
            ("s like 'a' escape ", "'a'", ""),
            ("replace(", "s", ",'','aaaaaaaa')"),
            ("replace(", "s", ",'a','aaaaaaaa')"),
            ("translate(", "s", ",'a','ü')"),
            ("greatest(", "a", ",a)"),
            ("cosine_similarity(v,", "v", ")"),
            ("date_trunc('day',", "at", ")"),
            ("\"", "a", "\""),
            ("'", "a", "'"),
            ("x'", "a", "'"),
            ("ü", "a", ""),
            ("a,", "a", ""),
        ] {
            texts.push(around(open, core, close, n));
        }
    }
    assert!(texts.len() > 1000);
    survive(texts);
}

/// The ways to nest, one within the other: what sqlparser tries twice at each level would take for ever.
#[test]
fn mixed_deep_texts() {
    const OPEN: &[(&str, &str)] = &[
        ("(", ")"),
        ("-", ""),
        ("NOT ", ""),
        ("a + ", ""),
        ("p AND ", ""),
        ("coalesce(a, ", ")"),
        ("CASE WHEN ", " THEN 1 END"),
        ("CASE ", " WHEN 1 THEN 2 END"),
        ("CAST(", " AS int)"),
        ("TRY_CAST(", " AS int)"),
        ("EXTRACT(year FROM ", ")"),
        ("SUBSTRING(", " FROM 2)"),
        ("SUBSTRING(s FROM ", " FOR 1)"),
        ("TRIM(", ")"),
        ("TRIM(BOTH ", " FROM s)"),
        ("a IN (1, ", ")"),
        ("a BETWEEN ", " AND 2"),
        ("a BETWEEN 1 AND ", ""),
        ("s LIKE ", " ESCAPE '!'"),
        ("a IS DISTINCT FROM ", ""),
        ("INTERVAL '1 day' + ", ""),
        ("TIMESTAMP '2024-01-01' > ", ""),
        ("position(", " IN s)"),
        ("ceil(", " TO day)"),
        ("overlay(s PLACING ", " FROM 1)"),
        ("convert(", ", int)"),
        ("f(x => ", ")"),
        ("year(", ")"),
        ("date(", ")"),
    ];
    survive((0..4000_u64).map(|seed| {
        let mut random = Random(seed);
        let kinds = 1 + random.below(3);
        let used: Vec<_> = (0..kinds).map(|_| random.pick(OPEN)).collect();
        let levels: Vec<_> = (0..random.below(70)).map(|_| random.pick(&used)).collect();
        let open: String = levels.iter().map(|(open, _)| *open).collect();
        let close: String = levels.iter().rev().map(|(_, close)| *close).collect();
        // Half of them end before they are closed.
        let closed = if random.below(2) == 0 { close.len() } else { random.below(close.len() + 1) };
        format!("{open}{}{}", random.pick(&["a", "1", "s", "p", "at", ""]), &close[..closed])
    }));
}

#[test]
fn wide_texts() {
    let mut texts = Vec::new();
    for n in [100, 300, 450, 499, 900, 1300] {
        for (start, item, end) in [
            ("a IN (", "1", ")"),
            ("s IN (", "'x'", ")"),
            ("a IN (", "b", ")"),
            ("x IN (", "1.5", ")"),
            ("coalesce(", "a", ")"),
            ("concat(", "s", ")"),
            ("greatest(", "a", ")"),
            ("abs(", "a", ")"),
        ] {
            texts.push(format!("{start}{}{end}", vec![item; n].join(",")));
        }
        texts.push(format!("CASE {} END", "WHEN p THEN a ".repeat(n)));
        texts.push(format!("CASE a {} END", "WHEN 1 THEN a ".repeat(n)));
        texts.push(format!("s LIKE '{}'", "%a_".repeat(n)));
        texts.push(format!("s ILIKE '{}'", "_ü".repeat(n)));
        texts.push(format!("a + {}", "9".repeat(n)));
        texts.push(format!("x + 0.{}", "1".repeat(n)));
        texts.push(format!("at + interval '{} years'", "9".repeat(n)));
        texts.push(format!("at + interval '{}'", "1 day ".repeat(n)));
        texts.push(format!("CAST('{}' AS timestamp)", "2".repeat(n)));
        texts.push(format!("round(x, {})", "9".repeat(n.min(18))));
        texts.push(format!("CAST('{}' AS bigint)", "9".repeat(n)));
    }
    survive(texts);
}

/// What is large in value though short in text.
#[test]
fn huge_arguments() {
    const HUGE: [&str; 6] =
        ["9223372036854775807", "-9223372036854775808", "2147483647", "-2147483648", "1e308", "-1"];
    let mut texts = Vec::new();
    for huge in HUGE {
        for text in [
            "substr(s, #)",
            "substr(s, 1, #)",
            "substr(s, #, #)",
            "left(s, #)",
            "right(s, #)",
            "chr(#)",
            "to_hex(#)",
            "split_part(s, 'a', #)",
            "round(x, #)",
            "trunc(x, #)",
            "power(a, #)",
            "power(#, a)",
            "power(x, #)",
            "log(#, x)",
            "log(x, #)",
            "exp(#)",
            "a * #",
            "a / #",
            "a % #",
            "a - #",
            "-(#)",
            "abs(# - a + a)",
            "CAST(# AS int)",
            "CAST(# AS real)",
            "to_timestamp_seconds(#)",
            "to_timestamp_micros(# + a)",
            "date_trunc('century', to_timestamp_micros(# + a))",
            "extract(year from to_timestamp_micros(a + #))",
            "extract(epoch from to_timestamp_micros(#))",
            "date_part('week', to_timestamp_micros(#))",
            "to_timestamp_micros(#) + interval '1 year'",
            "to_timestamp_micros(a) + interval '# days'",
            "at + interval '# months'",
            "at - interval '# hours'",
            "CAST(to_timestamp_micros(#) AS string)",
            "greatest(a, #)",
            "nanvl(x, #)",
            "mod(a, #)",
            "sinh(#)",
            "atan2(#, #)",
            "left(s, CAST(# AS int))",
            "repeat(s, #)",
            "lpad(s, #)",
            "factorial(#)",
            "gcd(a, #)",
            "generate_series(1, #)",
            "date_trunc(s, at)",
        ] {
            texts.push(text.replace('#', huge));
        }
    }
    for field in
        ["millennium", "microsecond", "nanosecond", "timezone", "julian", "isoyear", "nothing", "", "'"]
    {
        texts.push(format!("date_part('{field}', at)"));
        texts.push(format!("date_trunc('{field}', at)"));
        texts.push(format!("extract({field} from at)"));
    }
    survive(texts);
}

/// Tokens in any order.
#[test]
fn random_tokens() {
    const TOKENS: &[&str] = &[
        "a",
        "b",
        "x",
        "s",
        "p",
        "at",
        "v",
        "year",
        "1",
        "0",
        "2.5",
        "'a'",
        "''",
        "'%'",
        "NULL",
        "TRUE",
        "(",
        ")",
        "(",
        ")",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "=",
        "<",
        ">",
        "<=",
        "<>",
        "||",
        "::",
        "AND",
        "OR",
        "NOT",
        "IS",
        "IN",
        "BETWEEN",
        "LIKE",
        "ILIKE",
        "ESCAPE",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "CAST(",
        "AS",
        "int",
        "double precision",
        "DISTINCT FROM",
        "FROM",
        "FOR",
        "BOTH",
        "LEADING",
        "INTERVAL",
        "'1 day'",
        "day",
        "TIMESTAMP",
        "EXTRACT(",
        "SUBSTRING(",
        "TRIM(",
        "POSITION(",
        "coalesce(",
        "abs(",
        "sqrt(",
        "concat(",
        "date_part(",
        "round(",
        "OVER",
        "SELECT",
        "WITH",
        "EXISTS",
        "ARRAY",
        "ANY(",
        "?",
        "$1",
        ".",
        ";",
        "[",
        "]",
        "{",
        "}",
        "->",
        "\"",
        "'",
        "--",
        "/*",
        "\n",
        "\u{0}",
        "é",
        "::int",
        "x'00'",
        "N'a'",
        "E'\\n'",
        "1e9999",
        "0x1F",
        "1__0",
        "@",
        "#",
        "~",
        "!",
        "^",
        "&",
        "FILTER",
        "WITHIN GROUP",
        "COLLATE",
        "AT TIME ZONE",
        "SIMILAR TO",
        "REGEXP",
        "UNKNOWN",
        "VALUES",
        "ROW(",
    ];
    survive((0..20_000_u64).map(|seed| {
        let mut random = Random(seed);
        let length = 1 + random.below(24);
        (0..length).map(|_| random.pick(TOKENS)).collect::<Vec<_>>().join(random.pick(&[" ", " ", ""]))
    }));
}

/// Good texts with a few characters changed.
#[test]
fn mutated_texts() {
    survive((0..10_000_u64).map(|seed| {
        let mut random = Random(seed ^ 0xabcd);
        let kind = random.pick(&['n', 'b', 's', 't']);
        let text = random_text(&mut random, kind, 4);
        let mut characters: Vec<char> = text.chars().take(1000).collect();
        for _ in 0..1 + random.below(4) {
            let at = random.below(characters.len());
            match random.below(3) {
                0 => drop(characters.remove(at)),
                1 => characters.insert(at, random.pick(&['(', ')', '\'', ',', '-', '9', 'e', '.', ' ', '%'])),
                _ => characters[at] = random.pick(&['(', ')', '\'', '*', '0', 'ß', '\n', '"', ':', '/']),
            }
            if characters.is_empty() {
                break;
            }
        }
        characters.into_iter().collect()
    }));
}
