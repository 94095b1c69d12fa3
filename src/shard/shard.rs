//! The single writer of its tables: turns a group of writes into one atomic fjall batch.
//!
//! Plain and synchronous; the actor around it only unpacks messages.

use std::{collections::BTreeMap, time::Instant};

use fjall::PersistMode;
use hashbrown::HashMap;

use crate::{
    clock::Clock,
    failpoint, metrics,
    model::TableId,
    shard::{
        Applied, CommittedTables, ShardError, StreamDuty, TableState, Write,
        cache::RowCache,
        group::Group,
        record,
        store::Store,
        stream::{StreamKeeper, StreamStates},
        winners::Winners,
    },
};

/// What an acknowledgement promises (durability.md: the three promises).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The batch is in the journal and fdatasync returned.
    Fsync,
    /// The journal is with the operating system; [`Shard::sync`] is called at an interval.
    Interval,
    /// The journal is with the operating system.
    Buffer,
}

/// What a key that a reader missed is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warming {
    Row,
    State,
}

#[derive(Debug, Clone, Copy)]
pub struct ShardOptions {
    pub durability: Durability,
    /// Quarantined rows kept per table; older ones go first.
    pub quarantine_rows: u64,
    /// Bytes of quarantined rows kept per table.
    pub quarantine_bytes: u64,
}

pub struct Shard {
    pub(super) store: Store,
    pub(super) cache: RowCache,
    pub(super) committed: CommittedTables,
    pub(super) clock: Clock,
    pub(super) options: ShardOptions,
    pub(super) tables: BTreeMap<TableId, TableState>,
    name: String,
    pub(super) keeper: StreamKeeper,
    /// The key at which [`Shard::forget_answers`] goes on.
    pub(super) forget_from: Vec<u8>,
}

/// A group that writes more keys than this leaves in the cache only what was there: a backfill would push out what is read.
const MOST_FRESH: usize = 4096;

impl Shard {
    pub fn new(
        name: String,
        store: Store,
        cache: RowCache,
        committed: CommittedTables,
        clock: Clock,
        options: ShardOptions,
        duty: StreamDuty,
    ) -> Shard {
        // After a panic the cache may lack what was committed last.
        cache.clear();
        Shard {
            keeper: StreamKeeper::new(store.clone(), duty),
            store,
            cache,
            committed,
            clock,
            options,
            tables: BTreeMap::new(),
            name,
            forget_from: Vec::new(),
        }
    }

    /// Commits `writes` in one atomic batch with one sync, in their order. Each is answered on its own; an error
    /// of the store answers all of them and stores none.
    pub fn commit(&mut self, writes: &mut [Write]) -> Vec<Result<Applied, ShardError>> {
        let started = Instant::now();
        // Definitions that were there before a write count it.
        if let Err(error) = self.reconcile() {
            return std::iter::repeat_n(Err(error), writes.len()).collect();
        }
        let synced = self.options.durability == Durability::Fsync;
        // Without a mode fjall keeps the batch in its own memory, and kill -9 would take it.
        let durability = if synced { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut group = Group {
            batch: self.store.db.batch().durability(Some(durability)),
            tables: BTreeMap::new(),
            ahead: HashMap::new(),
            now: self.clock.now().micros(),
            winners: Winners::with_capacity(writes.iter().map(|write| write.batch.len()).sum()),
            answers: HashMap::new(),
            event_ids: hashbrown::HashSet::new(),
            outbox_bytes: BTreeMap::new(),
            stored: Vec::new(),
            merged_bytes: 0,
            counting: self.keeper.counting(),
            states: StreamStates::default(),
        };
        let mut results = Vec::with_capacity(writes.len());
        for index in 0..writes.len() {
            match self.gather(index, writes, &mut group) {
                Ok(result) => results.push(result),
                // Reading the store failed halfway through this write: nothing of the group is stored.
                Err(error) => return std::iter::repeat_n(Err(error), writes.len()).collect(),
            }
        }
        let (mut winners, mut key) = (group.winners.sorted(writes), Vec::new());
        if !group.ahead.is_empty() {
            winners.retain(|winner| {
                winner.row(writes, &mut key);
                !group.ahead.contains_key(&key)
            });
        }
        for winner in &winners {
            let row = winner.row(writes, &mut key);
            group.batch.insert(&self.store.rows, key.as_slice(), row);
        }
        let ahead: Vec<(Vec<u8>, Vec<u8>)> =
            group.ahead.into_iter().map(|(key, versions)| (key, versions.encode())).collect();
        for (key, versions) in &ahead {
            group.batch.insert(&self.store.rows, key.as_slice(), versions.as_slice());
        }
        for (table, state) in &mut group.tables {
            state.commits += 1;
            let bytes = record::encode(state);
            group.batch.insert(&self.store.tables, table.0.to_be_bytes(), bytes);
        }
        if let Err(error) = group.states.finish(&self.store, &mut group.batch, group.now) {
            return std::iter::repeat_n(Err(error), writes.len()).collect();
        }
        let committing = Instant::now();
        failpoint::reach("commit.before");
        if let Err(error) = group.batch.commit() {
            let error = ShardError::failed_write(&error);
            return std::iter::repeat_n(Err(error), writes.len()).collect();
        }
        failpoint::reach("commit.after");
        // From here on the group is stored: nothing below can fail.
        if synced {
            metrics::record_fsync(committing.elapsed());
        }
        let all = winners.len() <= MOST_FRESH;
        for winner in winners.iter().filter(|winner| all || winner.cached) {
            let row = winner.row(writes, &mut key);
            self.cache.insert_row(&key, row);
        }
        for (key, versions) in &ahead {
            self.cache.insert_row(key, versions);
        }
        group.states.fill(&self.cache);
        for (table, state) in group.tables {
            self.store.watermark.note(table, &state, synced);
            let bytes = group.outbox_bytes.get(&table).copied().unwrap_or(0);
            self.committed.of(table).publish(&state, bytes);
            self.tables.insert(table, state);
        }
        metrics::record_commit(&self.name, started.elapsed(), writes.len());
        results
    }
}

/// The stored state of a table; all zero for one that never had a row.
pub(super) fn load_state(store: &Store, table: TableId) -> Result<TableState, ShardError> {
    match store.tables.get(table.0.to_be_bytes())? {
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| ShardError::Damaged(format!("the state of table {} cannot be read: {e}", table.0))),
        None => Ok(TableState::default()),
    }
}
