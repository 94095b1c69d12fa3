//! The single writer of its tables: turns a group of writes into one atomic fjall batch.
//!
//! Plain and synchronous; the actor around it only unpacks messages.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};
use hashbrown::HashMap;

use crate::{
    clock::Clock,
    failpoint, metrics,
    model::{TableId, Timestamp},
    shard::{
        Applied, CommittedTables, ShardError, StoredAnswer, StreamDuty, StreamSet, TableState, Write,
        answers,
        blob::{self, BlobHeader},
        cache::RowCache,
        row::Row,
        store::{Store, event_id_key, numbered_key, push_table_key, table_key},
        stream::{StreamKeeper, StreamStates},
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
    Tiles,
}

#[derive(Debug, Clone, Copy)]
pub struct ShardOptions {
    pub durability: Durability,
    /// Quarantined rows kept per table; older ones go first.
    pub quarantine_rows: u64,
}

pub struct Shard {
    pub(super) store: Store,
    pub(super) cache: RowCache,
    committed: CommittedTables,
    pub(super) clock: Clock,
    options: ShardOptions,
    pub(super) tables: BTreeMap<TableId, TableState>,
    name: String,
    pub(super) keeper: StreamKeeper,
    /// The key at which [`Shard::forget_answers`] goes on.
    forget_from: Vec<u8>,
}

/// The newest row of each key that this group writes.
type Winners = HashMap<Vec<u8>, Winner>;

struct Winner {
    write: usize,
    row: usize,
    event_time: i64,
    /// The cache had an older one.
    cached: bool,
}

/// A group that writes more keys than this leaves in the cache only what was there: a backfill would push out what is read.
const MOST_FRESH: usize = 4096;

/// The state of a group that is being put together; nothing of it counts before the commit.
struct Group {
    batch: WriteBatch,
    tables: BTreeMap<TableId, TableState>,
    winners: Winners,
    answers: HashMap<Vec<u8>, StoredAnswer>,
    event_ids: hashbrown::HashSet<[u8; 28]>,
    outbox_bytes: BTreeMap<TableId, u64>,
    /// What the events of sources are counted in, and the states that they change.
    counting: Arc<StreamSet>,
    states: StreamStates,
}

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
            winners: HashMap::new(),
            answers: HashMap::new(),
            event_ids: hashbrown::HashSet::new(),
            outbox_bytes: BTreeMap::new(),
            counting: self.keeper.counting(),
            states: StreamStates::default(),
        };
        let mut results = Vec::with_capacity(writes.len());
        for (index, write) in writes.iter_mut().enumerate() {
            match self.gather(index, write, &mut group) {
                Ok(result) => results.push(result),
                // Reading the store failed halfway through this write: nothing of the group is stored.
                Err(error) => return std::iter::repeat_n(Err(error), writes.len()).collect(),
            }
        }
        for (key, winner) in &group.winners {
            group.batch.insert(&self.store.rows, key.as_slice(), writes[winner.write].batch.row(winner.row));
        }
        for (table, state) in &mut group.tables {
            state.commits += 1;
            let bytes = serde_json::to_vec(state).unwrap_or_default();
            group.batch.insert(&self.store.tables, table.0.to_be_bytes(), bytes);
        }
        let now = self.clock.now().micros();
        if let Err(error) = group.states.finish(&self.store, &mut group.batch, now) {
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
        let all = group.winners.len() <= MOST_FRESH;
        for (key, winner) in group.winners.iter().filter(|(_, winner)| all || winner.cached) {
            self.cache.insert(key, writes[winner.write].batch.row(winner.row));
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

    /// Adds one write to the group. The inner error is the write's own and leaves the group as it was.
    fn gather(
        &self,
        index: usize,
        write: &mut Write,
        group: &mut Group,
    ) -> Result<Result<Applied, ShardError>, ShardError> {
        let table = write.batch.schema.table;
        if !StreamStates::is_prepared(&group.counting, table, &write.batch) {
            return Ok(Err(ShardError::Redefined));
        }
        let answer_key = write.idempotency.as_ref().map(|(key, _)| table_key(table, key.as_bytes()));
        if let (Some(key), Some((name, fingerprint))) = (&answer_key, &write.idempotency)
            && let Some(stored) = self.stored_answer(key, group)?
        {
            return Ok(stored.replay(name, *fingerprint));
        }
        let mut state = match group.tables.get(&table) {
            Some(state) => *state,
            None => self.state(table)?,
        };
        state.accepted_at = state.accepted_at.max(self.clock.now().micros());

        let (kept, deduplicated) = self.drop_repeats(table, write, group)?;
        let mut late = 0;
        for (offset, &row) in kept.iter().enumerate() {
            if write.offline {
                write.batch.set_seq(row, state.next_seq + offset as u64);
            }
            let event_time = write.batch.event_time(row);
            state.newest_event = state.newest_event.max(Some(event_time));
            if write.batch.is_keyed() && !self.is_newest(index, row, write, &mut group.winners)? {
                late += 1;
            }
        }
        if let Some(generations) = group.counting.of_source(table) {
            group.states.add(&self.store, &self.cache, generations, &write.batch, &kept, state.next_seq)?;
        }
        if write.offline {
            self.push_blobs(table, write, &kept, &mut state, &mut group.batch);
            let bytes: usize = kept.iter().map(|&row| write.batch.entry(row).len()).sum();
            *group.outbox_bytes.entry(table).or_default() += bytes as u64;
            // Only history is numbered: rows of an online-only view leave no gap behind.
            state.next_seq += kept.len() as u64;
        }
        self.push_quarantine(table, write, &mut state, &mut group.batch);
        for note in &write.notes {
            match &note.value {
                Some(value) => group.batch.insert(&self.store.meta, note.key.as_str(), value.as_slice()),
                None => group.batch.remove(&self.store.meta, note.key.as_str()),
            }
        }

        let answer = Applied {
            batch_id: write.batch_id,
            table,
            accepted: kept.len() as u64,
            late,
            deduplicated,
            quarantined: write.quarantine.len() as u64,
            next_seq: state.next_seq,
            replayed: false,
        };
        if let (Some(key), Some((_, fingerprint))) = (answer_key, &write.idempotency) {
            let accepted_at = Timestamp::from_micros(state.accepted_at);
            let stored = StoredAnswer { fingerprint: *fingerprint, accepted_at, answer: answer.clone() };
            let bytes = serde_json::to_vec(&stored).unwrap_or_default();
            group.batch.insert(&self.store.batches, key.as_slice(), bytes);
            group.answers.insert(key, stored);
        }
        group.tables.insert(table, state);
        Ok(Ok(answer))
    }

    fn stored_answer(&self, key: &[u8], group: &Group) -> Result<Option<StoredAnswer>, ShardError> {
        if let Some(stored) = group.answers.get(key) {
            return Ok(Some(stored.clone()));
        }
        match self.store.batches.get(key)? {
            Some(bytes) => answers::read(&bytes).map(Some),
            None => Ok(None),
        }
    }

    fn state(&self, table: TableId) -> Result<TableState, ShardError> {
        if let Some(state) = self.tables.get(&table) {
            return Ok(*state);
        }
        load_state(&self.store, table)
    }

    /// The rows that count, by position; events that their source has seen before do not.
    fn drop_repeats(
        &self,
        table: TableId,
        write: &Write,
        group: &mut Group,
    ) -> Result<(Vec<usize>, u64), ShardError> {
        let mut kept = Vec::with_capacity(write.batch.len());
        for row in 0..write.batch.len() {
            if let Some(fingerprint) = write.batch.event_id(row) {
                let key = event_id_key(table, write.batch.event_time(row), fingerprint);
                if group.event_ids.contains(&key) || self.store.event_ids.contains_key(key)? {
                    continue;
                }
                group.event_ids.insert(key);
                group.batch.insert(&self.store.event_ids, key, []);
            }
            kept.push(row);
        }
        let repeats = write.batch.len() - kept.len();
        Ok((kept, repeats as u64))
    }

    /// Whether the row is the newest of its entity; notes it as such. At equal event times the later one wins.
    fn is_newest(
        &self,
        index: usize,
        row: usize,
        write: &Write,
        winners: &mut Winners,
    ) -> Result<bool, ShardError> {
        let event_time = write.batch.event_time(row);
        let mut key = Vec::with_capacity(4 + write.batch.key(row).len());
        push_table_key(write.batch.schema.table, write.batch.key(row), &mut key);
        if let Some(winner) = winners.get_mut(&key) {
            if event_time < winner.event_time {
                return Ok(false);
            }
            *winner = Winner { write: index, row, event_time, ..*winner };
            return Ok(true);
        }
        let cached = self.cache.get(&key);
        let stored = match &cached {
            Some(bytes) => Some(Row(bytes).event_time()),
            None => self.store.rows.get(&key)?.map(|bytes| Row(&bytes).event_time()),
        };
        if stored.is_some_and(|stored| event_time < stored.micros()) {
            return Ok(false);
        }
        winners.insert(key, Winner { write: index, row, event_time, cached: cached.is_some() });
        Ok(true)
    }

    /// Adds the rows to the outbox in blobs of about 64 KiB, chained by their checksums.
    fn push_blobs(
        &self,
        table: TableId,
        write: &Write,
        kept: &[usize],
        state: &mut TableState,
        batch: &mut WriteBatch,
    ) {
        let mut entries = Vec::with_capacity(blob::TARGET);
        let mut first = 0;
        for (position, &row) in kept.iter().enumerate() {
            let entry = write.batch.entry(row);
            if !entries.is_empty() && entries.len() + entry.len() > blob::TARGET {
                self.push_blob(table, write, first..position, &entries, state, batch);
                entries.clear();
                first = position;
            }
            entries.extend_from_slice(entry);
        }
        if !entries.is_empty() {
            self.push_blob(table, write, first..kept.len(), &entries, state, batch);
        }
    }

    fn push_blob(
        &self,
        table: TableId,
        write: &Write,
        rows: std::ops::Range<usize>,
        entries: &[u8],
        state: &mut TableState,
        batch: &mut WriteBatch,
    ) {
        let header = BlobHeader {
            prev_crc: state.last_crc,
            first_seq: state.next_seq + rows.start as u64,
            rows: rows.len() as u32,
            accepted_at: Timestamp::from_micros(state.accepted_at),
            batch_id: *write.batch_id.as_bytes(),
        };
        let (blob, crc) = blob::encode(&header, entries);
        state.last_crc = crc;
        batch.insert(&self.store.outbox, numbered_key(table, header.first_seq), blob);
    }

    fn push_quarantine(&self, table: TableId, write: &Write, state: &mut TableState, batch: &mut WriteBatch) {
        for number in &write.release {
            batch.remove(&self.store.quarantine, numbered_key(table, *number));
        }
        for row in &write.quarantine {
            let number = state.next_quarantine;
            batch.insert(&self.store.quarantine, numbered_key(table, number), row.as_slice());
            if let Some(oldest) = number.checked_sub(self.options.quarantine_rows) {
                batch.remove(&self.store.quarantine, numbered_key(table, oldest));
            }
            state.next_quarantine += 1;
        }
    }

    /// Reads a row, or a part of a window state, that a reader missed into the cache.
    pub fn warm(&self, kind: Warming, key: &[u8]) {
        let keyspace = match kind {
            Warming::Row => &self.store.rows,
            Warming::Tiles => &self.store.tiles,
        };
        if self.cache.get(key).is_none()
            && let Ok(Some(bytes)) = keyspace.get(key)
        {
            self.cache.insert(key, &bytes);
        }
    }

    /// Forgets the outbox's rows below `up_to`: they are in a segment that the table's log names. Losing this at a
    /// crash is harmless, it is done again at the next start.
    pub fn truncate(&mut self, table: TableId, up_to: u64) -> Result<(), ShardError> {
        let mut batch = self.store.db.batch();
        for guard in self.store.outbox.range(numbered_key(table, 0)..numbered_key(table, up_to)) {
            batch.remove(&self.store.outbox, guard.key()?);
        }
        failpoint::reach("truncate.before");
        batch.commit().map_err(|error| ShardError::failed_write(&error))?;
        failpoint::reach("truncate.after");
        self.committed.of(table).seal(up_to, self.clock.now());
        Ok(())
    }

    /// Looks through the next `limit` answers to idempotency keys, from where it stopped the last time, and forgets
    /// those that are older than `cutoff`; returns how many.
    pub fn forget_answers(&mut self, cutoff: Timestamp, limit: usize) -> Result<usize, ShardError> {
        let mut batch = self.store.db.batch();
        let from = std::mem::take(&mut self.forget_from);
        for (looked_at, guard) in self.store.batches.range(from..).enumerate() {
            let (key, value) = guard.into_inner()?;
            if looked_at == limit {
                self.forget_from = key.to_vec();
                break;
            }
            if answers::read(&value).is_ok_and(|answer| answer.accepted_at < cutoff) {
                batch.remove(&self.store.batches, key);
            }
        }
        let forgotten = batch.len();
        batch.commit().map_err(|error| ShardError::failed_write(&error))?;
        Ok(forgotten)
    }

    /// Syncs the journal: the interval mode's promise.
    pub fn sync(&self) -> Result<(), ShardError> {
        let started = Instant::now();
        let sync = || self.store.db.persist(PersistMode::SyncData);
        self.store.watermark.around_sync(|| sync().map_err(|error| ShardError::failed_write(&error)))?;
        metrics::record_fsync(started.elapsed());
        Ok(())
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
