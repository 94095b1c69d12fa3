//! From one catalog to the next: the one way in which objects come to be, for a new revision and for the replay.

use std::sync::Arc;

use crate::{
    catalog::Catalog,
    definition::{FeatureViewDefinition, OnDemandDefinition, SourceDefinition, StreamDefinition},
    log::{Record, Revision},
    lookup::history,
    object::{Entity, FeatureService, FeatureView, ObjectKind, ObjectRef, Origin, Source},
    on_demand::OnDemand,
    stream::Stream,
};
use larder_model::{Column, TableId, TableSchema};

impl Catalog {
    /// This catalog with `revision` applied and its version advanced by one.
    pub(super) fn revised(&self, revision: &Revision) -> Result<Catalog, String> {
        let mut next = self.clone();
        next.version += 1;
        for record in &revision.objects {
            next.add(record)?;
        }
        for object in &revision.retired {
            next.retire(object)?;
        }
        Ok(next)
    }

    /// Adds one version of one object and makes it the current one.
    pub(super) fn add(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Entity { version, definition } => {
                let entity = Arc::new(Entity {
                    name: definition.name.clone(),
                    version: *version,
                    join_keys: definition.join_keys.clone(),
                    about: definition.about.clone(),
                });
                self.entity_versions.insert((entity.name.clone(), *version), Arc::clone(&entity));
                self.entities.insert(entity.name.clone(), entity);
            }
            Record::Source { version, table, definition } => {
                let source = Arc::new(self.build_source(definition, *version, *table));
                self.source_versions.insert((source.name.clone(), *version), Arc::clone(&source));
                self.sources.insert(source.name.clone(), source);
            }
            Record::FeatureView { version, table, definition } => {
                let view = Arc::new(self.build_feature_view(definition, *version, *table)?);
                self.feature_view_versions.insert((view.name.clone(), *version), Arc::clone(&view));
                self.feature_views.insert(view.name.clone(), view);
            }
            Record::FeatureService { version, definition } => {
                let service = Arc::new(FeatureService {
                    name: definition.name.clone(),
                    version: *version,
                    selections: definition.selections.clone(),
                    about: definition.about.clone(),
                });
                self.feature_service_versions.insert((service.name.clone(), *version), Arc::clone(&service));
                self.feature_services.insert(service.name.clone(), service);
            }
        }
        Ok(())
    }

    /// Takes an object out of the current ones; its versions and its table stay.
    fn retire(&mut self, object: &ObjectRef) -> Result<(), String> {
        let known = match object.kind {
            ObjectKind::Entity => self.entities.remove(&object.name).is_some(),
            ObjectKind::Source => self.sources.remove(&object.name).is_some(),
            ObjectKind::FeatureView => self.feature_views.remove(&object.name).is_some(),
            ObjectKind::FeatureService => self.feature_services.remove(&object.name).is_some(),
        };
        if known {
            Ok(())
        } else {
            Err(format!("{} `{}` is retired but was not there", object.kind, object.name))
        }
    }

    fn build_source(&mut self, definition: &SourceDefinition, version: u32, table: TableId) -> Source {
        let schema = TableSchema::source(
            table,
            &definition.name,
            version,
            &definition.event_time,
            definition.columns.clone(),
            definition.event_id.clone(),
        )
        .with_times(definition.times);
        let (schema, schemas) = self.add_schema(schema);
        Source {
            name: definition.name.clone(),
            version,
            kind: definition.kind,
            availability_lag: definition.availability_lag,
            retention: definition.retention,
            about: definition.about.clone(),
            schema,
            schemas,
        }
    }

    fn build_feature_view(
        &mut self,
        definition: &FeatureViewDefinition,
        version: u32,
        table: TableId,
    ) -> Result<FeatureView, String> {
        let mut keys = Vec::new();
        for name in &definition.entities {
            let entity = self.entities.get(name).ok_or_else(|| {
                format!("feature view `{}` needs the unknown entity `{name}`", definition.name)
            })?;
            keys.extend(entity.join_keys.iter().cloned());
        }
        let columns = definition
            .features
            .iter()
            .map(|f| Column { name: f.name.clone(), data_type: f.data_type.clone() });
        let schema = TableSchema::feature_view(table, &definition.name, version, keys, columns.collect())
            .with_times(definition.times);
        let origin = match (&definition.stream, &definition.on_demand, &definition.batch) {
            (Some(stream), ..) => Origin::Stream(Arc::new(self.build_stream(&definition.name, stream)?)),
            (None, Some(on_demand), _) => {
                Origin::OnDemand(Arc::new(build_on_demand(on_demand, &schema.columns)))
            }
            (None, None, Some(batch)) => Origin::Batch(Arc::new(batch.clone())),
            (None, None, None) => Origin::Written,
        };
        let (schema, schemas) = match origin {
            Origin::Written | Origin::Batch(_) => self.add_schema(schema),
            Origin::Stream(_) | Origin::OnDemand(_) => self.schema_without_table(schema),
        };
        Ok(FeatureView {
            name: definition.name.clone(),
            version,
            entities: definition.entities.clone(),
            features: definition.features.clone(),
            ttl: definition.ttl,
            online: definition.online,
            offline: definition.offline,
            retention: definition.retention,
            freshness_slo: definition.freshness_slo,
            about: definition.about.clone(),
            origin,
            schema,
            schemas,
        })
    }

    fn build_stream(&self, view: &str, definition: &StreamDefinition) -> Result<Stream, String> {
        let source = self.sources.get(&definition.source).ok_or_else(|| {
            format!("stream feature view `{view}` needs the unknown source `{}`", definition.source)
        })?;
        Ok(Stream {
            source: source.name.clone(),
            source_table: source.schema.table,
            aggregations: definition.aggregations.clone(),
        })
    }

    /// A view that stores no rows: its schemas are those of its versions and no table's.
    fn schema_without_table(&self, schema: TableSchema) -> (Arc<TableSchema>, Vec<Arc<TableSchema>>) {
        let schema = Arc::new(schema);
        let before = history(&self.feature_view_versions, &schema.name).map(|(_, view)| &view.schema);
        let schemas = before.chain([&schema]).map(Arc::clone).collect();
        (schema, schemas)
    }

    fn add_schema(&mut self, schema: TableSchema) -> (Arc<TableSchema>, Vec<Arc<TableSchema>>) {
        let schema = Arc::new(schema);
        let schemas = self.tables.entry(schema.table).or_default();
        schemas.push(Arc::clone(&schema));
        (schema, schemas.clone())
    }
}

fn build_on_demand(definition: &OnDemandDefinition, features: &[Column]) -> OnDemand {
    OnDemand::new(
        definition.request.clone(),
        definition.uses.clone(),
        definition.types.clone(),
        definition.expressions.clone(),
        features.to_vec(),
    )
}
