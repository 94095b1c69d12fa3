//! From a batch of a history to the events that are kept of it.

use arrow::{
    array::{ArrayRef, RecordBatch},
    buffer::BooleanBuffer,
    datatypes::Schema,
};

use crate::{
    model::{Column, DataType, encode_keys, uuid_keys},
    offline::{
        History, OfflineError,
        windows::{
            events::{Events, Source},
            plan::{Reads, SeriesPlan},
            tasks::Times,
        },
    },
};

/// Events of one batch, in order of their partition and within it in the batch's order.
pub(super) struct Piece {
    /// The batch's part of the history, and its place among the batches of the part.
    pub order: (usize, usize),
    /// Partition `p` is `starts[p]..starts[p + 1]`.
    pub starts: Vec<u32>,
    pub events: Events,
}

impl Piece {
    /// The events of a partition.
    pub fn range(&self, partition: usize) -> std::ops::Range<usize> {
        let start =
            |partition: usize| self.starts.get(partition).or(self.starts.last()).map_or(0, |&at| at as usize);
        start(partition)..start(partition + 1)
    }

    /// Lets go of the partitions from `end` on.
    pub fn truncate(&mut self, end: usize) {
        if end + 1 < self.starts.len() {
            self.starts.truncate(end + 1);
            self.events.truncate(self.range(end).start);
        }
    }
}

/// A batch with what several groupings need of it.
pub(super) struct Batch<'a> {
    history: &'a History,
    batch: RecordBatch,
    sources: Vec<Source>,
    masks: Vec<BooleanBuffer>,
    /// Rows in the time asked for and known then; none: all.
    known: Option<Vec<bool>>,
}

impl<'a> Batch<'a> {
    pub fn new(
        history: &'a History,
        batch: RecordBatch,
        reads: &Reads,
        known_at: Option<i64>,
    ) -> Result<Batch<'a>, OfflineError> {
        let wrong = || OfflineError::columns(&history.layout.table);
        let column = |column: &Column| {
            let at = batch.schema_ref().index_of(&column.name);
            at.and_then(|at| Source::new(batch.column(at), &column.data_type)).map_err(wrong())
        };
        let sources = reads.columns.iter().map(|(it, _)| column(it)).collect::<Result<_, _>>()?;
        let masks = reads.filters.iter().map(|filter| (filter.mask)(&batch)).collect();
        let mut known: Option<Vec<bool>> = match known_at {
            None => None,
            Some(k) => Some(history.layout.accepted_at(&batch)?.iter().map(|&at| at <= k).collect()),
        };
        if history.before != i64::MAX {
            let earlier = history.layout.seqs(&batch)?.iter().map(|&seq| seq < history.before);
            known = Some(match known {
                None => earlier.collect(),
                Some(known) => {
                    known.into_iter().zip(earlier).map(|(known, earlier)| known && earlier).collect()
                }
            });
        }
        Ok(Batch { history, batch, sources, masks, known })
    }

    /// The encoded keys of the batch's rows; empty where one of them is null.
    pub fn keys(&self, keys: &[Column]) -> Result<(Vec<u8>, Vec<u32>), OfflineError> {
        let wrong = || OfflineError::columns(&self.history.layout.table);
        let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
        for key in keys {
            let at = self.batch.schema_ref().index_of(&key.name).map_err(wrong())?;
            let source = Source::new(self.batch.column(at), &key.data_type).map_err(wrong())?;
            fields.push(arrow::datatypes::Field::new(&key.name, source.array().data_type().clone(), true));
            arrays.push(match key.data_type {
                DataType::Uuid => uuid_keys(source.array()),
                _ => ArrayRef::clone(source.array()),
            });
        }
        let keys = RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), arrays).map_err(wrong())?;
        let positions: Vec<usize> = (0..keys.num_columns()).collect();
        Ok(encode_keys(&keys, &positions, |_, _| {}))
    }

    /// The rows that count for some of `series`; none: all.
    fn wanted(&self, series: &[SeriesPlan]) -> Option<BooleanBuffer> {
        let mut wanted: Option<BooleanBuffer> = None;
        for plan in series {
            let filter = plan.filter.map(|at| &self.masks[at]);
            let valid = plan.column.and_then(|at| self.sources[at].validity());
            let counts = match (filter, valid) {
                (None, None) => return None,
                (Some(filter), None) => filter.clone(),
                (None, Some(valid)) => valid.clone(),
                (Some(filter), Some(valid)) => filter & valid,
            };
            wanted = Some(match wanted {
                Some(others) => &others | &counts,
                None => counts,
            });
        }
        wanted
    }

    /// The events for which `place(row, time)` names a partition below `partitions` and an entity.
    pub fn pick(
        &self,
        series: &[SeriesPlan],
        (seqs, accepted): (bool, bool),
        times: &Times,
        partitions: usize,
        mut place: impl FnMut(usize, i64) -> Option<(usize, u32)>,
    ) -> Result<(Vec<u32>, Events), OfflineError> {
        let at = self.history.layout.event_times(&self.batch)?;
        let wanted = self.wanted(series);
        let mut starts = vec![0u32; partitions + 1];
        let mut found: Vec<(u32, u32, u32)> = Vec::with_capacity(at.len());
        for (row, &time) in at.iter().enumerate() {
            if times.contains(&time)
                && wanted.as_ref().is_none_or(|wanted| wanted.value(row))
                && self.known.as_ref().is_none_or(|known| known[row])
                && let Some((partition, entity)) = place(row, time)
                && partition < partitions
            {
                starts[partition + 1] += 1;
                found.push((partition as u32, entity, row as u32));
            }
        }
        for partition in 1..starts.len() {
            starts[partition] += starts[partition - 1];
        }
        let mut next = starts.clone();
        let (mut rows, mut entities) = (vec![0u32; found.len()], vec![0u32; found.len()]);
        for (partition, entity, row) in found {
            let to = next[partition as usize];
            next[partition as usize] += 1;
            (rows[to as usize], entities[to as usize]) = (row, entity);
        }
        let micros = |values: &[i64]| rows.iter().map(|&row| values[row as usize]).collect();
        let events = Events {
            entities,
            times: micros(at),
            seqs: if seqs { micros(self.history.layout.seqs(&self.batch)?) } else { Vec::new() },
            accepted: if accepted {
                micros(self.history.layout.accepted_at(&self.batch)?)
            } else {
                Vec::new()
            },
            columns: self.sources.iter().map(|source| source.pick(&rows)).collect(),
            filters: self
                .masks
                .iter()
                .map(|mask| rows.iter().map(|&row| mask.value(row as usize)).collect())
                .collect(),
        };
        Ok((starts, events))
    }
}
