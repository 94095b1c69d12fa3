//! What can go wrong in the online store.

use crate::error::{Code, Coded, Detail, is_full, out_of_descriptors};

#[derive(Debug, Clone, thiserror::Error)]
pub enum ShardError {
    #[error("too many writes are in flight ({0}); try again in a moment")]
    Overloaded(&'static str),
    #[error(
        "the shard stopped while it had this batch, so it may or may not be stored; \
         retry with the same Idempotency-Key"
    )]
    Stopped,
    #[error("shard {0} is restarting; try again in a moment")]
    Restarting(usize),
    #[error("the shards did not come to a stop within {0} s; try again when fewer writes are queued")]
    Busy(u64),
    #[error("the node is shutting down and takes no more writes")]
    Draining,
    #[error(
        "the online store refuses writes after a failed write or sync ({0}); reads go on, the node restarts"
    )]
    Poisoned(String),
    #[error("the process has no file descriptor left ({0}); try again in a moment, or raise its limit")]
    OutOfDescriptors(String),
    #[error("writes are refused, reads go on: {0}")]
    ReadOnly(String),
    #[error(
        "the disk is full: {0}; the online store refuses writes until there is room and the node has restarted, reads go on"
    )]
    DiskFull(String),
    #[error("only {free} bytes are free on the data directory's disk, writes need {needed}; reads go on")]
    StorageFull { free: u64, needed: u64 },
    #[error("the definitions changed while the batch was on its way; send it again")]
    Redefined,
    #[error("the Idempotency-Key `{0}` was used before with another body")]
    IdempotencyMismatch(String),
    #[error("the batch `{0}`, which this one comes after, is not stored; send this one again when it is")]
    OutOfTurn(String),
    /// By position in the batch: rows that are older than what is stored of their entities, and rows with a column that must
    /// not be null and that nothing is stored for.
    #[error(
        "the batch has rows that are older than what is written to their entities again and again; try again in a moment"
    )]
    Unmerged { late: Vec<usize>, lacking: Vec<(usize, usize)> },
    #[error("with the features that they keep the rows take more than {0} bytes; send fewer at a time")]
    MergedTooLarge(usize),
    #[error(
        "the entity has {limit} versions in the future, and this batch brings one more; a view without history (offline = false) \
         keeps no more of them: write them later, or keep the view's history"
    )]
    TooManyAhead { row: usize, limit: usize },
    #[error("the online store: {0}")]
    Store(String),
    #[error("the data directory is damaged: {0}")]
    Damaged(String),
}

impl Coded for ShardError {
    fn code(&self) -> Code {
        match self {
            ShardError::Overloaded(_) => Code::Overloaded,
            ShardError::Stopped
            | ShardError::Restarting(_)
            | ShardError::Busy(_)
            | ShardError::Draining
            | ShardError::Redefined
            | ShardError::Unmerged { .. }
            | ShardError::Poisoned(_)
            | ShardError::OutOfDescriptors(_)
            | ShardError::ReadOnly(_) => Code::Unavailable,
            ShardError::StorageFull { .. } | ShardError::DiskFull(_) => Code::StorageFull,
            ShardError::IdempotencyMismatch(_) | ShardError::TooManyAhead { .. } => Code::Invalid,
            ShardError::MergedTooLarge(_) => Code::TooLarge,
            ShardError::OutOfTurn(_) => Code::Conflict,
            ShardError::Store(_) | ShardError::Damaged(_) => Code::Internal,
        }
    }

    fn details(&self) -> Vec<Detail> {
        match self {
            ShardError::IdempotencyMismatch(_) => vec![Detail {
                row: None,
                field: Some("Idempotency-Key".to_owned()),
                reason: "use a new key for a new body".to_owned(),
            }],
            ShardError::TooManyAhead { row, limit } => vec![Detail {
                row: Some(*row as u64),
                field: None,
                reason: format!("no more than {limit} versions of an entity may be in the future"),
            }],
            _ => Vec::new(),
        }
    }
}

impl ShardError {
    /// A commit or a sync that failed: fjall takes no more writes after it.
    pub fn failed_write(error: &fjall::Error) -> ShardError {
        match error {
            fjall::Error::Io(io) if is_full(io) => ShardError::DiskFull(io.to_string()),
            other => ShardError::Poisoned(other.to_string()),
        }
    }
}

impl From<fjall::Error> for ShardError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Poisoned => ShardError::Poisoned("the journal is poisoned".to_owned()),
            fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io))
                if out_of_descriptors(&io) =>
            {
                ShardError::OutOfDescriptors(io.to_string())
            }
            other => ShardError::Store(other.to_string()),
        }
    }
}
