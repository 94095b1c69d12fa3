//! Numbers of a client's types as numbers of ours.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float32Array, Int32Array, Int64Array, PrimitiveArray},
    compute::cast,
    datatypes::{
        DataType as Arrow, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
        Float32Type, Float64Type, Int64Type, UInt64Type,
    },
    error::ArrowError,
};

use crate::convert::{BadValue, ValueLimits, texts::by_text};
use larder_model::{DataType, canonical_nans};

/// Integers, whole floats and whole decimals as `int32` or `int64`.
pub(super) fn integers(
    array: &ArrayRef,
    to: &DataType,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    if array.data_type().is_floating() {
        return whole_floats(array, to, bad);
    }
    if array.data_type().is_decimal() {
        return decimals(array, to, limits, bad);
    }
    // Values out of range become null.
    let converted = cast(array, &to.arrow())?;
    if converted.null_count() > array.null_count() {
        let given = wide(array)?;
        for index in (0..array.len()).filter(|&i| converted.is_null(i) && array.is_valid(i)) {
            bad.push(BadValue {
                index,
                reason: format!("{to} overflow: {} is out of its range", given(index)),
            });
        }
    }
    Ok(converted)
}

/// Data frames keep a column of integers with missing values as floats: 180.0 is 180.
fn whole_floats(array: &ArrayRef, to: &DataType, bad: &mut Vec<BadValue>) -> Result<ArrayRef, ArrowError> {
    // The first float beyond the type; its least value is a float itself.
    let end = if *to == DataType::Int32 { 2f64.powi(31) } else { 2f64.powi(63) };
    let floats = cast(array, &Arrow::Float64)?;
    let mut whole = |(index, value): (usize, Option<f64>)| {
        let value = value?;
        let fits = (-end..end).contains(&value);
        if fits && value.fract() == 0.0 {
            return Some(value as i64);
        }
        let reason = match value.fract() == 0.0 && !value.is_infinite() {
            true => format!("{to} overflow: {value:?} is out of its range"),
            false => format!("expected {to}, a whole number, got {value:?}"),
        };
        bad.push(BadValue { index, reason });
        None
    };
    let integers = floats.as_primitive::<Float64Type>().iter().enumerate();
    Ok(match to {
        DataType::Int32 => {
            Arc::new(integers.map(|cell| whole(cell).map(|n| n as i32)).collect::<Int32Array>())
        }
        _ => Arc::new(integers.map(whole).collect::<Int64Array>()),
    })
}

/// Floats are rounded once, to the type that the column has; integers become floats only where the float is the same
/// number.
pub(super) fn floats(
    array: &ArrayRef,
    to: &DataType,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    if array.data_type().is_decimal() {
        return decimals(array, to, limits, bad);
    }
    if let (Arrow::Float64, DataType::Float32) = (array.data_type(), to) {
        return Ok(canonical_nans(narrow(array.as_primitive(), bad)));
    }
    let converted = cast(array, &to.arrow())?;
    if array.data_type().is_floating() {
        return Ok(canonical_nans(converted));
    }
    let wide_type = array.data_type().primitive_width().unwrap_or(8);
    let always_exact = wide_type < if *to == DataType::Float32 { 4 } else { 8 };
    if !always_exact {
        let given = wide(array)?;
        let float = |index| match to {
            DataType::Float32 => f64::from(converted.as_primitive::<Float32Type>().value(index)),
            _ => converted.as_primitive::<Float64Type>().value(index),
        };
        for index in (0..array.len()).filter(|&i| array.is_valid(i)) {
            if float(index) as i128 != given(index) {
                bad.push(BadValue { index, reason: format!("{} is not exactly a {to}", given(index)) });
            }
        }
    }
    Ok(converted)
}

fn narrow(floats: &PrimitiveArray<Float64Type>, bad: &mut Vec<BadValue>) -> ArrayRef {
    let narrowed: Float32Array = floats.unary(|value| value as f32);
    let lost = |(wide, narrow): (&f64, &f32)| narrow.is_infinite() && wide.is_finite();
    if floats.values().iter().zip(narrowed.values()).fold(false, |any, pair| any | lost(pair)) {
        for (index, pair) in floats.values().iter().zip(narrowed.values()).enumerate() {
            if lost(pair) && floats.is_valid(index) {
                bad.push(BadValue {
                    index,
                    reason: format!("float32 overflow: {:?} is out of its range", pair.0),
                });
            }
        }
    }
    Arc::new(narrowed)
}

/// By their digits: exact where the type is one of integers, rounded once where it is one of floats.
fn decimals(
    array: &ArrayRef,
    to: &DataType,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    fn digits<T: DecimalType>(array: &ArrayRef) -> impl Iterator<Item = Option<String>>
    where
        T::Native: std::fmt::Display,
    {
        let decimals = array.as_primitive::<T>().clone();
        (0..decimals.len()).map(move |row| decimals.is_valid(row).then(|| decimals.value_as_string(row)))
    }
    match array.data_type() {
        Arrow::Decimal32(..) => by_text(digits::<Decimal32Type>(array), to, limits, bad),
        Arrow::Decimal64(..) => by_text(digits::<Decimal64Type>(array), to, limits, bad),
        Arrow::Decimal128(..) => by_text(digits::<Decimal128Type>(array), to, limits, bad),
        _ => by_text(digits::<Decimal256Type>(array), to, limits, bad),
    }
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
