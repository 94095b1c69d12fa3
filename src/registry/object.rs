//! The defined objects, as the rest of the node sees them: resolved, checked, immutable.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use crate::{batch::Batch, feature_form::FeatureForm, on_demand::OnDemand, stream::Stream};
use larder_model::{Column, DataType, Duration, TableSchema, Value};

/// The kinds of objects that are defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Entity,
    Source,
    FeatureView,
    FeatureService,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Entity => "entity",
            ObjectKind::Source => "source",
            ObjectKind::FeatureView => "feature view",
            ObjectKind::FeatureService => "feature service",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of object `{0}`; known: entity, source, feature_view, feature_service")]
pub struct ParseObjectKindError(pub String);

impl FromStr for ObjectKind {
    type Err = ParseObjectKindError;

    /// As in definitions (`feature_view`) or as in paths (`feature-views`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.replace('-', "_").as_str() {
            "entity" | "entities" => ObjectKind::Entity,
            "source" | "sources" => ObjectKind::Source,
            "feature_view" | "feature_views" => ObjectKind::FeatureView,
            "feature_service" | "feature_services" => ObjectKind::FeatureService,
            _ => return Err(ParseObjectKindError(text.to_owned())),
        })
    }
}

/// An object by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ObjectRef {
    pub kind: ObjectKind,
    pub name: String,
}

/// What every object carries for people.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct About {
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub owner: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Project whose files define the object; none: the default one. Features have none: theirs is their view's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// A name and its typed join keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    pub name: String,
    pub version: u32,
    pub join_keys: Vec<Column>,
    pub about: About,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    Push,
    File,
    Kafka,
    Postgres,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceKind::Push => "push",
            SourceKind::File => "file",
            SourceKind::Kafka => "kafka",
            SourceKind::Postgres => "postgres",
        })
    }
}

/// Where events come from. Its events are an offline table of the same name.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub version: u32,
    pub kind: SourceKind,
    /// Counts from `event_time + availability_lag` on in training joins.
    pub availability_lag: Duration,
    pub retention: Option<Duration>,
    pub about: About,
    pub schema: Arc<TableSchema>,
    /// The schemas of all versions, oldest first: stored rows name theirs by `version`.
    pub schemas: Vec<Arc<TableSchema>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureStatus {
    Experimental,
    #[default]
    Active,
    Deprecated,
}

impl fmt::Display for FeatureStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FeatureStatus::Experimental => "experimental",
            FeatureStatus::Active => "active",
            FeatureStatus::Deprecated => "deprecated",
        })
    }
}

/// Rules that a value must keep to be accepted. Null passes all of them but `not_null`.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    pub not_null: bool,
    /// Inclusive; numbers and timestamps (as microseconds).
    pub min: Option<f64>,
    /// Inclusive.
    pub max: Option<f64>,
    /// The only values allowed.
    pub allowed: Option<Vec<Value>>,
    /// The whole string must match: it is anchored at both ends.
    pub regex: Option<regex::Regex>,
    /// Of a string in bytes, of an array in elements.
    pub max_length: Option<usize>,
}

impl Validation {
    pub fn is_empty(&self) -> bool {
        *self == Validation::default()
    }
}

impl PartialEq for Validation {
    fn eq(&self, other: &Self) -> bool {
        let patterns = |v: &Validation| v.regex.as_ref().map(|regex| regex.as_str().to_owned());
        (self.not_null, self.min, self.max, &self.allowed, self.max_length)
            == (other.not_null, other.min, other.max, &other.allowed, other.max_length)
            && patterns(self) == patterns(other)
    }
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "FeatureForm", into = "FeatureForm")]
pub struct Feature {
    pub name: String,
    pub data_type: DataType,
    /// Stands in where there is no value (`DEFAULTED`).
    pub default: Option<Value>,
    pub pii: bool,
    pub status: FeatureStatus,
    pub validate: Validation,
    pub about: About,
}

/// Features of an entity: written directly, one version per (entity, event time), computed of a source's events or by a query,
/// or computed when they are asked for.
#[derive(Debug)]
pub struct FeatureView {
    pub name: String,
    pub version: u32,
    /// Join keys are the entities' keys, end to end. An on-demand view has none: its inputs have theirs.
    pub entities: Vec<String>,
    pub features: Vec<Feature>,
    /// None: valid for ever.
    pub ttl: Option<Duration>,
    /// Whether the newest values are served.
    pub online: bool,
    /// Whether history is kept.
    pub offline: bool,
    pub retention: Option<Duration>,
    pub freshness_slo: Option<Duration>,
    pub about: About,
    pub origin: Origin,
    /// Of a view that [has no rows](FeatureView::has_rows) it gives keys and types only, and is not in `Catalog::tables`.
    pub schema: Arc<TableSchema>,
    /// The schemas of all versions, oldest first.
    pub schemas: Vec<Arc<TableSchema>>,
}

/// Where the values of a feature view come from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Rows are written directly.
    Written,
    /// Aggregates of a source's events.
    Stream(Arc<Stream>),
    /// Rows are those of a query, which runs on a schedule.
    Batch(Arc<Batch>),
    /// Expressions over a request and other features.
    OnDemand(Arc<OnDemand>),
}

impl FeatureView {
    /// What a stream feature view computes; none for other views.
    pub fn stream(&self) -> Option<&Arc<Stream>> {
        match &self.origin {
            Origin::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// What a batch feature view computes; none for other views.
    pub fn batch(&self) -> Option<&Arc<Batch>> {
        match &self.origin {
            Origin::Batch(batch) => Some(batch),
            _ => None,
        }
    }

    /// What an on-demand feature view computes; none for other views.
    pub fn on_demand(&self) -> Option<&Arc<OnDemand>> {
        match &self.origin {
            Origin::OnDemand(on_demand) => Some(on_demand),
            _ => None,
        }
    }

    /// Whether the view has a table of its own, in which its values are stored.
    pub fn has_rows(&self) -> bool {
        matches!(self.origin, Origin::Written | Origin::Batch(_))
    }
}

/// One line of a feature service, as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Selection {
    pub view: String,
    /// Pinned version of the view, as in `view@3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Stands for the view's name in references and results.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Features' names; empty: all of the view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Join key of the view → the request's (or spine's) column that holds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub join_keys: BTreeMap<String, String>,
}

/// A named, versioned list of features for one model.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureService {
    pub name: String,
    pub version: u32,
    pub selections: Vec<Selection>,
    pub about: About,
}
