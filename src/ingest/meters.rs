//! What ingestion counts. To look a metric up by its labels costs more than to decode a row, so the handles are kept.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use metrics::{Counter, Histogram, counter, histogram};

use crate::{
    metrics::{INGEST_BATCHES, INGEST_ROWS, INGEST_SECONDS, VIEW_NULLS, VIEW_VALUES},
    model::{TableId, TableSchema},
    shard::Applied,
};

/// The handles of each table; shared by all requests.
#[derive(Clone, Default)]
pub struct Meters(Arc<RwLock<HashMap<TableId, Arc<TableMeters>>>>);

struct TableMeters {
    /// The version of the table's schema that `columns` are of.
    version: u32,
    /// In the order of [`Applied::counts`].
    rows: [Counter; 4],
    batches: Counter,
    seconds: Histogram,
    /// Of each column its values and its nulls.
    columns: Vec<(Counter, Counter)>,
}

impl Meters {
    /// One batch. `nulls`: of each of the schema's columns; empty where they were not counted.
    pub(super) fn record(
        &self,
        schema: &TableSchema,
        applied: &Applied,
        rows: u64,
        nulls: &[u64],
        took: Duration,
    ) {
        let meters = self.of(schema, applied);
        for (counter, (_, rows)) in meters.rows.iter().zip(applied.counts()) {
            counter.increment(rows);
        }
        meters.batches.increment(1);
        meters.seconds.record(took);
        for ((values, null), count) in meters.columns.iter().zip(nulls) {
            values.increment(rows);
            null.increment(*count);
        }
    }

    fn of(&self, schema: &TableSchema, applied: &Applied) -> Arc<TableMeters> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&schema.table).cloned();
        if let Some(meters) = known.filter(|meters| meters.version == schema.version) {
            return meters;
        }
        let meters = Arc::new(TableMeters::new(schema, applied));
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(schema.table, Arc::clone(&meters));
        meters
    }
}

impl TableMeters {
    fn new(schema: &TableSchema, applied: &Applied) -> TableMeters {
        let table = &schema.name;
        let column = |feature: &String| {
            let labels = [("view", table.clone()), ("feature", feature.clone())];
            (counter!(VIEW_VALUES, &labels), counter!(VIEW_NULLS, &labels))
        };
        TableMeters {
            version: schema.version,
            rows: applied
                .counts()
                .map(|(result, _)| counter!(INGEST_ROWS, "table" => table.clone(), "result" => result)),
            batches: counter!(INGEST_BATCHES, "table" => table.clone()),
            seconds: histogram!(INGEST_SECONDS, "table" => table.clone()),
            columns: schema.columns.iter().map(|c| column(&c.name)).collect(),
        }
    }
}
