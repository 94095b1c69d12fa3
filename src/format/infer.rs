//! Types of columns, inferred from the text of all of their values.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::csv_reader::CsvField;
use larder_model::{DataType, Timestamp};

/// What the values of one column have been so far.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Float,
    Timestamp,
    Text,
    /// JSON of any shape.
    Document,
    /// `None`: of empty lists, or of nulls only.
    List(Option<Box<Kind>>),
}

/// Columns in the order in which they were first seen.
#[derive(Debug, Default)]
pub(super) struct Inference {
    columns: Vec<(String, Option<Kind>)>,
    lookup: HashMap<String, usize>,
}

impl Inference {
    /// Position of a column, which is new or known.
    pub fn column(&mut self, name: &str) -> usize {
        if let Some(&index) = self.lookup.get(name) {
            return index;
        }
        self.columns.push((name.to_owned(), None));
        self.lookup.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A CSV field; empty ones say nothing. A column has a type only where that type's text of each value is what was
    /// written, so that it can be written again: integers beside floats make text.
    pub fn see_text(&mut self, column: usize, field: CsvField<'_>) {
        if !field.is_null()
            && let Some((_, kind)) = self.columns.get_mut(column)
            && *kind != Some(Kind::Text)
        {
            let seen = of_text(field.text);
            *kind = Some(if kind.as_ref().is_none_or(|before| *before == seen) { seen } else { Kind::Text });
        }
    }

    /// A JSON value; nulls say nothing.
    pub fn see_json(&mut self, name: &str, raw: &str) {
        let column = self.column(name);
        if let (Some(seen), Some((_, kind))) = (of_json(raw), self.columns.get_mut(column)) {
            *kind = Some(match kind.take() {
                Some(before) => merge(before, seen, &Kind::Document),
                None => seen,
            });
        }
    }

    /// Names and types; a column without any value is a string.
    pub fn finish(self) -> Vec<(String, DataType)> {
        self.columns
            .into_iter()
            .map(|(name, kind)| (name, kind.map_or(DataType::String, data_type)))
            .collect()
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Bool,
        Kind::Int => DataType::Int64,
        Kind::Float => DataType::Float64,
        Kind::Timestamp => DataType::Timestamp,
        Kind::Text => DataType::String,
        Kind::Document => DataType::Json,
        Kind::List(item) => DataType::Array(Box::new(item.map_or(DataType::String, |item| data_type(*item)))),
    }
}

/// What both are; `otherwise` where they have nothing in common.
fn merge(a: Kind, b: Kind, otherwise: &Kind) -> Kind {
    match (a, b) {
        (a, b) if a == b => a,
        (Kind::Int, Kind::Float) | (Kind::Float, Kind::Int) => Kind::Float,
        (Kind::Text, Kind::Timestamp) | (Kind::Timestamp, Kind::Text) => Kind::Text,
        (Kind::List(a), Kind::List(b)) => Kind::List(match (a, b) {
            (Some(a), Some(b)) => Some(Box::new(merge(*a, *b, otherwise))),
            (a, b) => a.or(b),
        }),
        _ => otherwise.clone(),
    }
}

fn of_text(text: &str) -> Kind {
    match text.as_bytes() {
        b"true" | b"false" => Kind::Bool,
        [b'0'..=b'9' | b'-', ..] if is_timestamp(text) => Kind::Timestamp,
        [b'0'..=b'9' | b'-', ..] => {
            if text.parse::<i64>().is_ok_and(|n| itoa::Buffer::new().format(n) == text) {
                Kind::Int
            } else if text.parse::<f64>().is_ok_and(|x| x.is_finite() && ryu::Buffer::new().format(x) == text)
            {
                Kind::Float
            } else {
                Kind::Text
            }
        }
        _ => Kind::Text,
    }
}

/// A time that is written again as it is: in UTC, and to the microsecond.
fn is_timestamp(text: &str) -> bool {
    text.len() >= 20
        && text.starts_with(|c: char| c.is_ascii_digit())
        && chrono::DateTime::parse_from_rfc3339(text)
            .is_ok_and(|time| Timestamp::from_micros(time.timestamp_micros()).to_string() == text)
}

fn of_json(raw: &str) -> Option<Kind> {
    Some(match raw.as_bytes().first()? {
        b'n' => return None,
        b't' | b'f' => Kind::Bool,
        b'"' if is_timestamp(raw.trim_matches('"')) => Kind::Timestamp,
        b'"' => Kind::Text,
        b'[' => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return Some(Kind::Document) };
            let mut kind = None;
            for item in items {
                // Lists of lists have no type of their own; and looking into them would recurse without a bound.
                if item.get().starts_with('[') {
                    return Some(Kind::Document);
                }
                kind = match (kind.take(), of_json(item.get())) {
                    (Some(before), Some(seen)) => Some(merge(before, seen, &Kind::Document)),
                    (before, seen) => before.or(seen),
                };
            }
            Kind::List(kind.map(Box::new))
        }
        b'{' => Kind::Document,
        _ if raw.parse::<i64>().is_ok() => Kind::Int,
        // Too many digits for int64: an identifier, whose text is kept.
        _ if raw.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) => Kind::Document,
        _ => Kind::Float,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(values: &[&str]) -> String {
        let mut inference = Inference::default();
        let column = inference.column("x");
        values.iter().for_each(|text| inference.see_text(column, CsvField { text, quoted: false }));
        inference.finish().remove(0).1.to_string()
    }

    fn json(values: &[&str]) -> String {
        let mut inference = Inference::default();
        values.iter().for_each(|value| inference.see_json("x", value));
        inference.finish().remove(0).1.to_string()
    }

    #[test]
    fn csv_columns() {
        assert_eq!(csv(&["1", "", "-20"]), "int64");
        assert_eq!(csv(&["1.0", "2.5", "-0.1", "-0.0", "1e16", "1e-7"]), "float64");
        assert_eq!(csv(&["true", "false"]), "bool");
        assert_eq!(csv(&["2013-01-01T00:00:00Z", "2013-01-01T00:00:00.500Z"]), "timestamp");
        // What would be written otherwise than it was is text, and so is all of its column.
        for text in [
            "007",
            "+1",
            "-0",
            "99999999999999999999",
            "1.10",
            "1e5",
            "1E5",
            "0.10000000000000000001",
            ".5",
            "1.",
            "True",
            "TRUE",
            "inf",
            "nan",
            "-",
            " 1",
            "1 ",
            "2013-01-01T00:00:00",
            "2013-01-01T00:00:00+02:00",
            "2013-01-01T00:00:00.50Z",
            "2013-01-01 00:00:00Z",
            "2013-01-01T00:00:00.123456789Z",
        ] {
            assert_eq!(csv(&[text]), "string", "{text}");
        }
        assert_eq!(csv(&["true", "1"]), "string");
        assert_eq!(csv(&["1", "2.5"]), "string");
        assert_eq!(csv(&["2.5", "1"]), "string");
        assert_eq!(csv(&["", ""]), "string");
        let mut inference = Inference::default();
        let column = inference.column("x");
        inference.see_text(column, CsvField { text: "1", quoted: false });
        inference.see_text(column, CsvField { text: "", quoted: true });
        assert_eq!(inference.finish().remove(0).1.to_string(), "string", "an empty string is no number");
    }

    #[test]
    fn json_columns() {
        assert_eq!(json(&["1", "null"]), "int64");
        assert_eq!(json(&["1", "1.0"]), "float64");
        assert_eq!(json(&["18446744073709551615"]), "json");
        assert_eq!(json(&["\"2013-01-01T00:00:00+02:00\""]), "string");
        assert_eq!(json(&["\"1\""]), "string");
        assert_eq!(json(&["\"2013-01-01T00:00:00Z\"", "\"x\""]), "string");
        assert_eq!(json(&["[]", "[1, null]", "[2.5]"]), "array<float64>");
        assert_eq!(json(&["{}", "1"]), "json");
        assert_eq!(json(&["[[1]]"]), "json");
        assert_eq!(json(&[&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))]), "json");
        assert_eq!(json(&["1", "\"x\""]), "json");
    }
}
