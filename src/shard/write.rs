//! One write on its way through a shard: what is asked, what is answered.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    model::{BatchId, TableId, Timestamp},
    shard::{MergePlan, PreparedBatch, ShardError},
};

/// A batch for one table: stored as a whole or not at all. [`Write::of`] makes it, and each method adds one thing.
#[derive(Debug)]
pub struct Write {
    pub(super) batch: PreparedBatch,
    pub(super) batch_id: BatchId,
    /// Given by the client: the key and a fingerprint of the request.
    pub(super) idempotency: Option<(String, u128)>,
    /// The key of the batch that it comes after: it is stored only where that one is.
    pub(super) after: Option<String>,
    /// Whether history is kept.
    pub(super) offline: bool,
    /// Rejected rows to keep for people to look at, JSON.
    pub(super) quarantine: Vec<Vec<u8>>,
    /// Numbers of quarantined rows that this batch takes out of quarantine.
    pub(super) release: Vec<u64>,
    /// Records beside the rows: they are there exactly when the rows are.
    pub(super) notes: Vec<Note>,
    /// Rows that leave features out.
    pub(super) incomplete: u64,
    /// How these keep the features that they leave out; without it they are null.
    pub(super) merge: Option<MergePlan>,
}

impl Write {
    /// The rows alone, under a batch id of their own. `offline`: whether history is kept.
    pub fn of(batch: PreparedBatch, offline: bool) -> Write {
        Write {
            batch,
            batch_id: BatchId::fresh(),
            idempotency: None,
            after: None,
            offline,
            quarantine: Vec::new(),
            release: Vec::new(),
            notes: Vec::new(),
            incomplete: 0,
            merge: None,
        }
    }

    pub fn with_id(self, batch_id: BatchId) -> Write {
        Write { batch_id, ..self }
    }

    /// Answers a repeat of the request, which has the same key and fingerprint, as the first.
    pub fn idempotent(self, key: Option<String>, fingerprint: u128) -> Write {
        Write { idempotency: key.map(|key| (key, fingerprint)), ..self }
    }

    pub fn after(self, key: Option<String>) -> Write {
        Write { after: key, ..self }
    }

    /// Keeps rejected rows, as JSON.
    pub fn quarantining(self, rows: Vec<Vec<u8>>) -> Write {
        Write { quarantine: rows, ..self }
    }

    /// Takes rows of these numbers out of quarantine.
    pub fn releasing(self, numbers: Vec<u64>) -> Write {
        Write { release: numbers, ..self }
    }

    /// Stores these records with the rows.
    pub fn noting(mut self, notes: impl IntoIterator<Item = Note>) -> Write {
        self.notes.extend(notes);
        self
    }

    /// Counts rows that leave features out, which stay null.
    pub fn incomplete(self, rows: u64) -> Write {
        Write { incomplete: rows, ..self }
    }

    /// Keeps the features that rows leave out.
    pub fn merging(self, plan: Option<MergePlan>) -> Write {
        Write { merge: plan, ..self }
    }

    pub fn batch(&self) -> &PreparedBatch {
        &self.batch
    }

    /// How many rows it takes out of quarantine.
    pub fn released(&self) -> usize {
        self.release.len()
    }

    /// The key of the batch that this one comes after.
    pub fn predecessor(&self) -> Option<&str> {
        self.after.as_deref()
    }
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
    pub batch_id: BatchId,
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
