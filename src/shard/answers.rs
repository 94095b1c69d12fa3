//! First answers under their idempotency keys.

use crate::{
    model::TableId,
    shard::{
        Applied, ShardError, StoredAnswer,
        store::{Store, table_key},
    },
};

/// Reads stored answers; any thread. They are written with the batch that they answer.
#[derive(Clone)]
pub struct Answers(Store);

impl Answers {
    pub fn new(store: Store) -> Answers {
        Answers(store)
    }

    /// The answer that an earlier request under this key got, where there is one; an error where that request was
    /// another one.
    pub fn find(&self, table: TableId, key: &str, fingerprint: u128) -> Result<Option<Applied>, ShardError> {
        match self.0.batches.get(table_key(table, key.as_bytes()))? {
            Some(bytes) => read(&bytes)?.replay(key, fingerprint).map(Some),
            None => Ok(None),
        }
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<StoredAnswer, ShardError> {
    serde_json::from_slice(bytes)
        .map_err(|e| ShardError::Damaged(format!("a stored answer cannot be read: {e}")))
}
