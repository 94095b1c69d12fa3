//! Of an aggregate: its window, the events in it, and what answered.

use serde_json::Value as Json;

use crate::{
    model::{DataType, Timestamp},
    registry::Aggregation,
    serve::{
        Entities, Plan, PlanGroup, Reads, ServeError,
        aggregates::to_value,
        explain::{EventList, ListedEvent},
    },
};

#[derive(Debug, Clone, serde::Serialize)]
pub struct FromWindow {
    /// `state`: tiles and head of the online store. `history`: the window join.
    pub answered_by: &'static str,
    /// None where history answered, or no state has the aggregate yet.
    pub state: Option<StateRead>,
    /// Function, column, window, mode, filter, as defined.
    #[serde(flatten)]
    pub aggregation: Aggregation,
    /// Inclusive; none: all events before the end.
    pub start: Option<Timestamp>,
    /// Exclusive.
    pub end: Timestamp,
    /// Events in the window that the filter passes and whose value is not null.
    pub events_total: u64,
    /// The newest of them.
    pub events: Vec<Event>,
}

/// What was read of the online store's window state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct StateRead {
    pub generation: u32,
    /// Whether there are tiles: partial states of older events.
    pub tiles: bool,
    /// Bytes of events that are not in tiles yet.
    pub head_bytes: usize,
    pub cache_hit: bool,
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct Event {
    pub event_time: Timestamp,
    pub seq: i64,
    pub accepted_at: Timestamp,
    pub value: Json,
}

/// The state of each part of a stream view's group; to be asked before anything else reads it.
pub(super) fn states(
    reads: &Reads,
    plan: &Plan,
    group: &PlanGroup,
    entity: &Entities,
) -> Result<Vec<Option<StateRead>>, ServeError> {
    let mut by_feature = vec![None; group.view.features.len()];
    let (mut key, mut stored) = (Vec::new(), Vec::new());
    let Some(stream) = group.stream.as_ref().filter(|stream| !stream.from_history) else {
        return Ok(by_feature);
    };
    if !entity.encode_key(plan, group, 0, &mut key)? {
        return Ok(by_feature);
    }
    for part in &stream.parts {
        let (state, cache_hit) = reads.stream_reader.get(&part.generation, &key, &mut stored)?;
        for &feature in &part.features {
            by_feature[feature] = Some(StateRead {
                generation: part.generation.number,
                tiles: state.base.is_some(),
                head_bytes: state.recent().len(),
                cache_hit,
            });
        }
    }
    Ok(by_feature)
}

pub(super) fn from_window(
    aggregation: &Aggregation,
    state: Option<StateRead>,
    from_state: bool,
    list: EventList,
) -> FromWindow {
    let EventList { span, total, newest } = list;
    let event = |event: ListedEvent| Event {
        event_time: event.event_time,
        seq: event.seq,
        accepted_at: event.accepted_at,
        value: to_value(event.value, aggregation.column_type.as_ref().unwrap_or(&DataType::Int64)).to_json(),
    };
    FromWindow {
        answered_by: if from_state { "state" } else { "history" },
        state: state.filter(|_| from_state),
        aggregation: aggregation.clone(),
        start: span.start.map(Timestamp::from_micros),
        end: Timestamp::from_micros(span.end),
        events_total: total,
        events: newest.into_iter().map(event).collect(),
    }
}
