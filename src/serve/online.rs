//! The online read: one lookup per (view, entity), then the kernel's rule: the ttl, or the window.

use std::sync::Arc;

use crate::{
    compute::as_of::{Outcome, age_judgement},
    model::{Timestamp, Value},
    serve::{
        Answer, Entities, Found, Newest, Plan, PlanGroup, ServeError, StreamGroup, aggregates::to_value,
    },
    shard::{self, EntityState, Row, ShardReader, StreamReader, version_at},
};

/// Reads every group of `plan` for every entity, at `now`.
///
/// Those whose newest version lies in the future of `now` are `ahead`, as are window states that were folded after it:
/// the online store holds only the newest, so their value at `now` has to come from history. Of views without history it
/// holds the version that counts too.
pub fn lookup(
    plan: &Arc<Plan>,
    entities: &Entities,
    rows: &ShardReader,
    streams: &StreamReader,
    now: Timestamp,
) -> Result<Newest, ServeError> {
    let mut found = Vec::with_capacity(entities.len() * plan.groups.len());
    let mut ahead = Vec::new();
    let mut keys = Keys::default();
    for entity in 0..entities.len() {
        for (g, group) in plan.groups.iter().enumerate() {
            let has_key = entities.encode_key(plan, group, entity, &mut keys.entity)?;
            let newest = match &group.stream {
                Some(stream) => match aggregates(stream, group, streams, has_key, &mut keys, now)? {
                    Some(found) => found,
                    None => {
                        ahead.push((entity, g));
                        Found::NOTHING
                    }
                },
                None if has_key => {
                    let found = row(group, rows, &mut keys, now)?;
                    if let Found::Row { row: Some(bytes), .. } = &found
                        && Row(bytes).event_time() > now
                    {
                        ahead.push((entity, g));
                    }
                    found
                }
                None => Found::NOTHING,
            };
            found.push(newest);
        }
    }
    let [hits, misses] = keys.seen;
    plan.meters.record_cache(hits, misses);
    let answer = Answer::new(Arc::clone(plan), now, entities.len(), found);
    Ok(Newest { answer, ahead })
}

/// Scratch space of one request, and how many lookups the cache answered and did not.
#[derive(Default)]
struct Keys {
    entity: Vec<u8>,
    stored: Vec<u8>,
    seen: [u64; 2],
}

fn row(
    group: &PlanGroup,
    reader: &ShardReader,
    keys: &mut Keys,
    now: Timestamp,
) -> Result<Found, ServeError> {
    let (row, hit) = reader.get(group.table, &keys.entity, &mut keys.stored)?;
    keys.seen[usize::from(!hit)] += 1;
    let Some(bytes) = row else { return Ok(Found::NOTHING) };
    let bytes = version_at(bytes, now);
    let version = Row(&bytes);
    if !group.knows(version.schema_version()) {
        return Err(ServeError::StalePlan);
    }
    let outcome =
        age_judgement(version.is_tombstone(), version.event_time().micros(), now.micros(), group.ttl);
    Ok(Found::Row { row: (outcome != Outcome::NotFound).then_some(bytes), outcome })
}

/// The aggregates of one entity; without a key it has no events. `None` where history has to answer.
fn aggregates(
    stream: &StreamGroup,
    group: &PlanGroup,
    reader: &StreamReader,
    has_key: bool,
    keys: &mut Keys,
    now: Timestamp,
) -> Result<Option<Found>, ServeError> {
    if stream.from_history {
        return Ok(None);
    }
    let features = &group.view.features;
    let mut values: Box<[Option<Value>]> = vec![None; features.len()].into();
    for part in &stream.parts {
        let state = if has_key {
            let (state, hit) = reader.get(&part.generation, &keys.entity, &mut keys.stored)?;
            keys.seen[usize::from(!hit)] += 1;
            state
        } else {
            EntityState::default()
        };
        let Some(outputs) = shard::aggregates(&part.generation, &state, now.micros(), &part.measures)? else {
            return Ok(None);
        };
        for (&feature, output) in part.features.iter().zip(outputs) {
            values[feature] = Some(to_value(output, &features[feature].data_type));
        }
    }
    Ok(Some(Found::Aggregates(values)))
}
