//! One column of an answer, read entity by entity. What is the same for all of them is looked at once.

use crate::{
    compute::as_of::Outcome,
    serve::{Answer, Found, PlanColumn, PlanGroup, Served, Status, Tally, ValueSource},
    shard::{Cell, Row, Slot},
};

pub struct ColumnReader<'a> {
    answer: &'a Answer,
    wanted: &'a PlanColumn,
    /// Where a column that is looked up is, with the number of its group.
    group: Option<(usize, &'a PlanGroup, usize)>,
    /// Where its values lie in rows of the version that was read last, if they have its own type there.
    slot: Option<(u32, Option<&'a Slot>)>,
    place: usize,
}

impl<'a> ColumnReader<'a> {
    pub(super) fn new(answer: &'a Answer, column: usize) -> ColumnReader<'a> {
        let wanted = &answer.plan.columns[column];
        let group = match wanted.source {
            ValueSource::Group { group, feature } => Some((group, &answer.plan.groups[group], feature)),
            ValueSource::Step(_) => None,
        };
        ColumnReader { answer, wanted, group, slot: None, place: answer.place(column) }
    }

    /// An entity's value, which is counted in `tally`.
    pub fn value(&mut self, entity: usize, tally: &mut Tally) -> (Served<'a>, Status) {
        let value = match self.present(entity) {
            Some(cell) => (Served::Cell(cell), Status::Present),
            None => self.answer.value_of(self.wanted, entity),
        };
        tally.add(self.place, value.1);
        value
    }

    /// What most values are: there, and in their row as they are served. None for all others.
    fn present(&mut self, entity: usize) -> Option<Cell<'a>> {
        let (number, group, feature) = self.group?;
        let Found::Row { row: Some(row), outcome: Outcome::Present } =
            &self.answer.found[entity * self.answer.plan.groups.len() + number]
        else {
            return None;
        };
        let row = Row(row);
        let version = row.schema_version();
        let slot = match self.slot {
            Some((of, slot)) if of == version => slot,
            _ => {
                let slot = group.slot(version, feature);
                let slot = slot.filter(|slot| slot.data_type == self.wanted.data_type);
                self.slot = Some((version, slot));
                slot
            }
        };
        match row.cell(slot?) {
            Cell::Null => None,
            cell => Some(cell),
        }
    }
}
