//! The read itself, with what is behind each value.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::{
    compute::as_of::Outcome,
    model::Timestamp,
    serve::{
        Answer, AsOf, Entities, Found, Plan, PlanGroup, Reads, ServeError, Served, Status,
        aggregates::{Asked, Look, Moments, aggregate},
        explain::{
            EventLists, FromVersion, FromWindow,
            versions::{from_version, online_row},
            window::{from_window, states},
        },
        history::encode_keys,
    },
};

/// All values of one entity.
#[derive(Debug, serde::Serialize)]
pub struct Explanation {
    pub registry_version: u64,
    /// The moment of the read.
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_at: Option<Timestamp>,
    pub values: Vec<Explained>,
}

#[derive(Debug, serde::Serialize)]
pub struct Explained {
    pub feature: String,
    pub value: Json,
    pub status: &'static str,
    /// In words.
    pub reason: String,
    pub view: String,
    pub view_version: u32,
    #[serde(flatten)]
    pub how: How,
}

/// What made a value. What is computed on demand joins here, with its expression and its inputs.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    FromVersion(FromVersion),
    FromWindow(FromWindow),
}

/// What is found of a group before the read, so that it finds the cache as the read does.
enum Before {
    Version(Option<super::versions::OnlineRow>),
    Window(Vec<Option<super::window::StateRead>>),
}

/// Reads the features of one entity, and says why they are what they are. Takes its time: not for a thread that serves
/// others.
pub fn explain(
    reads: &Reads,
    plan: &Arc<Plan>,
    entity: &Entities,
    as_of: AsOf,
) -> Result<Explanation, ServeError> {
    if entity.len() != 1 {
        let given = entity.len();
        return Err(ServeError::Invalid(format!("one entity is explained at a time, {given} were given")));
    }
    let before = plan.groups.iter().map(|group| match group.view.stream() {
        Some(_) => Ok(Before::Window(states(reads, plan, group, entity)?)),
        None => Ok(Before::Version(online_row(reads, plan, group, entity)?)),
    });
    let before = before.collect::<Result<Vec<_>, ServeError>>()?;
    let (answer, ahead) = read(reads, plan, entity, as_of)?;
    // Of the read: where definitions changed meanwhile, it was made by another plan.
    let plan = &answer.plan;
    if plan.groups.len() != before.len() {
        return Err(ServeError::StalePlan);
    }
    let lists = event_lists(reads, plan, entity, answer.now, as_of.known_at)?;
    let mut versions: Vec<Option<FromVersion>> = Vec::with_capacity(before.len());
    let mut windows = Vec::with_capacity(before.len());
    for (group, before) in plan.groups.iter().zip(before) {
        let (version, states) = match before {
            Before::Version(online) => {
                let when = (answer.now, as_of.known_at, as_of.is_now());
                (Some(from_version(reads, plan, group, entity, online, when)?), Vec::new())
            }
            Before::Window(states) => (None, states),
        };
        versions.push(version);
        windows.push(states);
    }
    let mut values = Vec::with_capacity(plan.columns.len());
    for (column, wanted) in plan.columns.iter().enumerate() {
        let group = &plan.groups[wanted.group];
        let how = match (&versions[wanted.group], group.view.stream()) {
            (Some(version), _) => How::FromVersion(version.clone()),
            (None, Some(stream)) => {
                let list = lists.take(wanted.group, wanted.feature).ok_or(ServeError::StalePlan)?;
                let state = windows[wanted.group].get(wanted.feature).copied().flatten();
                let from_state = as_of.is_now() && !ahead.contains(&wanted.group);
                How::FromWindow(from_window(&stream.aggregations[wanted.feature], state, from_state, list))
            }
            (None, None) => return Err(ServeError::StalePlan),
        };
        let (served, status) = answer.value(0, column);
        let value = match served {
            Served::Cell(cell) => cell.to_value(&wanted.data_type).to_json(),
            Served::Value(value) => value.to_json(),
        };
        values.push(Explained {
            feature: plan.names[column].clone(),
            value,
            status: status.as_str(),
            reason: reason(&answer, wanted.group, group, status, &how),
            view: group.view.name.clone(),
            view_version: group.view.version,
            how,
        });
    }
    Ok(Explanation {
        registry_version: plan.registry_version,
        at: answer.now,
        known_at: as_of.known_at,
        values,
    })
}

/// The read that is explained, and the groups that history had to answer.
fn read(
    reads: &Reads,
    plan: &Arc<Plan>,
    entity: &Entities,
    as_of: AsOf,
) -> Result<(Answer, Vec<usize>), ServeError> {
    if !as_of.is_now() {
        return Ok((reads.as_of(plan, entity, as_of)?, Vec::new()));
    }
    let newest = reads.newest(plan, entity)?;
    let ahead = newest.ahead.iter().map(|(_, group)| *group).collect();
    Ok((reads.complete(newest, entity)?, ahead))
}

fn event_lists(
    reads: &Reads,
    plan: &Plan,
    entity: &Entities,
    at: Timestamp,
    known_at: Option<Timestamp>,
) -> Result<EventLists, ServeError> {
    let lists = EventLists::default();
    let mut asked = Vec::new();
    for (g, group) in plan.groups.iter().enumerate() {
        let Some(stream) = group.view.stream() else { continue };
        let columns = plan.columns.iter().filter(|column| column.group == g);
        let features: Vec<usize> = columns.map(|column| column.feature).collect();
        let (keys, offsets) = encode_keys(plan, group, entity)?;
        asked.push(Asked { view: &group.view, group: g, stream, features, keys, offsets });
    }
    let times = [at.micros()];
    let moments = Moments { times: &times, known_at, lagged: false, until: None, look: Look::Events(&lists) };
    aggregate(reads, &reads.catalog.current(), &asked, moments)?;
    Ok(lists)
}

/// Why the value has its status.
fn reason(answer: &Answer, group: usize, of: &PlanGroup, status: Status, how: &How) -> String {
    let stands_in = if status == Status::Defaulted { "the default stands in: " } else { "" };
    let why = match how {
        How::FromVersion(from) => version_reason(answer, group, of, from),
        How::FromWindow(_) if status == Status::Backfilling => {
            "the aggregate is new, and the events from before it are still being counted".to_owned()
        }
        How::FromWindow(from) if from.events_total == 0 => "no event is in the window".to_owned(),
        How::FromWindow(from) => match from.events_total {
            1 => "computed of the one event in the window".to_owned(),
            total => format!("computed of the {total} events in the window"),
        },
    };
    format!("{stands_in}{why}")
}

fn version_reason(answer: &Answer, group: usize, of: &PlanGroup, from: &FromVersion) -> String {
    let outcome = match &answer.found[group] {
        Found::Row { outcome, .. } => *outcome,
        Found::Aggregates(_) => Outcome::NotFound,
    };
    let Some(version) = &from.version else {
        return format!("`{}` has no version of this entity at or before {}", of.view.name, answer.now);
    };
    let age = from.age_ms.unwrap_or_default();
    let ttl = from.ttl.as_deref().unwrap_or("none");
    match outcome {
        _ if version.deleted => format!("the entity was deleted as of {}", version.event_time),
        Outcome::OutsideMaxAge => {
            format!("the newest version, of {}, is {age} ms old: beyond the ttl of {ttl}", version.event_time)
        }
        _ => match &from.ttl {
            Some(ttl) => format!(
                "the newest version is of {}, {age} ms old: within the ttl of {ttl}",
                version.event_time
            ),
            None => format!("the newest version is of {}; it is valid for ever", version.event_time),
        },
    }
}
