//! What a shard must remember of a table between commits.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use hashbrown::HashMap;

use crate::model::{TableId, Timestamp};

/// Stored in the same atomic batch as the rows that change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct TableState {
    /// The seq that the next row of history gets: the number of rows ever accepted for the offline store.
    pub next_seq: u64,
    /// Checksum of the newest outbox blob.
    pub last_crc: u32,
    /// When the newest row was accepted, µs; never goes back, even if the clock does.
    pub accepted_at: i64,
    /// The newest event time seen, µs; the table's watermark.
    pub newest_event: Option<i64>,
    pub next_quarantine: u64,
    /// No row of the quarantine is below it.
    #[serde(default)]
    pub first_quarantine: u64,
    /// Bytes of the rows in quarantine; rows of directories before this was counted are not in it.
    #[serde(default)]
    pub quarantine_bytes: u64,
    /// How often this was stored: also what brought no row of history is counted.
    #[serde(default)]
    pub commits: u64,
    /// Blobs of the outbox that begin below it were removed. Who looks for what is there begins here: fjall would read
    /// each removed blob again to find that it is none.
    #[serde(default)]
    pub truncated: u64,
}

/// What of it others may see, published after each commit.
#[derive(Debug, Default)]
pub struct Committed {
    next_seq: AtomicU64,
    sealed_seq: AtomicU64,
    truncated: AtomicU64,
    /// When the oldest row that is not in a segment was accepted; 0 where there is none.
    oldest_unsealed: AtomicI64,
    newest_event: AtomicI64,
    /// About what the unsealed rows take in the outbox.
    unsealed_bytes: AtomicU64,
}

impl Committed {
    pub fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    pub fn sealed_seq(&self) -> u64 {
        self.sealed_seq.load(Ordering::Acquire)
    }

    /// Where the outbox begins; see [`TableState::truncated`].
    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Acquire)
    }

    pub fn unsealed(&self) -> u64 {
        self.next_seq().saturating_sub(self.sealed_seq())
    }

    pub fn unsealed_bytes(&self) -> u64 {
        self.unsealed_bytes.load(Ordering::Relaxed)
    }

    pub fn oldest_unsealed(&self) -> Option<Timestamp> {
        Some(self.oldest_unsealed.load(Ordering::Relaxed)).filter(|t| *t != 0).map(Timestamp::from_micros)
    }

    pub fn newest_event(&self) -> Option<Timestamp> {
        Some(self.newest_event.load(Ordering::Relaxed)).filter(|t| *t != i64::MIN).map(Timestamp::from_micros)
    }

    /// `bytes`: put into the outbox since the last time.
    pub(super) fn publish(&self, state: &TableState, bytes: u64) {
        self.unsealed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.newest_event.store(state.newest_event.unwrap_or(i64::MIN), Ordering::Relaxed);
        if self.unsealed() == 0 && state.next_seq > self.next_seq() {
            self.oldest_unsealed.store(state.accepted_at, Ordering::Relaxed);
        }
        self.truncated.store(state.truncated, Ordering::Release);
        self.next_seq.store(state.next_seq, Ordering::Release);
    }

    /// `now` stands in for the acceptance time of what is left, which is younger: the age is never overstated by it.
    pub(super) fn seal(&self, up_to: u64, now: Timestamp) {
        // What is left keeps its share: rows of one table are about the same size.
        let before = self.unsealed().max(1);
        self.sealed_seq.store(up_to, Ordering::Release);
        let bytes = u128::from(self.unsealed_bytes()) * u128::from(self.unsealed()) / u128::from(before);
        self.unsealed_bytes.store(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        let rest = if self.unsealed() == 0 { 0 } else { now.micros() };
        self.oldest_unsealed.store(rest, Ordering::Relaxed);
    }
}

/// The published state of all tables of all shards.
#[derive(Debug, Clone, Default)]
pub struct CommittedTables(Arc<RwLock<HashMap<TableId, Arc<Committed>>>>);

impl CommittedTables {
    /// The table's state; one that never had a row is at 0.
    pub fn of(&self, table: TableId) -> Arc<Committed> {
        if let Some(committed) = self.0.read().unwrap_or_else(|e| e.into_inner()).get(&table) {
            return Arc::clone(committed);
        }
        let mut tables = self.0.write().unwrap_or_else(|e| e.into_inner());
        Arc::clone(tables.entry(table).or_insert_with(|| {
            let committed = Committed::default();
            committed.newest_event.store(i64::MIN, Ordering::Relaxed);
            Arc::new(committed)
        }))
    }
}
