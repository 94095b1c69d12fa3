//! One write on its way through a shard: what is asked, what is answered.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    model::{TableId, Timestamp},
    shard::{MergePlan, PreparedBatch, ShardError},
};

/// A batch for one table: stored as a whole or not at all.
#[derive(Debug)]
pub struct Write {
    pub batch: PreparedBatch,
    pub batch_id: crate::model::BatchId,
    /// Given by the client: the key and a fingerprint of the request.
    pub idempotency: Option<(String, u128)>,
    /// The key of the batch that it comes after: it is stored only where that one is.
    pub after: Option<String>,
    /// Whether history is kept.
    pub offline: bool,
    /// Rejected rows to keep for people to look at, JSON.
    pub quarantine: Vec<Vec<u8>>,
    /// Numbers of quarantined rows that this batch takes out of quarantine.
    pub release: Vec<u64>,
    /// What is noted with the rows: it is there exactly when they are.
    pub notes: Vec<Note>,
    /// Rows that leave features out.
    pub incomplete: u64,
    /// How these keep the features that they leave out; without it they are null.
    pub merge: Option<MergePlan>,
}

/// A small record beside the rows.
#[derive(Debug)]
pub struct Note {
    pub(super) key: String,
    /// None: it is forgotten.
    pub(super) value: Option<Vec<u8>>,
}

/// What a batch came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    pub batch_id: crate::model::BatchId,
    pub table: TableId,
    /// Rows stored.
    pub accepted: u64,
    /// Of these, rows that were older than the entity's newest and went into history only.
    pub late: u64,
    /// Events that were there before and were not stored again.
    pub deduplicated: u64,
    pub quarantined: u64,
    /// Rows that left features out: kept in a merge, null otherwise.
    #[serde(default)]
    pub incomplete: u64,
    /// One past the table's newest row.
    pub next_seq: u64,
    /// The batch was stored by an earlier request with the same Idempotency-Key.
    #[serde(skip)]
    pub replayed: bool,
}

impl Applied {
    /// By result, for metrics: every row of the batch that was stored is in exactly one of them.
    pub fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("accepted", self.accepted - self.late),
            ("late", self.late),
            ("deduplicated", self.deduplicated),
            ("quarantined", self.quarantined),
        ]
    }
}

/// Kept under the Idempotency-Key, in the same atomic batch as the rows.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StoredAnswer {
    pub fingerprint: u128,
    pub accepted_at: Timestamp,
    pub answer: Applied,
}

impl StoredAnswer {
    /// What a repeat of the request is answered.
    pub fn replay(self, key: &str, fingerprint: u128) -> Result<Applied, ShardError> {
        if self.fingerprint == fingerprint {
            Ok(Applied { replayed: true, ..self.answer })
        } else {
            Err(ShardError::IdempotencyMismatch(key.to_owned()))
        }
    }
}

/// A write with where to answer, and its share of the memory for writes in flight, given back when it is dropped.
#[derive(Debug)]
pub struct PendingWrite {
    pub write: Write,
    pub permit: OwnedSemaphorePermit,
    pub reply: oneshot::Sender<Result<Applied, ShardError>>,
}
