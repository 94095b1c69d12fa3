//! Backfills: the events that a stream view's window state was born too late to see, counted from history.
//!
//! A new [`Generation`](crate::shard::Generation) counts what comes from then on. One thread works through those that
//! have older events to catch up with: it reads the source's history in parts by the hash of the entity's key, folds each
//! entity's events as the shard would have, and sends them to the shard in small portions, each stored together with
//! how far it is. So it goes on where it was after a crash, counts nothing twice, and never stops writes for long.

mod error;
mod fold;
mod jobs;

pub use error::BackfillError;
pub use jobs::{Backfill, BackfillState, Backfills, Origin};
