//! Arrow columns of a client's types as columns of the table's. No value changes, but that a float is rounded to the type
//! of its column.

mod lists;
mod numbers;
mod texts;
mod times;

pub use times::{undeclared, undeclared_time};

use arrow::{
    array::{Array, ArrayRef, new_null_array},
    datatypes::{DataType as Arrow, Field},
    error::ArrowError,
};

use crate::{
    convert::{
        lists::list,
        numbers::{floats, integers},
        texts::{bytes, documents, strings, uuids},
        times::{holds_times, timestamps},
    },
    plain, plain_type, type_words,
};
use larder_model::{DataType, TimeForm};

/// A value that the column's type cannot hold, and where it is.
#[derive(Debug)]
pub struct BadValue {
    pub index: usize,
    pub reason: String,
}

/// What strings, bytes and JSON documents may be.
#[derive(Clone, Copy)]
pub struct ValueLimits {
    pub max_bytes: usize,
    pub max_depth: usize,
    /// Bytes of an array's items.
    pub max_array_bytes: usize,
    /// How times are written.
    pub times: TimeForm,
}

/// How a column of a client's type can be one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeFit {
    /// Each of its values is one of ours, or is refused by itself.
    Values,
    /// The same, but many values would be refused: a float may be no whole number.
    WholeValues,
    /// Only its nulls; for a value the text says what would be right.
    Nulls(String),
}

/// How the values of the column `from` can become those of a column of type `to`.
pub fn type_fit(from: &Field, to: &DataType) -> TypeFit {
    let plain = plain_type(from.data_type());
    match (&plain, to) {
        (Arrow::Null, _) | (Arrow::Boolean, DataType::Bool) => TypeFit::Values,
        (from, DataType::Int32 | DataType::Int64) if from.is_integer() => TypeFit::Values,
        (from, DataType::Int32 | DataType::Int64) if from.is_floating() || from.is_decimal() => {
            TypeFit::WholeValues
        }
        (from, DataType::Float32 | DataType::Float64) if from.is_numeric() => TypeFit::Values,
        (Arrow::Utf8 | Arrow::LargeUtf8, DataType::String | DataType::Json | DataType::Uuid) => {
            TypeFit::Values
        }
        (Arrow::Binary | Arrow::LargeBinary | Arrow::FixedSizeBinary(16), DataType::Uuid) => TypeFit::Values,
        (Arrow::FixedSizeBinary(16), DataType::String) if is_uuid(from) => TypeFit::Values,
        (Arrow::Binary | Arrow::LargeBinary | Arrow::FixedSizeBinary(_), DataType::Bytes) => TypeFit::Values,
        (from, DataType::Timestamp) if holds_times(from) => TypeFit::Values,
        (Arrow::List(f) | Arrow::LargeList(f) | Arrow::FixedSizeList(f, _), DataType::Array(item)) => {
            type_fit(f, item)
        }
        (Arrow::List(f) | Arrow::LargeList(f) | Arrow::FixedSizeList(f, _), DataType::Vector(_)) => {
            type_fit(f, &DataType::Float32)
        }
        _ => TypeFit::Nulls(format!("expected {to}, got {}", type_words(from.data_type()))),
    }
}

/// The extension type that pyarrow and others give to a column of UUIDs; Parquet's logical type comes as it, too.
fn is_uuid(field: &Field) -> bool {
    field.extension_type_name() == Some("arrow.uuid")
}

/// `array` in the form of `to`, which [`type_fit`] allows; values that do not fit are null and told in `bad`.
pub fn convert_column(
    array: &ArrayRef,
    to: &DataType,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    let array = &plain(array)?;
    if *array.data_type() == Arrow::Null {
        return Ok(new_null_array(&to.arrow(), array.len()));
    }
    match to {
        DataType::Bool => Ok(array.clone()),
        DataType::Int32 | DataType::Int64 => integers(array, to, limits, bad),
        DataType::Float32 | DataType::Float64 => floats(array, to, limits, bad),
        DataType::String => strings(array, limits, bad),
        DataType::Uuid => uuids(array, bad),
        DataType::Bytes => bytes(array, limits, bad),
        DataType::Json => documents(array, limits, bad),
        DataType::Timestamp => timestamps(array, limits.times, |index, error| {
            bad.push(BadValue { index, reason: error.to_string() });
        }),
        DataType::Array(item) => list(array, item, None, limits, bad),
        DataType::Vector(n) => list(array, &DataType::Float32, Some(*n as usize), limits, bad),
    }
}
