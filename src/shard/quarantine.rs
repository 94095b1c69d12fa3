//! Rejected rows that a client asked to have kept.

use crate::{
    model::{TableId, TimeForm, Timestamp},
    shard::{
        ShardError,
        store::{Store, key_number, numbered_key},
    },
};

/// One rejected row and why.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct QuarantinedRow {
    pub batch_id: crate::model::BatchId,
    pub rejected_at: Timestamp,
    /// Row of the request's body, from 0.
    pub row: u64,
    pub field: Option<String>,
    pub reason: String,
    /// The row as it was sent, as far as it could be read.
    pub raw: serde_json::Value,
    /// It was to be merged: a retry keeps what it leaves out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub merge: bool,
    /// How its times were to be read.
    #[serde(flatten, default)]
    pub times: TimeForm,
}

/// Reads quarantined rows; any thread. They are written with the batch that rejected them.
#[derive(Clone)]
pub struct Quarantine(Store);

impl Quarantine {
    pub fn new(store: Store) -> Quarantine {
        Quarantine(store)
    }

    /// The oldest `limit` rows of a table with their numbers, those below `from` left out; fewer where they come to more than
    /// `max_bytes`, but one at the least.
    pub fn list(
        &self,
        table: TableId,
        from: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, QuarantinedRow)>, ShardError> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for guard in
            self.0.quarantine.range(numbered_key(table, from)..=numbered_key(table, u64::MAX)).take(limit)
        {
            let (key, value) = guard.into_inner()?;
            bytes += value.len();
            if bytes > max_bytes && !rows.is_empty() {
                break;
            }
            let row = serde_json::from_slice(&value)
                .map_err(|e| ShardError::Damaged(format!("a quarantined row cannot be read: {e}")))?;
            if let Some(number) = key_number(&key) {
                rows.push((number, row));
            }
        }
        Ok(rows)
    }
}
