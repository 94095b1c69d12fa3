//! The catalog: everything that is defined, at one registry version; immutable and shared.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::object::{Entity, FeatureService, FeatureView, Source};
use larder_model::{TableId, TableSchema};

/// All definitions at one registry version. Readers hold an `Arc` and never see a change half made.
#[derive(Debug, Default, Clone)]
pub struct Catalog {
    /// 0 before the first apply.
    pub version: u64,
    pub entities: BTreeMap<String, Arc<Entity>>,
    pub sources: BTreeMap<String, Arc<Source>>,
    pub feature_views: BTreeMap<String, Arc<FeatureView>>,
    pub feature_services: BTreeMap<String, Arc<FeatureService>>,
    /// Every version of every object that ever was, the current ones included: `(name, version)`.
    pub entity_versions: BTreeMap<(String, u32), Arc<Entity>>,
    pub source_versions: BTreeMap<(String, u32), Arc<Source>>,
    pub feature_view_versions: BTreeMap<(String, u32), Arc<FeatureView>>,
    pub feature_service_versions: BTreeMap<(String, u32), Arc<FeatureService>>,
    /// All versions of each table's schema, oldest first; retired tables included, their rows are still there.
    /// Stream feature views have no rows and are not in here.
    pub tables: BTreeMap<TableId, Vec<Arc<TableSchema>>>,
}

impl Catalog {
    /// The current schema of the table of that name: a feature view's whose rows are written, or a source's (names are
    /// unique over both).
    pub fn table(&self, name: &str) -> Option<&Arc<TableSchema>> {
        let written = self.feature_views.get(name).filter(|view| view.has_rows());
        written.map(|view| &view.schema).or_else(|| self.sources.get(name).map(|source| &source.schema))
    }

    /// The schema by which a stored row was written.
    pub fn schema(&self, table: TableId, version: u32) -> Option<&Arc<TableSchema>> {
        self.tables.get(&table)?.iter().find(|schema| schema.version == version)
    }

    /// The newest schema of a table, retired or not.
    pub fn newest_schema(&self, table: TableId) -> Option<&Arc<TableSchema>> {
        self.tables.get(&table)?.last()
    }
}

/// The published catalog: one writer (the registry), any number of readers, no lock on the way.
#[derive(Debug, Clone, Default)]
pub struct CatalogHandle(Arc<ArcSwap<Catalog>>);

impl CatalogHandle {
    pub fn new(catalog: Catalog) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(catalog)))
    }

    pub fn current(&self) -> Arc<Catalog> {
        self.0.load_full()
    }

    pub fn publish(&self, catalog: Catalog) {
        self.0.store(Arc::new(catalog));
    }
}
