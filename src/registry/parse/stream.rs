//! Stream feature views: which source, by which keys, aggregated how.

use crate::{
    definition::{EntityDefinition, FeatureViewDefinition, SourceDefinition, StreamDefinition},
    parse::{
        aggregation::aggregation,
        tree::Tree,
        view::{Known, entity_names, features, join_keys},
        walk::{Fields, Report},
    },
    stream::too_many,
    suggest::hint,
};
use larder_model::{Column, DataType, TimeForm};

pub(super) fn stream_feature_view(
    tree: &Tree,
    entities: &Known<EntityDefinition>,
    sources: &Known<SourceDefinition>,
    report: &Report,
) -> Option<FeatureViewDefinition> {
    let keys = [
        "name",
        "entities",
        "source",
        "aggregation",
        "online",
        "freshness_slo",
        "description",
        "owner",
        "tags",
    ];
    let fields = Fields::open(tree, "stream feature view", &keys, report)?;
    let name = fields.name();
    let about = fields.about();
    let named = entity_names(&fields);
    let join_keys = join_keys(&fields, &named, entities);
    let source = source(&fields, sources);
    if let Some(source) = source {
        has_keys(&fields, source, &join_keys);
    }
    let online = fields.flag("online", true);
    let freshness_slo = fields.length("freshness_slo");
    fields.required("aggregation", "[{ name = \"…\", function = \"count\", window = \"24h\" }]");
    let read = |tree: &Tree| aggregation(tree, &fields.what, source, report);
    let (features, aggregations) = features(&fields, "aggregation", &join_keys, read)?;
    if let Some(too_many) = too_many(&aggregations) {
        fields.error(fields.place, too_many);
    }
    Some(FeatureViewDefinition {
        name: name?,
        entities: named.into_iter().map(|(name, _)| name).collect(),
        features,
        // Windows say which events count, and the source keeps them.
        ttl: None,
        offline: true,
        retention: None,
        times: TimeForm::EXPLICIT,
        online,
        freshness_slo,
        stream: Some(StreamDefinition { source: source?.name.clone(), aggregations }),
        batch: None,
        on_demand: None,
        about,
    })
}

fn source<'s>(fields: &Fields<'_>, sources: &'s Known<SourceDefinition>) -> Option<&'s SourceDefinition> {
    let tree = fields.required("source", "\"…\"")?;
    let name = fields.as_text("source", tree)?;
    match sources.get(name) {
        Some(source) => source.as_ref(),
        None => {
            let hint = hint(name, sources.keys().map(String::as_str));
            fields.error(&tree.place, format!("unknown source `{name}`{hint}"));
            None
        }
    }
}

/// An event belongs to the entity whose join keys it has.
fn has_keys(fields: &Fields<'_>, source: &SourceDefinition, join_keys: &[(&Column, &str)]) {
    let place = fields.get("source").map_or(fields.place, |tree| &tree.place);
    for (key, entity) in join_keys {
        match source.columns.iter().find(|column| column.name == key.name) {
            None => {
                let hint = hint(&key.name, source.columns.iter().map(|c| c.name.as_str()));
                let message = format!(
                    "source `{}` has no column `{}`, the join key of entity `{entity}`{hint}",
                    source.name, key.name
                );
                fields.error(place, message);
            }
            // A source keeps UUIDs as they are written.
            Some(Column { data_type: DataType::String, .. }) if key.data_type == DataType::Uuid => {}
            Some(column) if column.data_type != key.data_type => {
                let message = format!(
                    "the join key `{}` of entity `{entity}` is {}, but {} in source `{}`; both must have one type",
                    key.name, key.data_type, column.data_type, source.name
                );
                fields.error(place, message);
            }
            Some(_) => {}
        }
    }
}
