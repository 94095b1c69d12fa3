//! What a run's query gives, as rows of its view in an order that a repeat has too.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::{SortColumn, lexsort_to_indices, partition, take_record_batch},
    datatypes::SchemaRef,
};

use crate::{
    config::Size,
    ingest::{DecodeLimits, computed_rows},
    registry::FeatureView,
    sql::{SqlError, runs::RunError},
};

/// Collects the rows of a query, within a bound on their memory.
pub(super) struct Collected {
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
    bytes: usize,
    limit: usize,
}

impl Collected {
    pub fn new(limit: usize) -> Collected {
        Collected { schema: None, batches: Vec::new(), bytes: 0, limit }
    }

    pub fn take(&mut self, schema: &SchemaRef, batch: Option<RecordBatch>) -> Result<(), SqlError> {
        self.schema.get_or_insert_with(|| Arc::clone(schema));
        let Some(batch) = batch else { return Ok(()) };
        self.bytes += batch.get_array_memory_size();
        if self.bytes > self.limit {
            return Err(SqlError::TooLarge {
                limit: Size::from_bytes(self.limit as u64).to_string(),
                setting: "limits.sql_memory",
                instead: "a run's rows are held in memory; take fewer entities, or $from and $to",
            });
        }
        self.batches.push(batch);
        Ok(())
    }

    /// Rows in the view's columns and types, sorted by join keys and event time. All of them are acceptable, and no two are
    /// of one entity at one time.
    pub fn rows(self, view: &FeatureView, limits: &DecodeLimits) -> Result<RecordBatch, RunError> {
        let Some(schema) = self.schema else {
            return Err(RunError::Rows("the query has no columns".to_owned()));
        };
        let limits = DecodeLimits { max_decoded_bytes: usize::MAX, ..limits.clone() };
        let rows = computed_rows(view, &schema, self.batches, &limits)?;
        let failed = |error: arrow::error::ArrowError| RunError::Rows(error.to_string());
        let keyed = |rows: &RecordBatch| -> Vec<SortColumn> {
            let keys = 0..=view.schema.event_time_index();
            keys.map(|at| SortColumn { values: Arc::clone(rows.column(at)), options: None }).collect()
        };
        let order = lexsort_to_indices(&keyed(&rows), None).map_err(failed)?;
        let rows = take_record_batch(&rows, &order).map_err(failed)?;
        let columns: Vec<_> = keyed(&rows).into_iter().map(|column| column.values).collect();
        if rows.num_rows() > 0
            && let Some(run) =
                partition(&columns).map_err(failed)?.ranges().into_iter().find(|run| run.len() > 1)
        {
            let row = crate::format::row_json(&rows, run.start).map_err(failed)?;
            return Err(RunError::Rows(format!(
                "{} rows are of one entity at one event time; group by the join keys. One of them: {row}",
                run.len()
            )));
        }
        Ok(rows)
    }
}
