//! What a training set was made of and what it is: all that it takes to make it again.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{BatchId, TimeForm, Timestamp},
    registry::{Catalog, Resolved, Selection},
    serve::{Leak, LeakGuard, ServeError, Split, Until},
};

/// What was asked for, resolved: the same order gives the same bytes for as long as its rows are there.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Order {
    /// `name@version` of the feature service; none where features were listed.
    pub feature_service: Option<String>,
    /// Every feature at its view's version.
    pub features: Vec<Selection>,
    pub registry_version: u64,
    /// The spine's column of times.
    pub event_time: String,
    /// How the spine's times are written.
    #[serde(flatten, default)]
    pub times: TimeForm,
    pub full_feature_names: bool,
    /// Of the data: parquet, csv, ndjson or json.
    pub format: String,
    /// The moment whose knowledge the set has.
    pub known_at: Timestamp,
    /// Whether rows accepted after `known_at` are left out by their time as well; where not, `next_seq` alone bounds them.
    pub by_time: bool,
    /// The tables that are read, each up to its `next_seq`.
    pub tables: BTreeMap<String, TableMark>,
    pub spine: SpineMark,
    #[serde(default, skip_serializing_if = "LeakGuard::is_off")]
    pub leak_guard: LeakGuard,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

/// Up to where a table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TableMark {
    /// Of its Delta log when the set was asked for.
    pub delta_version: u64,
    /// Rows with `_seq` below this, and no others.
    pub next_seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SpineMark {
    pub rows: u64,
    /// Of `spine.parquet`: the same rows in the same order have the same, in whatever format they came.
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DataMark {
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
}

/// A view whose features are in the set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ViewMark {
    pub name: String,
    pub version: u32,
    /// Of a stream feature view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<u32>,
}

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// None for the result of a job without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    pub job: BatchId,
    pub created_at: Timestamp,
    /// The version of larder that made it.
    pub larder: String,
    #[serde(flatten)]
    pub order: Order,
    pub views: Vec<ViewMark>,
    /// Names and Arrow types of the data's columns.
    pub columns: Vec<(String, String)>,
    /// Per table how many rows it had below its `next_seq` when the set was made.
    pub table_rows: BTreeMap<String, u64>,
    pub rows: u64,
    /// Per on-demand column for how many rows its expression failed; those that have some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_rows: BTreeMap<String, u64>,
    /// Per feature, where the leak guard was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<Leak>,
    pub data: DataMark,
}

impl Order {
    pub fn until(&self) -> Until {
        self.tables.iter().map(|(name, mark)| (name.clone(), mark.next_seq)).collect()
    }
}

pub(super) fn views(catalog: &Catalog, resolved: &Resolved) -> Result<Vec<ViewMark>, ServeError> {
    let mut views: Vec<ViewMark> = Vec::new();
    for group in &resolved.groups {
        let source = match group.view.stream() {
            Some(stream) => Some(catalog.source(&stream.source, None)?),
            None => None,
        };
        let mark = ViewMark {
            name: group.view.name.clone(),
            version: group.view.version,
            source: source.map(|source| source.name.clone()),
            source_version: source.map(|source| source.version),
        };
        if !views.contains(&mark) {
            views.push(mark);
        }
    }
    Ok(views)
}

/// Which views and sources have other versions in the second than in the first, in words.
pub(super) fn changed(was: &[ViewMark], is: &[ViewMark]) -> Vec<String> {
    let (was, is) = (versions(was), versions(is));
    let what: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    what.into_iter()
        .filter_map(|what| match (was.get(what), is.get(what)) {
            (Some(was), Some(is)) if was == is => None,
            (Some(was), Some(is)) => Some(format!(
                "the {what} has changed since: the set was made of its version {}, made again of {}",
                listed(was),
                listed(is)
            )),
            (Some(_), None) => Some(format!("the {what} is not part of it any more")),
            (None, _) => Some(format!("the {what} was no part of it when it was made")),
        })
        .collect()
}

fn versions(views: &[ViewMark]) -> BTreeMap<String, BTreeSet<u32>> {
    let mut versions: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for ViewMark { name, version, source, source_version } in views {
        versions.entry(format!("feature view `{name}`")).or_default().insert(*version);
        if let (Some(source), Some(version)) = (source, source_version) {
            versions.entry(format!("source `{source}`")).or_default().insert(*version);
        }
    }
    versions
}

fn listed(versions: &BTreeSet<u32>) -> String {
    versions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
