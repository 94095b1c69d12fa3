//! Events made ready for the state of the views that count them, off the shard's thread.

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;

use crate::{
    compute::window::{DatumColumn, tiles::EventWriter},
    model::{TableId, TableSchema, encode_keys},
    shard::stream::{Generation, StreamPlan},
};

/// The events of one batch as one generation keeps them. Their seqs are the shard's to give.
#[derive(Debug)]
pub struct PreparedStream {
    pub view: TableId,
    pub generation: u32,
    pub source_version: u32,
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    events: Vec<u8>,
    event_ends: Vec<u32>,
}

impl PreparedStream {
    /// The entity of event `i`; `None` where a join key is null or too long, so that it belongs to none.
    pub fn key(&self, i: usize) -> Option<&[u8]> {
        let key = &self.keys[self.key_ends[i] as usize..self.key_ends[i + 1] as usize];
        (!key.is_empty()).then_some(key)
    }

    pub fn event(&self, i: usize) -> &[u8] {
        &self.events[self.event_ends[i] as usize..self.event_ends[i + 1] as usize]
    }

    pub fn size(&self) -> usize {
        self.keys.len() + self.events.len() + 4 * (self.key_ends.len() + self.event_ends.len())
    }
}

/// `batch` has the shape of the source's `arrow()`.
pub fn prepare(generations: &[std::sync::Arc<Generation>], schema: &TableSchema, batch: &RecordBatch) -> Vec<PreparedStream> {
    generations
        .iter()
        .map(|generation| {
            let plan = &generation.plan;
            let (keys, key_ends) = keys(plan, batch);
            let (events, event_ends) = events(plan, schema, batch, |_| 0);
            PreparedStream {
                view: plan.spec.view,
                generation: generation.number,
                source_version: plan.source_version,
                keys,
                key_ends,
                events,
                event_ends,
            }
        })
        .collect()
}

fn keys(plan: &StreamPlan, batch: &RecordBatch) -> (Vec<u8>, Vec<u32>) {
    let schema = batch.schema_ref();
    let positions: Option<Vec<usize>> =
        plan.spec.keys.iter().map(|key| schema.index_of(&key.name).ok()).collect();
    match positions {
        Some(positions) => encode_keys(batch, &positions, |_, _| {}),
        None => (Vec::new(), vec![0; batch.num_rows() + 1]),
    }
}

/// Each row as an event of the state, end to end; `seq` gives its number.
fn events(
    plan: &StreamPlan,
    schema: &TableSchema,
    batch: &RecordBatch,
    seq: impl Fn(usize) -> i64,
) -> (Vec<u8>, Vec<u32>) {
    let times = DatumColumn::new(batch.column(schema.event_time_index()));
    let columns: Vec<DatumColumn<'_>> = plan
        .columns
        .iter()
        .map(|(column, _)| batch.column_by_name(&column.name).map_or(DatumColumn::Null, DatumColumn::new))
        .collect();
    let masks: Vec<BooleanBuffer> = plan.filters.iter().map(|(_, filter)| filter.mask(batch)).collect();
    let mut bytes = Vec::with_capacity(batch.num_rows() * (20 + 8 * columns.len()));
    let mut ends = Vec::with_capacity(batch.num_rows() + 1);
    ends.push(0);
    for row in 0..batch.num_rows() {
        let filters = masks.iter().enumerate().fold(0, |bits, (i, mask)| bits | u64::from(mask.value(row)) << i);
        let values = columns.iter().map(|column| column.value(row));
        EventWriter::new(&mut bytes).push(times.int(row), seq(row), filters, values);
        ends.push(bytes.len() as u32);
    }
    (bytes, ends)
}
