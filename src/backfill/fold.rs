//! One part of a view's entities, folded from history.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    backfill::BackfillError,
    compute::window::tiles,
    model::{SEQ, TableSchema},
    offline::History,
    shard::{BackfilledEntity, Generation, ShardError, history_events},
};

/// Events of an entity are folded once they take so many bytes, so that a busy entity does not take the memory.
const FOLD_BYTES: usize = 64 * 1024;

/// The entities of one part, in order of their keys.
pub struct Part<'a> {
    pub generation: &'a Generation,
    pub source: &'a TableSchema,
    pub part: u32,
    pub parts: u32,
    /// The moment that the states are folded at, µs.
    pub now: i64,
}

#[derive(Default)]
struct Entity {
    base: Option<Vec<u8>>,
    events: Vec<u8>,
}

impl Part<'_> {
    /// Reads `history` once, then gives the entities in order of their keys. `seen` is told of events looked at, and may
    /// end the work.
    pub fn fold(
        &self,
        history: &History,
        mut seen: impl FnMut(u64) -> Result<(), BackfillError>,
    ) -> Result<impl Iterator<Item = Result<BackfilledEntity, BackfillError>>, BackfillError> {
        let plan = &self.generation.plan;
        let oldest = plan.layout.oldest(self.now);
        let mut columns: Vec<&str> = vec![&self.source.event_time, SEQ];
        let used = plan.columns_used();
        columns.extend(used.iter().map(String::as_str).filter(|name| *name != self.source.event_time));
        let mut entities: BTreeMap<Vec<u8>, Entity> = BTreeMap::new();
        for batch in history.scan(&columns)? {
            let batch = batch?;
            seen(batch.num_rows() as u64)?;
            let events = history_events(plan, self.source, &batch).map_err(BackfillError::Shard)?;
            for event in events.iter() {
                let due = event.seq < self.generation.live_from
                    && oldest.is_none_or(|oldest| event.time >= oldest)
                    && xxh3_64(event.key) % u64::from(self.parts.max(1)) == u64::from(self.part);
                if !due {
                    continue;
                }
                let entity = match entities.get_mut(event.key) {
                    Some(entity) => entity,
                    None => entities.entry(event.key.to_vec()).or_default(),
                };
                entity.events.extend_from_slice(event.bytes);
                if entity.events.len() >= FOLD_BYTES {
                    self.fold_entity(entity)?;
                }
            }
        }
        // One at a time, so that there are never all events and all states at once.
        Ok(entities.into_iter().filter_map(|(key, mut entity)| match self.fold_entity(&mut entity) {
            Ok(()) => entity.base.map(|base| Ok(BackfilledEntity { key, base })),
            Err(error) => Some(Err(error)),
        }))
    }

    fn fold_entity(&self, entity: &mut Entity) -> Result<(), BackfillError> {
        let bases: Vec<&[u8]> = entity.base.as_deref().into_iter().collect();
        let base = tiles::rebuild(&self.generation.plan.layout, &bases, &entity.events, self.now);
        let base = base.map_err(|error| ShardError::Damaged(format!("events of the history: {error}")))?;
        entity.base = Some(base);
        entity.events.clear();
        Ok(())
    }
}
