//! What a new definition of an object changes, and what of it would break what is there.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    sync::Arc,
};

use crate::{
    definition::{
        EntityDefinition, FeatureServiceDefinition, FeatureViewDefinition, OnDemandDefinition,
        SourceDefinition, StreamDefinition,
    },
    object::{About, Feature, Selection},
    project::DEFAULT_PROJECT,
};
use larder_compute::window::Function;
use larder_model::{Column, DataType, TableSchema, TimeForm};

/// The difference between two definitions of one object.
#[derive(Debug, Default)]
pub(super) struct Diff {
    /// For people, one line each; empty where the definitions are the same.
    pub changes: Vec<String>,
    /// `(field, reason)`.
    pub breaking: Vec<(String, String)>,
    /// Features of a view that the new definition no longer has: breaking where a service uses them.
    pub dropped: Vec<String>,
    /// Features of a view whose type is another and no wider one: breaking where a service uses them.
    pub retyped: Vec<Retyped>,
}

#[derive(Debug)]
pub(super) struct Retyped {
    pub feature: String,
    pub from: DataType,
    pub to: DataType,
}

impl Diff {
    fn breaks(&mut self, field: &str, reason: String) {
        self.changes.push(reason.clone());
        self.breaking.push((field.to_owned(), reason));
    }

    fn compare<T: PartialEq + Display>(&mut self, what: &str, old: &T, new: &T) {
        if old != new {
            self.changes.push(format!("{what}: {old} → {new}"));
        }
    }

    fn compare_optional<T: PartialEq + Display>(&mut self, what: &str, old: Option<&T>, new: Option<&T>) {
        if old != new {
            let text = |value: Option<&T>| value.map_or_else(|| "none".to_owned(), ToString::to_string);
            self.changes.push(format!("{what}: {} → {}", text(old), text(new)));
        }
    }

    /// `of` is empty for the object itself, else names the part: "feature `temp`: ".
    fn compare_about(&mut self, of: &str, old: &About, new: &About) {
        if old.description != new.description {
            self.changes.push(format!("{of}description changed"));
        }
        if old.owner != new.owner {
            self.changes.push(format!("{of}owner: `{}` → `{}`", old.owner, new.owner));
        }
        if old.project != new.project {
            let name = |about: &About| about.project.clone().unwrap_or_else(|| DEFAULT_PROJECT.to_owned());
            self.changes.push(format!("{of}project: {} → {}", name(old), name(new)));
        }
        if old.tags != new.tags {
            self.changes.push(format!("{of}tags changed"));
        }
    }
}

pub(super) fn entity(old: &EntityDefinition, new: &EntityDefinition) -> Diff {
    let mut diff = Diff::default();
    if old.join_keys != new.join_keys {
        let text = |keys: &[Column]| {
            keys.iter().map(|key| format!("{} {}", key.name, key.data_type)).collect::<Vec<_>>().join(", ")
        };
        let (before, after) = (text(&old.join_keys), text(&new.join_keys));
        if spelled_alike(&old.join_keys, &new.join_keys) {
            diff.changes.push(format!(
                "join keys changed from ({before}) to ({after}); what was stored under a UUID in another spelling than lower \
                 case with hyphens is not found until it is written again"
            ));
        } else {
            diff.breaks(
                "join_keys",
                format!("join keys changed from ({before}) to ({after}); rows are stored by them: give the new entity a new name"),
            );
        }
    }
    diff.compare_about("", &old.about, &new.about);
    diff
}

/// Whether the keys differ at most in that a string is a UUID now: its canonical text is stored as the string was.
fn spelled_alike(old: &[Column], new: &[Column]) -> bool {
    let alike = |(old, new): (&Column, &Column)| {
        old == new
            || (old.name == new.name
                && (&old.data_type, &new.data_type) == (&DataType::String, &DataType::Uuid))
    };
    old.len() == new.len() && old.iter().zip(new).all(alike)
}

/// `history` are the schemas of all versions of the source's table.
pub(super) fn source(old: &SourceDefinition, history: &[Arc<TableSchema>], new: &SourceDefinition) -> Diff {
    let mut diff = Diff::default();
    if old.event_time != new.event_time {
        diff.breaks(
            "event_time",
            format!(
                "the event-time column changed from `{}` to `{}`; give the new source a new name",
                old.event_time, new.event_time
            ),
        );
    }
    if old.event_id != new.event_id {
        let text = |id: &Option<String>| id.as_ref().map_or("none".to_owned(), |id| format!("`{id}`"));
        diff.breaks(
            "event_id",
            format!(
                "the event id changed from {} to {}; give the new source a new name",
                text(&old.event_id),
                text(&new.event_id)
            ),
        );
    }
    let widest = widest(history);
    for column in &new.columns {
        let before = old.columns.iter().find(|c| c.name == column.name);
        match before {
            None => diff.changes.push(format!("column `{}` added", column.name)),
            Some(before) => {
                diff.compare(&format!("column `{}`: type", column.name), &before.data_type, &column.data_type)
            }
        }
        let is_id = new.event_id.as_deref() == Some(column.name.as_str());
        match before {
            // Events are told apart by the bytes of their id, which the type decides.
            Some(before) if is_id && before.data_type != column.data_type => diff.breaking.push((
                column.name.clone(),
                format!("the type of the event id changed from {} to {}", before.data_type, column.data_type),
            )),
            _ => check_type(&mut diff, &widest, &column.name, &column.data_type, "source"),
        }
    }
    for column in &old.columns {
        if !new.columns.iter().any(|c| c.name == column.name) {
            diff.breaks(
                &column.name,
                format!("column `{}` was dropped; keep it, or give the new source a new name", column.name),
            );
        }
    }
    let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    compare_order(&mut diff, "columns", &names(&old.columns), &names(&new.columns));
    diff.compare("kind", &old.kind, &new.kind);
    diff.compare("availability_lag", &old.availability_lag, &new.availability_lag);
    diff.compare_optional("retention", old.retention.as_ref(), new.retention.as_ref());
    compare_times(&mut diff, old.times, new.times);
    diff.compare_about("", &old.about, &new.about);
    diff
}

/// `history` are the schemas of all versions of the view's table; a view without rows has none.
pub(super) fn feature_view(
    old: &FeatureViewDefinition,
    history: &[Arc<TableSchema>],
    new: &FeatureViewDefinition,
) -> Diff {
    let mut diff = Diff::default();
    if old.entities != new.entities && kind(old) == kind(new) {
        let (old, new) = (old.entities.join(", "), new.entities.join(", "));
        diff.breaks(
            "entities",
            format!("entities changed from ({old}) to ({new}); rows are stored by them: give the new view a new name"),
        );
    }
    let widest = widest(history);
    for feature in &new.features {
        match old.features.iter().find(|f| f.name == feature.name) {
            None => diff.changes.push(format!("feature `{}` added", feature.name)),
            Some(before) => compare_feature(&mut diff, before, feature),
        }
        // What is computed is not stored: its type may become any, as long as nobody uses it.
        if new.stream.is_none() && new.on_demand.is_none() {
            check_type(&mut diff, &widest, &feature.name, &feature.data_type, "view");
        }
    }
    if kind(old) != kind(new) {
        let (name, was, is) = (&new.name, kind(old), kind(new));
        diff.breaks("name", format!("`{name}` is or was a {was}; give the {is} a new name"));
    }
    if let (Some(before), Some(stream)) = (&old.stream, &new.stream) {
        compare_stream(&mut diff, old, before, new, stream);
    }
    if let (Some(before), Some(on_demand)) = (&old.on_demand, &new.on_demand) {
        compare_on_demand(&mut diff, old, before, new, on_demand);
    }
    if let (Some(before), Some(batch)) = (&old.batch, &new.batch) {
        if before.sql != batch.sql {
            diff.changes.push("sql changed".to_owned());
        }
        diff.compare("schedule", &before.schedule, &batch.schedule);
    }
    for feature in &old.features {
        if !new.features.iter().any(|f| f.name == feature.name) {
            diff.changes.push(format!("feature `{}` dropped", feature.name));
            diff.dropped.push(feature.name.clone());
        }
    }
    let names = |features: &[Feature]| features.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    compare_order(&mut diff, "features", &names(&old.features), &names(&new.features));
    diff.compare_optional("ttl", old.ttl.as_ref(), new.ttl.as_ref());
    diff.compare("online", &old.online, &new.online);
    diff.compare("offline", &old.offline, &new.offline);
    diff.compare_optional("retention", old.retention.as_ref(), new.retention.as_ref());
    compare_times(&mut diff, old.times, new.times);
    diff.compare_optional("freshness_slo", old.freshness_slo.as_ref(), new.freshness_slo.as_ref());
    diff.compare_about("", &old.about, &new.about);
    diff
}

/// A declaration concerns rows to come: those that are stored have their times.
fn compare_times(diff: &mut Diff, old: TimeForm, new: TimeForm) {
    diff.compare_optional("time_unit", old.time_unit.as_ref(), new.time_unit.as_ref());
    diff.compare_optional("time_zone", old.time_zone.as_ref(), new.time_zone.as_ref());
}

pub(super) fn feature_service(old: &FeatureServiceDefinition, new: &FeatureServiceDefinition) -> Diff {
    let mut diff = Diff::default();
    for selection in &new.selections {
        if !old.selections.contains(selection) {
            diff.changes.push(format!("`{selection}` added"));
        }
    }
    for selection in &old.selections {
        if !new.selections.contains(selection) {
            diff.changes.push(format!("`{selection}` dropped"));
        }
    }
    let names = |selections: &[Selection]| selections.iter().map(ToString::to_string).collect::<Vec<_>>();
    compare_order(&mut diff, "selections", &names(&old.selections), &names(&new.selections));
    diff.compare_about("", &old.about, &new.about);
    diff
}

fn compare_feature(diff: &mut Diff, old: &Feature, new: &Feature) {
    let of = format!("feature `{}`: ", new.name);
    diff.compare(&format!("{of}type"), &old.data_type, &new.data_type);
    let default = |feature: &Feature| feature.default.as_ref().map(|value| value.to_json());
    diff.compare_optional(&format!("{of}default"), default(old).as_ref(), default(new).as_ref());
    diff.compare(&format!("{of}pii"), &old.pii, &new.pii);
    diff.compare(&format!("{of}status"), &old.status, &new.status);
    if old.validate != new.validate {
        diff.changes.push(format!("{of}validation changed"));
    }
    diff.compare_about(&of, &old.about, &new.about);
}

fn compare_stream(
    diff: &mut Diff,
    old: &FeatureViewDefinition,
    old_stream: &StreamDefinition,
    new: &FeatureViewDefinition,
    stream: &StreamDefinition,
) {
    if old_stream.source != stream.source {
        diff.breaks(
            "source",
            format!(
                "the source changed from `{}` to `{}`; give the new view a new name",
                old_stream.source, stream.source
            ),
        );
    }
    for (feature, aggregation) in new.features.iter().zip(&stream.aggregations) {
        let all = old.features.iter().zip(&old_stream.aggregations);
        let Some((before, old)) = all.into_iter().find(|(f, _)| f.name == feature.name) else { continue };
        let of = format!("feature `{}`: ", feature.name);
        diff.compare(&format!("{of}function"), &written(old.function), &written(aggregation.function));
        diff.compare_optional(&format!("{of}column"), old.column.as_ref(), aggregation.column.as_ref());
        if old.column == aggregation.column {
            let (before, after) = (old.column_type.as_ref(), aggregation.column_type.as_ref());
            diff.compare_optional(&format!("{of}type of the column"), before, after);
        }
        diff.compare(&format!("{of}window"), &old.window, &aggregation.window);
        diff.compare_optional(&format!("{of}filter"), old.filter.as_ref(), aggregation.filter.as_ref());
        compare_type(diff, before, feature);
    }
}

fn compare_on_demand(
    diff: &mut Diff,
    old: &FeatureViewDefinition,
    old_on_demand: &OnDemandDefinition,
    new: &FeatureViewDefinition,
    on_demand: &OnDemandDefinition,
) {
    for column in &on_demand.request {
        match old_on_demand.request.iter().find(|old| old.name == column.name) {
            None => diff.changes.push(format!("request column `{}` added", column.name)),
            Some(old) => {
                let what = format!("request column `{}`: type", column.name);
                diff.compare(&what, &old.data_type, &column.data_type);
            }
        }
    }
    let gone = |old: &&Column| !on_demand.request.iter().any(|column| column.name == old.name);
    for column in old_on_demand.request.iter().filter(gone) {
        diff.changes.push(format!("request column `{}` dropped", column.name));
    }
    let used = |definition: &OnDemandDefinition| {
        let all = definition.uses.iter().zip(&definition.types);
        all.map(|(used, data_type)| (used.clone(), data_type.clone())).collect::<Vec<_>>()
    };
    let (before, after) = (used(old_on_demand), used(on_demand));
    for (used, data_type) in &after {
        match before.iter().find(|(old, _)| old == used) {
            None => diff.changes.push(format!("use of `{used}` added")),
            Some((_, old)) => diff.compare(&format!("type of the used `{used}`"), old, data_type),
        }
    }
    for (used, _) in before.iter().filter(|(old, _)| !after.iter().any(|(new, _)| new == old)) {
        diff.changes.push(format!("use of `{used}` dropped"));
    }
    for (feature, expression) in new.features.iter().zip(&on_demand.expressions) {
        let all = old.features.iter().zip(&old_on_demand.expressions);
        let Some((before, old)) = all.into_iter().find(|(f, _)| f.name == feature.name) else { continue };
        diff.compare(&format!("feature `{}`: expression", feature.name), old, expression);
        compare_type(diff, before, feature);
    }
}

/// A type that is no wider one breaks whoever uses the feature.
fn compare_type(diff: &mut Diff, before: &Feature, feature: &Feature) {
    if before.data_type != feature.data_type && !widens(&before.data_type, &feature.data_type) {
        diff.retyped.push(Retyped {
            feature: feature.name.clone(),
            from: before.data_type.clone(),
            to: feature.data_type.clone(),
        });
    }
}

const WRITTEN: &str = "feature view whose rows are written";

fn kind(view: &FeatureViewDefinition) -> &'static str {
    match (&view.stream, &view.on_demand, &view.batch) {
        (Some(_), ..) => "stream feature view",
        (None, Some(_), _) => "on-demand feature view",
        (None, None, Some(_)) => "batch feature view",
        (None, None, None) => WRITTEN,
    }
}

/// A function with what it takes beside its column.
fn written(function: Function) -> String {
    match function {
        Function::FirstN { n } | Function::LastN { n } => format!("{function}({n})"),
        Function::ApproxPercentile { p } => format!("{function}({p})"),
        _ => function.to_string(),
    }
}

/// Whether whoever read `old` can read `new`; the elements of an array count.
fn widens(old: &DataType, new: &DataType) -> bool {
    match (old, new) {
        (DataType::Array(old), DataType::Array(new)) => old.widens_to(new),
        _ => old.widens_to(new),
    }
}

/// For each column that a table ever had, the widest type that it was stored as.
type Widest<'a> = HashMap<&'a str, &'a DataType>;

fn widest(history: &[Arc<TableSchema>]) -> Widest<'_> {
    // Versions only ever widen, so the last one's type is the widest.
    let columns = history.iter().flat_map(|schema| &schema.columns);
    columns.map(|column| (column.name.as_str(), &column.data_type)).collect()
}

/// A column may only take the widest type that it ever had, or one that is wider still: rows are kept.
fn check_type(diff: &mut Diff, widest: &Widest<'_>, name: &str, data_type: &DataType, of: &str) {
    let Some(stored) = widest.get(name) else { return };
    if *stored == data_type || stored.widens_to(data_type) {
        return;
    }
    diff.breaking.push((
        name.to_owned(),
        format!(
            "`{name}` is or was stored as {stored} and cannot become {data_type}; {}, or give it or the {of} a new name",
            may_become(stored)
        ),
    ));
}

fn may_become(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int32 => "int32 may only widen to int64 or float64",
        DataType::Float32 => "float32 may only widen to float64",
        _ => "its type stays",
    }
}

/// Tells of a new order of those that both have; what came and went is told of elsewhere.
fn compare_order(diff: &mut Diff, what: &str, old: &[String], new: &[String]) {
    let common = |a: &[String], b: &[String]| {
        let b: HashSet<&String> = b.iter().collect();
        a.iter().filter(|x| b.contains(x)).cloned().collect::<Vec<_>>()
    };
    if common(old, new) != common(new, old) {
        diff.changes.push(format!("order of {what} changed"));
    }
}
