//! Batch feature views: which query, when.

use crate::{
    batch::{Batch, BatchPlaces},
    definition::{EntityDefinition, FeatureViewDefinition},
    parse::{
        tree::Tree,
        view::{Known, ROW_VIEW_KEYS, row_view},
        walk::{Fields, Report},
    },
};

pub(super) fn batch_feature_view(
    tree: &Tree,
    entities: &Known<EntityDefinition>,
    report: &Report,
) -> Option<(FeatureViewDefinition, BatchPlaces)> {
    let keys = [&ROW_VIEW_KEYS[..], &["sql", "schedule"]].concat();
    let fields = Fields::open(tree, "batch feature view", &keys, report)?;
    let sql = fields.required("sql", "\"SELECT …, $as_of AS event_time, … FROM … GROUP BY …\"");
    let schedule = fields.required("schedule", "\"1d\", or cron in UTC: \"0 3 * * *\"");
    let view = row_view(&fields, entities)?;
    let (sql, schedule) = (sql?, schedule?);
    let batch = Batch {
        sql: fields.as_text("sql", sql)?.trim().to_owned(),
        schedule: fields.as_text("schedule", schedule)?.trim().to_owned(),
        reads: Vec::new(),
    };
    let places = BatchPlaces { sql: sql.place.clone(), schedule: schedule.place.clone() };
    Some((FeatureViewDefinition { batch: Some(batch), ..view }, places))
}
