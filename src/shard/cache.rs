//! What is newest, in memory: rows, and states of windows. Only a shard's thread inserts or removes, after the commit and
//! before the acknowledgement, so that an entry is never older than what was acknowledged.

use std::{fmt, ops::Deref};

use foyer::{Cache, CacheBuilder, CacheEntry, SieveConfig};
use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use crate::shard::stream::EntityState;

/// Most keys lie in the entry itself, so that a lookup need not fetch another line of memory to compare it.
type Key = SmallVec<[u8; 24]>;

#[derive(Debug)]
enum Newest {
    Row(Box<[u8]>),
    State(EntityState),
}

type Entry = CacheEntry<Key, Newest, Xxh3DefaultBuilder>;

/// What an entry costs beside its bytes: itself, its place in the table, and what the allocator adds to both.
const OVERHEAD: usize = 240;

#[derive(Clone)]
pub struct RowCache(Cache<Key, Newest, Xxh3DefaultBuilder>);

impl RowCache {
    pub fn new(bytes: usize) -> RowCache {
        RowCache(
            CacheBuilder::new(bytes)
                .with_name("rows")
                .with_shards(16)
                // Of a hit it only notes that there was one; an LRU locks its list twice for each, which takes longer than the
                // rest of the lookup. What a scan brings in goes first.
                .with_eviction_config(SieveConfig)
                .with_hash_builder(Xxh3DefaultBuilder::new())
                .with_weighter(weight)
                .build(),
        )
    }

    /// The row of a [`table_key`](super::store::table_key).
    pub fn row(&self, key: &[u8]) -> Option<StoredRow> {
        self.0.get(key).map(|entry| StoredRow(Held::Cached(entry)))
    }

    pub fn insert_row(&self, key: &[u8], row: &[u8]) {
        self.0.insert(key.into(), Newest::Row(row.into()));
    }

    /// The state of an entity's windows; the key is its generation's prefix and the entity's key.
    pub(super) fn state(&self, key: &[u8]) -> Option<EntityState> {
        match self.0.get(key)?.value() {
            Newest::State(state) => Some(state.clone()),
            Newest::Row(_) => None,
        }
    }

    pub(super) fn insert_state(&self, key: &[u8], state: EntityState) {
        self.0.insert(key.into(), Newest::State(state));
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.0.contains(key)
    }

    /// Bytes, about.
    pub fn size(&self) -> usize {
        self.0.usage()
    }

    pub fn clear(&self) {
        self.0.clear();
    }
}

fn weight(key: &Key, newest: &Newest) -> usize {
    let key = if key.spilled() { key.len() } else { 0 };
    let newest = match newest {
        Newest::Row(row) => row.len(),
        Newest::State(state) => state.weight(),
    };
    key + newest + OVERHEAD
}

/// The bytes of a row, in the cache's memory where they came from there.
#[derive(Clone)]
pub struct StoredRow(Held);

#[derive(Clone)]
enum Held {
    Cached(Entry),
    Read(Box<[u8]>),
}

impl StoredRow {
    /// Of bytes that are not in the cache.
    pub fn read(bytes: &[u8]) -> StoredRow {
        StoredRow(Held::Read(bytes.into()))
    }
}

impl Deref for StoredRow {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Read(bytes) => bytes,
            Held::Cached(entry) => match entry.value() {
                Newest::Row(row) => row,
                Newest::State(_) => &[],
            },
        }
    }
}

impl fmt::Debug for StoredRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredRow").field(&&**self).finish()
    }
}
