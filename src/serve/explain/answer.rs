//! The read itself, with what is behind each value.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::ArrayRef;
use serde_json::Value as Json;

use crate::{
    compute::as_of::Outcome,
    model::Timestamp,
    registry::{FeatureView, Operand},
    serve::{
        Answer, AsOf, Computation, Entities, Found, Plan, PlanColumn, PlanGroup, Progress, Reads, ServeError,
        Served, Status, Step, ValueSource,
        aggregates::{Asked, Look, Moments, aggregate, value_at},
        explain::{
            EventList, EventLists, ExpressionInput, FromExpression, FromVersion, FromWindow, StateRead,
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

/// What made a value.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    FromVersion(FromVersion),
    FromWindow(FromWindow),
    /// On demand.
    Computed(FromExpression),
}

/// What is found of a group before the read, so that it finds the cache as the read does.
enum Before {
    Version(Option<super::versions::OnlineRow>),
    Window(Vec<Option<super::window::StateRead>>),
}

/// Reads the features of one entity, and says why they are what they are. Takes its time: not for a thread that serves
/// others. `request`: the columns that the plan asks for.
pub fn explain(
    reads: &Reads,
    plan: &Arc<Plan>,
    entity: &Entities,
    request: &[ArrayRef],
    as_of: AsOf,
) -> Result<Explanation, ServeError> {
    if entity.len() != 1 {
        let given = entity.len();
        return Err(ServeError::Invalid(format!("one entity is explained at a time, {given} were given")));
    }
    let moment = as_of.at.unwrap_or_else(|| reads.clock.now());
    let before = plan.groups.iter().map(|group| match group.view.stream() {
        Some(_) => Ok(Before::Window(states(reads, plan, group, entity)?)),
        None => Ok(Before::Version(online_row(reads, plan, group, entity, moment)?)),
    });
    let before = before.collect::<Result<Vec<_>, ServeError>>()?;
    let (mut answer, ahead) = read(reads, plan, entity, as_of)?;
    answer.compute(request)?;
    let answer = answer;
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
    let behind = Behind { answer: &answer, request, versions, windows, lists, now: as_of.is_now(), ahead };
    let mut explained = Vec::with_capacity(plan.columns.len());
    for (name, wanted) in plan.names.iter().zip(&plan.columns) {
        explained.push(behind.explained(name.clone(), wanted)?);
    }
    // What they are computed from is looked up; it is explained once, after what was asked for.
    for input in plan.on_demand.iter().flat_map(|on_demand| &on_demand.inputs) {
        let name = behind.name_of(input);
        if !explained.iter().any(|known: &Explained| known.feature == name) {
            explained.push(behind.explained(name, input)?);
        }
    }
    Ok(Explanation {
        registry_version: plan.registry_version,
        at: answer.now,
        known_at: as_of.known_at,
        values: explained,
    })
}

/// All that was found.
struct Behind<'a> {
    answer: &'a Answer,
    request: &'a [ArrayRef],
    /// By group.
    versions: Vec<Option<FromVersion>>,
    /// By group and feature.
    windows: Vec<Vec<Option<StateRead>>>,
    lists: BTreeMap<(usize, usize), EventList>,
    now: bool,
    ahead: Vec<usize>,
}

impl Behind<'_> {
    fn explained(&self, feature: String, wanted: &PlanColumn) -> Result<Explained, ServeError> {
        let plan = &self.answer.plan;
        let (served, status) = self.answer.value_of(wanted, 0);
        let in_json = status.in_json(&served, &wanted.data_type);
        let value = match served {
            Served::Cell(cell) => cell.to_value(&wanted.data_type).to_json(),
            Served::Value(value) => value.to_json(),
        };
        let (view, how, reason) = match wanted.source {
            ValueSource::Group { group, feature } => {
                let of = &plan.groups[group];
                let how = self.looked_up(group, feature)?;
                let reason = reason(self.answer, group, of, status, &how);
                (&of.view, how, reason)
            }
            ValueSource::Step(step) => {
                let (view, from) = self.computed(step)?;
                let reason = match status {
                    Status::Error => {
                        "the expression failed: a division by zero, or a number out of range".to_owned()
                    }
                    Status::Defaulted => "the default stands in: the expression is null".to_owned(),
                    Status::NullValue => "the expression is null".to_owned(),
                    Status::Backfilling => {
                        "computed from an aggregate that is new: the events from before it are still being counted"
                            .to_owned()
                    }
                    _ => format!("computed as {}", from.expression),
                };
                (view, How::Computed(from), reason)
            }
        };
        Ok(Explained {
            feature,
            value,
            status: in_json.as_str(),
            reason,
            view: view.name.clone(),
            view_version: view.version,
            how,
        })
    }

    fn looked_up(&self, group: usize, feature: usize) -> Result<How, ServeError> {
        match (&self.versions[group], self.answer.plan.groups[group].view.stream()) {
            (Some(version), _) => Ok(How::FromVersion(version.clone())),
            (None, Some(stream)) => {
                let list = self.lists.get(&(group, feature)).cloned().ok_or(ServeError::StalePlan)?;
                let state = self.windows[group].get(feature).copied().flatten();
                let from_state = self.now && !self.ahead.contains(&group);
                Ok(How::FromWindow(from_window(&stream.aggregations[feature], state, from_state, list)))
            }
            (None, None) => Err(ServeError::StalePlan),
        }
    }

    fn computed(&self, step: usize) -> Result<(&Arc<FeatureView>, FromExpression), ServeError> {
        let plan = &self.answer.plan;
        let on_demand = plan.on_demand.as_ref().ok_or(ServeError::StalePlan)?;
        let Computation { views, steps, .. } = &on_demand.computation;
        let Step { view, feature, operands } = &steps[step];
        let view = &views[*view];
        let Some(Ok(expression)) = view.on_demand().map(|it| it.expression(*feature)) else {
            return Err(ServeError::StalePlan);
        };
        let inputs = expression.columns().iter().zip(operands).map(|(column, operand)| {
            let (from, value) = match operand {
                Operand::Request(at) => {
                    let asked = &on_demand.computation.request[*at].column;
                    ("request".to_owned(), value_at(&self.request[*at], 0, &asked.data_type).to_json())
                }
                Operand::Input(at) => {
                    let input = &on_demand.inputs[*at];
                    (self.name_of(input), self.json_of(input))
                }
                Operand::Step(at) => {
                    let before = &steps[*at];
                    let of = &views[before.view];
                    let made = &of.features[before.feature];
                    let value = match self.answer.missing_of(*at, 0) {
                        Some(_) => Json::Null,
                        None => value_at(&self.answer.computed[*at].values, 0, &made.data_type).to_json(),
                    };
                    (format!("{}:{}", of.name, made.name), value)
                }
            };
            ExpressionInput { column: column.clone(), from, value }
        });
        let inputs = inputs.collect();
        Ok((view, FromExpression { expression: expression.text().to_owned(), inputs }))
    }

    /// `view:feature`, as in references.
    fn name_of(&self, wanted: &PlanColumn) -> String {
        match wanted.source {
            ValueSource::Group { group, feature } => {
                let view = &self.answer.plan.groups[group].view;
                format!("{}:{}", view.name, view.features[feature].name)
            }
            ValueSource::Step(_) => String::new(),
        }
    }

    fn json_of(&self, wanted: &PlanColumn) -> Json {
        match self.answer.value_of(wanted, 0).0 {
            Served::Cell(cell) => cell.to_value(&wanted.data_type).to_json(),
            Served::Value(value) => value.to_json(),
        }
    }
}

/// The read that is explained, and the groups that history had to answer.
fn read(
    reads: &Reads,
    plan: &Arc<Plan>,
    entity: &Entities,
    as_of: AsOf,
) -> Result<(Answer, Vec<usize>), ServeError> {
    if !as_of.is_now() {
        let at = reads.moment(plan, entity, as_of)?;
        return Ok((past(reads, plan, entity, at, as_of.known_at)?, Vec::new()));
    }
    let newest = reads.newest(plan, entity)?;
    let ahead: Vec<usize> = newest.ahead.iter().map(|(_, group)| *group).collect();
    if ahead.is_empty() {
        return Ok((newest.answer, ahead));
    }
    let past = past(reads, &Arc::clone(&newest.answer.plan), entity, newest.answer.now, None)?;
    Ok((newest.complete(&past), ahead))
}

fn past(
    reads: &Reads,
    plan: &Arc<Plan>,
    entity: &Entities,
    at: Timestamp,
    known_at: Option<Timestamp>,
) -> Result<Answer, ServeError> {
    let progress = Progress::new(plan);
    reads.history(plan, entity, at, known_at, &progress)?;
    Ok(progress.answer(plan, at, entity.len()))
}

fn event_lists(
    reads: &Reads,
    plan: &Plan,
    entity: &Entities,
    at: Timestamp,
    known_at: Option<Timestamp>,
) -> Result<BTreeMap<(usize, usize), EventList>, ServeError> {
    let lists = EventLists::default();
    let mut asked = Vec::new();
    for (g, group) in plan.groups.iter().enumerate() {
        let Some(stream) = group.view.stream() else { continue };
        let features = plan.features_of(g);
        let (keys, offsets) = encode_keys(plan, group, entity)?;
        asked.push(Asked { view: &group.view, group: g, stream, features, keys, offsets });
    }
    let times = [at.micros()];
    let moments = Moments { times: &times, known_at, lagged: false, until: None, look: Look::Events(&lists) };
    aggregate(reads, &reads.catalog.current(), &asked, moments)?;
    Ok(lists.finish())
}

/// Why the value has its status.
fn reason(answer: &Answer, group: usize, of: &PlanGroup, status: Status, how: &How) -> String {
    let stands_in = if status == Status::Defaulted { "the default stands in: " } else { "" };
    let why = match how {
        How::FromVersion(from) => version_reason(answer, group, of, from),
        How::FromWindow(_) if status == Status::Backfilling => {
            "the aggregate is new, and the events from before it are still being counted".to_owned()
        }
        How::Computed(from) => format!("computed as {}", from.expression),
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
        Found::Aggregates(_) | Found::TimedOut => Outcome::NotFound,
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
