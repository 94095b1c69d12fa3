//! The online state of stream feature views: tiles and newest events of each entity, kept by the shard of their source.
//!
//! A *generation* is the state of one view for one set of aggregations. When a view's definition comes to need another
//! state, a new generation starts beside the one that serves: it counts every event from then on, the backfill brings in
//! the older ones, and then it takes over. Events and state change in one atomic batch.

mod calls;
mod columns;
mod entity;
mod generation;
mod plan;
mod prepare;
mod reconcile;
mod spec;
mod state;

pub use columns::DatumColumn;
pub(super) use entity::load;
pub use entity::{EntityState, StreamReader, aggregates};
pub(super) use generation::forget_all;
pub use generation::{Generation, Stage, StreamSet, Streams};
pub use plan::StreamPlan;
pub(super) use prepare::prepare;
pub use prepare::{HistoryEvent, HistoryEvents, PreparedStream, history_events};
pub use reconcile::{StreamDuty, StreamKeeper};
pub use spec::StreamSpec;
pub(super) use state::StreamStates;
pub use state::{BackfillStep, BackfilledEntity};
