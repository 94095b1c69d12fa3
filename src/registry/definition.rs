//! Definitions in their normal form: what a user wrote, checked, without versions and table numbers.
//!
//! The same form is compared by `plan`, kept in the log and shown by `describe`.

use std::collections::BTreeMap;

use crate::{
    batch::{Batch, BatchPlaces},
    catalog::Catalog,
    error::{DefinitionError, ReferenceProblem},
    object::{About, Entity, Feature, FeatureService, FeatureView, Selection, Source, SourceKind},
    on_demand::{OnDemand, Use},
    place::Place,
    resolve::resolve,
    stream::{Aggregation, Stream},
};
use larder_model::{Column, DataType, Duration, TimeForm};

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
    /// How times are written in rows that come in.
    #[serde(flatten, default)]
    pub times: TimeForm,
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
    /// How times are written in rows that come in.
    #[serde(flatten, default)]
    pub times: TimeForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness_slo: Option<Duration>,
    /// At most one of the two is there; neither: rows are written directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamDefinition>,
    /// Rows are those of a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemandDefinition>,
    #[serde(flatten)]
    pub about: About,
}

/// What a stream feature view computes of which events; `aggregations[i]` makes the view's `features[i]`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StreamDefinition {
    pub source: String,
    pub aggregations: Vec<Aggregation>,
}

/// What an on-demand feature view computes, and of what; `expressions[i]` makes the view's `features[i]`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OnDemandDefinition {
    pub request: Vec<Column>,
    pub uses: Vec<Use>,
    /// Of the used features, when the view was built: the view gets a version when they change.
    pub types: Vec<DataType>,
    pub expressions: Vec<String>,
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
    /// All but the on-demand ones.
    pub(super) feature_views: Vec<FeatureViewDefinition>,
    pub(super) on_demand: Vec<Draft>,
    pub(super) feature_services: Vec<FeatureServiceDefinition>,
    /// By service: where each of its selections is written.
    pub(super) selection_places: BTreeMap<String, Vec<Place>>,
    /// By batch feature view.
    pub(super) batch_places: BTreeMap<String, BatchPlaces>,
    /// Version of the catalog whose other projects' objects are among these; none where they were read by themselves.
    pub(super) beside: Option<u64>,
}

/// An on-demand feature view as it is written: what the features that it uses are is known to a catalog only.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// With `types` still empty.
    pub view: FeatureViewDefinition,
    pub place: Place,
    /// Where each of its uses is written, …
    pub uses: Vec<Place>,
    /// … and each of its expressions.
    pub expressions: Vec<Place>,
}

impl Draft {
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// What it uses, with where that is written.
    pub fn uses(&self) -> impl Iterator<Item = (&Use, &Place)> {
        self.view.on_demand.iter().flat_map(|on_demand| &on_demand.uses).zip(&self.uses)
    }

    /// Whether it uses that feature, of whichever version of the view.
    pub fn names(&self, view: &str, feature: &str) -> bool {
        self.uses().any(|(used, _)| used.view == view && used.feature == feature)
    }
}

impl Definitions {
    pub(super) fn has_view(&self, name: &str) -> bool {
        self.feature_views.iter().any(|view| view.name == name)
            || self.on_demand.iter().any(|draft| draft.name() == name)
    }

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
            times: source.schema.times,
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
            times: view.schema.times,
            freshness_slo: view.freshness_slo,
            stream: view.stream().map(|stream| stream.as_ref().into()),
            batch: view.batch().map(|batch| batch.as_ref().clone()),
            on_demand: view.on_demand().map(|on_demand| on_demand.as_ref().into()),
            about: view.about.clone(),
        }
    }
}

impl From<&Stream> for StreamDefinition {
    fn from(stream: &Stream) -> Self {
        StreamDefinition { source: stream.source.clone(), aggregations: stream.aggregations.clone() }
    }
}

impl From<&OnDemand> for OnDemandDefinition {
    fn from(on_demand: &OnDemand) -> Self {
        OnDemandDefinition {
            request: on_demand.request.clone(),
            uses: on_demand.uses.clone(),
            types: on_demand.types.clone(),
            expressions: on_demand.expressions.clone(),
        }
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
