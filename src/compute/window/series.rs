//! Events of one entity, column by column.

use crate::window::Datum;

/// The events of one entity that count for one aggregation: ascending by (time, seq), without nulls. All columns are
/// equally long.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Microseconds.
    pub times: &'a [i64],
    pub seqs: &'a [i64],
    pub values: Values<'a>,
}

/// The values of a [`Series`].
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// The function has no column.
    None,
    Int(&'a [i64]),
    Float(&'a [f64]),
    /// Value `i` is `data[offsets[i]..offsets[i + 1]]`.
    Bytes {
        offsets: &'a [u32],
        data: &'a [u8],
    },
}

impl<'a> Values<'a> {
    pub(super) fn get(&self, row: usize) -> Option<Datum<'a>> {
        match self {
            Values::None => None,
            Values::Int(values) => values.get(row).copied().map(Datum::Int),
            Values::Float(values) => values.get(row).copied().map(Datum::Float),
            Values::Bytes { offsets, data } => {
                let (start, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
                data.get(start as usize..end as usize).map(Datum::Bytes)
            }
        }
    }
}
