//! One entity's state as it is stored: two keys that must belong together.
//!
//! The head names the version of the base that it goes on from. Someone who reads the two while they change sees versions
//! that do not fit, and reads again: fjall may show one key of a batch before the other.

use std::sync::Arc;

use crate::{
    compute::window::{
        Output,
        tiles::{self, Folded},
    },
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
    pub base: Option<Arc<Folded>>,
    pub head: Option<Arc<[u8]>>,
}

impl EntityState {
    /// The events since the base was folded.
    pub fn recent(&self) -> &[u8] {
        self.head.as_ref().and_then(|head| head.get(HEAD_START..)).unwrap_or_default()
    }

    /// Whether what was folded leaves a read at `t` (µs) possible.
    pub fn answers_at(&self, t: i64) -> bool {
        self.base.as_ref().is_none_or(|base| tiles::folded_at(base.bytes()).is_ok_and(|folded| folded <= t))
    }

    /// What it takes in memory.
    pub fn weight(&self) -> usize {
        let base = self.base.as_ref().map_or(0, |base| base.weight());
        base + self.head.as_ref().map_or(0, |head| head.len())
    }

    fn is_empty(&self) -> bool {
        self.base.is_none() && self.head.is_none()
    }

    fn fits(&self) -> bool {
        let base = self.base.as_ref().map_or(Ok(0), |base| tiles::base_version(base.bytes()));
        base.is_ok_and(|version| version == self.base_named())
    }

    /// The version of the base that the head goes on from.
    fn base_named(&self) -> u32 {
        let named = self.head.as_ref().and_then(|head| head.first_chunk());
        named.map_or(0, |version| u32::from_le_bytes(*version))
    }
}

pub(super) fn base_key(entity: &[u8]) -> Vec<u8> {
    [entity, &[BASE]].concat()
}

pub(super) fn head_key(entity: &[u8]) -> Vec<u8> {
    [entity, &[HEAD]].concat()
}

/// The two parts as they are stored. Copies: fjall's slices would keep their whole blocks in memory.
fn stored(store: &Store, entity: &[u8]) -> Result<EntityState, ShardError> {
    let head = store.tiles.get(head_key(entity))?.map(|bytes| Arc::from(&bytes[..]));
    let base = store.tiles.get(base_key(entity))?.map(|bytes| Arc::new(Folded::new(&bytes[..])));
    Ok(EntityState { base, head })
}

/// An entity's state, on the shard's own thread: nothing can change meanwhile. `key` is generation and entity.
pub(in crate::shard) fn load(store: &Store, cache: &RowCache, key: &[u8]) -> Result<EntityState, ShardError> {
    if let Some(state) = cache.state(key) {
        return Ok(state);
    }
    let state = stored(store, key)?;
    if state.fits() {
        return Ok(state);
    }
    Err(ShardError::Damaged("the two parts of an entity's window state do not belong together".to_owned()))
}

/// Told of a state that was not in the cache, so that its shard can fill it in: the source's table, and the key.
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

    /// The state of `entity` (an encoded key), and whether the cache had it. `key` is a scratch buffer.
    pub fn get(
        &self,
        generation: &Generation,
        entity: &[u8],
        key: &mut Vec<u8>,
    ) -> Result<(EntityState, bool), ShardError> {
        key.clear();
        key.extend_from_slice(&generation.prefix());
        key.extend_from_slice(entity);
        if let Some(state) = self.cache.state(key) {
            return Ok((state, true));
        }
        for _ in 0..TRIES {
            let state = stored(&self.store, key)?;
            if state.fits() {
                if !state.is_empty() {
                    (self.on_miss)(generation.plan.spec.source, key);
                }
                return Ok((state, false));
            }
            // A commit is on its way: the store's two keys change side by side.
            std::thread::yield_now();
        }
        Err(ShardError::Damaged(format!(
            "the window state of an entity of `{}` does not belong together",
            generation.plan.spec.name
        )))
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
