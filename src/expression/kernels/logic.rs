//! `AND`, `OR`, `NOT`, `IS NULL`: Kleene's logic, in which a failed operand is an unknown that is remembered.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, BooleanArray},
    compute::{and_kleene, is_null, not, or_kleene},
    error::ArrowError,
};

use crate::kernels::values::{Values, either};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connective {
    And,
    Or,
}

/// A row fails where a side failed and the other one does not decide.
pub(crate) fn connect(
    connective: Connective,
    left: &Values,
    right: &Values,
    rows: usize,
) -> Result<Values, ArrowError> {
    let (l, r) = (left.expand(rows)?, right.expand(rows)?);
    let joined = match connective {
        Connective::And => and_kleene(l.as_boolean(), r.as_boolean())?,
        Connective::Or => or_kleene(l.as_boolean(), r.as_boolean())?,
    };
    // What failed is null, so where the result is not null the other side has decided.
    let failed = either(left.failed.as_ref(), right.failed.as_ref())
        .and_then(|failed| joined.nulls().map(|nulls| &failed & &!nulls.inner()));
    Ok(Values { array: Arc::new(joined), constant: false, failed })
}

pub(crate) fn negate(input: &Values) -> Result<Values, ArrowError> {
    let negated: BooleanArray = not(input.array.as_boolean())?;
    Ok(Values { array: Arc::new(negated), constant: input.constant, failed: input.failed.clone() })
}

pub(crate) fn missing(input: &Values) -> Result<Values, ArrowError> {
    let missing = is_null(&input.array)?;
    match input.constant {
        true => Ok(Values::constant(Arc::new(missing))),
        false => Values::masked(Arc::new(missing), input.failed.clone()),
    }
}
