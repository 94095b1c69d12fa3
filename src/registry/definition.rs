//! Definitions in their normal form: what a user wrote, checked, without versions and table numbers.
//!
//! The same form is compared by `plan`, kept in the log and shown by `describe`.

use std::collections::BTreeMap;

use crate::{
    model::{Column, Duration},
    registry::{
        batch::{Batch, BatchPlaces},
        catalog::Catalog,
        error::{DefinitionError, ReferenceProblem},
        object::{About, Entity, Feature, FeatureService, FeatureView, Selection, Source, SourceKind},
        place::Place,
        resolve::resolve,
        stream::{Aggregation, Stream},
    },
};

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EntityDefinition {
    pub name: String,
    pub join_keys: Vec<Column>,
    #[serde(flatten)]
    pub about: About,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SourceDefinition {
    pub name: String,
    pub kind: SourceKind,
    pub event_time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    pub availability_lag: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// Without the event-time column.
    pub columns: Vec<Column>,
    #[serde(flatten)]
    pub about: About,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeatureViewDefinition {
    pub name: String,
    pub entities: Vec<String>,
    pub features: Vec<Feature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    pub online: bool,
    pub offline: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness_slo: Option<Duration>,
    /// None: rows are written directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamDefinition>,
    /// Rows are those of a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    #[serde(flatten)]
    pub about: About,
}

/// What a stream feature view computes of which events; `aggregations[i]` makes the view's `features[i]`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StreamDefinition {
    pub source: String,
    pub aggregations: Vec<Aggregation>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeatureServiceDefinition {
    pub name: String,
    pub selections: Vec<Selection>,
    #[serde(flatten)]
    pub about: About,
}

/// Who applies definitions, and why: kept in the registry's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Note {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Everything that one directory (or one body) defines; made by `parse_toml` and `parse_json` only.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    pub note: Note,
    pub(super) entities: Vec<EntityDefinition>,
    pub(super) sources: Vec<SourceDefinition>,
    pub(super) feature_views: Vec<FeatureViewDefinition>,
    pub(super) feature_services: Vec<FeatureServiceDefinition>,
    /// By service: where each of its selections is written.
    pub(super) selection_places: BTreeMap<String, Vec<Place>>,
    /// By batch feature view.
    pub(super) batch_places: BTreeMap<String, BatchPlaces>,
}

impl Definitions {
    /// What of the services does not hold in `catalog`, each problem with where it is written.
    pub(super) fn reference_errors(&self, catalog: &Catalog) -> Vec<(ReferenceProblem, DefinitionError)> {
        let mut errors = Vec::new();
        for service in &self.feature_services {
            let Err(found) = resolve(catalog, &service.selections) else { continue };
            let Some(places) = self.selection_places.get(&service.name) else { continue };
            for error in found {
                let message = format!("feature service `{}`: {}", service.name, error.problem);
                errors.push((error.problem, places[error.index].error(message)));
            }
        }
        errors
    }
}

impl From<&Entity> for EntityDefinition {
    fn from(entity: &Entity) -> Self {
        EntityDefinition {
            name: entity.name.clone(),
            join_keys: entity.join_keys.clone(),
            about: entity.about.clone(),
        }
    }
}

impl From<&Source> for SourceDefinition {
    fn from(source: &Source) -> Self {
        SourceDefinition {
            name: source.name.clone(),
            kind: source.kind,
            event_time: source.schema.event_time.clone(),
            event_id: source.schema.event_id.clone(),
            availability_lag: source.availability_lag,
            retention: source.retention,
            columns: source.schema.columns.clone(),
            about: source.about.clone(),
        }
    }
}

impl From<&FeatureView> for FeatureViewDefinition {
    fn from(view: &FeatureView) -> Self {
        FeatureViewDefinition {
            name: view.name.clone(),
            entities: view.entities.clone(),
            features: view.features.clone(),
            ttl: view.ttl,
            online: view.online,
            offline: view.offline,
            retention: view.retention,
            freshness_slo: view.freshness_slo,
            stream: view.stream().map(|stream| stream.as_ref().into()),
            batch: view.batch().map(|batch| batch.as_ref().clone()),
            about: view.about.clone(),
        }
    }
}

impl From<&Stream> for StreamDefinition {
    fn from(stream: &Stream) -> Self {
        StreamDefinition { source: stream.source.clone(), aggregations: stream.aggregations.clone() }
    }
}

impl From<&FeatureService> for FeatureServiceDefinition {
    fn from(service: &FeatureService) -> Self {
        FeatureServiceDefinition {
            name: service.name.clone(),
            selections: service.selections.clone(),
            about: service.about.clone(),
        }
    }
}
