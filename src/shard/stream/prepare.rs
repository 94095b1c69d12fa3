//! Events made ready for the state of the views that count them, off the shard's thread.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    buffer::BooleanBuffer,
    datatypes::{Field, Int64Type, Schema, TimestampMicrosecondType},
};

use crate::{
    compute::window::tiles::{EventWriter, set_seq},
    model::{Column, DataType, SEQ, TableId, TableSchema, encode_keys, uuid_keys},
    shard::{
        ShardError,
        stream::{Generation, StreamPlan, columns::DatumColumn},
    },
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
pub fn prepare(
    generations: &[Arc<Generation>],
    schema: &TableSchema,
    batch: &RecordBatch,
) -> Vec<PreparedStream> {
    generations
        .iter()
        .map(|generation| {
            let plan = &generation.plan;
            let (keys, key_ends) = keys(plan, batch);
            let (events, event_ends) = events(plan, schema, batch);
            PreparedStream {
                view: plan.spec.view,
                generation: generation.number,
                // Of what the batch was decoded as, which may be older than the plan.
                source_version: schema.version,
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
    let Some(positions) = positions else { return (Vec::new(), vec![0; batch.num_rows() + 1]) };
    // A source has strings; the entity's key may be a UUID, of which there are several spellings.
    let uuid = |(key, _): &(&Column, &usize)| key.data_type == DataType::Uuid;
    if !plan.spec.keys.iter().zip(&positions).any(|pair| uuid(&pair)) {
        return encode_keys(batch, &positions, |_, _| {});
    }
    let mut columns = batch.columns().to_vec();
    for (_, &at) in plan.spec.keys.iter().zip(&positions).filter(uuid) {
        columns[at] = uuid_keys(&columns[at]);
    }
    // Their nulls are the events without an entity, also in a column that has none.
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    match RecordBatch::try_new(Arc::new(Schema::new(fields)), columns) {
        Ok(keys) => encode_keys(&keys, &positions, |_, _| {}),
        Err(_) => (Vec::new(), vec![0; batch.num_rows() + 1]),
    }
}

/// The events of a batch of history, as the state keeps them.
pub struct HistoryEvents {
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    events: Vec<u8>,
    event_ends: Vec<u32>,
    times: Vec<i64>,
    seqs: Vec<i64>,
}

/// One of [`HistoryEvents`].
pub struct HistoryEvent<'a> {
    pub key: &'a [u8],
    pub time: i64,
    pub seq: u64,
    pub bytes: &'a [u8],
}

/// `batch` has the columns that [`StreamPlan::columns_used`] names, the event time and the seq.
pub fn history_events(
    plan: &StreamPlan,
    schema: &TableSchema,
    batch: &RecordBatch,
) -> Result<HistoryEvents, ShardError> {
    let seqs = batch.column_by_name(SEQ).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let times = batch.column_by_name(&schema.event_time);
    let times = times.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let (Some(seqs), Some(times)) = (seqs, times) else {
        return Err(ShardError::Damaged(format!("the history of `{}` lacks times or seqs", schema.name)));
    };
    let (keys, key_ends) = keys(plan, batch);
    let (mut events, event_ends) = events(plan, schema, batch);
    for (start, seq) in event_ends.iter().zip(seqs.values()) {
        set_seq(&mut events[*start as usize..], *seq);
    }
    let (times, seqs) = (times.values().to_vec(), seqs.values().to_vec());
    Ok(HistoryEvents { keys, key_ends, events, event_ends, times, seqs })
}

impl HistoryEvents {
    /// Those that belong to an entity.
    pub fn iter(&self) -> impl Iterator<Item = HistoryEvent<'_>> {
        (0..self.seqs.len()).filter_map(|row| {
            let key = &self.keys[self.key_ends[row] as usize..self.key_ends[row + 1] as usize];
            (!key.is_empty()).then(|| HistoryEvent {
                key,
                time: self.times[row],
                seq: self.seqs[row].unsigned_abs(),
                bytes: &self.events[self.event_ends[row] as usize..self.event_ends[row + 1] as usize],
            })
        })
    }
}

/// Each row as an event of the state, end to end.
fn events(plan: &StreamPlan, schema: &TableSchema, batch: &RecordBatch) -> (Vec<u8>, Vec<u32>) {
    let times = batch.column_by_name(&schema.event_time);
    let times = times.map(|column| column.as_primitive::<TimestampMicrosecondType>().values());
    // In the type that the state was made for: the source may have been widened since.
    let array = |column: &Column| column.data_type.fit(batch.column_by_name(&column.name)?).ok();
    let arrays: Vec<Option<ArrayRef>> = plan.columns.iter().map(array).collect();
    let columns: Vec<DatumColumn<'_>> =
        arrays.iter().map(|array| array.as_ref().map_or(DatumColumn::Null, DatumColumn::new)).collect();
    let masks: Vec<BooleanBuffer> = plan.filters.iter().map(|(_, filter)| filter.mask(batch)).collect();
    let mut bytes = Vec::with_capacity(batch.num_rows() * (20 + 8 * columns.len()));
    let mut ends = Vec::with_capacity(batch.num_rows() + 1);
    ends.push(0);
    for row in 0..batch.num_rows() {
        let filters =
            masks.iter().enumerate().fold(0, |bits, (i, mask)| bits | u64::from(mask.value(row)) << i);
        let values = columns.iter().map(|column| column.value(row));
        EventWriter::new(&mut bytes).push(times.map_or(0, |times| times[row]), 0, filters, values);
        ends.push(bytes.len() as u32);
    }
    (bytes, ends)
}
