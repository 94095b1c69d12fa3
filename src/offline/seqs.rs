//! Exactly once: of the rows given, those that are still to come, checked to be without a gap.

use arrow::array::RecordBatch;

use crate::offline::{OfflineError, layout::Layout};

/// The rows with `_seq >= from`. `batches` are in order of `_seq`, and begin at `from` or before.
/// Returns them with the `_seq` that comes after the last of all rows given (`from` when there are none).
pub(super) fn rows_from(
    layout: &Layout,
    batches: &[RecordBatch],
    from: u64,
) -> Result<(Vec<RecordBatch>, u64), OfflineError> {
    let mut kept = Vec::with_capacity(batches.len());
    let mut next = None;
    for batch in batches {
        let seqs = layout.seqs(batch)?;
        for &seq in seqs {
            let found = u64::try_from(seq).ok();
            let fits = match (next, found) {
                (Some(next), Some(found)) => found == next,
                (None, Some(found)) => found <= from,
                (_, None) => false,
            };
            if !fits {
                let (table, expected) = (layout.table.clone(), next.unwrap_or(from));
                return Err(OfflineError::Gap { table, expected, found: seq.to_string() });
            }
            next = found.map(|seq| seq + 1);
        }
        let rows = batch.num_rows();
        let new = next.unwrap_or(from).saturating_sub(from).min(rows as u64) as usize;
        if new > 0 {
            kept.push(batch.slice(rows - new, new));
        }
    }
    Ok((kept, next.unwrap_or(from).max(from)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::{DataType, Field, Int64Type, Schema},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::model::SEQ;

    fn batch(seqs: &[i64]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new(SEQ, DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(seqs.to_vec()))]).unwrap()
    }

    fn layout() -> Layout {
        Layout { table: "t".into(), keys: vec![], event_time: "event_time".into() }
    }

    proptest! {
        #[test]
        fn rows_already_in_are_skipped(first in 0..20u64, length in 0..20u64, ahead in 0..25u64, step in 1..7usize) {
            let all: Vec<i64> = (first..first + length).map(|s| s as i64).collect();
            let from = first + ahead;
            let (rows, next) = rows_from(&layout(), &all.chunks(step).map(batch).collect::<Vec<_>>(), from).unwrap();
            let got: Vec<i64> = rows.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            prop_assert_eq!(got, all.into_iter().filter(|&s| s as u64 >= from).collect::<Vec<_>>());
            prop_assert_eq!(next, from.max(if length == 0 { from } else { first + length }));
        }
    }

    #[test]
    fn gaps_are_errors() {
        for (batches, from) in
            [(vec![&[5i64, 6][..]], 4), (vec![&[0, 2]], 0), (vec![&[0, 1], &[3]], 0), (vec![&[-1, 0]], 0)]
        {
            assert!(rows_from(&layout(), &batches.into_iter().map(batch).collect::<Vec<_>>(), from).is_err());
        }
    }
}
