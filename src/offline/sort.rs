//! Putting rows into a segment's order: key, event time, seq.

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::SchemaRef,
};

use crate::{
    compute::KeyIndex,
    model::encode_keys,
    offline::{OfflineError, layout::Layout},
};

/// Rows that are put in order piece by piece.
pub(super) struct Sorted {
    table: String,
    rows: RecordBatch,
    order: Vec<u32>,
}

/// Sorts `batches` of one schema, which come in order of `_seq`.
pub(super) fn sort(
    layout: &Layout,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<Sorted, OfflineError> {
    let rows = concat_batches(schema, batches).map_err(OfflineError::columns(&layout.table))?;
    if u32::try_from(rows.num_rows()).is_err() {
        return Err(OfflineError::Schema {
            table: layout.table.clone(),
            column: "*".to_owned(),
            reason: format!("{} rows are too many for one append", rows.num_rows()),
        });
    }
    let mut broken = None;
    let (bytes, offsets) = encode_keys(&rows, &layout.key_indices(schema)?, |row, error| {
        broken.get_or_insert((row, error));
    });
    if let Some((row, error)) = broken {
        return Err(OfflineError::Schema {
            table: layout.table.clone(),
            column: layout.keys.join(", "),
            reason: format!("row {row}: {error}"),
        });
    }

    // Few keys, many rows: keys are compared once each, rows by the rank of their key.
    let mut index = KeyIndex::new();
    let ids: Vec<u32> =
        offsets.windows(2).map(|w| index.insert(&bytes[w[0] as usize..w[1] as usize])).collect();
    let mut ranks = vec![0u32; index.len()];
    for (rank, id) in index.sorted().into_iter().enumerate() {
        ranks[id as usize] = rank as u32;
    }
    let times = layout.event_times(&rows)?;
    let mut order: Vec<(u32, i64, u32)> =
        ids.iter().zip(times).zip(0..).map(|((&id, &time), row)| (ranks[id as usize], time, row)).collect();
    order.sort_unstable();
    let order = order.into_iter().map(|(.., row)| row).collect();
    Ok(Sorted { table: layout.table.clone(), rows, order })
}

impl Sorted {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The rows in order, `step` at a time.
    pub fn batches(&self, step: usize) -> impl Iterator<Item = Result<RecordBatch, OfflineError>> {
        self.order.chunks(step).map(|rows| {
            take_record_batch(&self.rows, &UInt32Array::from(rows.to_vec()))
                .map_err(OfflineError::columns(&self.table))
        })
    }
}
