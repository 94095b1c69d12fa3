//! A compiled request: which rows to fetch for an entity and where in them each feature lies.

use std::sync::Arc;

use crate::{
    model::{DataType, TableId, TableSchema, Value},
    registry::{Catalog, Feature, FeatureView, Resolved},
    serve::{ServeError, Wanted},
    shard::{Slot, slots},
};

/// Valid for one catalog; immutable and shared between requests.
#[derive(Debug)]
pub struct Plan {
    /// What it was compiled from.
    pub wanted: Wanted,
    pub registry_version: u64,
    /// The features' names in results, in the order asked for.
    pub names: Vec<String>,
    pub columns: Vec<PlanColumn>,
    pub groups: Vec<PlanGroup>,
    /// The request's columns that hold join keys, each once.
    pub key_columns: Vec<KeyColumn>,
}

#[derive(Debug, PartialEq)]
pub struct KeyColumn {
    pub name: String,
    pub data_type: DataType,
}

/// One lookup per entity: a view under one mapping of join keys.
#[derive(Debug)]
pub struct PlanGroup {
    pub view: Arc<FeatureView>,
    pub table: TableId,
    /// Positions in [`Plan::key_columns`], in the order of the view's join keys.
    pub keys: Vec<usize>,
    /// Microseconds.
    pub ttl: Option<i64>,
    /// For each version that may have written a row: the slots of the view's features in it.
    layouts: Vec<(u32, Vec<Option<Slot>>)>,
}

#[derive(Debug)]
pub struct PlanColumn {
    pub group: usize,
    /// Position in the view's features.
    pub feature: usize,
    pub data_type: DataType,
    pub default: Option<Value>,
}

impl Plan {
    pub fn compile(catalog: &Catalog, wanted: &Wanted) -> Result<Plan, ServeError> {
        let resolved: Resolved = wanted.resolve(catalog)?;
        let mut key_columns: Vec<KeyColumn> = Vec::new();
        let mut groups = Vec::with_capacity(resolved.groups.len());
        for group in &resolved.groups {
            let view = &group.view;
            let mut keys = Vec::with_capacity(group.key_columns.len());
            for (name, key) in group.key_columns.iter().zip(&view.schema.keys) {
                keys.push(match key_columns.iter().position(|k| &k.name == name) {
                    Some(known) if key_columns[known].data_type == key.data_type => known,
                    Some(known) => {
                        return Err(ServeError::KeyTypes {
                            column: name.clone(),
                            first: key_columns[known].data_type.clone(),
                            second: key.data_type.clone(),
                            view: view.name.clone(),
                        });
                    }
                    None => {
                        key_columns.push(KeyColumn { name: name.clone(), data_type: key.data_type.clone() });
                        key_columns.len() - 1
                    }
                });
            }
            let table = view.schema.table;
            let written: &[Arc<TableSchema>] = catalog.tables.get(&table).map_or(&[], Vec::as_slice);
            groups.push(PlanGroup {
                table,
                keys,
                ttl: view.ttl.map(crate::model::Duration::micros),
                layouts: written.iter().map(|schema| (schema.version, slots(schema, &view.schema))).collect(),
                view: Arc::clone(view),
            });
        }
        let columns = resolved
            .features
            .iter()
            .map(|feature| {
                let definition: &Feature = resolved.definition(feature);
                PlanColumn {
                    group: feature.group,
                    feature: feature.feature,
                    data_type: definition.data_type.clone(),
                    default: definition.default.clone(),
                }
            })
            .collect();
        let names = resolved.features.iter().map(|f| f.name.clone()).collect();
        Ok(Plan {
            wanted: wanted.clone(),
            registry_version: catalog.version,
            names,
            columns,
            groups,
            key_columns,
        })
    }
}

impl PlanGroup {
    /// Whether the plan was made when this version was known. Where not, the definitions have changed since.
    pub fn knows(&self, version: u32) -> bool {
        self.layouts.iter().any(|(known, _)| *known == version)
    }

    /// Where the view's feature lies in a row that `version` wrote; `None` where that version did not have it.
    pub fn slot(&self, version: u32, feature: usize) -> Option<&Slot> {
        let (_, slots) = self.layouts.iter().find(|(known, _)| *known == version)?;
        slots.get(feature)?.as_ref()
    }
}
