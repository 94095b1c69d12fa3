//! A batch made ready for its shard: keys and rows encoded off the shard's thread, so that the shard only
//! compares event times, numbers the rows and commits.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    format::NamedColumns,
    model::{Column, TableKind, TableSchema, Timestamp, encode_keys},
    shard::{
        blob::{self, ENTRY_HEADER},
        row::{RowEncoder, encode_tombstone, set_seq},
        stream::{PreparedStream, StreamSet, prepare},
    },
};

/// One request's rows for one table, encoded as outbox entries.
#[derive(Debug)]
pub struct PreparedBatch {
    pub schema: Arc<TableSchema>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// For a source with an event id: what makes an event the same as an earlier one.
    event_ids: Vec<Option<u128>>,
    /// Nulls per column, for the null-rate metric.
    pub nulls: Vec<u64>,
    /// Of a source: its events for each generation of window state that counts them.
    pub streams: Vec<PreparedStream>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    end: usize,
    key_length: usize,
    event_time: i64,
}

impl PreparedBatch {
    /// `batch` has the shape of `schema.arrow()`, its keys and event times without nulls and within limits.
    pub fn rows(schema: Arc<TableSchema>, batch: &RecordBatch) -> PreparedBatch {
        let key_columns: Vec<usize> = (0..schema.keys.len()).collect();
        let (keys, offsets) = encode_keys(batch, &key_columns, |_, _| {});
        let times = batch.column(schema.event_time_index()).as_primitive::<TimestampMicrosecondType>();
        let first = schema.first_column_index();
        let encoder = RowEncoder::new(&schema, batch);
        let mut bytes = Vec::with_capacity(batch.get_array_memory_size());
        let mut entries = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let key = &keys[offsets[row] as usize..offsets[row + 1] as usize];
            let start = blob::open_entry(key, &mut bytes);
            encoder.encode(row, |column| batch.column(first + column).is_null(row), &mut bytes);
            blob::close_entry(start, key.len(), &mut bytes);
            entries.push(Entry {
                start,
                end: bytes.len(),
                key_length: key.len(),
                event_time: times.value(row),
            });
        }
        let nulls = (0..schema.columns.len()).map(|c| batch.column(first + c).null_count() as u64).collect();
        PreparedBatch {
            event_ids: event_ids(&schema, batch),
            schema,
            bytes,
            entries,
            nulls,
            streams: Vec::new(),
        }
    }

    /// [`PreparedBatch::rows`] of a source's events, and what `streams` makes of them.
    pub fn events(schema: Arc<TableSchema>, batch: &RecordBatch, streams: &StreamSet) -> PreparedBatch {
        let generations = streams.of_source(schema.table).map(|generations| &generations[..]);
        let streams = prepare(generations.unwrap_or_default(), &schema, batch);
        PreparedBatch { streams, ..PreparedBatch::rows(schema, batch) }
    }

    /// Tombstones for entities whose keys are the columns of `keys`, in the entity's order.
    pub fn tombstones(
        schema: Arc<TableSchema>,
        keys: &RecordBatch,
        event_times: &[Timestamp],
    ) -> PreparedBatch {
        let key_columns: Vec<usize> = (0..schema.keys.len()).collect();
        let (key_bytes, offsets) = encode_keys(keys, &key_columns, |_, _| {});
        let mut bytes = Vec::new();
        let mut entries = Vec::with_capacity(event_times.len());
        for (row, event_time) in event_times.iter().enumerate() {
            let key = &key_bytes[offsets[row] as usize..offsets[row + 1] as usize];
            let start = blob::open_entry(key, &mut bytes);
            encode_tombstone(schema.version, *event_time, &mut bytes);
            blob::close_entry(start, key.len(), &mut bytes);
            entries.push(Entry {
                start,
                end: bytes.len(),
                key_length: key.len(),
                event_time: event_time.micros(),
            });
        }
        PreparedBatch {
            schema,
            bytes,
            entries,
            event_ids: Vec::new(),
            nulls: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// Counts as no nulls those that rows have for columns that they leave out.
    pub fn forget_nulls(&mut self, named: &NamedColumns) {
        for row in (0..self.entries.len()).filter(|row| named.of(*row).is_some()) {
            for (column, nulls) in self.nulls.iter_mut().enumerate() {
                *nulls = nulls.saturating_sub(u64::from(!named.has(row, column)));
            }
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the batch costs while it is in flight.
    pub fn size(&self) -> usize {
        self.bytes.len()
            + self.entries.len() * size_of::<Entry>()
            + self.streams.iter().map(PreparedStream::size).sum::<usize>()
    }

    pub fn is_keyed(&self) -> bool {
        self.schema.kind == TableKind::FeatureView
    }

    pub fn key(&self, i: usize) -> &[u8] {
        let entry = &self.entries[i];
        &self.bytes[entry.start + ENTRY_HEADER..entry.start + ENTRY_HEADER + entry.key_length]
    }

    pub fn row(&self, i: usize) -> &[u8] {
        let entry = &self.entries[i];
        &self.bytes[entry.start + ENTRY_HEADER + entry.key_length..entry.end]
    }

    /// The whole outbox entry: lengths, key and row.
    pub fn entry(&self, i: usize) -> &[u8] {
        let entry = &self.entries[i];
        &self.bytes[entry.start..entry.end]
    }

    pub fn event_time(&self, i: usize) -> i64 {
        self.entries[i].event_time
    }

    /// A fingerprint of the event's id, `None` where the event has no id.
    pub fn event_id(&self, i: usize) -> Option<u128> {
        self.event_ids.get(i).copied().flatten()
    }

    /// Puts another row of the same entity and event time in the place of one.
    pub fn set_row(&mut self, i: usize, row: &[u8]) {
        let Entry { start: old, key_length, event_time, .. } = self.entries[i];
        let key = old + ENTRY_HEADER..old + ENTRY_HEADER + key_length;
        let start = self.bytes.len();
        self.bytes.extend_from_within(old..key.end);
        self.bytes.extend_from_slice(row);
        blob::close_entry(start, key_length, &mut self.bytes);
        self.entries[i] = Entry { start, end: self.bytes.len(), key_length, event_time };
    }

    pub fn set_seq(&mut self, i: usize, seq: u64) {
        let entry = self.entries[i];
        set_seq(&mut self.bytes[entry.start + ENTRY_HEADER + entry.key_length..entry.end], seq);
    }
}

/// 128-bit fingerprints: two different ids of one source at one event time collide with probability 2⁻¹²⁸.
fn event_ids(schema: &TableSchema, batch: &RecordBatch) -> Vec<Option<u128>> {
    let Some(name) = &schema.event_id else { return Vec::new() };
    let Some(position) = schema.columns.iter().position(|c: &Column| &c.name == name) else {
        return Vec::new();
    };
    let array = batch.column(schema.first_column_index() + position);
    let options = arrow::util::display::FormatOptions::new();
    match arrow::util::display::ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => (0..array.len())
            .map(|row| (!array.is_null(row)).then(|| xxh3_128(formatter.value(row).to_string().as_bytes())))
            .collect(),
        Err(_) => Vec::new(),
    }
}
