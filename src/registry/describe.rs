//! Definitions as JSON, as answers show them: what was written, with versions and what was resolved.

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{
    catalog::Catalog,
    definition::{EntityDefinition, FeatureServiceDefinition, FeatureViewDefinition, SourceDefinition},
    error::RegistryError,
    lookup::{Versions, history},
    object::{Entity, FeatureService, FeatureView, ObjectKind, Origin, Source},
    on_demand::Use,
    project::DEFAULT_PROJECT,
    resolve::resolve,
    stream::Aggregation,
};
use larder_model::{Column, DataType, TableId, TableKind, TableSchema};

/// What all descriptions have in common, around the definition.
#[derive(Serialize)]
struct Described<D, E> {
    object: ObjectKind,
    version: u32,
    /// All that ever were, oldest first.
    versions: Vec<u32>,
    #[serde(flatten)]
    definition: D,
    #[serde(flatten)]
    more: E,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Table {
    table: TableId,
    /// The columns of a row, in order.
    schema: Vec<SchemaColumn>,
}

#[derive(Serialize)]
struct ViewContents {
    /// Where its values come from.
    kind: &'static str,
    #[serde(flatten)]
    stream: Option<StreamContents>,
    #[serde(flatten)]
    on_demand: Option<OnDemandContents>,
    #[serde(flatten)]
    table: Table,
}

/// What a stream feature view computes of which events.
#[derive(Serialize)]
struct StreamContents {
    source: String,
    aggregations: Vec<NamedAggregation>,
}

#[derive(Serialize)]
struct NamedAggregation {
    /// Of the feature that it makes.
    name: String,
    #[serde(flatten)]
    aggregation: Aggregation,
}

/// What an on-demand feature view computes, and of what.
#[derive(Serialize)]
struct OnDemandContents {
    request: Vec<Column>,
    uses: Vec<Used>,
    expressions: Vec<NamedExpression>,
    /// Of what it uses.
    join_keys: Option<Vec<Column>>,
}

#[derive(Serialize)]
struct Used {
    #[serde(flatten)]
    used: Use,
    #[serde(rename = "type")]
    data_type: DataType,
}

#[derive(Serialize)]
struct NamedExpression {
    /// Of the feature that it makes.
    name: String,
    expression: String,
}

#[derive(Serialize)]
struct SchemaColumn {
    #[serde(flatten)]
    column: Column,
    role: &'static str,
}

#[derive(Serialize)]
struct ServiceContents {
    /// Names of results, in order; null where an old version's views have since lost a feature.
    features: Option<Vec<String>>,
    /// Columns that a request must have.
    join_keys: Option<Vec<Column>>,
    /// Columns that a request must have beside them, for on-demand features.
    request: Option<Vec<Column>>,
}

pub fn describe_entity(catalog: &Catalog, entity: &Entity) -> Json {
    let versions = numbers(&catalog.entity_versions, &entity.name);
    let definition = EntityDefinition::from(entity);
    to_json(&Described {
        object: ObjectKind::Entity,
        version: entity.version,
        versions,
        definition,
        more: Nothing {},
    })
}

pub fn describe_source(catalog: &Catalog, source: &Source) -> Json {
    let versions = numbers(&catalog.source_versions, &source.name);
    let definition = SourceDefinition::from(source);
    let more = table(&source.schema);
    to_json(&Described { object: ObjectKind::Source, version: source.version, versions, definition, more })
}

pub fn describe_feature_view(catalog: &Catalog, view: &FeatureView) -> Json {
    let versions = numbers(&catalog.feature_view_versions, &view.name);
    let mut definition = FeatureViewDefinition::from(view);
    let stream = definition.stream.take().map(|stream| {
        let names = definition.features.iter().map(|feature| feature.name.clone());
        let aggregations = names.zip(stream.aggregations);
        StreamContents {
            source: stream.source,
            aggregations: aggregations
                .map(|(name, aggregation)| NamedAggregation { name, aggregation })
                .collect(),
        }
    });
    let on_demand = definition.on_demand.take().map(|on_demand| {
        let names = definition.features.iter().map(|feature| feature.name.clone());
        let expressions = names.zip(on_demand.expressions);
        let uses = on_demand.uses.into_iter().zip(on_demand.types);
        OnDemandContents {
            request: on_demand.request,
            uses: uses.map(|(used, data_type)| Used { used, data_type }).collect(),
            expressions: expressions.map(|(name, expression)| NamedExpression { name, expression }).collect(),
            join_keys: catalog.inputs_of(view).map(|resolved| resolved.join_keys()),
        }
    });
    let kind = match &view.origin {
        Origin::Written => "written",
        Origin::Batch(_) => "batch",
        Origin::Stream(_) => "stream",
        Origin::OnDemand(_) => "on_demand",
    };
    let more = ViewContents { kind, stream, on_demand, table: table(&view.schema) };
    to_json(&Described { object: ObjectKind::FeatureView, version: view.version, versions, definition, more })
}

pub fn describe_feature_service(catalog: &Catalog, service: &FeatureService) -> Json {
    let versions = numbers(&catalog.feature_service_versions, &service.name);
    let definition = FeatureServiceDefinition::from(service);
    let resolved = resolve(catalog, &service.selections).ok();
    let more = ServiceContents {
        features: resolved.as_ref().map(|r| r.features.iter().map(|feature| feature.name.clone()).collect()),
        join_keys: resolved.as_ref().map(|r| r.join_keys()),
        request: resolved.map(|r| r.computation.request.into_iter().map(|asked| asked.column).collect()),
    };
    to_json(&Described {
        object: ObjectKind::FeatureService,
        version: service.version,
        versions,
        definition,
        more,
    })
}

/// One object; of the version given, or as it is defined now.
pub fn describe(
    catalog: &Catalog,
    kind: ObjectKind,
    name: &str,
    version: Option<u32>,
) -> Result<Json, RegistryError> {
    Ok(match kind {
        ObjectKind::Entity => describe_entity(catalog, catalog.entity(name, version)?),
        ObjectKind::Source => describe_source(catalog, catalog.source(name, version)?),
        ObjectKind::FeatureView => describe_feature_view(catalog, catalog.feature_view(name, version)?),
        ObjectKind::FeatureService => {
            describe_feature_service(catalog, catalog.feature_service(name, version)?)
        }
    })
}

/// All objects of one kind that are defined now, by name.
pub fn describe_all(catalog: &Catalog, kind: ObjectKind) -> Vec<Json> {
    match kind {
        ObjectKind::Entity => catalog.entities.values().map(|e| describe_entity(catalog, e)).collect(),
        ObjectKind::Source => catalog.sources.values().map(|s| describe_source(catalog, s)).collect(),
        ObjectKind::FeatureView => {
            catalog.feature_views.values().map(|v| describe_feature_view(catalog, v)).collect()
        }
        ObjectKind::FeatureService => {
            catalog.feature_services.values().map(|s| describe_feature_service(catalog, s)).collect()
        }
    }
}

/// Everything that is defined now, with the registry's version.
pub fn describe_catalog(catalog: &Catalog) -> Json {
    json!({
        "version": catalog.version,
        "entities": describe_all(catalog, ObjectKind::Entity),
        "sources": describe_all(catalog, ObjectKind::Source),
        "feature_views": describe_all(catalog, ObjectKind::FeatureView),
        "feature_services": describe_all(catalog, ObjectKind::FeatureService),
    })
}

fn numbers<T>(versions: &Versions<T>, name: &str) -> Vec<u32> {
    history(versions, name).map(|(version, _)| version).collect()
}

fn table(schema: &TableSchema) -> Table {
    let column = |column: &Column, role| SchemaColumn { column: column.clone(), role };
    let event_time = Column { name: schema.event_time.clone(), data_type: DataType::Timestamp };
    let role = match schema.kind {
        TableKind::FeatureView => "feature",
        TableKind::Source => "column",
    };
    let mut columns: Vec<SchemaColumn> = schema.keys.iter().map(|key| column(key, "join_key")).collect();
    columns.push(column(&event_time, "event_time"));
    columns.extend(schema.columns.iter().map(|c| column(c, role)));
    Table { table: schema.table, schema: columns }
}

/// Our definitions have text keys and finite numbers only, which JSON can always hold.
fn to_json(described: &impl Serialize) -> Json {
    let mut described = serde_json::to_value(described).unwrap_or(Json::Null);
    if let Some(members) = described.as_object_mut() {
        members.entry("project").or_insert_with(|| DEFAULT_PROJECT.into());
    }
    described
}
