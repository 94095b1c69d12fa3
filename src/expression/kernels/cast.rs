//! `CAST` and `TRY_CAST`.

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    buffer::BooleanBuffer,
    compute::{CastOptions, cast_with_options},
    datatypes::{ArrowPrimitiveType, DataType as Arrow, Float32Type, Float64Type},
    error::ArrowError,
};

use crate::kernels::values::{Values, either};
use larder_model::DataType;

/// Null where the value does not say one of type `to`; failed there, unless `lenient`. Floats lose their fraction on the
/// way to integers.
pub(crate) fn cast(input: &Values, to: &DataType, lenient: bool) -> Result<Values, ArrowError> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let made = cast_with_options(&input.array, &to.arrow(), &options)?;
    let Some(lost) = lost(&input.array, &made) else {
        return Ok(Values { array: made, ..input.clone() });
    };
    let failed = match lenient {
        true => input.failed.clone(),
        false => either(Some(&lost), input.failed.as_ref()),
    };
    let array = Values::masked(made, Some(lost))?.array;
    Ok(Values { array, constant: input.constant, failed })
}

/// Rows that had a value and have none any more, where there are any: null, or not finite but of something finite.
fn lost(before: &ArrayRef, after: &ArrayRef) -> Option<BooleanBuffer> {
    let rows = before.len();
    let valid = |array: &ArrayRef| {
        array.nulls().map_or_else(|| BooleanBuffer::new_set(rows), |nulls| nulls.inner().clone())
    };
    let mut lost: Option<BooleanBuffer> =
        (after.null_count() > before.null_count()).then(|| &valid(before) & &!&valid(after));
    if let Some(after_infinite) = infinite(after) {
        let made = match infinite(before) {
            Some(before) => &after_infinite & &!&before,
            None => after_infinite,
        };
        lost = either(lost.as_ref(), Some(&made));
    }
    lost.filter(|lost| lost.count_set_bits() > 0)
}

/// Where a float is not finite; nothing for other types, or where all are.
pub(crate) fn infinite(array: &ArrayRef) -> Option<BooleanBuffer> {
    match array.data_type() {
        Arrow::Float32 => infinite_floats(array.as_primitive::<Float32Type>(), f32::is_finite),
        Arrow::Float64 => infinite_floats(array.as_primitive::<Float64Type>(), f64::is_finite),
        _ => None,
    }
}

fn infinite_floats<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    finite: impl Fn(T::Native) -> bool,
) -> Option<BooleanBuffer> {
    let values = array.values();
    if values.iter().all(|value| finite(*value)) {
        return None;
    }
    // What lies below a null is no value.
    let infinite =
        BooleanBuffer::collect_bool(values.len(), |row| !finite(values[row]) && array.is_valid(row));
    (infinite.count_set_bits() > 0).then_some(infinite)
}
