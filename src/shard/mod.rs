//! The online store: single writers over fjall, readers beside them, a coherent cache between.
//!
//! This module alone knows fjall, foyer, key bytes and the row codec. A table (a view's or a source's rows) belongs
//! to one shard for ever; a request is one atomic fjall batch of rows, outbox, batch id and table state. Reads go
//! through [`ShardReader`] and never wait in a mailbox.

pub mod actor;
mod ahead;
mod answers;
mod blob;
mod builder;
mod cache;
mod checkpoint;
mod error;
mod group;
mod hold;
mod image;
pub mod integrity;
mod invariants;
mod key_columns;
mod merge;
mod outbox;
mod prepare;
mod quarantine;
mod reader;
mod record;
mod recovery;
mod registry_log;
mod row;
mod run;
mod run_log;
#[allow(clippy::module_inception)]
mod shard;
mod shards;
mod store;
mod stream;
mod table_state;
mod tails;
#[cfg(test)]
mod tests;
mod upkeep;
mod winners;
mod write;

pub use ahead::{MOST_AHEAD, version_at};
pub use answers::Answers;
pub use builder::ColumnBuilder;
pub use cache::{RowCache, StoredRow};
pub use checkpoint::{Checkpoint, Checkpoints, MOST_NAME, MOST_VALUE};
pub use error::ShardError;
pub use hold::Held;
pub use image::{Entries, Image, ImageCheck, Import};
pub use merge::{Base, LateBases, MergePlan};
pub use outbox::{Outbox, slots};
pub use prepare::PreparedBatch;
pub use quarantine::{Quarantine, QuarantinedRow};
pub use reader::ShardReader;
pub use recovery::recover;
pub use registry_log::FjallRegistryLog;
pub use row::{Cell, Row, RowLayout, Slot, array_items};
pub use run::{Cause, Run, RunState};
pub use run_log::RunLog;
pub use shard::{Durability, Shard, ShardOptions, Warming};
pub use shards::{ShardStatus, Shards, WriteLimits, free_bytes};
pub use store::{Flushed, Store, StoreOptions};
pub use stream::{
    BackfillStep, BackfilledEntity, DatumColumn, EntityState, Generation, HistoryEvent, HistoryEvents, Stage,
    StreamDuty, StreamPlan, StreamReader, StreamSet, StreamSpec, Streams, aggregates, history_events,
};
pub use table_state::{Committed, CommittedTables, TableState};
pub use write::{Applied, Note, PendingWrite, StoredAnswer, Write};
