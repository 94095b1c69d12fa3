//! Arrow columns of a client's types as columns of the table's, only where no value changes.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array, ListArray, new_null_array},
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    compute::cast,
    datatypes::{
        DataType as Arrow, Field, Float32Type, Float64Type, Int64Type, TimeUnit as Unit, UInt64Type,
    },
    error::ArrowError,
};

use crate::{
    format::{CellError, ColumnBuilder},
    model::{DataType, TimeUnit, Timestamp},
};

/// A value that the column's type cannot hold, and where it is.
#[derive(Debug)]
pub(super) struct Bad {
    pub index: usize,
    pub reason: String,
}

/// What strings, bytes and JSON documents may be.
#[derive(Clone, Copy)]
pub(super) struct ValueLimits {
    pub max_bytes: usize,
    pub max_depth: usize,
}

/// Whether a column of type `from` can be one of type `to`; the error says what would be right.
pub(super) fn check_type(from: &Arrow, to: &DataType) -> Result<(), String> {
    let fits = match (from, to) {
        (Arrow::Null, _) => true,
        (Arrow::Dictionary(_, values), to) => return check_type(values, to),
        (Arrow::Boolean, DataType::Bool) => true,
        (from, DataType::Int32 | DataType::Int64) => from.is_integer(),
        (Arrow::Float16 | Arrow::Float32, DataType::Float32) => true,
        (Arrow::Float16 | Arrow::Float32 | Arrow::Float64, DataType::Float64) => true,
        (from, DataType::Float32 | DataType::Float64) => from.is_integer(),
        (Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View, DataType::String | DataType::Json) => true,
        (
            Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView | Arrow::FixedSizeBinary(_),
            DataType::Bytes,
        ) => true,
        (Arrow::Timestamp(_, Some(_)), DataType::Timestamp) => true,
        (Arrow::Timestamp(_, None), DataType::Timestamp) => {
            return Err("the timestamps have no time zone; make them UTC".to_owned());
        }
        (Arrow::List(f) | Arrow::LargeList(f) | Arrow::FixedSizeList(f, _), DataType::Array(item)) => {
            return check_type(f.data_type(), item);
        }
        (Arrow::List(f) | Arrow::LargeList(f) | Arrow::FixedSizeList(f, _), DataType::Vector(_)) => {
            return check_type(f.data_type(), &DataType::Float32);
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("expected {to} ({}), got {from}", to.arrow())) }
}

/// `array` in the form of `to`, which [`check_type`] allows; values that do not fit are null and told in `bad`.
pub(super) fn convert(
    array: &ArrayRef,
    to: &DataType,
    limits: ValueLimits,
    bad: &mut Vec<Bad>,
) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        Arrow::Null => return Ok(new_null_array(&to.arrow(), array.len())),
        Arrow::Dictionary(_, values) => return convert(&cast(array, values)?, to, limits, bad),
        _ => {}
    }
    match to {
        DataType::Bool => Ok(array.clone()),
        DataType::Int32 | DataType::Int64 => integers(array, to, bad),
        DataType::Float32 | DataType::Float64 => floats(array, to, bad),
        DataType::String => {
            let texts = cast(array, &Arrow::Utf8)?;
            let lengths = texts.as_string::<i32>().offsets().lengths();
            check_lengths(texts.nulls(), lengths, limits.max_bytes, "string", bad);
            Ok(texts)
        }
        DataType::Bytes => {
            let bytes = cast(array, &Arrow::Binary)?;
            let lengths = bytes.as_binary::<i32>().offsets().lengths();
            check_lengths(bytes.nulls(), lengths, limits.max_bytes, "bytes value", bad);
            Ok(bytes)
        }
        DataType::Json => documents(array, limits, bad),
        DataType::Timestamp => timestamps(array, bad),
        DataType::Array(item) => list(array, item, None, limits, bad),
        DataType::Vector(n) => list(array, &DataType::Float32, Some(*n as usize), limits, bad),
    }
}

fn integers(array: &ArrayRef, to: &DataType, bad: &mut Vec<Bad>) -> Result<ArrayRef, ArrowError> {
    // Values out of range become null.
    let converted = cast(array, &to.arrow())?;
    if converted.null_count() > array.null_count() {
        let given = wide(array)?;
        for index in (0..array.len()).filter(|&i| converted.is_null(i) && array.is_valid(i)) {
            bad.push(Bad { index, reason: format!("{to} overflow: {} is out of its range", given(index)) });
        }
    }
    Ok(converted)
}

/// Whole numbers become floats only where the float is the same number.
fn floats(array: &ArrayRef, to: &DataType, bad: &mut Vec<Bad>) -> Result<ArrayRef, ArrowError> {
    let converted = cast(array, &to.arrow())?;
    let wide_type = array.data_type().primitive_width().unwrap_or(8);
    let always_exact = wide_type < if *to == DataType::Float32 { 4 } else { 8 };
    if array.data_type().is_integer() && !always_exact {
        let given = wide(array)?;
        let float = |index| match to {
            DataType::Float32 => f64::from(converted.as_primitive::<Float32Type>().value(index)),
            _ => converted.as_primitive::<Float64Type>().value(index),
        };
        for index in (0..array.len()).filter(|&i| array.is_valid(i)) {
            if float(index) as i128 != given(index) {
                bad.push(Bad { index, reason: format!("{} is not exactly a {to}", given(index)) });
            }
        }
    }
    Ok(converted)
}

/// The integers of an array of any width and sign.
fn wide(array: &ArrayRef) -> Result<Box<dyn Fn(usize) -> i128>, ArrowError> {
    if *array.data_type() == Arrow::UInt64 {
        let array = array.as_primitive::<UInt64Type>().clone();
        return Ok(Box::new(move |index| i128::from(array.value(index))));
    }
    let array = cast(array, &Arrow::Int64)?.as_primitive::<Int64Type>().clone();
    Ok(Box::new(move |index| i128::from(array.value(index))))
}

fn check_lengths(
    nulls: Option<&NullBuffer>,
    lengths: impl Iterator<Item = usize>,
    limit: usize,
    what: &str,
    bad: &mut Vec<Bad>,
) {
    for (index, length) in lengths.enumerate() {
        if length > limit && nulls.is_none_or(|nulls| nulls.is_valid(index)) {
            bad.push(Bad {
                index,
                reason: format!("a {what} of {length} bytes; at most {limit} are allowed"),
            });
        }
    }
}

/// JSON text is checked and made compact, as it is when it comes within JSON.
fn documents(array: &ArrayRef, limits: ValueLimits, bad: &mut Vec<Bad>) -> Result<ArrayRef, ArrowError> {
    let texts = cast(array, &Arrow::Utf8)?;
    let mut column = ColumnBuilder::new(&DataType::Json, limits.max_bytes, limits.max_depth);
    for (index, text) in texts.as_string::<i32>().iter().enumerate() {
        let pushed = match text {
            Some(text) => column.push_text(text),
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
            bad.push(Bad { index, reason });
        }
    }
    Ok(column.finish())
}

fn timestamps(array: &ArrayRef, bad: &mut Vec<Bad>) -> Result<ArrayRef, ArrowError> {
    let unit = match array.data_type() {
        Arrow::Timestamp(Unit::Second, _) => TimeUnit::Seconds,
        Arrow::Timestamp(Unit::Millisecond, _) => TimeUnit::Millis,
        Arrow::Timestamp(Unit::Nanosecond, _) => TimeUnit::Nanos,
        _ => TimeUnit::Micros,
    };
    let integers = cast(array, &Arrow::Int64)?;
    let micros: Int64Array = integers
        .as_primitive::<Int64Type>()
        .iter()
        .enumerate()
        .map(|(index, value)| match Timestamp::from_integer(value?, unit) {
            Ok(time) => Some(time.micros()),
            Err(error) => {
                bad.push(Bad { index, reason: error.to_string() });
                None
            }
        })
        .collect();
    cast(&micros, &DataType::arrow_timestamp())
}

fn list(
    array: &ArrayRef,
    item: &DataType,
    exact: Option<usize>,
    limits: ValueLimits,
    bad: &mut Vec<Bad>,
) -> Result<ArrayRef, ArrowError> {
    let (offsets, values) = match array.data_type() {
        Arrow::FixedSizeList(..) => {
            let list: &FixedSizeListArray = array.as_fixed_size_list();
            let length = usize::try_from(list.value_length()).unwrap_or(0);
            (OffsetBuffer::from_lengths(std::iter::repeat_n(length, list.len())), list.values().clone())
        }
        Arrow::LargeList(_) => {
            let list = array.as_list::<i64>();
            let narrow = list
                .value_offsets()
                .iter()
                .map(|offset| i32::try_from(*offset))
                .collect::<Result<Vec<_>, _>>();
            let narrow =
                narrow.map_err(|_| ArrowError::ComputeError("a list of more than 2³¹ values".to_owned()))?;
            (OffsetBuffer::new(ScalarBuffer::from(narrow)), list.values().clone())
        }
        _ => {
            let list = array.as_list::<i32>();
            (list.offsets().clone(), list.values().clone())
        }
    };
    let mut bad_items = Vec::new();
    let values = convert(&values, item, limits, &mut bad_items)?;
    for Bad { index, reason } in bad_items {
        // The list that the element is in: the last that begins at or before it.
        let row = offsets.partition_point(|offset| *offset as usize <= index).wrapping_sub(1);
        if row < array.len() && array.is_valid(row) {
            bad.push(Bad { index: row, reason });
        }
    }
    if let Some(n) = exact {
        for (index, length) in offsets.lengths().enumerate().filter(|(i, _)| array.is_valid(*i)) {
            let start = offsets[index] as usize;
            if length != n {
                let reason = format!("expected {}, got {length} values", DataType::Vector(n as u32));
                bad.push(Bad { index, reason });
            } else if values.nulls().is_some_and(|nulls| nulls.slice(start, length).null_count() > 0) {
                bad.push(Bad { index, reason: "an embedding must not have null elements".to_owned() });
            }
        }
    }
    let field = Arc::new(Field::new("element", item.arrow(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, array.nulls().cloned())?))
}
