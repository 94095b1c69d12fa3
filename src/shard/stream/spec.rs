//! What the state of a view is made of.

use crate::{
    model::{Column, TableId},
    registry::{Aggregation, Catalog, FeatureView, Stream},
};

/// Stored with each generation: equal specs mean equal state.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StreamSpec {
    pub view: TableId,
    /// The view's name, for people.
    pub name: String,
    pub source: TableId,
    /// The view's join keys, which are columns of the source.
    pub keys: Vec<Column>,
    /// Each once, in the order in which versions brought them.
    pub aggregations: Vec<Aggregation>,
}

impl StreamSpec {
    /// What `view` needs: its own aggregations, and those of older versions that services pin.
    pub fn wanted(catalog: &Catalog, view: &FeatureView, stream: &Stream) -> StreamSpec {
        let mut aggregations: Vec<Aggregation> = Vec::new();
        let mut add = |stream: &Stream| {
            for aggregation in &stream.aggregations {
                if !aggregations.contains(aggregation) {
                    aggregations.push(aggregation.clone());
                }
            }
        };
        add(stream);
        let selections = catalog.feature_services.values().flat_map(|service| &service.selections);
        let pinned = selections.filter(|selection| selection.view == view.name).filter_map(|s| s.version);
        for version in pinned {
            let pinned = catalog.feature_view_versions.get(&(view.name.clone(), version));
            if let Some(stream) = pinned.and_then(|pinned| pinned.stream.as_ref()) {
                add(stream);
            }
        }
        StreamSpec {
            view: view.schema.table,
            name: view.name.clone(),
            source: stream.source_table,
            keys: view.schema.keys.clone(),
            aggregations,
        }
    }

    /// The place of an aggregation in the state.
    pub fn position(&self, aggregation: &Aggregation) -> Option<usize> {
        self.aggregations.iter().position(|known| known == aggregation)
    }
}
