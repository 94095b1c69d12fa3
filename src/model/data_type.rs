//! The types a feature, a join key or a source column can have, and their Arrow form.

use std::{fmt, str::FromStr, sync::Arc};

use arrow::{
    array::ArrayRef,
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType as Arrow, Field, TimeUnit},
    error::ArrowError,
};

/// A column's type. Written in definitions as `int64`, `array<string>`, `array<float32, 128>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DataType {
    Bool,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    /// A join key that is a UUID; kept as its canonical text.
    Uuid,
    Bytes,
    /// Microseconds since the epoch, UTC.
    Timestamp,
    /// A JSON document, kept as text.
    Json,
    /// A list of any length; elements are scalars.
    Array(Box<DataType>),
    /// An embedding: a list of exactly this many float32.
    Vector(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown type `{0}`; known: bool, int32, int64, float32, float64, string, bytes, timestamp, json, \
     array<T> of any of these, array<float32, N> for an embedding of N values"
)]
pub struct ParseDataTypeError(pub String);

/// The widest embedding that a definition may declare.
const MAX_VECTOR: u32 = 65_536;

impl DataType {
    /// The Arrow type in which values travel and rest; the same in memory, in Arrow IPC and in Parquet.
    pub fn arrow(&self) -> Arrow {
        match self {
            DataType::Bool => Arrow::Boolean,
            DataType::Int32 => Arrow::Int32,
            DataType::Int64 => Arrow::Int64,
            DataType::Float32 => Arrow::Float32,
            DataType::Float64 => Arrow::Float64,
            DataType::String | DataType::Uuid | DataType::Json => Arrow::Utf8,
            DataType::Bytes => Arrow::Binary,
            DataType::Timestamp => Self::arrow_timestamp(),
            DataType::Array(item) => Arrow::List(Arc::new(Field::new("element", item.arrow(), true))),
            // A plain list, not Arrow's FixedSizeList: Delta has no fixed-length arrays.
            DataType::Vector(_) => Arrow::List(Arc::new(Field::new("element", Arrow::Float32, true))),
        }
    }

    /// The one timestamp type of the project.
    pub fn arrow_timestamp() -> Arrow {
        Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    /// The array in this type, which a reader's version of a column has: the table may have been widened since, or be
    /// wider than a pinned version says. What does not fit becomes null.
    pub fn fit(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let wanted = self.arrow();
        if *array.data_type() == wanted {
            return Ok(Arc::clone(array));
        }
        cast_with_options(array, &wanted, &CastOptions { safe: true, ..CastOptions::default() })
    }

    /// Whether a value may have any number of bytes.
    pub fn has_any_length(&self) -> bool {
        match self {
            DataType::Bool
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Timestamp
            | DataType::Uuid => false,
            DataType::String
            | DataType::Json
            | DataType::Bytes
            | DataType::Array(_)
            | DataType::Vector(_) => true,
        }
    }

    /// Whether every value of `self` is exactly a value of `wider`, so that a version may widen the column.
    pub fn widens_to(&self, wider: &DataType) -> bool {
        matches!(
            (self, wider),
            (DataType::Int32, DataType::Int64 | DataType::Float64) | (DataType::Float32, DataType::Float64)
        )
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Bool => f.write_str("bool"),
            DataType::Int32 => f.write_str("int32"),
            DataType::Int64 => f.write_str("int64"),
            DataType::Float32 => f.write_str("float32"),
            DataType::Float64 => f.write_str("float64"),
            DataType::String => f.write_str("string"),
            DataType::Uuid => f.write_str("uuid"),
            DataType::Bytes => f.write_str("bytes"),
            DataType::Timestamp => f.write_str("timestamp"),
            DataType::Json => f.write_str("json"),
            DataType::Array(item) => write!(f, "array<{item}>"),
            DataType::Vector(n) => write!(f, "array<float32, {n}>"),
        }
    }
}

impl FromStr for DataType {
    type Err = ParseDataTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseDataTypeError(text.to_owned());
        if let Some(inner) = text.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>')) {
            return match inner.split_once(',') {
                Some((item, length)) if item.trim() == "float32" => match length.trim().parse::<u32>() {
                    Ok(n) if (1..=MAX_VECTOR).contains(&n) => Ok(DataType::Vector(n)),
                    _ => Err(unknown()),
                },
                Some(_) => Err(unknown()),
                None => match inner.trim().parse::<DataType>()? {
                    DataType::Array(_) | DataType::Vector(_) | DataType::Uuid => Err(unknown()),
                    item => Ok(DataType::Array(Box::new(item))),
                },
            };
        }
        Ok(match text {
            "bool" => DataType::Bool,
            "int32" => DataType::Int32,
            "int64" => DataType::Int64,
            "float32" => DataType::Float32,
            "float64" => DataType::Float64,
            "string" => DataType::String,
            "uuid" => DataType::Uuid,
            "bytes" => DataType::Bytes,
            "timestamp" => DataType::Timestamp,
            "json" => DataType::Json,
            _ => return Err(unknown()),
        })
    }
}

crate::text::serde_as_text!(DataType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_as_it_is_written() {
        for text in [
            "bool",
            "int32",
            "int64",
            "float32",
            "float64",
            "string",
            "uuid",
            "bytes",
            "timestamp",
            "json",
            "array<int64>",
            "array<string>",
            "array<float32, 128>",
        ] {
            assert_eq!(text.parse::<DataType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "int",
            "array<>",
            "array<array<int64>>",
            "array<int64, 3>",
            "array<float32, 0>",
            "array<float32, -1>",
            "array<uuid>",
        ] {
            assert!(text.parse::<DataType>().is_err(), "{text}");
        }
    }
}
