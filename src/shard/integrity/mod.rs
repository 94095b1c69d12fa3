//! Whether a data directory is what was written to it: asked before it is opened, while it is opened, and by hand.
//!
//! fjall takes damage in the middle of a journal for a torn end, cuts the file there and opens. So nothing is opened
//! before [`check_before_open`] has read the journals, and nothing is written before `recover` has compared what was
//! opened with the [`Watermark`] of what was acknowledged.

mod aside;
mod doctor;
mod format_file;
mod journal;
mod journal_check;
mod lz4;
mod mend;
mod preflight;
mod repair;
mod runs;
mod salvage;
mod settle;
mod swap;
mod watermark;

pub use doctor::{DoctorReport, TableHealth, doctor};
pub use format_file::FORMAT;
pub use journal_check::{Damage, JournalFile, Kind};
pub use repair::{Lost, LostCommits, RepairReport, repair};
pub use runs::MendedRuns;
pub use settle::settle;
pub use watermark::{Mark, Watermark};

pub(super) use format_file::{check_format, note_format, unknown};
pub use preflight::check_before_open;

pub(super) use preflight::check_not_in_use;
pub(super) use swap::check_no_swap;

/// The online store's directory within a data directory.
pub const ONLINE: &str = "online";
/// The offline store's directory within a data directory.
pub const OFFLINE: &str = "offline";
