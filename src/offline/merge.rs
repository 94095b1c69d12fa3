//! Merging sorted streams of rows into one, a bounded number of rows in memory at a time.

use std::cmp::Ordering;

use arrow::{array::RecordBatch, compute::interleave_record_batch, datatypes::SchemaRef};

use crate::{
    compute::retention::{Horizon, Stamp},
    model::encode_keys,
    offline::{OfflineError, layout::Layout},
};

/// Rows given out at a time.
const STEP: usize = 4096;

/// Which rows are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forget {
    Nothing,
    /// Events before this time (microseconds).
    EventsBefore(i64),
    /// Versions that no read from the horizon on can see.
    Versions(Horizon),
}

/// The rows of several inputs, each sorted so, in order of (key, event time, seq).
pub(super) struct Merge<I> {
    layout: Layout,
    forget: Forget,
    /// The encoded key of the row at hand.
    key: Vec<u8>,
    cursors: Vec<Cursor<I>>,
    /// Cursors that have a row, the one with the least row last.
    waiting: Vec<usize>,
    pub dropped: u64,
}

struct Cursor<I> {
    rows: I,
    batch: RecordBatch,
    keys: Vec<u8>,
    offsets: Vec<u32>,
    times: Vec<i64>,
    seqs: Vec<i64>,
    /// Where it decides what is left out.
    accepted_at: Vec<i64>,
    at: usize,
}

impl<I: Iterator<Item = Result<RecordBatch, OfflineError>>> Cursor<I> {
    /// The current row's place in the order.
    fn order(&self) -> (&[u8], i64, i64) {
        let key = &self.keys[self.offsets[self.at] as usize..self.offsets[self.at + 1] as usize];
        (key, self.times[self.at], self.seqs[self.at])
    }

    fn key(&self) -> &[u8] {
        self.order().0
    }

    fn stamp(&self) -> Stamp {
        Stamp { event_time: self.times[self.at], accepted_at: self.accepted_at[self.at] }
    }

    /// Loads the next batch that has rows; false at the end.
    fn load(&mut self, layout: &Layout, forget: Forget) -> Result<bool, OfflineError> {
        for batch in self.rows.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                (self.keys, self.offsets) =
                    encode_keys(&batch, &layout.key_indices(batch.schema_ref())?, |_, _| {});
                self.times = layout.event_times(&batch)?.to_vec();
                self.seqs = layout.seqs(&batch)?.to_vec();
                if let Forget::Versions(_) = forget {
                    self.accepted_at = layout.accepted_at(&batch)?.to_vec();
                }
                self.batch = batch;
                self.at = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<I: Iterator<Item = Result<RecordBatch, OfflineError>>> Merge<I> {
    /// `schema` is that of all inputs.
    pub fn new(
        layout: &Layout,
        schema: &SchemaRef,
        inputs: Vec<I>,
        forget: Forget,
    ) -> Result<Self, OfflineError> {
        let layout = layout.clone();
        let mut merge =
            Merge { layout, forget, key: Vec::new(), cursors: Vec::new(), waiting: Vec::new(), dropped: 0 };
        for rows in inputs {
            let mut cursor = Cursor {
                rows,
                batch: RecordBatch::new_empty(schema.clone()),
                keys: Vec::new(),
                offsets: Vec::new(),
                times: Vec::new(),
                seqs: Vec::new(),
                accepted_at: Vec::new(),
                at: 0,
            };
            if cursor.load(&merge.layout, forget)? {
                merge.cursors.push(cursor);
                merge.wait(merge.cursors.len() - 1);
            }
        }
        Ok(merge)
    }

    fn wait(&mut self, cursor: usize) {
        let order = self.cursors[cursor].order();
        let before = self
            .waiting
            .partition_point(|&other| self.cursors[other].order().cmp(&order) == Ordering::Greater);
        self.waiting.insert(before, cursor);
    }

    /// The next row, if it is of that key.
    fn next_of(&self, key: &[u8]) -> Option<Stamp> {
        let next = &self.cursors[*self.waiting.last()?];
        (next.key() == key).then(|| next.stamp())
    }

    /// The next rows in order; none at the end.
    fn step(&mut self) -> Result<Option<RecordBatch>, OfflineError> {
        let mut sources: Vec<RecordBatch> = Vec::new();
        // Which of `sources` is each cursor's current batch.
        let mut source_of: Vec<Option<usize>> = vec![None; self.cursors.len()];
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(STEP);
        while picks.len() < STEP {
            let Some(current) = self.waiting.pop() else { break };
            let cursor = &mut self.cursors[current];
            let time = cursor.times[cursor.at];
            let stamp = match self.forget {
                Forget::Versions(_) => {
                    self.key.clear();
                    self.key.extend_from_slice(cursor.key());
                    Some(cursor.stamp())
                }
                _ => None,
            };
            let at = cursor.at;
            cursor.at += 1;
            // The next one takes its place before it is known whether this row stays.
            let ended = (cursor.at == cursor.batch.num_rows()).then(|| cursor.batch.clone());
            if ended.is_none() || cursor.load(&self.layout, self.forget)? {
                self.wait(current);
            }
            let forgotten = match (self.forget, stamp) {
                (Forget::Versions(horizon), Some(stamp)) => horizon.forgets(stamp, self.next_of(&self.key)),
                (Forget::EventsBefore(cutoff), _) => time < cutoff,
                _ => false,
            };
            if forgotten {
                self.dropped += 1;
            } else {
                let source = *source_of[current].get_or_insert_with(|| {
                    sources.push(ended.as_ref().unwrap_or(&self.cursors[current].batch).clone());
                    sources.len() - 1
                });
                picks.push((source, at));
            }
            if ended.is_some() {
                source_of[current] = None;
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let sources: Vec<&RecordBatch> = sources.iter().collect();
        interleave_record_batch(&sources, &picks).map(Some).map_err(OfflineError::columns(&self.layout.table))
    }
}

impl<I: Iterator<Item = Result<RecordBatch, OfflineError>>> Iterator for Merge<I> {
    type Item = Result<RecordBatch, OfflineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
