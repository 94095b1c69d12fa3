//! Backups of a running node, and making a data directory of one.
//!
//! ```text
//! DIR/larder-backup                     whose backup it is; there from the first moment on
//! DIR/online/<backup id>/<keyspace>     the online store, exported
//! DIR/offline/<table>/…                 segments and Delta log, linked where the file system can, else copied
//! DIR/manifest.json                     every file with size and checksum: written last, so without it there is no backup
//! ```
//!
//! **Recovery point.** At the *barrier* every shard commits what it has accepted and stands still. In that moment, which
//! lasts milliseconds, the image of the online store and a snapshot of every table are taken; then writes go on and the
//! backup is written from what was taken. It holds everything that was acknowledged before the barrier, whole batches
//! only, and nothing that came after.
//!
//! **No row is missing and none is twice.** A row is in the outbox until a Delta commit that holds it has been
//! published, and only a shard truncates the outbox. While the shards stand still the segment writer may publish one more
//! commit, but only of rows that are committed. So a table's snapshot covers every row that the outbox of the image lacks,
//! and none that the image does not know. Where the two overlap, recovery truncates the outbox, as after a crash.
//! [`ImageCheck`](crate::shard::ImageCheck) holds every backup against this, and every restore again.
//!
//! **Incremental.** A later backup into the same directory writes the online store anew and takes over every file of
//! the earlier one that has not changed. The earlier one is whole until the new manifest takes its place; what only it
//! needed is removed after that.
//!
//! Named training sets are not in a backup: they follow from what is, and their files can be copied at any time.
//!
//! A hard link shares its bytes with the node's file: it survives the file's removal but not a broken disk. For that
//! the backup belongs on another file system, where files are copied.

mod blocks;
mod error;
mod files;
mod jobs;
mod manifest;
mod place;
mod restore;
mod take;

pub use error::BackupError;
pub use jobs::{Backups, Job, JobState};
pub use manifest::Manifest;
pub use restore::{Restored, check_restored, restore};
pub use take::Origin;
