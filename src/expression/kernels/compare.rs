//! `= <> < <= > >=`, `IS [NOT] DISTINCT FROM`, `BETWEEN`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, BooleanArray},
    buffer::{BooleanBuffer, NullBuffer},
    compute::kernels::cmp,
    datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type},
    error::ArrowError,
};

use crate::kernels::values::{Values, either};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Never null: two nulls are not distinct.
    Distinct,
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual | Comparison::Distinct => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// Both sides have the same type, which is not an array's.
pub(crate) fn compare(
    comparison: Comparison,
    left: &Values,
    right: &Values,
    rows: usize,
) -> Result<Values, ArrowError> {
    let constant = left.constant && right.constant;
    let rows = if constant { 1 } else { rows };
    let compared = match left.array.data_type() {
        DataType::Float32 => {
            floats::<Float32Type>(comparison, left, right, rows, |a, b| order(a.into(), b.into()))
        }
        DataType::Float64 => floats::<Float64Type>(comparison, left, right, rows, order),
        _ => match comparison {
            Comparison::Equal => cmp::eq(left, right)?,
            Comparison::NotEqual => cmp::neq(left, right)?,
            Comparison::Less => cmp::lt(left, right)?,
            Comparison::LessOrEqual => cmp::lt_eq(left, right)?,
            Comparison::Greater => cmp::gt(left, right)?,
            Comparison::GreaterOrEqual => cmp::gt_eq(left, right)?,
            Comparison::Distinct => cmp::distinct(left, right)?,
        },
    };
    let failed = either(left.failed.as_ref(), right.failed.as_ref());
    Ok(Values { constant, ..Values::masked(Arc::new(compared), failed)? })
}

/// Arrow compares floats by IEEE 754's total order, in which -0.0 is less than 0.0.
fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn floats<T: ArrowPrimitiveType>(
    comparison: Comparison,
    left: &Values,
    right: &Values,
    rows: usize,
    order: impl Fn(T::Native, T::Native) -> Ordering,
) -> BooleanArray {
    let (l, r) = (left.array.as_primitive::<T>().values(), right.array.as_primitive::<T>().values());
    let (l_step, r_step) = (left.step(), right.step());
    let holds =
        BooleanBuffer::collect_bool(rows, |row| comparison.holds(order(l[row * l_step], r[row * r_step])));
    let (l_nulls, r_nulls) = (left.nulls(rows), right.nulls(rows));
    if comparison == Comparison::Distinct {
        let valid = |nulls: Option<NullBuffer>| {
            nulls.map_or_else(|| BooleanBuffer::new_set(rows), |nulls| nulls.into_inner())
        };
        let (l_valid, r_valid) = (valid(l_nulls), valid(r_nulls));
        return BooleanArray::new(&(&l_valid ^ &r_valid) | &(&holds & &(&l_valid & &r_valid)), None);
    }
    BooleanArray::new(holds, NullBuffer::union(l_nulls.as_ref(), r_nulls.as_ref()))
}
