//! History: each table's rows as a Delta table of sorted Parquet segments, and point-in-time reads of it.
//!
//! A row is in exactly one place: in a segment (`_seq` below the table's `sealed_seq`), or in the tail that the online
//! store still holds. [`Table::append`] moves a range from the one to the other in one durable Delta commit, which
//! carries `sealed_seq` as its transaction version. [`History`] reads both as one; [`as_of_join`] and [`window_join`]
//! answer from it.
//!
//! Nothing here is an actor and nothing here is async; everything may be called from any thread that may block.

pub mod actor;
mod byte_budget;
mod choose;
mod compact;
mod delta_log;
mod delta_read;
mod durable;
mod error;
mod evolve;
mod expire;
mod fetch;
mod files;
mod history;
mod inspect;
mod join;
mod latest;
mod layout;
mod leaks;
mod log_check;
mod log_cleanup;
mod log_end;
mod merge;
mod options;
mod orphans;
mod parallel;
mod picked;
mod portions;
mod restate;
mod scrub;
mod segment;
mod segment_read;
mod segment_write;
mod seqs;
mod sort;
mod stats;
mod stats_float;
mod stats_text;
mod store;
mod table;
mod tags;
mod tail;
#[cfg(test)]
mod tests;
mod windows;

pub use byte_budget::ByteBudget;
pub use compact::CompactOutcome;
pub use durable::{NewFile, Written, sync_dir};
pub use error::OfflineError;
pub use files::TableFile;
pub use history::{History, Scan};
pub use inspect::{Inspector, TableInspection};
pub use join::{AsOf, AsOfResult, SpineKeys, as_of_join, as_of_joins, spines};
pub use leaks::{Chosen, accepted_later, chosen};
pub use log_cleanup::LogHold;
pub use options::OfflineOptions;
pub use portions::{Portion, Rows, Visible};
pub use scrub::{CorruptFile, ScrubLog, ScrubReport, Scrubber};
pub use segment::Segment;
pub use store::OfflineStore;
pub use table::{Sealed, Table, TableSnapshot};
pub use tail::{NoTail, Tail, TailError, TailRows, Unsealed};
pub use windows::{Aggregation, EventFilter, EventSeries, Grouping, Watch, Watched, WindowJoin, window_join};
