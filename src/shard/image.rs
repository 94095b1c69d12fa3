//! The online store as one consistent image: what a backup holds of it, and what a restore makes it from.
//!
//! fjall's snapshots may tear a batch: one that is taken while a batch goes into the memtables can show some of its
//! keys and not others, because something else (a flush, another batch) moves the visible sequence number past it. So an
//! image is only ever taken while every shard is [`Held`]: no batch of rows is under way, the snapshot lies exactly
//! between two commits, and what is written later has a higher number and stays out of sight. Only the registry may
//! write meanwhile, and its batches are of one key. The iterators are made at once and pin what they read, so the hold
//! lasts milliseconds and writing the image out takes as long as it likes.
//!
//! None of that is believed: [`ImageCheck`] holds each image against the rules of the store, when it is written and again
//! when it is read back.

use std::{collections::BTreeMap, path::Path};

use fjall::{Iter, OwnedWriteBatch as WriteBatch, PersistMode, Readable, Snapshot};

use crate::{
    model::{BatchId, TableId},
    shard::{
        Held, ShardError, TableState,
        blob::Blob,
        record,
        row::Row,
        store::{Store, StoreOptions, key_number},
    },
};

/// Bytes that a restore commits at a time.
const BATCH_BYTES: usize = 4 << 20;

/// The whole database between two commits.
pub struct Image {
    keyspaces: Vec<(&'static str, Iter)>,
    _snapshot: Snapshot,
}

impl Image {
    #[expect(clippy::disallowed_methods, reason = "no batch is under way that could be torn: see above")]
    pub fn take(store: &Store, _: &Held) -> Image {
        let snapshot = store.db.snapshot();
        let keyspaces = store.keyspaces().map(|(name, keyspace)| (name, snapshot.iter(keyspace))).into();
        Image { keyspaces, _snapshot: snapshot }
    }

    /// Its keyspaces; tables come before what refers to them.
    pub fn keyspaces(self) -> impl Iterator<Item = (&'static str, Entries)> {
        self.keyspaces.into_iter().map(|(name, iter)| (name, Entries(iter)))
    }
}

/// One keyspace's entries, ascending by key.
pub struct Entries(Iter);

impl Entries {
    /// Hands each key and value to `sink`.
    pub fn each<E: From<ShardError>>(
        self,
        mut sink: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for guard in self.0 {
            let (key, value) = guard.into_inner().map_err(ShardError::from)?;
            sink(&key, &value)?;
        }
        Ok(())
    }
}

/// Builds a database from an image.
pub struct Import {
    store: Store,
    batch: WriteBatch,
    bytes: usize,
}

impl Import {
    /// `dir` has no database yet.
    pub fn into(dir: &Path, options: StoreOptions, shards: usize) -> Result<Import, ShardError> {
        let (store, _) = Store::open(dir, options, shards)?;
        Ok(Import { batch: store.db.batch(), store, bytes: 0 })
    }

    pub fn insert(&mut self, keyspace: &str, key: &[u8], value: &[u8]) -> Result<(), ShardError> {
        let found = self.store.keyspaces().into_iter().find(|(name, _)| *name == keyspace);
        let Some((name, into)) = found else {
            return Err(ShardError::Damaged(format!("there is no keyspace `{keyspace}`")));
        };
        // What the directory was created with stands: its format is this version's, and its shards are the image's.
        if name == "meta" && into.contains_key(key)? {
            return Ok(());
        }
        self.batch.insert(into, key, value);
        self.bytes += key.len() + value.len();
        if self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// On return everything survives a power loss.
    pub fn finish(mut self) -> Result<Store, ShardError> {
        self.flush()?;
        self.store.db.persist(PersistMode::SyncAll)?;
        Ok(self.store)
    }

    fn flush(&mut self) -> Result<(), ShardError> {
        self.bytes = 0;
        std::mem::replace(&mut self.batch, self.store.db.batch()).commit()?;
        Ok(())
    }
}

impl Store {
    /// The name of this data directory for ever, given when it is first asked for. A restored directory keeps it.
    pub fn node_id(&self) -> Result<BatchId, ShardError> {
        const NODE: &str = "node";
        if let Some(bytes) = self.meta.get(NODE)? {
            return serde_json::from_slice(&bytes)
                .map_err(|e| ShardError::Damaged(format!("the stored `{NODE}` cannot be read: {e}")));
        }
        let id = BatchId::fresh();
        self.meta.insert(NODE, record::encode(&id))?;
        self.db.persist(PersistMode::SyncAll)?;
        Ok(id)
    }
}

/// Whether entries are a whole image: every acknowledged row once, in the outbox or in a segment, and none beyond.
#[derive(Default)]
pub struct ImageCheck {
    tables: BTreeMap<TableId, Table>,
    entries: u64,
}

struct Table {
    state: TableState,
    first_in_outbox: Option<u64>,
    /// Of the newest blob.
    last_crc: Option<u32>,
    end_of_outbox: u64,
}

impl ImageCheck {
    /// Takes each entry in the order of [`Image::keyspaces`].
    pub fn see(&mut self, keyspace: &str, key: &[u8], value: &[u8]) -> Result<(), ShardError> {
        self.entries += 1;
        match keyspace {
            "tables" => self.see_table(key, value),
            "rows" => self.see_row(key, value),
            "outbox" => self.see_blob(key, value),
            _ => Ok(()),
        }
    }

    /// What is wrong with the image as a whole. `sealed_seq` says how many of a table's rows its segments hold.
    pub fn finish(
        &self,
        sealed_seq: impl Fn(TableId) -> u64,
    ) -> Result<BTreeMap<TableId, TableState>, ShardError> {
        for (id, table) in &self.tables {
            let state = &table.state;
            if table.last_crc.is_some_and(|crc| crc != state.last_crc) {
                return Err(torn(*id, "the outbox does not end with the newest blob"));
            }
            if table.end_of_outbox > state.next_seq {
                return Err(torn(*id, "the outbox has rows that are not committed"));
            }
            let in_segments = sealed_seq(*id);
            if in_segments > state.next_seq {
                return Err(torn(
                    *id,
                    &format!("the segments hold rows up to {in_segments}, {} are committed", state.next_seq),
                ));
            }
            let first = table.first_in_outbox.unwrap_or(state.next_seq);
            if first > in_segments {
                let reason = format!("rows {in_segments} to {first} are in neither segment nor outbox");
                return Err(torn(*id, &reason));
            }
        }
        Ok(self.tables.iter().map(|(id, table)| (*id, table.state)).collect())
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn see_table(&mut self, key: &[u8], value: &[u8]) -> Result<(), ShardError> {
        let id = table_of(key)?;
        let state =
            serde_json::from_slice(value).map_err(|e| torn(id, &format!("its state cannot be read: {e}")))?;
        self.tables.insert(id, Table { state, first_in_outbox: None, last_crc: None, end_of_outbox: 0 });
        Ok(())
    }

    fn see_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), ShardError> {
        let id = table_of(key)?;
        let seq = Row(value).seq();
        match self.tables.get(&id) {
            // A row that is served and not kept as history has no number.
            Some(table) if seq == 0 || seq < table.state.next_seq => Ok(()),
            _ => Err(torn(id, &format!("the online row {seq} is not committed"))),
        }
    }

    fn see_blob(&mut self, key: &[u8], value: &[u8]) -> Result<(), ShardError> {
        let id = table_of(key)?;
        let blob = Blob::open(value).ok_or_else(|| torn(id, "an outbox blob fails its checksum"))?;
        let first = blob.header.first_seq;
        if key_number(key) != Some(first) {
            return Err(torn(id, &format!("the outbox blob of row {first} is under another number")));
        }
        let table =
            self.tables.get_mut(&id).ok_or_else(|| torn(id, "there are rows in the outbox, but no state"))?;
        if table.last_crc.is_some_and(|crc| crc != blob.header.prev_crc) {
            return Err(torn(id, &format!("the outbox has a gap before row {first}")));
        }
        table.first_in_outbox.get_or_insert(first);
        table.last_crc = Some(blob.crc);
        table.end_of_outbox = blob.end_seq();
        Ok(())
    }
}

fn table_of(key: &[u8]) -> Result<TableId, ShardError> {
    let id = key.get(..4).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
    id.map(TableId).ok_or_else(|| ShardError::Damaged("a key names no table".to_owned()))
}

fn torn(table: TableId, reason: &str) -> ShardError {
    ShardError::Damaged(format!("table {}: {reason}", table.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Timestamp, shard::blob, shard::store::numbered_key};

    const ID: TableId = TableId(3);

    fn blob(prev_crc: u32, first_seq: u64, rows: u32) -> (Vec<u8>, u32) {
        let header = blob::BlobHeader {
            prev_crc,
            first_seq,
            rows,
            accepted_at: Timestamp::from_micros(1),
            batch_id: [0; 16],
        };
        blob::encode(&header, b"")
    }

    fn row(seq: u64) -> Vec<u8> {
        let mut row = Vec::new();
        crate::shard::row::encode_tombstone(1, Timestamp::from_micros(0), &mut row);
        crate::shard::row::set_seq(&mut row, seq);
        row
    }

    /// Two blobs, rows 4..6 and 6..9, of a table with 9 rows; `change` may spoil the state.
    fn seen(change: impl FnOnce(&mut TableState)) -> (ImageCheck, Vec<u8>) {
        let (first, crc) = blob(77, 4, 2);
        let (second, last_crc) = blob(crc, 6, 3);
        let mut state = TableState { next_seq: 9, last_crc, ..TableState::default() };
        change(&mut state);
        let mut check = ImageCheck::default();
        check.see("tables", &3u32.to_be_bytes(), &serde_json::to_vec(&state).unwrap()).unwrap();
        check.see("outbox", &numbered_key(ID, 4), &first).unwrap();
        (check, second)
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, ShardError>, reason: &str) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn a_whole_image_is_accepted() {
        let (mut check, second) = seen(|_| {});
        check.see("outbox", &numbered_key(ID, 6), &second).unwrap();
        check.see("rows", b"\0\0\0\x03key", &row(8)).unwrap();
        for sealed in [4, 6, 9] {
            assert_eq!(check.finish(|_| sealed).unwrap()[&ID].next_seq, 9);
        }
        assert_eq!(check.entries(), 4);
    }

    #[test]
    fn what_is_torn_is_refused() {
        let (mut check, second) = seen(|_| {});
        refused(check.finish(|_| 4), "does not end with the newest blob");
        refused(check.see("rows", b"\0\0\0\x03key", &row(9)), "online row 9 is not committed");
        refused(check.see("outbox", &numbered_key(ID, 7), &second), "under another number");
        let (stranger, _) = blob(1, 6, 3);
        refused(check.see("outbox", &numbered_key(ID, 6), &stranger), "a gap before row 6");
        refused(check.see("outbox", &numbered_key(ID, 6), &second[1..]), "fails its checksum");
        check.see("outbox", &numbered_key(ID, 6), &second).unwrap();
        refused(check.finish(|_| 3), "rows 3 to 4 are in neither");
        refused(check.finish(|_| 10), "the segments hold rows up to 10, 9 are committed");
        let (mut check, second) = seen(|state| state.next_seq = 8);
        check.see("outbox", &numbered_key(ID, 6), &second).unwrap();
        refused(check.finish(|_| 4), "rows that are not committed");
    }
}
