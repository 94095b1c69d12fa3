//! Strings, bytes, JSON documents and UUIDs of a client's types as ours.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    buffer::NullBuffer,
    compute::cast,
    datatypes::DataType as Arrow,
    error::ArrowError,
};

use crate::{
    CellError, ColumnBuilder,
    convert::{BadValue, ValueLimits},
};
use larder_model::{DataType, uuid_column, uuid_of_bytes};

/// Strings; 16 bytes that are said to be a UUID as its text.
pub(super) fn strings(
    array: &ArrayRef,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    if let Arrow::FixedSizeBinary(_) = array.data_type() {
        return uuids(array, bad);
    }
    let texts = cast(array, &Arrow::Utf8)?;
    let lengths = texts.as_string::<i32>().offsets().lengths();
    check_lengths(texts.nulls(), lengths, limits.max_bytes, "string", bad);
    Ok(texts)
}

pub(super) fn bytes(
    array: &ArrayRef,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    let bytes = cast(array, &Arrow::Binary)?;
    let lengths = bytes.as_binary::<i32>().offsets().lengths();
    check_lengths(bytes.nulls(), lengths, limits.max_bytes, "bytes value", bad);
    Ok(bytes)
}

/// UUIDs in their canonical text, of text in any spelling or of 16 bytes.
pub(super) fn uuids(array: &ArrayRef, bad: &mut Vec<BadValue>) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        Arrow::Utf8 | Arrow::LargeUtf8 => {
            let texts = cast(array, &Arrow::Utf8)?;
            Ok(uuid_column(texts.as_string::<i32>(), |index, reason| bad.push(BadValue { index, reason })))
        }
        _ => {
            let values = cast(array, &Arrow::Binary)?;
            let uuid = |(index, bytes): (usize, Option<&[u8]>)| {
                let bytes = bytes?;
                let uuid = <[u8; 16]>::try_from(bytes).ok().map(uuid_of_bytes);
                if uuid.is_none() {
                    let reason = format!("expected the 16 bytes of a UUID, got {}", bytes.len());
                    bad.push(BadValue { index, reason });
                }
                uuid
            };
            Ok(Arc::new(values.as_binary::<i32>().iter().enumerate().map(uuid).collect::<StringArray>()))
        }
    }
}

/// JSON text is checked and made compact, as it is when it comes within JSON.
pub(super) fn documents(
    array: &ArrayRef,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    let texts = cast(array, &Arrow::Utf8)?;
    by_text(texts.as_string::<i32>().iter(), &DataType::Json, limits, bad)
}

/// A column of the values that these texts say, as CSV would have them.
pub(super) fn by_text<T: AsRef<str>>(
    texts: impl Iterator<Item = Option<T>>,
    to: &DataType,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    let mut column = ColumnBuilder::new(to, limits.max_bytes, limits.max_depth);
    for (index, text) in texts.enumerate() {
        let pushed = match text {
            Some(text) => column.push_text(text.as_ref()),
            None => {
                column.push_null();
                Ok(())
            }
        };
        if let Err(error) = pushed {
            column.push_null();
            let reason = match error {
                CellError::Value(reason) => reason,
                CellError::TooDeep => format!("JSON is nested more than {} deep", limits.max_depth),
            };
            bad.push(BadValue { index, reason });
        }
    }
    Ok(column.finish())
}

fn check_lengths(
    nulls: Option<&NullBuffer>,
    lengths: impl Iterator<Item = usize>,
    limit: usize,
    what: &str,
    bad: &mut Vec<BadValue>,
) {
    for (index, length) in lengths.enumerate() {
        if length > limit && nulls.is_none_or(|nulls| nulls.is_valid(index)) {
            bad.push(BadValue {
                index,
                reason: format!("a {what} of {length} bytes; at most {limit} are allowed"),
            });
        }
    }
}
