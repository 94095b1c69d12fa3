//! The online read: one lookup per (view, entity), then the kernel's ttl rule.

use std::sync::Arc;

use crate::{
    compute::as_of::{Outcome, age_judgement},
    model::Timestamp,
    serve::{Answer, Entities, Found, Newest, Plan, ServeError},
    shard::{Row, ShardReader},
};

/// Reads every group of `plan` for every entity, at `now`.
///
/// Those whose newest version lies in the future of `now` are `ahead`: the online store holds only the newest, so
/// their value at `now` has to come from history.
pub fn lookup(
    plan: &Arc<Plan>,
    entities: &Entities,
    reader: &ShardReader,
    now: Timestamp,
) -> Result<Newest, ServeError> {
    let mut found = Vec::with_capacity(entities.len() * plan.groups.len());
    let mut ahead = Vec::new();
    let (mut entity_key, mut scratch) = (Vec::with_capacity(64), Vec::with_capacity(64));
    let (mut hits, mut misses) = (0u64, 0u64);
    for entity in 0..entities.len() {
        for (g, group) in plan.groups.iter().enumerate() {
            if !entities.encode_key(plan, group, entity, &mut entity_key)? {
                found.push(Found { row: None, outcome: Outcome::NotFound });
                continue;
            }
            let (row, hit) = reader.get(group.table, &entity_key, &mut scratch)?;
            if hit {
                hits += 1
            } else {
                misses += 1
            }
            let outcome = match &row {
                None => Outcome::NotFound,
                Some(bytes) => {
                    let row = Row(bytes);
                    if !group.knows(row.schema_version()) {
                        return Err(ServeError::StalePlan);
                    }
                    if row.event_time() > now {
                        ahead.push((entity, g));
                    }
                    age_judgement(row.is_tombstone(), row.event_time().micros(), now.micros(), group.ttl)
                }
            };
            let row = if outcome == Outcome::NotFound { None } else { row };
            found.push(Found { row, outcome });
        }
    }
    crate::metrics::record_cache(hits, misses);
    let answer = Answer { plan: Arc::clone(plan), now, entities: entities.len(), found };
    Ok(Newest { answer, ahead })
}
