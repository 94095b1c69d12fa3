//! Text: `LIKE`, and what makes text longer, which is bounded.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, BooleanArray, StringBuilder},
    buffer::BooleanBuffer,
    error::ArrowError,
};
use regex::{Regex, RegexBuilder};

use crate::kernels::values::{Values, either, rows_set};

/// The longest text, in bytes, that `||`, `concat` and `replace` make; a longer one is a failure.
pub const MAX_TEXT: usize = 4096;
/// What a compiled LIKE pattern may take, in bytes.
const MAX_PATTERN: usize = 1 << 20;

/// Joins `parts`; null where one is, or `skip_nulls`.
pub(crate) fn concat(parts: &[Values], skip_nulls: bool, rows: usize) -> Result<Values, ArrowError> {
    let texts: Vec<_> = parts.iter().map(|part| (part.array.as_string::<i32>(), part.step())).collect();
    let mut made = StringBuilder::with_capacity(rows, 0);
    let mut failed = Vec::new();
    for row in 0..rows {
        let present = texts.iter().filter(|(text, step)| text.is_valid(row * step));
        let present = present.map(|(text, step)| text.value(row * step));
        if !skip_nulls && texts.iter().any(|(text, step)| text.is_null(row * step)) {
            made.append_null();
        } else if present.clone().map(str::len).sum::<usize>() > MAX_TEXT {
            failed.push(row);
            made.append_null();
        } else {
            made.append_value(present.collect::<String>());
        }
    }
    let before = parts.iter().fold(None, |failed, part| either(failed.as_ref(), part.failed.as_ref()));
    Values::masked(Arc::new(made.finish()), either(before.as_ref(), rows_set(rows, &failed).as_ref()))
}

/// Replaces all occurrences. An empty text to look for is found nowhere.
pub(crate) fn replace(input: &Values, from: &Values, to: &Values, rows: usize) -> Result<Values, ArrowError> {
    let arguments = [input, from, to];
    let texts = arguments.map(|values| (values.array.as_string::<i32>(), values.step()));
    let mut made = StringBuilder::with_capacity(rows, 0);
    let mut failed = Vec::new();
    for row in 0..rows {
        if texts.iter().any(|(text, step)| text.is_null(row * step)) {
            made.append_null();
            continue;
        }
        let [input, from, to] = texts.map(|(text, step)| text.value(row * step));
        let found = if from.is_empty() { 0 } else { input.matches(from).count() };
        let length = input.len() - found * from.len() + found.saturating_mul(to.len());
        if found == 0 {
            made.append_value(input);
        } else if length > MAX_TEXT.max(input.len()) {
            failed.push(row);
            made.append_null();
        } else {
            made.append_value(input.replace(from, to));
        }
    }
    let before =
        arguments.iter().fold(None, |failed, values| either(failed.as_ref(), values.failed.as_ref()));
    Values::masked(Arc::new(made.finish()), either(before.as_ref(), rows_set(rows, &failed).as_ref()))
}

/// A LIKE pattern as a regular expression: matching takes time linear in the text.
pub(crate) fn like_pattern(
    pattern: &str,
    escape: Option<char>,
    ignore_case: bool,
) -> Result<Regex, &'static str> {
    let mut expression = String::from("^(?:");
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            _ if Some(c) == escape => match characters.next() {
                Some(escaped) => expression.push_str(&regex::escape(escaped.encode_utf8(&mut [0; 4]))),
                None => return Err("the LIKE pattern ends in its escape character"),
            },
            '%' => expression.push_str(".*"),
            '_' => expression.push('.'),
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push_str(")$");
    RegexBuilder::new(&expression)
        .dot_matches_new_line(true)
        .case_insensitive(ignore_case)
        .size_limit(MAX_PATTERN)
        .dfa_size_limit(MAX_PATTERN)
        .build()
        .map_err(|_| "the LIKE pattern is too large")
}

pub(crate) fn like(input: &Values, pattern: &Regex) -> Result<Values, ArrowError> {
    let texts = input.array.as_string::<i32>();
    let matched = BooleanBuffer::collect_bool(texts.len(), |row| {
        texts.is_valid(row) && pattern.is_match(texts.value(row))
    });
    let matched = BooleanArray::new(matched, texts.nulls().cloned());
    Ok(Values { array: Arc::new(matched), constant: input.constant, failed: input.failed.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of LIKE, one character after the other.
    fn naive(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|skipped| naive(&text[skipped..], rest)),
            Some(('_', rest)) => text.split_first().is_some_and(|(_, text)| naive(text, rest)),
            Some(('\\', rest)) => match (text.split_first(), rest.split_first()) {
                (Some((found, text)), Some((wanted, rest))) => found == wanted && naive(text, rest),
                _ => false,
            },
            Some((wanted, rest)) => {
                text.split_first().is_some_and(|(found, text)| found == wanted && naive(text, rest))
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn like_is_what_its_definition_says(text in "[ab.*\n%é]{0,8}", pattern in "([ab.*%_é]|\\\\[%_\\\\]){0,6}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let compiled = like_pattern(&pattern, Some('\\'), false).unwrap();
            proptest::prop_assert_eq!(compiled.is_match(&text), naive(&chars(&text), &chars(&pattern)));
        }
    }

    #[test]
    fn patterns_have_limits() {
        assert!(like_pattern("a\\", Some('\\'), false).is_err());
        assert!(like_pattern("a\\", None, false).unwrap().is_match("a\\"));
        assert!(like_pattern("A%", None, true).unwrap().is_match("abc"));
        // As long as an expression can be.
        let _ = like_pattern(&"_".repeat(4000), None, true);
        let _ = like_pattern(&"%_é".repeat(1000), None, true);
    }
}
