//! The newest row of each key that a group of writes brings.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    model::{TableId, in_key_order},
    shard::{Write, store::push_table_key},
};

/// Keys are not copied: a winner names the row that has its key.
#[derive(Default)]
pub(super) struct Winners {
    rows: HashTable<Winner>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Winner {
    /// Position among the group's writes, and in its batch.
    pub write: usize,
    pub row: usize,
    pub event_time: i64,
    /// The cache had an older one.
    pub cached: bool,
}

impl Winner {
    /// Sorted as in the store.
    fn key(self, writes: &[Write]) -> (TableId, &[u8]) {
        let batch = &writes[self.write].batch;
        (batch.schema.table, batch.key(self.row))
    }

    /// The value in the store; its key is put into `key`, instead of what was there.
    pub fn row<'w>(self, writes: &'w [Write], key: &mut Vec<u8>) -> &'w [u8] {
        let (table, entity) = self.key(writes);
        key.clear();
        push_table_key(table, entity, key);
        writes[self.write].batch.row(self.row)
    }
}

impl Winners {
    /// For this many rows.
    pub fn with_capacity(rows: usize) -> Winners {
        Winners { rows: HashTable::with_capacity(rows), hasher: DefaultHashBuilder::default() }
    }

    /// The one of a key so far.
    pub fn find(&mut self, writes: &[Write], table: TableId, key: &[u8]) -> Option<&mut Winner> {
        let hash = self.hasher.hash_one((table, key));
        self.rows.find_mut(hash, |winner| winner.key(writes) == (table, key))
    }

    /// The first of its key.
    pub fn insert(&mut self, writes: &[Write], winner: Winner) {
        let Winners { rows, hasher } = self;
        let hash = |winner: &Winner| hasher.hash_one(winner.key(writes));
        rows.insert_unique(hash(&winner), winner, hash);
    }

    /// In the order of their keys, in which a memtable takes them fastest: each lies near the one before it.
    pub fn sorted(&self, writes: &[Write]) -> Vec<Winner> {
        in_key_order(self.rows.iter().copied(), |winner| winner.key(writes))
    }
}
