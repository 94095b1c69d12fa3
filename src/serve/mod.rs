//! Answers: online reads and training sets.
//!
//! A request is resolved against the catalog and compiled into a [`Plan`]; online it becomes one lookup per
//! (view, entity), offline one point-in-time join per view. Validity is decided by the same function in both, and on-demand
//! features are then computed by the same expressions.

mod aggregates;
mod answer;
mod arrow_head;
mod column_reader;
mod computation;
mod entities;
mod entity_json;
mod error;
pub mod explain;
mod guard;
mod history;
mod meters;
mod online;
mod plan;
mod plans;
mod progress;
mod reads;
mod request;
pub mod sets;
mod spine_columns;
mod split;
mod status;
mod training;
mod until;
mod written;

pub use answer::{Answer, Found, Served};
pub use arrow_head::ArrowHead;
pub use column_reader::ColumnReader;
pub use computation::{Computation, Computed, Step};
pub use entities::Entities;
pub use error::ServeError;
pub use guard::{Leak, LeakGuard, add_leaks};
pub use meters::{Meters, Tally};
pub use plan::{KeyColumn, OnDemandPlan, Plan, PlanColumn, PlanGroup, StreamGroup, StreamPart, ValueSource};
pub use plans::{Asked, Plans, Wanted};
pub use progress::Progress;
pub use reads::{AsOf, Newest, ReadLimits, Reads};
pub use request::{request_columns, request_json};
pub use split::{HashSplit, KeyColumns, SPLIT, Split};
pub use status::Status;
pub use training::{TrainingRequest, TrainingSet};
pub use until::{Until, tables};
