//! The answer to an online read: rows as they were found, and what each value of them means.

use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::{
    compute::{as_of::Outcome, window::Span},
    model::{Timestamp, Value},
    registry::Operand,
    serve::{ColumnReader, Computed, OnDemandPlan, Plan, PlanColumn, ServeError, Status, Tally, ValueSource},
    shard::{Cell, ColumnBuilder, Row, StoredRow},
};

/// Bytes of texts and lists that on-demand features may come to in one answer; each feature that they are computed from as well.
const MOST_COMPUTED: usize = 64 << 20;

/// What was found for one entity in one view.
#[derive(Debug, Clone)]
pub enum Found {
    /// A version of a view whose rows are written; `None` where the entity has none, or its newest is a tombstone.
    Row { row: Option<StoredRow>, outcome: Outcome },
    /// The aggregates of a stream view, one for each of its features; `None` where it cannot be told yet, or was not
    /// asked for.
    Aggregates(Box<[Option<Value>]>),
    /// History was still being read when the deadline passed.
    TimedOut,
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
    /// For each step of the plan's computation, once that is made.
    pub(super) computed: Vec<Computed>,
    /// Whether something timed out.
    pub partial: bool,
    /// For each step and entity: the status of what is missing of that which it is computed from. Empty where nothing is.
    missing: Vec<Vec<Option<Status>>>,
}

/// A value as it goes out: of a row, or one that was computed or is the feature's default.
pub enum Served<'a> {
    Cell(Cell<'a>),
    Value(&'a Value),
}

impl Served<'_> {
    /// What it takes in a column.
    pub fn bytes(&self) -> usize {
        match self {
            Served::Cell(Cell::String(text) | Cell::Json(text)) => text.len(),
            Served::Cell(Cell::Bytes(bytes) | Cell::Array(bytes)) => bytes.len(),
            Served::Cell(_) => 8,
            Served::Value(value) => value.bytes(),
        }
    }
}

impl Answer {
    pub(super) fn new(plan: Arc<Plan>, now: Timestamp, entities: usize, found: Vec<Found>) -> Answer {
        Answer { plan, now, entities, found, computed: Vec::new(), partial: false, missing: Vec::new() }
    }

    /// Of what history was asked for, which may not have come in time.
    pub(super) fn perhaps_partial(mut self) -> Answer {
        self.partial = self.found.iter().any(|found| matches!(found, Found::TimedOut));
        self
    }

    /// Computes the on-demand features, once everything is looked up. `request`: the columns that the plan asks for.
    pub fn compute(&mut self, request: &[ArrayRef]) -> Result<(), ServeError> {
        let Some(on_demand) = &self.plan.on_demand else { return Ok(()) };
        let mut any_missing = false;
        let inputs = on_demand.inputs.iter().map(|input| self.column(input, &mut any_missing));
        let inputs: Vec<ArrayRef> = inputs.collect::<Result<_, _>>()?;
        self.computed = on_demand.computation.evaluate(request, &inputs, self.entities, MOST_COMPUTED)?;
        if any_missing {
            self.missing = self.missing(on_demand);
        }
        Ok(())
    }

    fn missing(&self, on_demand: &OnDemandPlan) -> Vec<Vec<Option<Status>>> {
        let mut missing: Vec<Vec<Option<Status>>> = Vec::new();
        for step in &on_demand.computation.steps {
            let of = |entity: usize| {
                step.operands.iter().find_map(|operand| match operand {
                    Operand::Request(_) => None,
                    Operand::Input(input) => {
                        Some(self.value_of(&on_demand.inputs[*input], entity).1).filter(|it| it.is_missing())
                    }
                    Operand::Step(before) => missing[*before][entity],
                })
            };
            let of_step = (0..self.entities).map(of).collect();
            missing.push(of_step);
        }
        missing
    }

    /// The status of what is missing for the step, if something is.
    pub(super) fn missing_of(&self, step: usize, entity: usize) -> Option<Status> {
        self.missing.get(step)?[entity]
    }

    /// The values of all entities, as they are served. `any_missing` is set where one is not there yet.
    fn column(&self, wanted: &PlanColumn, any_missing: &mut bool) -> Result<ArrayRef, ServeError> {
        let mut builder = ColumnBuilder::with_capacity(&wanted.data_type, self.entities);
        let mut bytes = 0;
        for entity in 0..self.entities {
            let (served, status) = self.value_of(wanted, entity);
            *any_missing |= status.is_missing();
            bytes += served.bytes();
            if bytes > MOST_COMPUTED {
                let what = "bytes of a feature that on-demand features are computed from";
                return Err(ServeError::TooMany { what, given: bytes, limit: MOST_COMPUTED });
            }
            match served {
                Served::Cell(cell) => builder.push(cell),
                Served::Value(value) => builder.push_value(value),
            }
        }
        Ok(builder.finish())
    }

    pub fn value(&self, entity: usize, column: usize) -> (Served<'_>, Status) {
        self.value_of(&self.plan.columns[column], entity)
    }

    /// The status of a value where JSON carries it: `PRESENT` says that JSON has all of the value.
    pub fn json_status(&self, entity: usize, column: usize) -> Status {
        let wanted = &self.plan.columns[column];
        let (served, status) = self.value_of(wanted, entity);
        status.in_json(&served, &wanted.data_type)
    }

    pub(super) fn value_of<'a>(&'a self, wanted: &'a PlanColumn, entity: usize) -> (Served<'a>, Status) {
        let (served, status) = match wanted.source {
            ValueSource::Group { group, feature } => self.looked_up(wanted, entity, group, feature),
            ValueSource::Step(step) => self.computed(wanted, entity, step),
        };
        match (&wanted.default, status) {
            (_, Status::Present | Status::Error) | (None, _) => (served, status),
            (Some(default), _) if status.is_missing() => (Served::Value(default), status),
            (Some(default), _) => (Served::Value(default), Status::Defaulted),
        }
    }

    fn looked_up(
        &self,
        wanted: &PlanColumn,
        entity: usize,
        group: usize,
        feature: usize,
    ) -> (Served<'_>, Status) {
        match &self.found[entity * self.plan.groups.len() + group] {
            Found::Row { row, outcome } => {
                let (cell, status) = self.cell(wanted, group, feature, row.as_ref(), *outcome);
                (Served::Cell(cell), status)
            }
            Found::Aggregates(values) => match values.get(feature) {
                Some(Some(Value::Null)) => (Served::Cell(Cell::Null), Status::NullValue),
                Some(Some(value)) => (Served::Value(value), Status::Present),
                _ => (Served::Cell(Cell::Null), Status::Backfilling),
            },
            Found::TimedOut => (Served::Cell(Cell::Null), Status::TimedOut),
        }
    }

    fn cell<'a>(
        &self,
        wanted: &PlanColumn,
        group: usize,
        feature: usize,
        row: Option<&'a StoredRow>,
        outcome: Outcome,
    ) -> (Cell<'a>, Status) {
        match (row, outcome) {
            (Some(row), Outcome::Present) => {
                let row = Row(row);
                let slot = self.plan.groups[group].slot(row.schema_version(), feature);
                match slot.map_or(Cell::Null, |slot| row.cell(slot).as_type(&wanted.data_type)) {
                    Cell::Null => (Cell::Null, Status::NullValue),
                    cell => (cell, Status::Present),
                }
            }
            (Some(_), Outcome::OutsideMaxAge) => (Cell::Null, Status::OutsideMaxAge),
            _ => (Cell::Null, Status::NotFound),
        }
    }

    fn computed(&self, wanted: &PlanColumn, entity: usize, step: usize) -> (Served<'_>, Status) {
        if let Some(status) = self.missing_of(step, entity) {
            return (Served::Cell(Cell::Null), status);
        }
        let computed = &self.computed[step];
        match computed.value(entity, &wanted.data_type) {
            Some(served) => (served, Status::Present),
            None if computed.has_failed(entity) => (Served::Cell(Cell::Null), Status::Error),
            None => (Served::Cell(Cell::Null), Status::NullValue),
        }
    }

    /// The window that the value covers: none for values that are not aggregates.
    pub fn window(&self, column: usize) -> Option<Span> {
        let ValueSource::Group { group, feature } = self.plan.columns[column].source else { return None };
        let stream = self.plan.groups[group].view.stream()?;
        Some(stream.aggregations.get(feature)?.window.span(self.now.micros()))
    }

    /// The event time of the version that the value comes from, or would have come from.
    pub fn event_time(&self, entity: usize, column: usize) -> Option<Timestamp> {
        let ValueSource::Group { group, .. } = self.plan.columns[column].source else { return None };
        match &self.found[entity * self.plan.groups.len() + group] {
            Found::Row { row, .. } => row.as_ref().map(|row| Row(row).event_time()),
            Found::Aggregates(_) | Found::TimedOut => None,
        }
    }

    /// How old it is, µs; never negative.
    pub fn age(&self, entity: usize, column: usize) -> Option<i64> {
        let event_time = self.event_time(entity, column)?;
        Some(self.now.micros().saturating_sub(event_time.micros()).max(0))
    }

    /// For who goes through all values.
    pub fn reader(&self, column: usize) -> ColumnReader<'_> {
        ColumnReader::new(self, column)
    }

    /// Filled in by [`ColumnReader::value`].
    pub fn tally(&self) -> Tally {
        Tally::new(self.plan.meters.places())
    }

    /// Where the column's values are counted in a tally.
    pub(super) fn place(&self, column: usize) -> usize {
        match self.plan.columns[column].source {
            ValueSource::Group { group, .. } => group,
            ValueSource::Step(step) => self
                .plan
                .on_demand
                .as_ref()
                .map_or(0, |on_demand| self.plan.groups.len() + on_demand.computation.steps[step].view),
        }
    }
}
