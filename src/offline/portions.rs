//! A history in portions that are read on their own: for an engine that reads in parallel and asks for few columns.

use std::{ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch, UInt64Array},
    compute::{filter_record_batch, take_record_batch},
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};

use crate::{
    model::SEQ,
    offline::{
        History, OfflineError, evolve::conform, layout::Layout, segment::Segment, segment_read::Footer,
        table::STEP,
    },
};

/// Rows of a table, batch by batch. After an error there is nothing more.
pub type Rows = Box<dyn Iterator<Item = Result<RecordBatch, OfflineError>> + Send>;

/// Which rows of a table count: all, or those that a computation as of a moment may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visible {
    /// Rows with a later event time (microseconds) are not seen.
    pub until: i64,
    /// Rows with `_seq` from here on are not seen.
    pub below_seq: u64,
}

impl Visible {
    pub const ALL: Visible = Visible { until: i64::MAX, below_seq: u64::MAX };
}

/// A row group of a segment, or a batch of the tail.
pub struct Portion(Kind);

enum Kind {
    Group { footer: Footer, group: usize, rows: u64 },
    Tail(RecordBatch),
}

impl Portion {
    pub fn rows(&self) -> u64 {
        match &self.0 {
            Kind::Group { rows, .. } => *rows,
            Kind::Tail(batch) => batch.num_rows() as u64,
        }
    }
}

impl History {
    /// One past the newest row's `_seq`.
    pub fn next_seq(&self) -> u64 {
        self.snapshot.sealed_seq + self.tail.iter().map(|batch| batch.num_rows() as u64).sum::<u64>()
    }

    /// Together they have every row with an event time (microseconds) in `times`, and others.
    pub fn portions(&self, times: &RangeInclusive<i64>) -> Result<Vec<Portion>, OfflineError> {
        let asked = |bounds: Option<(i64, i64)>| {
            bounds.is_none_or(|(least, greatest)| least <= *times.end() && greatest >= *times.start())
        };
        let mut portions = Vec::new();
        for segment in
            self.snapshot.segments.iter().filter(|segment: &&Arc<Segment>| asked(segment.event_time))
        {
            let footer = Footer::read(segment)?;
            for (group, bounds) in footer.groups(&self.layout).into_iter().enumerate() {
                if asked(bounds.event_time) {
                    portions.push(Portion(Kind::Group { footer: footer.clone(), group, rows: bounds.rows }));
                }
            }
        }
        portions.extend(self.tail.iter().map(|batch| Portion(Kind::Tail(batch.clone()))));
        Ok(portions)
    }

    /// The visible rows of a portion, with the columns named.
    pub fn read(&self, portion: &Portion, columns: &[&str], visible: Visible) -> Result<Rows, OfflineError> {
        let wanted = self.layout.project(&self.schema, columns)?;
        let target = self.seen(&wanted, visible)?;
        let rows: Rows = match &portion.0 {
            Kind::Group { footer, group, .. } => Box::new(footer.rows(&target, Some(*group), STEP)?),
            Kind::Tail(batch) => {
                let table = self.layout.table.clone();
                let batch = conform(batch, &target).map_err(OfflineError::columns(&table))?;
                Box::new(in_steps(batch).map(move |step| step.map_err(OfflineError::columns(&table))))
            }
        };
        let rows = only_visible(rows, &self.layout, visible);
        if target.fields() == wanted.fields() {
            return Ok(rows);
        }
        let table = self.layout.table.clone();
        Ok(Box::new(rows.map(move |batch| conform(&batch?, &wanted).map_err(OfflineError::columns(&table)))))
    }

    /// `wanted` and the columns by which it is seen whether a row is visible.
    fn seen(&self, wanted: &SchemaRef, visible: Visible) -> Result<SchemaRef, OfflineError> {
        if visible == Visible::ALL {
            return Ok(Arc::clone(wanted));
        }
        let own = self.layout.project(&self.schema, &[&self.layout.event_time, SEQ])?;
        let more = own.fields().iter().filter(|field| wanted.fields().find(field.name()).is_none());
        Ok(Arc::new(Schema::new(wanted.fields().iter().chain(more).cloned().collect::<Vec<_>>())))
    }
}

/// The batch step by step, each in buffers of its own: a slice, wherever an engine counts memory, counts as the whole.
fn in_steps(batch: RecordBatch) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send {
    let rows = batch.num_rows();
    (0..rows).step_by(STEP).map(move |first| {
        let count = STEP.min(rows - first);
        match count == rows || batch.num_columns() == 0 {
            true => Ok(batch.slice(first, count)),
            false => take_record_batch(&batch, &UInt64Array::from_iter_values((first as u64..).take(count))),
        }
    })
}

/// The rows that are visible; the columns that say so are among them.
pub(super) fn only_visible(rows: Rows, layout: &Layout, visible: Visible) -> Rows {
    if visible == Visible::ALL {
        return rows;
    }
    let layout = layout.clone();
    Box::new(rows.map(move |batch| {
        let batch = batch?;
        let (times, seqs) = (layout.event_times(&batch)?, layout.seqs(&batch)?);
        let seen = |(&time, &seq): (&i64, &i64)| {
            time <= visible.until && u64::try_from(seq).is_ok_and(|seq| seq < visible.below_seq)
        };
        let mask: BooleanArray = times.iter().zip(seqs).map(|row| Some(seen(row))).collect();
        filter_record_batch(&batch, &mask).map_err(OfflineError::columns(&layout.table))
    }))
}
