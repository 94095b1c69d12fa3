//! Batch feature views when they are applied: whether their queries can run and give what the view has.

use std::sync::Arc;

use crate::{
    error::Coded,
    ingest::check_columns,
    model::Timestamp,
    registry::{Batch, Catalog, FeatureView, Queries},
    sql::{
        Sql, SqlError, SqlQuery,
        engine::{Engine, Schedule},
        runs::parameters,
        sql::answered_on_own_thread,
    },
};

impl Queries for Sql {
    fn reads(&self, sql: &str) -> Result<Vec<String>, String> {
        let sql = sql.to_owned();
        answered_on_own_thread(move || Engine::reads(&sql)).map_err(|error| said(&error))
    }

    fn check_schedule(&self, schedule: &str) -> Result<(), String> {
        Schedule::parse(schedule).map(drop)
    }

    fn check(&self, catalog: &Catalog, view: &FeatureView, batch: &Batch) -> Vec<String> {
        let parameters = parameters(Timestamp::from_micros(0), Some(Timestamp::from_micros(0)));
        let query = SqlQuery { text: batch.sql.clone(), parameters };
        let (engine, catalog) = (Arc::clone(&self.engine), catalog.clone());
        let columns = match answered_on_own_thread(move || engine.columns(&catalog, &query)) {
            Ok(columns) => columns,
            Err(error) => return vec![said(&error)],
        };
        let mut wrong: Vec<String> = Vec::new();
        if let Err(error) = check_columns(view, &columns) {
            let details = error.details().into_iter();
            wrong.extend(
                details.map(|d| format!("its column `{}`: {}", d.field.unwrap_or_default(), d.reason)),
            );
        }
        for feature in view.features.iter().filter(|feature| columns.fields().find(&feature.name).is_none()) {
            wrong.push(format!("it gives no column for the feature `{}`", feature.name));
        }
        wrong
    }
}

/// Without what the place of the definition says already.
fn said(error: &SqlError) -> String {
    let text = error.to_string();
    text.strip_prefix("the query is not acceptable: ").unwrap_or(&text).to_owned()
}
