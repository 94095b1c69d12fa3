//! Of a view whose rows are written: the version that answers.

use crate::{
    compute::as_of::Spine,
    model::{Duration, Timestamp},
    offline::{AsOf, ByteBudget, chosen},
    serve::{Entities, Plan, PlanGroup, Reads, ServeError, history::encode_keys},
    shard::{Row, version_at},
};

/// The version behind the values of one entity in one view, and what its age means.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FromVersion {
    /// `online`: the newest row of the online store. `history`: the point-in-time join.
    pub answered_by: &'static str,
    /// Whether the online store's cache had the row; none where history answered.
    pub cache_hit: Option<bool>,
    /// None where the entity has no version at that time.
    pub version: Option<VersionSeen>,
    /// A newer version, with an event time yet to come: why the online row did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yet_to_come: Option<Timestamp>,
    /// None: valid for ever.
    pub ttl: Option<String>,
    /// Of the version at the moment of the read.
    pub age_ms: Option<i64>,
    /// Whether the age is within the ttl.
    pub within_ttl: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct VersionSeen {
    pub event_time: Timestamp,
    pub seq: i64,
    /// None where the view keeps no history.
    pub accepted_at: Option<Timestamp>,
    /// The version of the view that wrote the row; none where history answered.
    pub schema_version: Option<u32>,
    /// It says that the entity has no values from then on.
    pub deleted: bool,
}

/// The row that counts at a moment as the online store has it, else the newest, and whether the cache had it.
pub(super) struct OnlineRow {
    /// Of the newest version, which may be yet to come.
    newest: Timestamp,
    event_time: Timestamp,
    seq: u64,
    schema_version: u32,
    deleted: bool,
    hit: bool,
}

/// To be asked before anything else reads the row: a read brings it into the cache.
pub(super) fn online_row(
    reads: &Reads,
    plan: &Plan,
    group: &PlanGroup,
    entity: &Entities,
    at: Timestamp,
) -> Result<Option<OnlineRow>, ServeError> {
    let mut key = Vec::new();
    if !entity.encode_key(plan, group, 0, &mut key)? {
        return Ok(None);
    }
    let (row, hit) = reads.reader.get(group.table, &key, &mut Vec::new())?;
    Ok(row.map(|bytes| {
        let newest = Row(&bytes).event_time();
        let bytes = version_at(bytes, at);
        let row = Row(&bytes);
        OnlineRow {
            newest,
            event_time: row.event_time(),
            seq: row.seq(),
            schema_version: row.schema_version(),
            deleted: row.is_tombstone(),
            hit,
        }
    }))
}

pub(super) fn from_version(
    reads: &Reads,
    plan: &Plan,
    group: &PlanGroup,
    entity: &Entities,
    online: Option<OnlineRow>,
    (at, known_at, now): (Timestamp, Option<Timestamp>, bool),
) -> Result<FromVersion, ServeError> {
    let past = if group.view.offline { in_history(reads, plan, group, entity, at, known_at)? } else { None };
    // What came between the two reads is not what answered.
    let online_answers = now && online.as_ref().is_none_or(|row| row.event_time <= at);
    let yet_to_come = online.as_ref().filter(|row| now && row.newest > at).map(|row| row.newest);
    let (answered_by, cache_hit, version) = match online {
        Some(row) if online_answers => {
            let accepted_at = past.as_ref().filter(|past| past.seq == row.seq.cast_signed());
            let seen = VersionSeen {
                event_time: row.event_time,
                seq: row.seq.cast_signed(),
                accepted_at: accepted_at.and_then(|past| past.accepted_at),
                schema_version: Some(row.schema_version),
                deleted: row.deleted,
            };
            ("online", Some(row.hit), Some(seen))
        }
        None if online_answers => ("online", Some(false), None),
        _ => ("history", None, past),
    };
    let age = version.as_ref().map(|seen| at.micros().saturating_sub(seen.event_time.micros()).max(0));
    Ok(FromVersion {
        answered_by,
        cache_hit,
        version,
        yet_to_come,
        ttl: group.ttl.and_then(Duration::from_micros).map(|ttl| ttl.to_string()),
        age_ms: age.map(|age| age / 1000),
        within_ttl: age.map(|age| group.ttl.is_none_or(|ttl| age <= ttl)),
    })
}

fn in_history(
    reads: &Reads,
    plan: &Plan,
    group: &PlanGroup,
    entity: &Entities,
    at: Timestamp,
    known_at: Option<Timestamp>,
) -> Result<Option<VersionSeen>, ServeError> {
    let (keys, offsets) = encode_keys(plan, group, entity)?;
    let history = reads.table_history(&group.view.schema, None)?;
    let found = chosen(&AsOf {
        history: &history,
        spine: &Spine::new(&keys, &offsets, &[at.micros()], 0),
        ttl: group.ttl,
        known_at: known_at.map(Timestamp::micros),
        by_then: false,
        columns: &[],
        budget: ByteBudget::unlimited(),
    })?;
    Ok(found.into_iter().flatten().next().map(|found| VersionSeen {
        event_time: Timestamp::from_micros(found.version.event_time),
        seq: found.version.seq,
        accepted_at: Some(Timestamp::from_micros(found.accepted_at)),
        schema_version: None,
        deleted: found.version.deleted,
    }))
}
