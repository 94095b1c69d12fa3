//! The events in windows, as the join shows them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    compute::window::{Output, Span, Values},
    model::Timestamp,
    offline::{Watch, Watched},
};

/// Events that are listed of a window, the newest; all are counted.
const LISTED: usize = 100;

/// What a window holds.
#[derive(Debug, Clone)]
pub struct EventList {
    pub span: Span,
    pub total: u64,
    /// The newest, oldest of them first.
    pub newest: Vec<ListedEvent>,
}

#[derive(Debug, Clone)]
pub struct ListedEvent {
    pub event_time: Timestamp,
    pub seq: i64,
    pub accepted_at: Timestamp,
    /// In the aggregation's column; null where it has none.
    pub value: Output,
}

/// By group, and by the feature's position in its view.
#[derive(Debug, Default)]
pub struct EventLists(Mutex<BTreeMap<(usize, usize), EventList>>);

impl EventLists {
    pub fn finish(self) -> BTreeMap<(usize, usize), EventList> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// A watch over groupings whose aggregations are these.
    pub fn of(&self, places: Vec<Vec<(usize, usize)>>) -> EventWatch<'_> {
        EventWatch { lists: self, places }
    }
}

pub struct EventWatch<'a> {
    lists: &'a EventLists,
    places: Vec<Vec<(usize, usize)>>,
}

impl Watch for EventWatch<'_> {
    fn window(&self, grouping: usize, aggregations: &[usize], window: &Watched<'_>) {
        let Watched { span, series, accepted, within, .. } = window;
        let listed = within.start.max(within.end.saturating_sub(LISTED))..within.end;
        let newest: Vec<ListedEvent> = listed
            .map(|row| ListedEvent {
                event_time: Timestamp::from_micros(series.times[row]),
                seq: series.seqs.get(row).copied().unwrap_or_default(),
                accepted_at: Timestamp::from_micros(accepted[row]),
                value: value(&series.values, row),
            })
            .collect();
        let list = EventList { span: *span, total: within.len() as u64, newest };
        let mut lists = self.lists.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &aggregation in aggregations {
            lists.insert(self.places[grouping][aggregation], list.clone());
        }
    }
}

fn value(values: &Values<'_>, row: usize) -> Output {
    match values {
        Values::None => Output::Null,
        Values::Int(values) => Output::Int(values[row]),
        Values::Float(values) => Output::Float(values[row]),
        Values::Bytes { offsets, data } => {
            Output::Bytes(data[offsets[row] as usize..offsets[row + 1] as usize].to_vec())
        }
    }
}
