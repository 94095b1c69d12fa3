//! `CASE`, `COALESCE`, `NULLIF`: every branch is computed for every row, and only what is taken counts, failures included.

use arrow::{
    array::{Array, AsArray, BooleanArray},
    buffer::BooleanBuffer,
    compute::{is_not_null, kernels::zip::zip, nullif, prep_null_mask_filter},
    error::ArrowError,
};

use crate::kernels::values::{Values, either};

/// Per row `result` where `condition` is true, else `otherwise`; failed where the condition, or what was taken, failed.
pub(crate) fn choose(
    condition: &Values,
    result: &Values,
    otherwise: &Values,
    rows: usize,
) -> Result<Values, ArrowError> {
    let condition_array = condition.expand(rows)?;
    let taken = certain(condition_array.as_boolean());
    let values = zip(&taken, result, otherwise)?;
    let failed = picked(taken.values(), result.failed.as_ref(), otherwise.failed.as_ref());
    Values::masked(values, either(failed.as_ref(), condition.failed.as_ref()))
}

/// Per row `first` where it is not null, else `second`. A failed first fails the row.
pub(crate) fn coalesce(first: &Values, second: &Values, rows: usize) -> Result<Values, ArrowError> {
    // Where nothing is null nothing of the second is taken; what failed is null.
    if !first.constant && first.array.null_count() == 0 && first.failed.is_none() {
        return Ok(first.clone());
    }
    let mut taken = is_not_null(&first.expand(rows)?)?.values().clone();
    if let Some(failed) = &first.failed {
        taken = &taken | failed;
    }
    let failed = picked(&taken, first.failed.as_ref(), second.failed.as_ref());
    let values = zip(&BooleanArray::new(taken, None), first, second)?;
    Values::masked(values, failed)
}

/// Per row null where `equal` is true, else `value`.
pub(crate) fn null_if(value: &Values, equal: &Values, rows: usize) -> Result<Values, ArrowError> {
    let equal_array = equal.expand(rows)?;
    let values = nullif(&value.expand(rows)?, equal_array.as_boolean())?;
    Values::masked(values, either(value.failed.as_ref(), equal.failed.as_ref()))
}

/// True where the condition is true, false where it is null.
fn certain(condition: &BooleanArray) -> BooleanArray {
    match condition.null_count() {
        0 => condition.clone(),
        _ => prep_null_mask_filter(condition),
    }
}

fn picked(
    taken: &BooleanBuffer,
    first: Option<&BooleanBuffer>,
    second: Option<&BooleanBuffer>,
) -> Option<BooleanBuffer> {
    let first = first.map(|failed| failed & taken);
    let second = second.map(|failed| failed & &!taken);
    either(first.as_ref(), second.as_ref())
}
