//! The parts of a spine that are joined one after the other. Each reads the histories anew, so they are large; each is in
//! memory as a whole, with all its features, so they are bounded by rows and by bytes.

use arrow::{
    array::{Array, RecordBatch},
    datatypes::{DataType, Schema},
};

use crate::format::FormatError;

/// Rows of a portion, whatever their features take.
pub(super) const LEAST_ROWS: usize = 1 << 10;
const MOST_ROWS: usize = 1 << 19;
/// Of the spine's own columns; a portion has one batch more at most.
pub(super) const SPINE_BYTES: usize = 64 << 20;
/// Of all columns of the set, where each text takes [`TEXT`].
const SET_BYTES: usize = 256 << 20;
const TEXT: usize = 64;

/// The rows of a portion of a set with these columns.
pub(super) fn most_rows(columns: &Schema) -> usize {
    let width: usize = columns.fields().iter().map(|field| width(field.data_type())).sum();
    (SET_BYTES / width.max(1)).clamp(LEAST_ROWS, MOST_ROWS)
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, length) => {
            width(item.data_type()) * usize::try_from(*length).unwrap_or_default()
        }
        other => other.primitive_width().unwrap_or(TEXT),
    }
}

/// Batches gathered until they have `most_rows` or `most_bytes`.
pub(super) struct Portions<I> {
    pub batches: I,
    pub most_rows: usize,
    pub most_bytes: usize,
}

impl<I: Iterator<Item = Result<RecordBatch, FormatError>>> Iterator for Portions<I> {
    type Item = Result<Vec<RecordBatch>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut portion, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while rows < self.most_rows && bytes < self.most_bytes {
            let Some(batch) = self.batches.next() else { break };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            rows += batch.num_rows();
            bytes += bytes_of(&batch);
            portion.push(batch);
        }
        (rows > 0).then_some(Ok(portion))
    }
}

/// Of the batch alone: it may be a part of what its buffers hold.
fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, StringArray},
        datatypes::Field,
    };

    use super::*;

    fn rows(batches: usize, text: usize, most_rows: usize, most_bytes: usize) -> Vec<usize> {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(text); 10]));
        let batch = RecordBatch::try_from_iter([("note", column)]).unwrap();
        let batches = std::iter::repeat_n(batch, batches).map(Ok);
        let portions = Portions { batches, most_rows, most_bytes };
        portions.map(|portion| portion.unwrap().iter().map(RecordBatch::num_rows).sum()).collect()
    }

    #[test]
    fn a_portion_ends_at_its_rows_or_at_its_bytes() {
        assert_eq!(rows(5, 1, 20, usize::MAX), [20, 20, 10]);
        assert_eq!(rows(5, 1_000, 1_000, 25_000), [30, 20], "wide rows make short portions");
        assert_eq!(rows(2, 1_000, 1_000, 1), [10, 10]);
        assert_eq!(rows(0, 1, 20, 20), [0; 0]);
    }

    #[test]
    fn wide_sets_are_made_in_shorter_portions() {
        let vector = |length| {
            let item = Arc::new(Field::new("item", DataType::Float32, true));
            Field::new("v", DataType::FixedSizeList(item, length), true)
        };
        let number = Field::new("n", DataType::Int64, true);
        assert_eq!(most_rows(&Schema::new(vec![number.clone()])), MOST_ROWS);
        assert_eq!(most_rows(&Schema::new(vec![number; 256])), SET_BYTES / 2048);
        assert_eq!(most_rows(&Schema::new(vec![vector(1024)])), SET_BYTES / 4096);
        assert_eq!(most_rows(&Schema::new(vec![vector(1 << 20)])), LEAST_ROWS);
    }
}
