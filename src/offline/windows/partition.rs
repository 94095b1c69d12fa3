//! The events of some entities, put in order: by entity, event time and seq.

use std::ops::Range;

use crate::{
    compute::window::{Class, Series, Values},
    offline::{
        OfflineError,
        windows::{
            collect::Piece,
            events::{ColumnValues, EventColumn, Events},
            plan::{Reads, SeriesPlan},
        },
    },
};

/// Memory for one partition after the other.
#[derive(Default)]
pub(super) struct Ordered {
    /// As they came.
    raw: Events,
    /// In order.
    pub events: Events,
    order: Vec<u32>,
    /// Entity `first + i` has the events `starts[i]..starts[i + 1]`.
    starts: Vec<u32>,
    first: u32,
}

/// A series' events of one entity, where they are not all that the entity has.
#[derive(Default)]
pub(super) struct Compact {
    rows: Vec<u32>,
    times: Vec<i64>,
    seqs: Vec<i64>,
    accepted: Vec<i64>,
    values: Option<ColumnValues>,
}

impl Ordered {
    /// Takes a partition's events from all pieces, which are in the history's order. `entities` are the partition's.
    pub fn load(
        &mut self,
        table: &str,
        pieces: &[Piece],
        partition: usize,
        entities: Range<u32>,
        reads: &Reads,
    ) -> Result<(), OfflineError> {
        for (at, (column, _)) in reads.columns.iter().enumerate() {
            let text =
                pieces.iter().map(|p| p.events.columns[at].values.text(p.range(partition))).sum::<usize>();
            if u32::try_from(text).is_err() {
                return Err(OfflineError::Schema {
                    table: table.to_owned(),
                    column: column.name.clone(),
                    reason: format!("{text} bytes of text in the windows of few entities are too many"),
                });
            }
        }
        let classes: Vec<Class> = reads.columns.iter().map(|(_, class)| *class).collect();
        self.raw.reset(&classes, reads.filters.len());
        for piece in pieces {
            self.raw.append(&piece.events, piece.range(partition));
        }
        self.count(&entities);
        self.sort();
        self.events.reset(&classes, reads.filters.len());
        let (raw, events) = (&self.raw, &mut self.events);
        let rows = || self.order.iter().map(|&row| row as usize);
        events.times.extend(rows().map(|row| raw.times[row]));
        if !raw.seqs.is_empty() {
            events.seqs.extend(rows().map(|row| raw.seqs[row]));
        }
        if !raw.accepted.is_empty() {
            events.accepted.extend(rows().map(|row| raw.accepted[row]));
        }
        for (to, from) in events.columns.iter_mut().zip(&raw.columns) {
            to.values.gather(&from.values, rows());
            if !from.valid.is_empty() {
                to.valid.extend(rows().map(|row| from.valid[row]));
            }
        }
        for (to, from) in events.filters.iter_mut().zip(&raw.filters) {
            to.extend(rows().map(|row| from[row]));
        }
        Ok(())
    }

    /// By entity, otherwise as they came: a counting sort.
    fn count(&mut self, entities: &Range<u32>) {
        self.first = entities.start;
        let of = |entity: u32| (entity - entities.start) as usize;
        self.starts.clear();
        self.starts.resize(entities.len() + 1, 0);
        self.raw.entities.iter().for_each(|&entity| self.starts[of(entity) + 1] += 1);
        for entity in 1..self.starts.len() {
            self.starts[entity] += self.starts[entity - 1];
        }
        self.order.clear();
        self.order.resize(self.raw.entities.len(), 0);
        for (row, &entity) in self.raw.entities.iter().enumerate() {
            let next = &mut self.starts[of(entity)];
            self.order[*next as usize] = row as u32;
            *next += 1;
        }
        // Each start has moved to the next one.
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }

    /// Without seqs the events came in order.
    fn sort(&mut self) {
        let raw = &self.raw;
        if raw.seqs.is_empty() {
            return;
        }
        let key = |row: &u32| (raw.times[*row as usize], raw.seqs[*row as usize]);
        for range in self.starts.windows(2) {
            let rows = &mut self.order[range[0] as usize..range[1] as usize];
            if !rows.is_sorted_by_key(key) {
                rows.sort_unstable_by_key(key);
            }
        }
    }

    pub fn rows(&self, entity: u32) -> Range<usize> {
        let at = (entity - self.first) as usize;
        self.starts[at] as usize..self.starts[at + 1] as usize
    }

    /// The events of one entity (its rows) that count for a series, and when they were accepted where that was asked for.
    pub fn series<'a>(
        &'a self,
        rows: Range<usize>,
        plan: SeriesPlan,
        compact: &'a mut Compact,
    ) -> (Series<'a>, &'a [i64]) {
        let events = &self.events;
        let column = plan.column.map(|at| &events.columns[at]);
        let filter = plan.filter.map(|at| &events.filters[at]);
        let some_missing = filter.is_some() || column.is_some_and(|column| !column.valid.is_empty());
        let seqs = if events.seqs.is_empty() { &[][..] } else { &events.seqs[rows.clone()] };
        if !some_missing {
            let values = column.map_or(Values::None, |column| column.values.slice(rows.start, rows.end));
            let accepted = if events.accepted.is_empty() { &[][..] } else { &events.accepted[rows.clone()] };
            return (Series { times: &events.times[rows], seqs, values }, accepted);
        }
        compact.rows.clear();
        compact.rows.extend(
            rows.filter(|&row| {
                filter.is_none_or(|filter| filter[row]) && column.is_none_or(|column| column.is_valid(row))
            })
            .map(|row| row as u32),
        );
        let rows = || compact.rows.iter().map(|&row| row as usize);
        compact.times.clear();
        compact.times.extend(rows().map(|row| events.times[row]));
        compact.seqs.clear();
        if !events.seqs.is_empty() {
            compact.seqs.extend(rows().map(|row| events.seqs[row]));
        }
        compact.accepted.clear();
        if !events.accepted.is_empty() {
            compact.accepted.extend(rows().map(|row| events.accepted[row]));
        }
        let values = match column {
            None => Values::None,
            Some(column) => {
                let to = compact.values.get_or_insert_with(|| ColumnValues::empty(column.values.class()));
                if to.class() != column.values.class() {
                    *to = ColumnValues::empty(column.values.class());
                }
                to.clear();
                to.gather(&column.values, rows());
                to.slice(0, compact.rows.len())
            }
        };
        (Series { times: &compact.times, seqs: &compact.seqs, values }, &compact.accepted)
    }
}

impl Events {
    fn reset(&mut self, classes: &[Class], filters: usize) {
        self.entities.clear();
        self.times.clear();
        self.seqs.clear();
        self.accepted.clear();
        if self.columns.len() != classes.len() {
            let column =
                |class: &Class| EventColumn { values: ColumnValues::empty(*class), valid: Vec::new() };
            self.columns = classes.iter().map(column).collect();
        }
        for column in &mut self.columns {
            column.values.clear();
            column.valid.clear();
        }
        self.filters.resize(filters, Vec::new());
        self.filters.iter_mut().for_each(Vec::clear);
    }

    fn append(&mut self, from: &Events, range: Range<usize>) {
        let before = self.times.len();
        self.entities.extend_from_slice(&from.entities[range.clone()]);
        self.times.extend_from_slice(&from.times[range.clone()]);
        if !from.seqs.is_empty() {
            self.seqs.extend_from_slice(&from.seqs[range.clone()]);
        }
        if !from.accepted.is_empty() {
            self.accepted.extend_from_slice(&from.accepted[range.clone()]);
        }
        for (to, from) in self.columns.iter_mut().zip(&from.columns) {
            to.values.append(&from.values, range.clone());
            if !from.valid.is_empty() {
                to.valid.resize(before, true);
                to.valid.extend_from_slice(&from.valid[range.clone()]);
            } else if !to.valid.is_empty() {
                to.valid.resize(before + range.len(), true);
            }
        }
        for (to, from) in self.filters.iter_mut().zip(&from.filters) {
            to.extend_from_slice(&from[range.clone()]);
        }
    }
}
