//! One entity's state as it is stored: two keys that must belong together.
//!
//! The head names the version of the base that it goes on from. Someone who reads the two while they change sees versions
//! that do not fit, and reads again: fjall may show one key of a batch before the other.

use bytes::Bytes;

use crate::{
    compute::window::{Output, tiles},
    shard::{ShardError, cache::RowCache, store::Store, stream::Generation},
};

const BASE: u8 = 0;
const HEAD: u8 = 1;
/// Bytes of the head before its events: the base's version.
pub(super) const HEAD_START: usize = 4;
/// How often a read that sees a change half made is tried again; each change is there after microseconds.
const TRIES: usize = 1000;

/// Base and head that belong together; both may be missing.
#[derive(Debug, Clone, Default)]
pub struct EntityState {
    pub base: Option<Bytes>,
    pub head: Option<Bytes>,
}

impl EntityState {
    /// The events since the base was folded.
    pub fn recent(&self) -> &[u8] {
        self.head.as_ref().and_then(|head| head.get(HEAD_START..)).unwrap_or_default()
    }

    /// Whether what was folded leaves a read at `t` (µs) possible.
    pub fn answers_at(&self, t: i64) -> bool {
        self.base.as_ref().is_none_or(|base| tiles::folded_at(base).is_ok_and(|folded| folded <= t))
    }

    fn fits(&self) -> bool {
        let base = self.base.as_ref().map_or(Ok(0), |base| tiles::base_version(base));
        base.is_ok_and(|version| version == self.base_named())
    }

    /// The version of the base that the head goes on from.
    fn base_named(&self) -> u32 {
        let named = self.head.as_ref().and_then(|head| head.first_chunk());
        named.map_or(0, |version| u32::from_le_bytes(*version))
    }
}

/// Writes the key of an entity's base or head.
fn part_key(generation: &[u8; 8], entity: &[u8], part: u8, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(generation);
    out.extend_from_slice(entity);
    out.push(part);
}

pub(super) fn base_key(entity: &[u8]) -> Vec<u8> {
    [entity, &[BASE]].concat()
}

pub(super) fn head_key(entity: &[u8]) -> Vec<u8> {
    [entity, &[HEAD]].concat()
}

/// The stored part under `key`, from the cache or the store, and whether the cache had it.
fn part(store: &Store, cache: &RowCache, key: &[u8]) -> Result<(Option<Bytes>, bool), ShardError> {
    if let Some(bytes) = cache.get(key) {
        return Ok((Some(bytes), true));
    }
    Ok((stored(store, key)?, false))
}

/// A copy: fjall's slice would keep its whole block in memory.
fn stored(store: &Store, key: &[u8]) -> Result<Option<Bytes>, ShardError> {
    Ok(store.tiles.get(key)?.map(|bytes| Bytes::copy_from_slice(&bytes)))
}

/// An entity's state, on the shard's own thread: nothing can change meanwhile. `key` is generation and entity.
pub(super) fn load(store: &Store, cache: &RowCache, key: &[u8]) -> Result<EntityState, ShardError> {
    let base = part(store, cache, &base_key(key))?.0;
    let head = part(store, cache, &head_key(key))?.0;
    let state = EntityState { base, head };
    if state.fits() {
        return Ok(state);
    }
    Err(ShardError::Damaged("the two parts of an entity's window state do not belong together".to_owned()))
}

/// Told of a part that was not in the cache, so that its shard can fill it in: the source's table, and the key.
pub type OnMiss = std::sync::Arc<dyn Fn(crate::model::TableId, &[u8]) + Send + Sync>;

/// Reads of window state; any thread, never through a mailbox.
#[derive(Clone)]
pub struct StreamReader {
    store: Store,
    cache: RowCache,
    on_miss: OnMiss,
}

impl StreamReader {
    pub fn new(store: Store, cache: RowCache, on_miss: OnMiss) -> StreamReader {
        StreamReader { store, cache, on_miss }
    }

    /// The state of `entity` (an encoded key), and how many of its parts the cache had and lacked.
    pub fn get(&self, generation: &Generation, entity: &[u8]) -> Result<(EntityState, [u64; 2]), ShardError> {
        let prefix = generation.prefix();
        let mut key = Vec::with_capacity(prefix.len() + entity.len() + 1);
        let mut found = [0, 0];
        part_key(&prefix, entity, HEAD, &mut key);
        let head = self.part(generation, &key, &mut found)?;
        part_key(&prefix, entity, BASE, &mut key);
        let base = self.part(generation, &key, &mut found)?;
        let mut state = EntityState { base, head };
        for _ in 0..TRIES {
            if state.fits() {
                return Ok((state, found));
            }
            // A commit is on its way. The cache is filled after it, the store's two keys change side by side.
            std::thread::yield_now();
            part_key(&prefix, entity, HEAD, &mut key);
            let head = stored(&self.store, &key)?;
            part_key(&prefix, entity, BASE, &mut key);
            state = EntityState { base: stored(&self.store, &key)?, head };
        }
        Err(ShardError::Damaged(format!(
            "the window state of an entity of `{}` does not belong together",
            generation.plan.spec.name
        )))
    }

    fn part(
        &self,
        generation: &Generation,
        key: &[u8],
        found: &mut [u64; 2],
    ) -> Result<Option<Bytes>, ShardError> {
        let (bytes, hit) = part(&self.store, &self.cache, key)?;
        found[usize::from(!hit)] += 1;
        if !hit && bytes.is_some() {
            (self.on_miss)(generation.plan.spec.source, key);
        }
        Ok(bytes)
    }
}

/// The aggregates `wanted` (places in the generation's spec) of one entity at `t` (µs), `None` where the state cannot
/// answer for that moment and history has to.
pub fn aggregates(
    generation: &Generation,
    state: &EntityState,
    t: i64,
    wanted: &[usize],
) -> Result<Option<Vec<Output>>, ShardError> {
    if !state.answers_at(t) {
        return Ok(None);
    }
    tiles::read(&generation.plan.layout, state.base.as_deref(), state.recent(), t, wanted)
        .map(Some)
        .map_err(|_| damaged(generation))
}

pub(super) fn damaged(generation: &Generation) -> ShardError {
    ShardError::Damaged(format!(
        "the window state of an entity of `{}` cannot be read",
        generation.plan.spec.name
    ))
}
