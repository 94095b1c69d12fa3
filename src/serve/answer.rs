//! The answer to an online read: rows as they were found, and what each value of them means.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    compute::{as_of::Outcome, window::Span},
    model::{Timestamp, Value},
    serve::{Plan, PlanColumn},
    shard::{Cell, Row},
};

/// What a value is (semantics.md: statuses).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Present,
    NullValue,
    NotFound,
    OutsideMaxAge,
    Defaulted,
    /// The aggregate is new, and the events from before it are still being counted.
    Backfilling,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Present => "PRESENT",
            Status::NullValue => "NULL_VALUE",
            Status::NotFound => "NOT_FOUND",
            Status::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            Status::Defaulted => "DEFAULTED",
            Status::Backfilling => "BACKFILLING",
        }
    }

    pub const ALL: [Status; 6] = [
        Status::Present,
        Status::NullValue,
        Status::NotFound,
        Status::OutsideMaxAge,
        Status::Defaulted,
        Status::Backfilling,
    ];
}

/// What was found for one entity in one view.
#[derive(Debug, Clone)]
pub enum Found {
    /// A version of a view whose rows are written; `None` where the entity has none, or its newest is a tombstone.
    Row { row: Option<Bytes>, outcome: Outcome },
    /// The aggregates of a stream view, one for each of its features; `None` where it cannot be told yet, or was not
    /// asked for.
    Aggregates(Box<[Option<Value>]>),
}

impl Found {
    pub const NOTHING: Found = Found::Row { row: None, outcome: Outcome::NotFound };
}

/// All values of one read, entity by entity.
#[derive(Debug)]
pub struct Answer {
    pub plan: Arc<Plan>,
    /// The moment the read was made for.
    pub now: Timestamp,
    pub entities: usize,
    /// `entities` × groups of the plan.
    pub(super) found: Vec<Found>,
}

/// A value as it goes out: of a row, or one that was computed or is the feature's default.
pub enum Served<'a> {
    Cell(Cell<'a>),
    Value(&'a Value),
}

impl Answer {
    pub fn value(&self, entity: usize, column: usize) -> (Served<'_>, Status) {
        let wanted = &self.plan.columns[column];
        let found = &self.found[entity * self.plan.groups.len() + wanted.group];
        let (served, status) = match found {
            Found::Row { row, outcome } => {
                let (cell, status) = self.cell(wanted, row.as_ref(), *outcome);
                (Served::Cell(cell), status)
            }
            Found::Aggregates(values) => match values.get(wanted.feature) {
                Some(Some(Value::Null)) => (Served::Cell(Cell::Null), Status::NullValue),
                Some(Some(value)) => (Served::Value(value), Status::Present),
                _ => (Served::Cell(Cell::Null), Status::Backfilling),
            },
        };
        match (&wanted.default, status) {
            (_, Status::Present) | (None, _) => (served, status),
            (Some(default), Status::Backfilling) => (Served::Value(default), status),
            (Some(default), _) => (Served::Value(default), Status::Defaulted),
        }
    }

    fn cell<'a>(&self, wanted: &PlanColumn, row: Option<&'a Bytes>, outcome: Outcome) -> (Cell<'a>, Status) {
        match (row, outcome) {
            (Some(row), Outcome::Present) => {
                let row = Row(row);
                let slot = self.plan.groups[wanted.group].slot(row.schema_version(), wanted.feature);
                match slot.map_or(Cell::Null, |slot| row.cell(slot).as_type(&wanted.data_type)) {
                    Cell::Null => (Cell::Null, Status::NullValue),
                    cell => (cell, Status::Present),
                }
            }
            (Some(_), Outcome::OutsideMaxAge) => (Cell::Null, Status::OutsideMaxAge),
            _ => (Cell::Null, Status::NotFound),
        }
    }

    /// The window that the value covers: none for values that are written.
    pub fn window(&self, column: usize) -> Option<Span> {
        let wanted = &self.plan.columns[column];
        let stream = self.plan.groups[wanted.group].view.stream()?;
        Some(stream.aggregations.get(wanted.feature)?.window.span(self.now.micros()))
    }

    /// The event time of the version that the value comes from, or would have come from.
    pub fn event_time(&self, entity: usize, column: usize) -> Option<Timestamp> {
        let group = self.plan.columns[column].group;
        let found = &self.found[entity * self.plan.groups.len() + group];
        match found {
            Found::Row { row, .. } => row.as_ref().map(|row| Row(row).event_time()),
            Found::Aggregates(_) => None,
        }
    }

    /// How old it is, µs; never negative.
    pub fn age(&self, entity: usize, column: usize) -> Option<i64> {
        let event_time = self.event_time(entity, column)?;
        Some(self.now.micros().saturating_sub(event_time.micros()).max(0))
    }

    /// How many values of each view have each status: for metrics.
    pub fn tally(&self) -> Vec<(&str, Status, u64)> {
        let mut counts = vec![[0u64; Status::ALL.len()]; self.plan.groups.len()];
        for (column, wanted) in self.plan.columns.iter().enumerate() {
            for entity in 0..self.entities {
                counts[wanted.group][self.value(entity, column).1 as usize] += 1;
            }
        }
        let mut tally = Vec::new();
        for (group, counts) in self.plan.groups.iter().zip(counts) {
            for (status, count) in Status::ALL.into_iter().zip(counts) {
                if count > 0 {
                    tally.push((group.view.name.as_str(), status, count));
                }
            }
        }
        tally
    }
}
