//! What the state of a view is made of.

use crate::{
    compute::window::Class,
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

    /// The place of an aggregation in the state. A column that was widened meanwhile is still of the same class, and so
    /// is what is kept of it.
    pub fn position(&self, wanted: &Aggregation) -> Option<usize> {
        let class = |a: &Aggregation| a.column_type.as_ref().map(Class::of);
        let same = |known: &Aggregation| {
            (known.function, &known.column, known.window, &known.filter)
                == (wanted.function, &wanted.column, wanted.window, &wanted.filter)
                && class(known) == class(wanted)
        };
        let exact = self.aggregations.iter().position(|known| known == wanted);
        exact.or_else(|| self.aggregations.iter().position(same))
    }
}
