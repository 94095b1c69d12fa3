//! Merging sorted streams of rows into one, a bounded number of rows in memory at a time.

use std::cmp::Ordering;

use arrow::{array::RecordBatch, compute::interleave_record_batch, datatypes::SchemaRef};

use crate::{
    model::encode_keys,
    offline::{OfflineError, layout::Layout},
};

/// Rows given out at a time.
const STEP: usize = 4096;

/// The rows of several inputs, each sorted so, in order of (key, event time, seq). Rows older than a cutoff are left out.
pub(super) struct Merge<I> {
    layout: Layout,
    /// Event times below this are dropped.
    cutoff: i64,
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
    at: usize,
}

impl<I: Iterator<Item = Result<RecordBatch, OfflineError>>> Cursor<I> {
    /// The current row's place in the order.
    fn order(&self) -> (&[u8], i64, i64) {
        let key = &self.keys[self.offsets[self.at] as usize..self.offsets[self.at + 1] as usize];
        (key, self.times[self.at], self.seqs[self.at])
    }

    /// Loads the next batch that has rows; false at the end.
    fn load(&mut self, layout: &Layout) -> Result<bool, OfflineError> {
        for batch in self.rows.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                (self.keys, self.offsets) =
                    encode_keys(&batch, &layout.key_indices(batch.schema_ref())?, |_, _| {});
                self.times = layout.event_times(&batch)?.to_vec();
                self.seqs = layout.seqs(&batch)?.to_vec();
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
        cutoff: i64,
    ) -> Result<Self, OfflineError> {
        let layout = layout.clone();
        let mut merge = Merge { layout, cutoff, cursors: Vec::new(), waiting: Vec::new(), dropped: 0 };
        for rows in inputs {
            let mut cursor = Cursor {
                rows,
                batch: RecordBatch::new_empty(schema.clone()),
                keys: Vec::new(),
                offsets: Vec::new(),
                times: Vec::new(),
                seqs: Vec::new(),
                at: 0,
            };
            if cursor.load(&merge.layout)? {
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

    /// The next rows in order; none at the end.
    fn step(&mut self) -> Result<Option<RecordBatch>, OfflineError> {
        let mut sources: Vec<RecordBatch> = Vec::new();
        // Which of `sources` is each cursor's current batch.
        let mut source_of: Vec<Option<usize>> = vec![None; self.cursors.len()];
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(STEP);
        while picks.len() < STEP {
            let Some(current) = self.waiting.pop() else { break };
            let cursor = &mut self.cursors[current];
            if cursor.times[cursor.at] < self.cutoff {
                self.dropped += 1;
            } else {
                let source = *source_of[current].get_or_insert_with(|| {
                    sources.push(cursor.batch.clone());
                    sources.len() - 1
                });
                picks.push((source, cursor.at));
            }
            cursor.at += 1;
            let more = cursor.at < cursor.batch.num_rows() || {
                source_of[current] = None;
                cursor.load(&self.layout)?
            };
            if more {
                self.wait(current);
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
