//! What a group of writes comes to, write by write: one atomic batch.

use std::{collections::BTreeMap, sync::Arc};

use fjall::OwnedWriteBatch as WriteBatch;
use hashbrown::HashMap;

use crate::{
    model::{TableId, Timestamp},
    shard::{
        Applied, Shard, ShardError, StoredAnswer, StreamSet, TableState, Write,
        ahead::{MOST_AHEAD, Versions},
        answers,
        blob::{self, BlobHeader},
        record,
        row::Row,
        shard::load_state,
        store::{event_id_key, key_number, numbered_key, push_table_key, table_key},
        stream::StreamStates,
        winners::{Winner, Winners},
    },
};

/// The state of a group that is being put together; nothing of it counts before the commit.
pub(super) struct Group {
    pub(super) batch: WriteBatch,
    pub(super) tables: BTreeMap<TableId, TableState>,
    pub(super) winners: Winners,
    /// By the key in the store: entities of views without history that have versions yet to come, in place of their winners.
    pub(super) ahead: HashMap<Vec<u8>, Versions>,
    /// When the group is stored, µs.
    pub(super) now: i64,
    pub(super) answers: HashMap<Vec<u8>, StoredAnswer>,
    pub(super) event_ids: hashbrown::HashSet<[u8; 28]>,
    pub(super) outbox_bytes: BTreeMap<TableId, u64>,
    /// Writes that are part of it, by position.
    pub(super) stored: Vec<usize>,
    /// Bytes of the rows that were merged.
    pub(super) merged_bytes: usize,
    /// What the events of sources are counted in, and the states that they change.
    pub(super) counting: Arc<StreamSet>,
    pub(super) states: StreamStates,
}

impl Shard {
    /// Adds one write to the group. The inner error is the write's own and leaves the group as it was.
    pub(super) fn gather(
        &self,
        index: usize,
        writes: &mut [Write],
        group: &mut Group,
    ) -> Result<Result<Applied, ShardError>, ShardError> {
        let write = &mut writes[index];
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
        if let Some(after) = &write.after
            && self.stored_answer(&table_key(table, after.as_bytes()), group)?.is_none()
        {
            return Ok(Err(ShardError::OutOfTurn(after.clone())));
        }
        if let Err(refused) = self.merge(index, writes, group)? {
            return Ok(Err(refused));
        }
        let write = &mut writes[index];
        let mut state = match group.tables.get(&table) {
            Some(state) => *state,
            None => self.state(table)?,
        };
        state.accepted_at = state.accepted_at.max(group.now);

        let (kept, deduplicated) = self.drop_repeats(table, write, group)?;
        for (offset, &row) in kept.iter().enumerate() {
            if write.offline {
                write.batch.set_seq(row, state.next_seq + offset as u64);
            }
            state.newest_event = state.newest_event.max(Some(write.batch.event_time(row)));
        }
        let write = &writes[index];
        let is_ahead = |row: &usize| write.batch.event_time(*row) > group.now;
        let (mut late, mut key) = (0, Vec::new());
        if write.batch.is_keyed() && !write.offline && kept.iter().any(is_ahead) {
            match self.put_ahead(index, &kept, writes, group)? {
                Ok(rows) => late = rows,
                Err(error) => return Ok(Err(error)),
            }
        } else if write.batch.is_keyed() {
            for &row in &kept {
                late += u64::from(!self.is_newest(index, row, writes, group, &mut key)?);
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
            incomplete: write.incomplete,
            next_seq: state.next_seq,
            replayed: false,
        };
        if let (Some(key), Some((_, fingerprint))) = (answer_key, &write.idempotency) {
            let accepted_at = Timestamp::from_micros(state.accepted_at);
            let stored = StoredAnswer { fingerprint: *fingerprint, accepted_at, answer: answer.clone() };
            let bytes = record::encode(&stored);
            group.batch.insert(&self.store.batches, key.as_slice(), bytes);
            group.answers.insert(key, stored);
        }
        group.tables.insert(table, state);
        group.stored.push(index);
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

    pub(super) fn state(&self, table: TableId) -> Result<TableState, ShardError> {
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

    /// Whether the row is the newest of its entity; notes it as such. At equal event times the later one wins. `key` is a
    /// scratch buffer.
    fn is_newest(
        &self,
        index: usize,
        row: usize,
        writes: &[Write],
        group: &mut Group,
        key: &mut Vec<u8>,
    ) -> Result<bool, ShardError> {
        let Write { batch, offline, .. } = &writes[index];
        let (table, event_time) = (batch.schema.table, batch.event_time(row));
        let Group { winners, ahead, now, .. } = group;
        if !ahead.is_empty() {
            key.clear();
            push_table_key(table, batch.key(row), key);
            if let Some(versions) = ahead.get_mut(key) {
                return Ok(versions.insert(batch.row(row), *now));
            }
        }
        if let Some(winner) = winners.find(writes, table, batch.key(row)) {
            if event_time < winner.event_time {
                return Ok(false);
            }
            *winner = Winner { write: index, row, event_time, ..*winner };
            return Ok(true);
        }
        key.clear();
        push_table_key(table, batch.key(row), key);
        let cached = self.cache.row(key);
        let read;
        let stored = match &cached {
            Some(bytes) => Some(&**bytes),
            None => {
                read = self.store.rows.get(&*key)?;
                read.as_deref()
            }
        };
        let newest = stored.map(|stored| Row(stored).event_time());
        if let Some(stored) = stored
            && newest.is_some_and(|newest| newest.micros() > *now)
            && !offline
        {
            let mut versions = Versions::read(stored);
            let kept = versions.insert(batch.row(row), *now);
            ahead.insert(key.clone(), versions);
            return Ok(kept);
        }
        if newest.is_some_and(|newest| event_time < newest.micros()) {
            return Ok(false);
        }
        winners.insert(writes, Winner { write: index, row, event_time, cached: cached.is_some() });
        Ok(true)
    }

    /// The rows of a view without history, of which some are yet to come, beside what there is of their entities; returns how
    /// many of them were older than what counts. The inner error leaves the group as it was.
    fn put_ahead(
        &self,
        index: usize,
        kept: &[usize],
        writes: &[Write],
        group: &mut Group,
    ) -> Result<Result<u64, ShardError>, ShardError> {
        let batch = &writes[index].batch;
        let mut changed: HashMap<Vec<u8>, Versions> = HashMap::new();
        let mut late = 0;
        for &row in kept {
            let key = table_key(batch.schema.table, batch.key(row));
            if !changed.contains_key(&key) {
                let versions = match (
                    group.ahead.get(&key),
                    group.winners.find(writes, batch.schema.table, batch.key(row)),
                ) {
                    (Some(versions), _) => versions.clone(),
                    (None, Some(winner)) => Versions::read(writes[winner.write].batch.row(winner.row)),
                    (None, None) => match self.store.rows.get(&key)? {
                        Some(stored) => Versions::read(&stored),
                        None => Versions::default(),
                    },
                };
                changed.insert(key.clone(), versions);
            }
            let versions = changed.get_mut(&key).expect("it was put there where it was not");
            late += u64::from(!versions.insert(batch.row(row), group.now));
            if versions.ahead(group.now) > MOST_AHEAD {
                return Ok(Err(ShardError::TooManyAhead { row, limit: MOST_AHEAD }));
            }
        }
        group.ahead.extend(changed);
        Ok(Ok(late))
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
            self.drop_quarantined(table, *number, state, batch);
        }
        for row in &write.quarantine {
            let number = state.next_quarantine;
            batch.insert(&self.store.quarantine, numbered_key(table, number), row.as_slice());
            state.quarantine_bytes += row.len() as u64;
            if let Some(oldest) = number.checked_sub(self.options.quarantine_rows) {
                self.drop_quarantined(table, oldest, state, batch);
                state.first_quarantine = state.first_quarantine.max(oldest + 1);
            }
            state.next_quarantine += 1;
        }
        // Rows of this group are not in the store yet and stay.
        let range = numbered_key(table, state.first_quarantine)..=numbered_key(table, u64::MAX);
        let mut kept = self.store.quarantine.range(range);
        while state.quarantine_bytes > self.options.quarantine_bytes
            && let Some(guard) = kept.next()
            && let Ok((key, value)) = guard.into_inner()
            && let Some(number) = key_number(&key)
        {
            batch.remove(&self.store.quarantine, key);
            state.quarantine_bytes = state.quarantine_bytes.saturating_sub(value.len() as u64);
            state.first_quarantine = number + 1;
        }
    }

    /// Takes a row out of quarantine. One that cannot be read is counted as nothing: the bound is not exact to the byte.
    fn drop_quarantined(&self, table: TableId, number: u64, state: &mut TableState, batch: &mut WriteBatch) {
        let key = numbered_key(table, number);
        if let Ok(Some(row)) = self.store.quarantine.get(key) {
            state.quarantine_bytes = state.quarantine_bytes.saturating_sub(row.len() as u64);
        }
        batch.remove(&self.store.quarantine, key);
    }
}
