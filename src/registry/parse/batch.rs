//! Batch feature views: which query, when.

use crate::registry::{
    batch::{Batch, BatchPlaces},
    definition::{EntityDefinition, FeatureViewDefinition},
    parse::{
        feature::feature,
        tree::Tree,
        view::{Known, entity_names, features, join_keys},
        walk::{Fields, Report},
    },
};

pub(super) fn batch_feature_view(
    tree: &Tree,
    entities: &Known<EntityDefinition>,
    report: &Report,
) -> Option<(FeatureViewDefinition, BatchPlaces)> {
    let keys = [
        "name",
        "entities",
        "sql",
        "schedule",
        "ttl",
        "online",
        "offline",
        "retention",
        "freshness_slo",
        "feature",
        "description",
        "owner",
        "tags",
    ];
    let fields = Fields::open(tree, "batch feature view", &keys, report)?;
    let name = fields.name();
    let about = fields.about();
    let named = entity_names(&fields);
    let join_keys = join_keys(&fields, &named, entities);
    let (online, offline) = (fields.flag("online", true), fields.flag("offline", true));
    if !online && !offline {
        fields.error(fields.place, "with online = false and offline = false it would keep nothing");
    }
    let (ttl, retention) = (fields.length("ttl"), fields.length("retention"));
    let freshness_slo = fields.length("freshness_slo");
    let sql = fields.required("sql", "\"SELECT …, $as_of AS event_time, … FROM … GROUP BY …\"");
    let schedule = fields.required("schedule", "\"1d\", or cron in UTC: \"0 3 * * *\"");
    fields.required("feature", "[{ name = \"…\", type = \"float64\" }]");
    let read = |tree: &Tree| Some((feature(tree, &fields.what, report)?, ()));
    let (features, _) = features(&fields, "feature", &join_keys, read)?;
    let (sql, schedule) = (sql?, schedule?);
    let batch = Batch {
        sql: fields.as_text("sql", sql)?.trim().to_owned(),
        schedule: fields.as_text("schedule", schedule)?.trim().to_owned(),
        reads: Vec::new(),
    };
    let places = BatchPlaces { sql: sql.place.clone(), schedule: schedule.place.clone() };
    let view = FeatureViewDefinition {
        name: name?,
        entities: named.into_iter().map(|(name, _)| name).collect(),
        features,
        ttl,
        online,
        offline,
        retention,
        freshness_slo,
        stream: None,
        on_demand: None,
        batch: Some(batch),
        about,
    };
    Some((view, places))
}
