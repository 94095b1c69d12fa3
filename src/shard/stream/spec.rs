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
        StreamSpec {
            view: view.schema.table,
            name: view.name.clone(),
            source: stream.source_table,
            keys: view.schema.keys.clone(),
            aggregations: catalog.computed(view).into_iter().cloned().collect(),
        }
    }

    /// The place of an aggregation in the state.
    pub fn position(&self, aggregation: &Aggregation) -> Option<usize> {
        self.aggregations.iter().position(|known| known == aggregation)
    }
}
