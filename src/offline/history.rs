//! All acknowledged rows of a table at one moment: its segments, and the tail that no segment holds yet.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{
    model::{SEQ, TableSchema},
    offline::{
        OfflineError,
        evolve::{conform, evolve},
        layout::Layout,
        segment::Segment,
        segment_read::{Footer, SegmentRows},
        seqs::rows_from,
        table::{STEP, Table, TableSnapshot},
        tail::{Tail, TailRows},
    },
};

/// A consistent view: each acknowledged row once, whatever is appended or compacted meanwhile.
pub struct History {
    pub(super) layout: Layout,
    pub(super) snapshot: Arc<TableSnapshot>,
    /// In the shape of `schema`.
    pub(super) tail: Vec<RecordBatch>,
    /// Held so that readers who come meanwhile share its rows.
    _shared: TailRows,
    pub(super) schema: SchemaRef,
    /// Rows from this `_seq` on do not exist; above all that there are unless [`History::until`] says otherwise.
    pub(super) before: i64,
}

impl History {
    /// Reads the tail first and takes the snapshot then: what was sealed in between is in both, and is dropped from
    /// the tail by its `_seq`. The other way round it could be in neither.
    pub fn open(table: &Table, tail: &dyn Tail, schema: &TableSchema) -> Result<History, OfflineError> {
        History::of(table, tail, schema, None)
    }

    /// The same with these features alone: no others are decoded, however large they are.
    pub fn with_columns(
        table: &Table,
        tail: &dyn Tail,
        schema: &TableSchema,
        columns: &[&str],
    ) -> Result<History, OfflineError> {
        History::of(table, tail, schema, Some(columns))
    }

    fn of(
        table: &Table,
        tail: &dyn Tail,
        schema: &TableSchema,
        columns: Option<&[&str]>,
    ) -> Result<History, OfflineError> {
        table.layout.check(schema)?;
        let shared = tail.tail(table.id, table.sealed_seq(), columns)?;
        let snapshot = table.snapshot();
        let layout = table.layout.clone();
        let evolved = evolve(table.name(), &snapshot.schema, schema.offline())?.schema;
        let schema = match columns {
            None => evolved,
            Some(columns) => layout.with_columns(&evolved, columns)?,
        };
        let (rows, _) = rows_from(&layout, &shared, snapshot.sealed_seq)?;
        let tail = rows.iter().map(|batch| conform(batch, &schema)).collect::<Result<_, _>>();
        let tail = tail.map_err(OfflineError::columns(table.name()))?;
        Ok(History { layout, snapshot, tail, _shared: shared, schema, before: i64::MAX })
    }

    /// The history as it was when `seq` was the next row's number: what was accepted from there on does not exist for
    /// the joins.
    pub fn until(mut self, seq: u64) -> Result<History, OfflineError> {
        let before = i64::try_from(seq).unwrap_or(i64::MAX);
        let segments = &self.snapshot.segments;
        if segments.iter().any(|segment| segment.seq.is_none_or(|(_, last)| last >= seq)) {
            let snapshot = &self.snapshot;
            let earlier = |segment: &&Arc<Segment>| segment.seq.is_none_or(|(first, _)| first < seq);
            self.snapshot = Arc::new(TableSnapshot {
                delta_version: snapshot.delta_version,
                sealed_seq: snapshot.sealed_seq,
                segments: segments.iter().filter(earlier).cloned().collect(),
                schema: Arc::clone(&snapshot.schema),
            });
            self.before = before;
        }
        let mut tail = Vec::with_capacity(self.tail.len());
        for batch in &self.tail {
            let rows = self.layout.seqs(batch)?.partition_point(|seq| *seq < before);
            if rows > 0 {
                tail.push(batch.slice(0, rows));
            }
        }
        self.tail = tail;
        Ok(self)
    }

    /// Rows in all, tombstones included, those left out that [`History::until`] leaves out.
    pub fn counted(&self) -> Result<u64, OfflineError> {
        let mut rows = self.tail.iter().map(|batch| batch.num_rows() as u64).sum();
        let target = self.layout.project(&self.schema, &[SEQ])?;
        for segment in &self.snapshot.segments {
            let whole =
                segment.seq.is_some_and(|(_, last)| i64::try_from(last).is_ok_and(|last| last < self.before));
            if whole || self.before == i64::MAX {
                rows += segment.rows;
                continue;
            }
            for batch in Footer::read(segment)?.rows(&target, None, STEP)? {
                let batch = batch?;
                rows += self.layout.seqs(&batch)?.iter().filter(|seq| **seq < self.before).count() as u64;
            }
        }
        Ok(rows)
    }

    /// The columns: the table's, and those that the schema given has beyond them; each in the wider of the two types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn snapshot(&self) -> &Arc<TableSnapshot> {
        &self.snapshot
    }

    /// Rows in all, tombstones included.
    pub fn rows(&self) -> u64 {
        let sealed: u64 = self.snapshot.segments.iter().map(|segment| segment.rows).sum();
        sealed + self.tail.iter().map(|batch| batch.num_rows() as u64).sum::<u64>()
    }

    /// All rows, in no order that is promised, with the columns named. After an error there is nothing more.
    pub fn scan(&self, columns: &[&str]) -> Result<Scan<'_>, OfflineError> {
        let target = self.layout.project(&self.schema, columns)?;
        Ok(Scan { history: self, target, next: 0, open: None })
    }
}

/// Rows of a [`History`], segment by segment, then the tail.
pub struct Scan<'a> {
    history: &'a History,
    target: SchemaRef,
    /// The next segment, or tail batch after all segments.
    next: usize,
    open: Option<SegmentRows>,
}

impl Scan<'_> {
    fn step(&mut self) -> Result<Option<RecordBatch>, OfflineError> {
        loop {
            if let Some(rows) = &mut self.open {
                if let Some(batch) = rows.next() {
                    return batch.map(Some);
                }
                self.open = None;
            }
            let segments = &self.history.snapshot.segments;
            let at = self.next;
            self.next += 1;
            match segments.get(at) {
                Some(segment) => self.open = Some(Footer::read(segment)?.rows(&self.target, None, STEP)?),
                None => {
                    let batch =
                        self.history.tail.get(at - segments.len()).map(|batch| conform(batch, &self.target));
                    return batch.transpose().map_err(OfflineError::columns(&self.history.layout.table));
                }
            }
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<RecordBatch, OfflineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.step().transpose();
        if !matches!(batch, Some(Ok(_))) {
            self.next = usize::MAX / 2;
            self.open = None;
        }
        batch
    }
}
