//! Newest rows in memory. Only a shard's thread inserts or removes, after the commit and before the
//! acknowledgement, so that an entry is never older than what was acknowledged.

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, SieveConfig};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// What an entry costs beside its bytes: the key's and the value's headers, hash table and eviction links.
const OVERHEAD: usize = 120;

#[derive(Clone)]
pub struct RowCache(Cache<Box<[u8]>, Bytes, Xxh3DefaultBuilder>);

impl RowCache {
    // foyer asks the weighter of its own key type.
    #[allow(clippy::borrowed_box)]
    pub fn new(bytes: usize) -> RowCache {
        RowCache(
            CacheBuilder::new(bytes)
                .with_name("rows")
                .with_shards(16)
                // Of a hit it only notes that there was one; an LRU locks its list twice for each, which takes longer than the
                // rest of the lookup. What a scan brings in goes first.
                .with_eviction_config(SieveConfig)
                .with_hash_builder(Xxh3DefaultBuilder::new())
                .with_weighter(|key: &Box<[u8]>, row: &Bytes| key.len() + row.len() + OVERHEAD)
                .build(),
        )
    }

    /// The row of a [`table_key`](super::store::table_key).
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).map(|entry| entry.value().clone())
    }

    pub fn insert(&self, key: &[u8], row: &[u8]) {
        self.0.insert(key.into(), Bytes::copy_from_slice(row));
    }

    pub fn clear(&self) {
        self.0.clear();
    }
}
