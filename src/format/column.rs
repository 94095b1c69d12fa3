//! One typed column, built from text cell by cell.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder,
        ListArray, NullBufferBuilder, StringBuilder, TimestampMicrosecondBuilder,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::Field,
};
use serde::de::DeserializeSeed;

use crate::{list::Items, repeated_key, text};
use larder_model::{DataType, TimeForm, canonical_uuid};

/// Why a cell is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    #[error("{0}")]
    Value(String),
    /// JSON nested deeper than allowed: the sender is refused, not the cell.
    #[error("JSON is nested too deeply")]
    TooDeep,
}

/// Builds an Arrow array of `DataType::arrow()` from JSON text or CSV text. Exact: nothing is rounded but what
/// the decimal text of a float needs, and nothing is coerced from one type to another but a whole number to a float.
pub struct ColumnBuilder {
    data_type: DataType,
    /// Longest string, bytes value or JSON document, in bytes.
    max_bytes: usize,
    /// How deep arrays and objects of one cell may nest.
    max_depth: usize,
    /// Bytes of the items of one array.
    max_array_bytes: usize,
    times: TimeForm,
    values: Values,
}

enum Values {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    /// Strings, and JSON documents as text.
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List {
        items: Box<ColumnBuilder>,
        offsets: Vec<i32>,
        nulls: NullBufferBuilder,
    },
}

impl ColumnBuilder {
    pub fn new(data_type: &DataType, max_bytes: usize, max_depth: usize) -> ColumnBuilder {
        let list = |item: &DataType| Values::List {
            items: Box::new(ColumnBuilder::new(item, max_bytes, max_depth.saturating_sub(1))),
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
        };
        let values = match data_type {
            DataType::Bool => Values::Bool(BooleanBuilder::new()),
            DataType::Int32 => Values::Int32(Int32Builder::new()),
            DataType::Int64 => Values::Int64(Int64Builder::new()),
            DataType::Float32 => Values::Float32(Float32Builder::new()),
            DataType::Float64 => Values::Float64(Float64Builder::new()),
            DataType::String | DataType::Uuid | DataType::Json => Values::Text(StringBuilder::new()),
            DataType::Bytes => Values::Bytes(BinaryBuilder::new()),
            DataType::Timestamp => Values::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(DataType::arrow_timestamp()),
            ),
            DataType::Array(item) => list(item),
            DataType::Vector(_) => list(&DataType::Float32),
        };
        ColumnBuilder {
            data_type: data_type.clone(),
            max_bytes,
            max_depth,
            max_array_bytes: usize::MAX,
            times: TimeForm::EXPLICIT,
            values,
        }
    }

    /// Refuses arrays whose items take more than so many bytes.
    pub fn with_array_bytes(mut self, bytes: usize) -> ColumnBuilder {
        self.max_array_bytes = bytes;
        self
    }

    /// Reads numbers and local times of timestamps as `times` declares.
    pub fn with_times(mut self, times: TimeForm) -> ColumnBuilder {
        self.times = times;
        if let Values::List { items, .. } = &mut self.values {
            items.times = times;
        }
        self
    }

    pub fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        match &self.values {
            Values::Bool(b) => b.len(),
            Values::Int32(b) => b.len(),
            Values::Int64(b) => b.len(),
            Values::Float32(b) => b.len(),
            Values::Float64(b) => b.len(),
            Values::Text(b) => b.len(),
            Values::Bytes(b) => b.len(),
            Values::Timestamp(b) => b.len(),
            Values::List { offsets, .. } => offsets.len() - 1,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the values so far.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Bool(_) => self.len() / 8,
            Values::Int32(_) | Values::Float32(_) => self.len() * 4,
            Values::Int64(_) | Values::Float64(_) | Values::Timestamp(_) => self.len() * 8,
            Values::Text(b) => b.values_slice().len() + self.len() * 4,
            Values::Bytes(b) => b.values_slice().len() + self.len() * 4,
            Values::List { items, offsets, .. } => items.bytes() + offsets.len() * 4,
        }
    }

    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Bool(b) => b.append_null(),
            Values::Int32(b) => b.append_null(),
            Values::Int64(b) => b.append_null(),
            Values::Float32(b) => b.append_null(),
            Values::Float64(b) => b.append_null(),
            Values::Text(b) => b.append_null(),
            Values::Bytes(b) => b.append_null(),
            Values::Timestamp(b) => b.append_null(),
            Values::List { items, offsets, nulls } => {
                offsets.push(end(items));
                nulls.append_null();
            }
        }
    }

    /// Appends one well-formed JSON value, given as text. On an error nothing is appended.
    pub fn push_json(&mut self, raw: &str) -> Result<(), CellError> {
        if raw == "null" {
            self.push_null();
            return Ok(());
        }
        let is_string = raw.starts_with('"');
        match (&self.data_type, is_string) {
            (DataType::Json, _) => self.push_document(raw),
            (DataType::Array(_) | DataType::Vector(_), _) => self.push_list(raw),
            _ if raw.starts_with(['[', '{']) => {
                self.check_depth(raw)?;
                Err(text::mismatch(&self.data_type, raw))
            }
            (DataType::String | DataType::Uuid | DataType::Bytes | DataType::Timestamp, true) => {
                self.push_text(&text::unquote(raw)?)
            }
            (DataType::Timestamp, false) if matches!(raw, "true" | "false") => {
                Err(text::mismatch(&self.data_type, raw))
            }
            (DataType::String | DataType::Uuid | DataType::Bytes, false) | (_, true) => {
                Err(text::mismatch(&self.data_type, raw))
            }
            _ => self.push_text(raw),
        }
    }

    /// Appends one CSV field, which is not empty: numbers and booleans in their usual spelling, `bytes` as base64,
    /// timestamps as `TimeForm::text` reads them, arrays and JSON documents as JSON text. On an error nothing
    /// is appended.
    pub fn push_text(&mut self, raw: &str) -> Result<(), CellError> {
        let trimmed = raw.trim_ascii();
        match &mut self.values {
            Values::Bool(b) => b.append_value(match trimmed {
                "true" | "True" | "TRUE" => true,
                "false" | "False" | "FALSE" => false,
                _ => return Err(text::mismatch(&self.data_type, raw)),
            }),
            Values::Int32(b) => {
                let wide = text::integer(trimmed, &self.data_type)?;
                b.append_value(i32::try_from(wide).map_err(|_| text::overflow(raw, &self.data_type))?);
            }
            Values::Int64(b) => b.append_value(text::integer(trimmed, &self.data_type)?),
            Values::Float32(b) => {
                let value: f32 = trimmed.parse().map_err(|_| text::mismatch(&self.data_type, raw))?;
                check_finite(value.is_infinite(), trimmed, &self.data_type)?;
                b.append_value(if value.is_nan() { f32::NAN } else { value });
            }
            Values::Float64(b) => {
                let value: f64 = trimmed.parse().map_err(|_| text::mismatch(&self.data_type, raw))?;
                check_finite(value.is_infinite(), trimmed, &self.data_type)?;
                b.append_value(if value.is_nan() { f64::NAN } else { value });
            }
            Values::Text(_) if self.data_type == DataType::Json => return self.push_document(raw),
            Values::Text(b) if self.data_type == DataType::Uuid => {
                b.append_value(canonical_uuid(trimmed).map_err(CellError::Value)?);
            }
            Values::Text(b) => {
                check_length(raw.len(), self.max_bytes, "string")?;
                b.append_value(raw);
            }
            Values::Bytes(b) => {
                let bytes = text::base64(trimmed)?;
                check_length(bytes.len(), self.max_bytes, "bytes value")?;
                b.append_value(bytes);
            }
            Values::Timestamp(b) => {
                b.append_value(text::timestamp(trimmed, self.times)?);
            }
            Values::List { .. } => return self.push_list(trimmed),
        }
        Ok(())
    }

    fn push_list(&mut self, raw: &str) -> Result<(), CellError> {
        let Values::List { items, offsets, nulls } = &mut self.values else {
            return Err(text::mismatch(&self.data_type, raw));
        };
        if !text::nests_within(raw, self.max_depth) {
            return Err(CellError::TooDeep);
        }
        if !raw.starts_with('[') {
            return Err(text::mismatch(&self.data_type, raw));
        }
        let exact = match self.data_type {
            DataType::Vector(n) => Some(n as usize),
            _ => None,
        };
        let (start, bytes) = (items.len(), items.bytes());
        let mut failed = None;
        let mut json = serde_json::Deserializer::from_str(raw);
        let parsed = Items {
            most: bytes.saturating_add(self.max_array_bytes),
            limit: self.max_array_bytes,
            items,
            failed: &mut failed,
            nullable: exact.is_none(),
        }
        .deserialize(&mut json);
        if let Some(error) = failed {
            return Err(error);
        }
        parsed.and_then(|()| json.end()).map_err(|error| {
            CellError::Value(format!("expected {}, a JSON array: {error}", self.data_type))
        })?;
        let length = items.len() - start;
        if exact.is_some_and(|n| n != length) {
            return Err(CellError::Value(format!("expected {}, got {length} values", self.data_type)));
        }
        offsets.push(end(items));
        nulls.append_non_null();
        Ok(())
    }

    fn push_document(&mut self, raw: &str) -> Result<(), CellError> {
        self.check_depth(raw)?;
        let document = text::compact(raw);
        if document == "null" {
            self.push_null();
            return Ok(());
        }
        check_length(document.len(), self.max_bytes, "JSON document")?;
        // Catches what is well-formed but has no value: lone surrogates, numbers beyond float64.
        serde_json::from_str::<serde_json::Value>(&document)
            .map_err(|error| CellError::Value(format!("expected a JSON document: {error}")))?;
        if let Some(repeated) = repeated_key(&document) {
            return Err(CellError::Value(repeated));
        }
        match &mut self.values {
            Values::Text(b) => b.append_value(document),
            _ => return Err(text::mismatch(&self.data_type, raw)),
        }
        Ok(())
    }

    fn check_depth(&self, raw: &str) -> Result<(), CellError> {
        if text::nests_within(raw, self.max_depth) { Ok(()) } else { Err(CellError::TooDeep) }
    }

    pub fn finish(self) -> ArrayRef {
        match self.values {
            Values::Bool(mut b) => Arc::new(b.finish()),
            Values::Int32(mut b) => Arc::new(b.finish()),
            Values::Int64(mut b) => Arc::new(b.finish()),
            Values::Float32(mut b) => Arc::new(b.finish()),
            Values::Float64(mut b) => Arc::new(b.finish()),
            Values::Text(mut b) => Arc::new(b.finish()),
            Values::Bytes(mut b) => Arc::new(b.finish()),
            Values::Timestamp(mut b) => Arc::new(b.finish()),
            Values::List { items, offsets, mut nulls } => Arc::new(ListArray::new(
                Arc::new(Field::new("element", items.data_type.arrow(), true)),
                OffsetBuffer::new(ScalarBuffer::from(offsets)),
                items.finish(),
                nulls.finish(),
            )),
        }
    }
}

/// Where the next list begins. The callers bound a batch's bytes far below 2³¹ elements.
fn end(items: &ColumnBuilder) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}

/// An infinity is welcome only where the text says so (`inf`, in CSV); otherwise it is an overflow.
fn check_finite(infinite: bool, text: &str, expected: &DataType) -> Result<(), CellError> {
    if infinite && text.bytes().any(|b| b.is_ascii_digit()) {
        Err(text::overflow(text, expected))
    } else {
        Ok(())
    }
}

pub(super) fn check_length(length: usize, limit: usize, what: &str) -> Result<(), CellError> {
    if length > limit {
        return Err(CellError::Value(format!("a {what} of {length} bytes; at most {limit} are allowed")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::AsArray,
        datatypes::{Float32Type, TimestampMicrosecondType},
    };
    use larder_model::TimeUnit;

    fn build(data_type: &str, cells: &[&str]) -> Result<ArrayRef, CellError> {
        let mut column = ColumnBuilder::new(&data_type.parse().unwrap(), 64, 8);
        for cell in cells {
            column.push_json(cell)?;
        }
        assert_eq!(column.len(), cells.len());
        Ok(column.finish())
    }

    #[test]
    fn every_type_takes_its_own_json_and_gives_its_own_arrow() {
        for (data_type, cell) in [
            ("bool", "true"),
            ("int32", "-7"),
            ("int64", "9007199254740993"),
            ("float32", "0.1"),
            ("float64", "1e300"),
            ("float64", "3"),
            ("int32", "180.0"),
            ("int64", "1e3"),
            ("uuid", r#""{6BA7B810-9DAD-11D1-80B4-00C04FD430C8}""#),
            ("string", r#""é\n""#),
            ("bytes", r#""AP8=""#),
            ("timestamp", r#""2013-01-01T00:00:00+02:00""#),
            ("json", r#"{"a": [1, null]}"#),
            ("array<string>", r#"["a", null]"#),
            ("array<float32, 2>", "[1, 2.5]"),
        ] {
            let array = build(data_type, &[cell, "null"]).unwrap();
            assert_eq!(array.data_type(), &data_type.parse::<DataType>().unwrap().arrow());
            assert!(array.is_valid(0) && array.is_null(1), "{data_type}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_never_rounded() {
        for (data_type, cell, says) in [
            ("int64", "1.5", "a whole number"),
            ("int64", "1e-3", "a whole number"),
            ("uuid", "\"banana\"", "expected a UUID"),
            ("uuid", "5", "expected uuid"),
            ("int64", "9223372036854775808", "int64 overflow"),
            ("int32", "2147483648", "int32 overflow"),
            ("int64", "\"1\"", "expected int64"),
            ("bool", "1", "expected bool"),
            ("float32", "1e39", "float32 overflow"),
            ("float64", "1e400", "float64 overflow"),
            ("float64", "\"inf\"", "expected float64"),
            ("string", "5", "expected string"),
            ("bytes", "\"?\"", "base64"),
            ("timestamp", "\"2013-01-01T00:00:00\"", "no time zone"),
            ("timestamp", "1356998400000", "2013-01-01T00:00:00Z in ms"),
            ("timestamp", "\"2013\"", "time_unit"),
            ("timestamp", "true", "expected timestamp"),
            ("json", r#""\ud800""#, "JSON document"),
            ("string", r#""\ud800""#, "JSON string"),
            ("array<int64>", "[1, 2.5]", "a whole number"),
            ("array<int64>", "{}", "expected array<int64>"),
            ("array<float32, 2>", "[1]", "got 1 values"),
            ("array<float32, 1>", "[null]", "null elements"),
        ] {
            let error = build(data_type, &[cell]).unwrap_err().to_string();
            assert!(error.contains(says), "{data_type} {cell}: {error}");
        }
        let long = format!("\"{}\"", "x".repeat(65));
        assert!(build("string", &[&long]).unwrap_err().to_string().contains("65 bytes"));
        assert_eq!(build("json", &["[[[[[[[[[]]]]]]]]]"]).unwrap_err(), CellError::TooDeep);
    }

    #[test]
    fn a_refused_list_leaves_the_lists_after_it_whole() {
        let mut column = ColumnBuilder::new(&DataType::Vector(2), 64, 8);
        assert!(column.push_json("[1, 2, 3]").is_err());
        column.push_null();
        column.push_json("[4, 5]").unwrap();
        let array = column.finish();
        assert!(array.is_null(0));
        assert_eq!(array.as_list::<i32>().value(1).as_primitive::<Float32Type>().values(), &[4.0, 5.0]);
    }

    #[test]
    fn csv_text() {
        let mut column = ColumnBuilder::new(&DataType::Float64, 64, 8);
        for text in ["1", "-inf", "NaN", " 2.5 "] {
            column.push_text(text).unwrap();
        }
        assert!(column.push_text("1e400").is_err());
        let mut column = ColumnBuilder::new(&DataType::Timestamp, 64, 8);
        column.push_text("2013-01-01T00:00:00Z").unwrap();
        assert!(column.push_text("2013").is_err() && column.push_text("").is_err());
        let seconds = TimeForm { time_unit: Some(TimeUnit::Seconds), time_zone: None };
        let mut column = ColumnBuilder::new(&DataType::Timestamp, 64, 8).with_times(seconds);
        column.push_text("-5").unwrap();
        column.push_json("1356998400.5").unwrap();
        assert_eq!(
            column.finish().as_primitive::<TimestampMicrosecondType>().values(),
            &[-5_000_000, 1_356_998_400_500_000]
        );
        let mut column = ColumnBuilder::new(&DataType::Json, 64, 8);
        assert!(column.push_text("{\"a\": ").is_err());
    }
}
