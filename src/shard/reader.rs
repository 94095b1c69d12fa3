//! Reads of the online store. Never through a mailbox: any thread, any number at once.

use crate::{
    model::TableId,
    shard::{
        ShardError,
        cache::{RowCache, StoredRow},
        store::{Store, push_table_key},
    },
};

/// Told of a row that was not in the cache, so that its shard can fill it in.
pub type OnMiss = std::sync::Arc<dyn Fn(TableId, &[u8]) + Send + Sync>;

/// A cloneable, read-only view of all shards' rows.
#[derive(Clone)]
pub struct ShardReader {
    store: Store,
    cache: RowCache,
    on_miss: OnMiss,
}

impl ShardReader {
    pub fn new(store: Store, cache: RowCache, on_miss: OnMiss) -> ShardReader {
        ShardReader { store, cache, on_miss }
    }

    /// The newest row of an entity, tombstone or not, and whether the cache had it. `key` is a scratch buffer.
    pub fn get(
        &self,
        table: TableId,
        entity: &[u8],
        key: &mut Vec<u8>,
    ) -> Result<(Option<StoredRow>, bool), ShardError> {
        key.clear();
        push_table_key(table, entity, key);
        if let Some(row) = self.cache.row(key) {
            return Ok((Some(row), true));
        }
        let Some(stored) = self.store.rows.get(&key)? else { return Ok((None, false)) };
        (self.on_miss)(table, key);
        // A copy: fjall's slice would keep its whole block in memory.
        Ok((Some(StoredRow::read(&stored)), false))
    }
}
