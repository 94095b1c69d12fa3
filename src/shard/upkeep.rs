//! What a shard does beside its writes: it fills the cache, syncs, and forgets what is not needed any more.

use std::time::Instant;

use fjall::PersistMode;

use crate::{
    failpoint, metrics,
    model::{TableId, Timestamp},
    shard::{Shard, ShardError, Warming, answers, invariants::push_truncation, stream::load},
};

impl Shard {
    /// Reads a row, or an entity's window state, that a reader missed into the cache.
    pub fn warm(&self, kind: Warming, key: &[u8]) {
        if self.cache.contains(key) {
            return;
        }
        // What cannot be read now is read again by who needs it.
        match kind {
            Warming::Row => {
                if let Ok(Some(row)) = self.store.rows.get(key) {
                    self.cache.insert_row(key, &row);
                }
            }
            Warming::State => {
                if let Ok(state) = load(&self.store, &self.cache, key) {
                    self.cache.insert_state(key, state);
                }
            }
        }
    }

    /// Forgets the outbox's rows below `up_to`, at most `most` blobs of them: they are in a segment that the table's log
    /// names. Returns whether all are gone. Losing this at a crash is harmless, it is done again at the next start.
    pub fn truncate(&mut self, table: TableId, up_to: u64, most: usize) -> Result<bool, ShardError> {
        let mut state = self.state(table)?;
        let mut batch = self.store.db.batch();
        push_truncation(&self.store, table, &mut state, up_to, most, &mut batch)?;
        failpoint::reach("truncate.before");
        batch.commit().map_err(|error| ShardError::failed_write(&error))?;
        failpoint::reach("truncate.after");
        self.tables.insert(table, state);
        let committed = self.committed.of(table);
        committed.publish(&state, 0);
        let all = state.truncated >= up_to;
        if all {
            committed.seal(up_to, self.clock.now());
        }
        Ok(all)
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
