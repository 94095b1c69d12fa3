//! Batch feature views: what a query computes, and when.

use std::collections::BTreeMap;

use crate::{
    catalog::Catalog,
    definition::Definitions,
    error::DefinitionError,
    object::{FeatureView, ObjectKind, ObjectRef},
    place::Place,
};

/// The table of a view's newest versions, in a query: the view's name with this behind it.
pub const LATEST: &str = "__latest";

/// What a batch feature view computes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Batch {
    pub sql: String,
    /// A duration, or a cron expression in UTC.
    pub schedule: String,
    /// The tables that the query names; found when it is applied.
    #[serde(default)]
    pub reads: Vec<String>,
}

impl Batch {
    /// Whether a run covers what came since the last one.
    pub fn is_incremental(&self) -> bool {
        self.sql.contains("$from")
    }
}

/// What knows SQL. Definitions are applied through it, so that what cannot run is refused.
pub trait Queries: Send + Sync {
    /// The tables that a query names.
    fn reads(&self, sql: &str) -> Result<Vec<String>, String>;

    fn check_schedule(&self, schedule: &str) -> Result<(), String>;

    /// Everything that is wrong with a batch feature view in a catalog.
    fn check(&self, catalog: &Catalog, view: &FeatureView, batch: &Batch) -> Vec<String>;
}

/// In a binary that knows no SQL.
pub(super) struct NoQueries;

impl Queries for NoQueries {
    fn reads(&self, _: &str) -> Result<Vec<String>, String> {
        Err("this binary was built without the cargo feature `sql`, which batch feature views need"
            .to_owned())
    }

    fn check_schedule(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn check(&self, _: &Catalog, _: &FeatureView, _: &Batch) -> Vec<String> {
        Vec::new()
    }
}

/// Where a batch feature view's query and schedule are written.
#[derive(Debug, Clone)]
pub(super) struct BatchPlaces {
    pub sql: Place,
    pub schedule: Place,
}

impl Definitions {
    /// Finds the tables that the queries name; returns what is wrong with queries and schedules in themselves.
    pub(super) fn read_queries(&mut self, queries: &dyn Queries) -> Vec<DefinitionError> {
        let mut errors = Vec::new();
        for view in &mut self.feature_views {
            let Some(batch) = &mut view.batch else { continue };
            let mut wrong = |place: Option<&Place>, key: &str, reason: String| {
                errors.extend(place.map(|place| {
                    place.error(format!("batch feature view `{}`: `{key}`: {reason}", view.name))
                }));
            };
            let places = self.batch_places.get(&view.name);
            match queries.reads(&batch.sql) {
                Ok(reads) => batch.reads = reads,
                Err(reason) => wrong(places.map(|places| &places.sql), "sql", reason),
            }
            if let Err(reason) = queries.check_schedule(&batch.schedule) {
                wrong(places.map(|places| &places.schedule), "schedule", reason);
            }
        }
        errors
    }

    /// What does not hold of the batch feature views in `catalog`.
    pub(super) fn check_queries(&self, catalog: &Catalog, queries: &dyn Queries) -> Vec<DefinitionError> {
        let mut errors = Vec::new();
        for (name, places) in &self.batch_places {
            let Some(view) = catalog.feature_views.get(name) else { continue };
            let Some(batch) = view.batch() else { continue };
            let reasons = match cycle(catalog, name) {
                Some(cycle) => vec![format!("its rows would be made of its own: {}", cycle.join(" → "))],
                None => queries.check(catalog, view, batch),
            };
            let error = |reason| places.sql.error(format!("batch feature view `{name}`: `sql`: {reason}"));
            errors.extend(reasons.into_iter().map(error));
        }
        errors
    }
}

/// The way from a batch feature view through what it reads back to itself.
fn cycle(catalog: &Catalog, start: &str) -> Option<Vec<String>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        let Some(batch) = catalog.feature_views.get(at).and_then(|view| view.batch()) else { continue };
        for input in batch.reads.iter().filter_map(|name| catalog.view_of_table(name)) {
            if input.name == start {
                let mut way = vec![start.to_owned(), at.to_owned()];
                let mut at = at;
                while let Some(before) = from.get(at) {
                    way.push((*before).to_owned());
                    at = before;
                }
                if at == start && way.len() > 2 {
                    way.pop();
                }
                if way.last().is_some_and(|last| last != start) {
                    way.push(start.to_owned());
                }
                return Some(way);
            }
            if !from.contains_key(input.name.as_str()) {
                from.insert(&input.name, at);
                open.push(&input.name);
            }
        }
    }
    None
}

impl Catalog {
    /// The feature view whose rows a query sees under this name.
    pub fn view_of_table(&self, name: &str) -> Option<&std::sync::Arc<FeatureView>> {
        let latest = || self.feature_views.get(name.strip_suffix(LATEST)?);
        self.feature_views.get(name).or_else(latest)
    }

    /// What a query sees under this name.
    pub(super) fn object_of_table(&self, name: &str) -> Option<ObjectRef> {
        let object = |kind, name: &String| ObjectRef { kind, name: name.clone() };
        match self.sources.get(name) {
            Some(source) => Some(object(ObjectKind::Source, &source.name)),
            None => self.view_of_table(name).map(|view| object(ObjectKind::FeatureView, &view.name)),
        }
    }
}
