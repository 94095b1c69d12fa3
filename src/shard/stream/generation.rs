//! Generations, and the set of those that are alive.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use fjall::OwnedWriteBatch as WriteBatch;

use crate::{
    model::TableId,
    shard::{
        ShardError, record,
        store::Store,
        stream::{StreamPlan, StreamSpec},
    },
};

/// How far a generation is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It counts new events; older ones are still to be brought in.
    Backfilling {
        /// The entities are worked through in so many parts by the hash of their key; 0: not begun.
        parts: u32,
        /// The part that is under way.
        part: u32,
        /// The last key of that part whose events are in.
        after: Option<Vec<u8>>,
    },
    /// It holds all events.
    Ready,
    /// Nothing uses it any more; its keys are being removed.
    Dropped,
    /// Nothing is left of it but its number, which is not given again.
    Removed,
}

impl Stage {
    pub const START: Stage = Stage::Backfilling { parts: 0, part: 0, after: None };
}

/// As it is stored.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Record {
    pub number: u32,
    pub spec: StreamSpec,
    pub live_from: u64,
    pub stage: Stage,
}

/// One generation, immutable: a change publishes another.
pub struct Generation {
    pub number: u32,
    pub plan: Arc<StreamPlan>,
    /// Events from this seq on are counted as they come; those below it are the backfill's.
    pub live_from: u64,
    pub stage: Stage,
}

impl Record {
    /// Into the same batch as what makes it true.
    pub fn insert(&self, store: &Store, batch: &mut WriteBatch) {
        let bytes = record::encode(self);
        batch.insert(&store.meta, record_key(self.spec.view, self.number), bytes);
    }
}

impl Generation {
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// The prefix of its keys.
    pub fn prefix(&self) -> [u8; 8] {
        prefix(self.plan.spec.view, self.number)
    }

    pub(super) fn record(&self) -> Record {
        Record {
            number: self.number,
            spec: self.plan.spec.clone(),
            live_from: self.live_from,
            stage: self.stage.clone(),
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Generation").field(&self.record()).finish()
    }
}

pub(super) fn prefix(view: TableId, number: u32) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix[..4].copy_from_slice(&view.0.to_be_bytes());
    prefix[4..].copy_from_slice(&number.to_be_bytes());
    prefix
}

const RECORDS: &str = "stream/";

fn record_key(view: TableId, number: u32) -> String {
    format!("{RECORDS}{}/{number}", view.0)
}

/// All stored generations.
pub(super) fn stored(store: &Store) -> Result<Vec<Record>, ShardError> {
    let mut records = Vec::new();
    for guard in store.meta.prefix(RECORDS) {
        let (_, value) = guard.into_inner()?;
        records.push(serde_json::from_slice(&value).map_err(|e| {
            ShardError::Damaged(format!("the record of a stream feature view's state cannot be read: {e}"))
        })?);
    }
    Ok(records)
}

/// Forgets all window states, of a store that lost events or found that they were counted which it does not have: the next
/// start begins them anew and counts what history holds.
pub fn forget_all(store: &Store) -> Result<(), ShardError> {
    let mut batch = store.db.batch();
    for record in stored(store)? {
        Record { stage: Stage::Removed, ..record }.insert(store, &mut batch);
    }
    for guard in store.tiles.iter() {
        batch.remove(&store.tiles, guard.key()?);
        if batch.len() >= FORGET_STEP {
            std::mem::replace(&mut batch, store.db.batch()).commit()?;
        }
    }
    Ok(batch.commit()?)
}

/// Keys that are removed in one batch.
const FORGET_STEP: usize = 10_000;

/// The generations that count or serve, at one moment.
#[derive(Default, Clone)]
pub struct StreamSet {
    /// Grows with each change of what is prepared for or served; not with the steps of a backfill.
    pub version: u64,
    /// By source: what its events have to be prepared for.
    sources: BTreeMap<TableId, Arc<[Arc<Generation>]>>,
}

impl StreamSet {
    /// What the events of a source are counted in.
    pub fn of_source(&self, source: TableId) -> Option<&Arc<[Arc<Generation>]>> {
        self.sources.get(&source)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.sources.values().flat_map(|generations| generations.iter())
    }

    /// Those of one view, newest first.
    pub fn of_view(&self, view: TableId) -> impl Iterator<Item = &Arc<Generation>> {
        let mut found: Vec<_> = self.all().filter(|generation| generation.plan.spec.view == view).collect();
        found.sort_by_key(|generation| std::cmp::Reverse(generation.number));
        found.into_iter()
    }
}

/// The published set; cheap to clone. Shards publish, each for its own sources; everyone reads.
#[derive(Clone, Default)]
pub struct Streams {
    set: Arc<ArcSwap<StreamSet>>,
    publishing: Arc<Mutex<()>>,
}

impl Streams {
    pub fn current(&self) -> Arc<StreamSet> {
        self.set.load_full()
    }

    /// Replaces what the events of `source` are counted in.
    pub(super) fn publish(&self, source: TableId, generations: Vec<Arc<Generation>>) {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = StreamSet::clone(&self.set.load());
        let seen = |generations: &[Arc<Generation>]| -> Vec<_> {
            let of = |g: &Arc<Generation>| (g.plan.spec.view, g.number, g.plan.source_version, g.is_ready());
            generations.iter().map(of).collect()
        };
        let known = set.sources.get(&source).map(|known| seen(known)).unwrap_or_default();
        set.version += u64::from(known != seen(&generations));
        if generations.is_empty() {
            set.sources.remove(&source);
        } else {
            set.sources.insert(source, generations.into());
        }
        self.set.store(Arc::new(set));
    }
}
