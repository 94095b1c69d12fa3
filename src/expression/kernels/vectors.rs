//! `dot`, `cosine_similarity`, `l2_distance` of arrays of float32.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, Float64Array, ListArray},
    buffer::NullBuffer,
    datatypes::Float32Type,
    error::ArrowError,
};

use crate::kernels::values::{Values, either, rows_set};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Dot,
    Cosine,
    L2,
}

impl Measure {
    /// Sums in float64, in the order of the elements.
    fn of(self, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let square = |v: &[f32]| v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        match self {
            Measure::Dot => pairs().map(|(a, b)| a * b).sum(),
            Measure::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
            // 0 / 0 of a vector without direction is NaN: a failure like any other.
            Measure::Cosine => {
                let cosine = pairs().map(|(a, b)| a * b).sum::<f64>() / (square(a).sqrt() * square(b).sqrt());
                cosine.clamp(-1.0, 1.0)
            }
        }
    }
}

/// Null where a vector is; failed where they have different lengths or null elements, or the result is not finite.
pub(crate) fn measure(
    measure: Measure,
    left: &Values,
    right: &Values,
    rows: usize,
) -> Result<Values, ArrowError> {
    let nulls = NullBuffer::union(left.nulls(rows).as_ref(), right.nulls(rows).as_ref());
    let (l, r) = (left.array.as_list::<i32>(), right.array.as_list::<i32>());
    let mut failed = Vec::new();
    let mut made = Vec::with_capacity(rows);
    for row in 0..rows {
        made.push(0.0);
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        let vectors = (vector(l, row * left.step()), vector(r, row * right.step()));
        let value = match vectors {
            (Some(a), Some(b)) if a.len() == b.len() => Some(measure.of(a, b)),
            _ => None,
        };
        match value.filter(|value| value.is_finite()) {
            Some(value) => made[row] = value,
            None => failed.push(row),
        }
    }
    let before = either(left.failed.as_ref(), right.failed.as_ref());
    let failed = either(before.as_ref(), rows_set(rows, &failed).as_ref());
    Values::masked(Arc::new(Float64Array::new(made.into(), nulls)), failed)
}

/// The elements of one list; nothing where one is null.
fn vector(lists: &ListArray, row: usize) -> Option<&[f32]> {
    let offsets = lists.value_offsets();
    let (start, end) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
    let elements = lists.values().as_primitive_opt::<Float32Type>()?;
    let complete = elements.null_count() == 0 || (start..end).all(|i| elements.is_valid(i));
    complete.then(|| &elements.values()[start..end])
}
