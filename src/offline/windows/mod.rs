//! Windows over a source's history, at the times of a spine.
//!
//! One pass over the source serves all aggregations of a request. Row groups are read on all cores; of their events
//! only those are kept that some question can see, as plain columns and in partitions by entity. Then each
//! partition is put in order and the kernel slides its windows over one entity after the other, again on all cores.
//! Where the events kept outgrow the memory given, partitions are let go and another pass is made for them.

mod collect;
mod evaluate;
mod events;
mod join;
mod output;
mod partition;
mod plan;
mod questions;
mod tasks;
mod watch;

use std::sync::Arc;

use arrow::{array::RecordBatch, buffer::BooleanBuffer};

use crate::{
    compute::window::{Function, Window},
    model::Column,
    offline::{History, SpineKeys},
};

pub use join::window_join;
pub use watch::{Watch, Watched};

/// Says which rows count.
pub struct EventFilter {
    /// What `mask` looks at.
    pub columns: Vec<String>,
    /// One bit for each row of a batch that has at least `columns`, in the history's types.
    #[allow(clippy::type_complexity)]
    pub mask: Box<dyn Fn(&RecordBatch) -> BooleanBuffer + Send + Sync>,
}

/// The events that an aggregation looks at: those that the filter passes and whose value is not null.
#[derive(Clone)]
pub struct EventSeries {
    /// The column, in the type in which it is wanted.
    pub column: Option<Column>,
    /// The same filter for several aggregations is to be the same `Arc`: it is asked once then.
    pub filter: Option<Arc<EventFilter>>,
}

pub struct Aggregation {
    pub events: EventSeries,
    pub function: Function,
    pub window: Window,
}

/// Aggregations whose entity is made of the same columns of the source.
pub struct Grouping<'a> {
    /// The source's columns that are the entity's join keys, in the entity's order and types.
    pub keys: &'a [Column],
    /// As many as there are times; an empty one is an entity without events.
    pub spine: SpineKeys<'a>,
    pub aggregations: &'a [Aggregation],
}

/// What windows over a source's events give at each row of a spine.
pub struct WindowJoin<'a> {
    /// Of the source; it has no tombstones.
    pub history: &'a History,
    /// Microseconds.
    pub times: &'a [i64],
    pub groupings: &'a [Grouping<'a>],
    /// An event counts from its event time + `lag` (microseconds) on.
    pub lag: i64,
    /// Events accepted later (microseconds) do not exist.
    pub known_at: Option<i64>,
    /// Nor those accepted after the time of the row that asks.
    pub by_then: bool,
    /// Is shown the events behind every answer; with it the join takes longer.
    pub watch: Option<&'a dyn Watch>,
    /// Bytes of events to keep at a time. One entity's events are always kept together.
    pub memory: usize,
}
