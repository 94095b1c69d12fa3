//! The shard's side: what a group of writes makes of the states that its events belong to.

use std::sync::Arc;

use fjall::OwnedWriteBatch as WriteBatch;
use hashbrown::HashMap;

use crate::{
    compute::window::tiles::{self, Folded, base_version, set_seq},
    model::TableId,
    shard::{
        PreparedBatch, ShardError,
        cache::RowCache,
        store::Store,
        stream::{
            Generation, Stage, StreamSet,
            entity::{EntityState, HEAD_START, base_key, damaged, head_key, load},
        },
    },
};

/// A head is folded once it has so many bytes …
const FOLD_BYTES: usize = 1024;
/// … and its square reaches the base's size times this: about where writing the growing head again with each commit
/// costs as much as writing the base once.
const FOLD_BALANCE: usize = 128;
/// What is younger than this stays an event when it is folded, µs: a read that took the time just before can still be
/// answered.
const FOLD_BEHIND: i64 = 2_000_000;

/// The states that one group of writes changes; nothing counts before the commit.
#[derive(Default)]
pub struct StreamStates {
    entities: HashMap<Vec<u8>, Changing>,
}

struct Changing {
    generation: Arc<Generation>,
    base: Option<Arc<Folded>>,
    head: Vec<u8>,
    base_changed: bool,
}

impl StreamStates {
    /// Whether `batch` was prepared for the generations that count its source's events now.
    pub fn is_prepared(set: &StreamSet, table: TableId, batch: &PreparedBatch) -> bool {
        set.of_source(table).is_none_or(|generations| {
            generations.iter().all(|generation| {
                batch.streams.iter().any(|stream| {
                    stream.view == generation.plan.spec.view
                        && stream.generation == generation.number
                        && stream.source_version == generation.plan.source_version
                })
            })
        })
    }

    /// Adds the rows `kept` of `batch`, the first of which has the number `first_seq`.
    pub fn add(
        &mut self,
        store: &Store,
        cache: &RowCache,
        generations: &[Arc<Generation>],
        batch: &PreparedBatch,
        kept: &[usize],
        first_seq: u64,
    ) -> Result<(), ShardError> {
        let mut key = Vec::new();
        for generation in generations {
            let prepared = batch.streams.iter().find(|stream| {
                stream.view == generation.plan.spec.view && stream.generation == generation.number
            });
            let Some(prepared) = prepared else { continue };
            for (&row, seq) in kept.iter().zip(first_seq..) {
                let Some(entity) = prepared.key(row) else { continue };
                key.clear();
                key.extend_from_slice(&generation.prefix());
                key.extend_from_slice(entity);
                let head = &mut self.of(store, cache, generation, &key)?.head;
                let start = head.len();
                head.extend_from_slice(prepared.event(row));
                set_seq(&mut head[start..], seq.cast_signed());
            }
        }
        Ok(())
    }

    /// Brings in the older events of entities.
    pub fn merge(
        &mut self,
        store: &Store,
        cache: &RowCache,
        generation: &Arc<Generation>,
        entities: &[BackfilledEntity],
        now: i64,
    ) -> Result<(), ShardError> {
        for entity in entities {
            let key = [&generation.prefix()[..], &entity.key].concat();
            let changing = self.of(store, cache, generation, &key)?;
            let bases: Vec<&[u8]> = changing.base().chain(std::iter::once(&entity.base[..])).collect();
            let base = tiles::rebuild(&generation.plan.layout, &bases, &[], now.saturating_sub(FOLD_BEHIND))
                .map_err(|_| damaged(generation))?;
            changing.replace_base(base);
        }
        Ok(())
    }

    fn of(
        &mut self,
        store: &Store,
        cache: &RowCache,
        generation: &Arc<Generation>,
        key: &[u8],
    ) -> Result<&mut Changing, ShardError> {
        if !self.entities.contains_key(key) {
            let EntityState { base, head } = load(store, cache, key)?;
            let head = head.map_or_else(|| vec![0; HEAD_START], |head| head.to_vec());
            let changing = Changing { generation: Arc::clone(generation), base, head, base_changed: false };
            self.entities.insert(key.to_vec(), changing);
        }
        self.entities.get_mut(key).ok_or(ShardError::Stopped)
    }

    /// Folds what has grown enough and adds every changed part to `batch`.
    pub fn finish(&mut self, store: &Store, batch: &mut WriteBatch, now: i64) -> Result<(), ShardError> {
        for (key, changing) in &mut self.entities {
            let events = changing.head.len() - HEAD_START;
            let base: usize = changing.base().map(<[u8]>::len).sum();
            if events >= FOLD_BYTES && events.saturating_mul(events) >= base.saturating_mul(FOLD_BALANCE) {
                changing.fold(now)?;
            }
            if changing.base_changed
                && let Some(base) = &changing.base
            {
                batch.insert(&store.tiles, base_key(key), base.bytes());
            }
            batch.insert(&store.tiles, head_key(key), &changing.head[..]);
        }
        Ok(())
    }

    /// After the commit.
    pub fn fill(self, cache: &RowCache) {
        for (key, changing) in self.entities {
            cache.insert_state(&key, EntityState { base: changing.base, head: Some(changing.head.into()) });
        }
    }
}

impl Changing {
    fn base(&self) -> impl Iterator<Item = &[u8]> {
        self.base.iter().map(|base| base.bytes())
    }

    fn fold(&mut self, now: i64) -> Result<(), ShardError> {
        let layout = &self.generation.plan.layout;
        let bases: Vec<&[u8]> = self.base().collect();
        let base = tiles::rebuild(layout, &bases, &self.head[HEAD_START..], now.saturating_sub(FOLD_BEHIND))
            .map_err(|_| damaged(&self.generation))?;
        self.head.truncate(HEAD_START);
        self.replace_base(base);
        Ok(())
    }

    fn replace_base(&mut self, base: Vec<u8>) {
        let version = base_version(&base).unwrap_or_default();
        self.head[..HEAD_START].copy_from_slice(&version.to_le_bytes());
        self.base = Some(Arc::new(Folded::new(base)));
        self.base_changed = true;
    }
}

/// The base of an entity's events from before its generation began.
#[derive(Debug)]
pub struct BackfilledEntity {
    pub key: Vec<u8>,
    pub base: Vec<u8>,
}

/// A portion of a backfill: stored as a whole, with how far it is.
#[derive(Debug)]
pub struct BackfillStep {
    pub view: TableId,
    pub generation: u32,
    pub entities: Vec<BackfilledEntity>,
    /// The stage that it goes on from …
    pub from: Stage,
    /// … and the one when it is in.
    pub then: Stage,
}
