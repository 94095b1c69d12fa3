//! The answer to an online read: rows as they were found, and what each value of them means.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    compute::as_of::Outcome,
    model::{Timestamp, Value},
    serve::Plan,
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
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Present => "PRESENT",
            Status::NullValue => "NULL_VALUE",
            Status::NotFound => "NOT_FOUND",
            Status::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            Status::Defaulted => "DEFAULTED",
        }
    }

    pub const ALL: [Status; 5] =
        [Status::Present, Status::NullValue, Status::NotFound, Status::OutsideMaxAge, Status::Defaulted];
}

/// What was found for one entity in one view.
#[derive(Debug, Clone)]
pub struct Found {
    /// `None` where the entity has no version, or its newest is a tombstone.
    pub row: Option<Bytes>,
    pub outcome: Outcome,
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

/// A value as it goes out: from the row, or the feature's default.
pub enum Served<'a> {
    Cell(Cell<'a>),
    Default(&'a Value),
}

impl Answer {
    pub fn value(&self, entity: usize, column: usize) -> (Served<'_>, Status) {
        let wanted = &self.plan.columns[column];
        let found = &self.found[entity * self.plan.groups.len() + wanted.group];
        let (cell, status) = match (&found.row, found.outcome) {
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
        };
        match (&wanted.default, status) {
            (_, Status::Present) | (None, _) => (Served::Cell(cell), status),
            (Some(default), _) => (Served::Default(default), Status::Defaulted),
        }
    }

    /// The event time of the version that the value comes from, or would have come from.
    pub fn event_time(&self, entity: usize, column: usize) -> Option<Timestamp> {
        let group = self.plan.columns[column].group;
        let found = &self.found[entity * self.plan.groups.len() + group];
        found.row.as_ref().map(|row| Row(row).event_time())
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
