//! Up to which row each table is read: a moment that can be named again, exactly. Rows accepted in the same microsecond
//! have the same time, but each has its own number.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    model::TableSchema,
    registry::{Catalog, Resolved},
    serve::ServeError,
};

/// By a table's name the `_seq` of the first row that does not exist yet.
pub type Until = BTreeMap<String, u64>;

/// The tables that a training set of these features reads: the views' own, and those of the sources of stream views.
pub fn tables(catalog: &Catalog, resolved: &Resolved) -> Result<Vec<Arc<TableSchema>>, ServeError> {
    let mut tables: BTreeMap<String, Arc<TableSchema>> = BTreeMap::new();
    for group in &resolved.groups {
        let schema = match group.view.stream() {
            Some(stream) => &catalog.source(&stream.source, None)?.schema,
            None if group.view.has_rows() => &group.view.schema,
            None => continue,
        };
        tables.insert(schema.name.clone(), Arc::clone(schema));
    }
    Ok(tables.into_values().collect())
}
