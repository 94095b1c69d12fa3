//! Named training sets: built by jobs, kept under a name and a version, made again to be verified.
//!
//! ```text
//! training_sets/NAME/VERSION/manifest.json   what it was made of, and what its bytes are
//! training_sets/NAME/VERSION/data.parquet    … or .csv, .ndjson, .json
//! training_sets/NAME/VERSION/spine.parquet   what was asked, for `verify`
//! training_sets/.jobs/ID/                    a job: job.json, its spine, and what it has made so far
//! ```
//!
//! **The same bytes.** A set is a function of its spine, of definitions by their versions, and of each table's rows up to
//! a number: the manifest names all three. Rows are in the spine's order, and the writer's bytes depend on schema and
//! rows alone. What is accepted later has higher numbers; sealing and compaction move rows without changing them.
//!
//! **Whole or not at all.** A job and its spine are durable before it is acknowledged; after a restart it is run again
//! from its beginning, to the same result. A version appears by the renaming of a directory that is complete.

mod build;
mod compare;
mod entry;
mod error;
mod folder;
mod hashed;
mod job;
mod jobs;
mod lineage;
mod manifest;
mod order;
mod portions;
mod spine;
mod verify;
mod worker;

pub use error::SetError;
pub use folder::{Folder, SetRef};
pub use job::{Job, JobState, Task, Verdict};
pub use jobs::{Origin, Sets};
pub use lineage::{SetLineage, set_lineage};
pub use manifest::{DataMark, Manifest, Order, SpineMark, TableMark, ViewMark};
pub use order::{Ask, KnownAt};
pub use spine::confined;
