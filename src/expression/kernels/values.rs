//! A column of values, of which some may have failed.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Datum, UInt32Array},
    buffer::{BooleanBuffer, NullBuffer},
    compute::{nullif, take},
    error::ArrowError,
};

use larder_model::canonical_nans;

/// What a node has for each row. Failed rows are null in `array`.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub array: ArrayRef,
    /// `array` has one value, which stands for every row. A constant never fails.
    pub constant: bool,
    /// Rows that failed; none where there is no buffer.
    pub failed: Option<BooleanBuffer>,
}

impl Values {
    pub fn of(array: ArrayRef) -> Self {
        Self { array, constant: false, failed: None }
    }

    pub fn constant(array: ArrayRef) -> Self {
        Self { array, constant: true, failed: None }
    }

    /// `array` with what failed, which is made null where it is not.
    pub fn masked(array: ArrayRef, failed: Option<BooleanBuffer>) -> Result<Self, ArrowError> {
        let Some(failed) = failed else {
            return Ok(Self::of(array));
        };
        let array = nullif(&array, &BooleanArray::new(failed.clone(), None))?;
        Ok(Self { array, constant: false, failed: Some(failed) })
    }

    /// With one NaN: comparisons take those of another sign or payload for other values.
    pub fn one_nan(self) -> Self {
        Self { array: canonical_nans(self.array), ..self }
    }

    /// One value for each of `rows`.
    pub fn expand(&self, rows: usize) -> Result<ArrayRef, ArrowError> {
        match self.constant && rows != 1 {
            true => take(&self.array, &UInt32Array::from(vec![0; rows]), None),
            false => Ok(self.array.clone()),
        }
    }

    /// Added to a row's number this times is its place in `array`.
    pub fn step(&self) -> usize {
        usize::from(!self.constant)
    }

    /// The rows that have a value, where some do not; `rows` long.
    pub fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        let nulls = self.array.logical_nulls().filter(|nulls| nulls.null_count() > 0)?;
        match self.constant {
            true => Some(NullBuffer::new_null(rows)),
            false => Some(nulls),
        }
    }

    /// The `row`-th alone.
    pub fn row(&self, row: usize) -> Self {
        match self.constant {
            true => self.clone(),
            false => Self::of(self.array.slice(row, 1)),
        }
    }
}

impl Datum for Values {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.constant)
    }
}

/// What failed on either side.
pub(crate) fn either(a: Option<&BooleanBuffer>, b: Option<&BooleanBuffer>) -> Option<BooleanBuffer> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a | b),
        (one, other) => one.or(other).cloned(),
    }
}

/// A buffer with these rows set, where there are any.
pub(crate) fn rows_set(rows: usize, set: &[usize]) -> Option<BooleanBuffer> {
    if set.is_empty() {
        return None;
    }
    let mut next = set.iter().copied().peekable();
    Some(BooleanBuffer::collect_bool(rows, |row| next.next_if_eq(&row).is_some()))
}
