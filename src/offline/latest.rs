//! The newest version of each entity, of a whole table.
//!
//! Segments and the sorted tail are merged in order of (key, event time, seq): the last row of each run of equal keys
//! is the newest, and nothing but the runs under way has to be in memory.

use arrow::{
    array::{BooleanArray, RecordBatch, UInt32Array},
    compute::{concat_batches, filter_record_batch, partition, take_record_batch},
    datatypes::SchemaRef,
};

use crate::{
    model::row_keys,
    offline::{
        History, OfflineError, Rows, Visible,
        evolve::conform,
        layout::Layout,
        merge::{Forget, Merge},
        portions::only_visible,
        segment_read::Footer,
        sort::sort,
        table::STEP,
    },
};

impl History {
    /// Of each entity the newest visible version, with the columns named; entities whose newest is a tombstone are left
    /// out.
    pub fn latest(&self, columns: &[&str], visible: Visible) -> Result<Rows, OfflineError> {
        let wanted = self.layout.project(&self.schema, columns)?;
        let choosing = self.layout.choosing(&self.schema, false)?;
        let names: Vec<&str> = choosing.fields().iter().map(|field| field.name().as_str()).collect();
        let more = columns.iter().copied().filter(|name| !names.contains(name));
        let target =
            self.layout.project(&self.schema, &names.iter().copied().chain(more).collect::<Vec<_>>())?;

        let mut inputs: Vec<Rows> = Vec::new();
        for segment in &self.snapshot.segments {
            inputs.push(Box::new(Footer::read(segment)?.rows(&target, None, STEP)?));
        }
        if !self.tail.is_empty() {
            let wrong = OfflineError::columns(&self.layout.table);
            let tail = self.tail.iter().map(|batch| conform(batch, &target)).collect::<Result<Vec<_>, _>>();
            let sorted = sort(&self.layout, &target, &tail.map_err(wrong)?)?;
            let batches: Vec<_> = sorted.batches(STEP).collect();
            inputs.push(Box::new(batches.into_iter()));
        }
        let inputs = inputs.into_iter().map(|rows| only_visible(rows, &self.layout, visible)).collect();
        let merge = Merge::new(&self.layout, &target, inputs, Forget::Nothing)?;
        let (layout, table) = (self.layout.clone(), self.layout.table.clone());
        let newest = Newest { merge, layout, target, last: None, ended: false };
        Ok(Box::new(
            newest.map(move |batch| conform(&batch?, &wanted).map_err(OfflineError::columns(&table))),
        ))
    }
}

/// The last row of each run of equal keys.
struct Newest<I> {
    merge: Merge<I>,
    layout: Layout,
    target: SchemaRef,
    /// The last row so far, whose run may go on in the next batch.
    last: Option<RecordBatch>,
    ended: bool,
}

impl<I: Iterator<Item = Result<RecordBatch, OfflineError>>> Newest<I> {
    fn step(&mut self) -> Result<Option<RecordBatch>, OfflineError> {
        let Some(batch) = self.merge.next().transpose()? else {
            self.ended = true;
            return self.last.take().map(|row| self.without_deleted(&row)).transpose();
        };
        let keys = self.layout.key_indices(batch.schema_ref())?;
        let columns: Vec<_> = keys.iter().map(|&index| batch.column(index).clone()).collect();
        let runs = partition(&columns).map_err(OfflineError::columns(&self.layout.table))?.ranges();
        let Some((open, closed)) = runs.split_last() else { return Ok(Some(batch)) };
        let ends: UInt32Array = closed.iter().map(|run| run.end as u32 - 1).collect();
        let ends = take_record_batch(&batch, &ends).map_err(OfflineError::columns(&self.layout.table))?;
        let last = self.last.replace(batch.slice(open.end - 1, 1));
        let done = match last {
            Some(row) if !self.same_entity(&keys, &row, &batch) => {
                concat_batches(&self.target, [&row, &ends])
                    .map_err(OfflineError::columns(&self.layout.table))?
            }
            _ => ends,
        };
        self.without_deleted(&done).map(Some)
    }

    /// Whether the first rows of both are of one entity.
    fn same_entity(&self, keys: &[usize], a: &RecordBatch, b: &RecordBatch) -> bool {
        let key = |batch: &RecordBatch| {
            let mut key = Vec::new();
            row_keys(batch, keys, 0, &mut key).map(|()| key)
        };
        matches!((key(a), key(b)), (Ok(a), Ok(b)) if a == b)
    }

    fn without_deleted(&self, rows: &RecordBatch) -> Result<RecordBatch, OfflineError> {
        let deleted = self.layout.deleted(rows)?;
        let kept: BooleanArray = deleted.values().iter().map(|deleted| Some(!deleted)).collect();
        filter_record_batch(rows, &kept).map_err(OfflineError::columns(&self.layout.table))
    }
}

impl<I: Iterator<Item = Result<RecordBatch, OfflineError>>> Iterator for Newest<I> {
    type Item = Result<RecordBatch, OfflineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended |= matches!(step, Some(Err(_)));
        step
    }
}
