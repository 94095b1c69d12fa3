//! Text of values, as JSON and CSV write them.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::column::CellError;
use larder_model::{DataType, TimeForm, Timestamp};

/// At most 80 characters of `text`, for error messages.
pub fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(80) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

pub(super) fn mismatch(expected: &DataType, got: &str) -> CellError {
    CellError::Value(format!("expected {expected}, got {}", shorten(got)))
}

/// A whole number in decimal digits; never rounded.
pub(super) fn integer(text: &str, expected: &DataType) -> Result<i64, CellError> {
    text.parse().or_else(|_| whole(text).ok_or(())).map_err(|()| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let float = text.parse::<f64>().ok();
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            || float.is_some_and(|x| x.is_finite() && x.abs() >= 2f64.powi(63))
        {
            overflow(text, expected)
        } else if float.is_some() {
            CellError::Value(format!("expected {expected}, a whole number in digits, got {}", shorten(text)))
        } else {
            mismatch(expected, text)
        }
    })
}

/// A whole number that is written as a float, as data frames do: `180.0`, `1.8e2`. Exact, however many digits it has.
fn whole(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [before, after].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The digits, and by how many places the point is behind (or before) the last of them.
    let significant = digits.trim_end_matches('0');
    let zeros = i64::from(exponent) - after.len() as i64 + (digits.len() - significant.len()) as i64;
    match significant.trim_start_matches('0') {
        "" => Some(0),
        significant if (0..19).contains(&zeros) => {
            format!("{sign}{significant}{}", "0".repeat(zeros.unsigned_abs() as usize)).parse().ok()
        }
        _ => None,
    }
}

pub(super) fn overflow(text: &str, expected: &DataType) -> CellError {
    CellError::Value(format!("{expected} overflow: {} is out of its range", shorten(text)))
}

/// Text of a JSON string, its quotes and escapes removed.
pub(super) fn unquote(raw: &str) -> Result<Cow<'_, str>, CellError> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(raw)
            .map(Cow::Owned)
            .map_err(|error| CellError::Value(format!("not a valid JSON string: {error}"))),
    }
}

pub(super) fn base64(text: &str) -> Result<Vec<u8>, CellError> {
    STANDARD
        .decode(text)
        .map_err(|_| CellError::Value(format!("expected bytes as base64, got {}", shorten(text))))
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn timestamp(text: &str, times: TimeForm) -> Result<i64, CellError> {
    times.text(text).map(Timestamp::micros).map_err(|error| CellError::Value(error.to_string()))
}

/// Whether arrays and objects nest at most `limit` deep. Does not recurse: the text may be hostile.
pub fn nests_within(json: &str, limit: usize) -> bool {
    // Most texts have fewer brackets than that, wherever they stand; to count them takes a tenth of the time.
    if json.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= limit {
        return true;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// What a tree of JSON values from outside may take in memory.
pub const MOST_JSON: usize = 128 << 20;

/// About how many bytes the text takes as a tree of `serde_json` values: many times its own where it is made of small objects.
pub fn json_weight(json: &str) -> usize {
    /// A map's first node has room for eleven members.
    const OBJECT: usize = 720;
    const VALUE: usize = 64;
    let (mut weight, mut in_string, mut escaped) = (VALUE, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => weight += 1,
            b'{' => weight += OBJECT,
            b'[' | b',' => weight += VALUE,
            _ => {}
        }
    }
    weight
}

/// JSON text without the white space between its tokens; numbers and strings keep their spelling.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\n' | '\r' | '\t' if !in_string => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_floats_are_whole_numbers_to_the_last_digit() {
        for (text, expected) in [
            ("180.0", Some(180)),
            ("-180.", Some(-180)),
            ("1e3", Some(1000)),
            ("1.8E+2", Some(180)),
            ("1800e-1", Some(180)),
            ("0.0", Some(0)),
            ("-0.0e99999", Some(0)),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("9223372036854775807.0", Some(i64::MAX)),
            ("-9223372036854775808.0", Some(i64::MIN)),
            ("9223372036854775808.0", None),
            ("1e999999999", None),
            ("1e99999999999", None),
            ("180.5", None),
            ("1e-1", None),
            (".", None),
            ("e5", None),
            ("1.0x", None),
            ("inf", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        assert!(
            matches!(integer("1e30", &DataType::Int64), Err(CellError::Value(why)) if why.contains("overflow"))
        );
    }

    #[test]
    fn the_weight_of_a_text_is_that_of_its_tree() {
        let objects = format!("[{}{{}}]", r#"{"a":1},"#.repeat(999));
        assert!((720_000..900_000).contains(&json_weight(&objects)), "{}", json_weight(&objects));
        let numbers = format!("[{}0]", "0,".repeat(999));
        assert!((64_000..65_000).contains(&json_weight(&numbers)));
        assert!(
            json_weight(&format!("\"{}\"", r##"{[,\""##.repeat(1000))) < 6000,
            "what is in strings is text"
        );
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        assert!(nests_within(r#"{"a":["]}[[[[[["]}"#, 2));
        assert!(!nests_within(r#"{"a":[[1]]}"#, 2));
        assert!(nests_within(r#""\"[[[""#, 0));
        assert!(!nests_within(&"[".repeat(1_000_000), 64));
    }

    #[test]
    fn compact_keeps_strings_and_spelling() {
        assert_eq!(compact(" { \"a b\\\" \" : [ 1.50 , 1e3 ] }\n"), r#"{"a b\" ":[1.50,1e3]}"#);
    }
}
