//! The columns of a table that larder itself reads: the keys, the event time, and its own three.

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    datatypes::{Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use std::sync::Arc;

use crate::{
    model::{ACCEPTED_AT, DELETED, SEQ, TableSchema},
    offline::OfflineError,
};

/// Names by which a table's rows are put in order and chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub table: String,
    pub keys: Vec<String>,
    pub event_time: String,
}

impl Layout {
    pub fn of(schema: &TableSchema) -> Layout {
        Layout {
            table: schema.name.clone(),
            keys: schema.keys.iter().map(|key| key.name.clone()).collect(),
            event_time: schema.event_time.clone(),
        }
    }

    /// Refuses a schema whose rows could not be told apart, or put in order, as those of this table are.
    pub fn check(&self, schema: &TableSchema) -> Result<(), OfflineError> {
        let other = Layout::of(schema);
        if other == *self {
            return Ok(());
        }
        let named = |layout: &Layout| {
            format!("join keys [{}], event time `{}`", layout.keys.join(", "), layout.event_time)
        };
        let reason = format!("the table has {}; this version has {}", named(self), named(&other));
        Err(self.lacks(&other.event_time, &reason))
    }

    /// Keys, event time, `_seq`, `_deleted`, and `_accepted_at` where it counts: what choosing a version takes.
    pub fn choosing(&self, schema: &Schema, acceptance: bool) -> Result<SchemaRef, OfflineError> {
        let own = [self.event_time.as_str(), SEQ, DELETED];
        let accepted = acceptance.then_some(ACCEPTED_AT);
        let names = self.keys.iter().map(String::as_str).chain(own).chain(accepted);
        let fields = names.map(|name| self.field(schema, name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }

    /// All that larder itself reads, and the columns `names`.
    pub fn with_columns(&self, schema: &Schema, names: &[&str]) -> Result<SchemaRef, OfflineError> {
        let mut fields: Vec<_> = self.choosing(schema, true)?.fields().iter().cloned().collect();
        fields.extend(self.project(schema, names)?.fields().iter().cloned());
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The columns `names` of `schema`.
    pub fn project(&self, schema: &Schema, names: &[&str]) -> Result<SchemaRef, OfflineError> {
        let fields = names.iter().map(|name| self.field(schema, name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }

    fn field(&self, schema: &Schema, name: &str) -> Result<Arc<Field>, OfflineError> {
        match schema.fields().find(name) {
            Some((_, field)) => Ok(Arc::clone(field)),
            None => Err(self.lacks(name, "the table has no such column")),
        }
    }

    fn lacks(&self, column: &str, reason: &str) -> OfflineError {
        OfflineError::Schema {
            table: self.table.clone(),
            column: column.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Positions of the keys in `batch`.
    pub fn key_indices(&self, schema: &Schema) -> Result<Vec<usize>, OfflineError> {
        self.keys
            .iter()
            .map(|name| schema.index_of(name).map_err(|_| self.lacks(name, "rows lack this join key")))
            .collect()
    }

    pub fn event_times<'a>(&self, batch: &'a RecordBatch) -> Result<&'a [i64], OfflineError> {
        self.micros(batch, &self.event_time)
    }

    pub fn accepted_at<'a>(&self, batch: &'a RecordBatch) -> Result<&'a [i64], OfflineError> {
        self.micros(batch, ACCEPTED_AT)
    }

    pub fn seqs<'a>(&self, batch: &'a RecordBatch) -> Result<&'a [i64], OfflineError> {
        let column = batch.column_by_name(SEQ).filter(|column| column.null_count() == 0);
        let column = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
        column.map(|column| &column.values()[..]).ok_or_else(|| self.lacks(SEQ, "rows lack it as int64"))
    }

    pub fn deleted<'a>(&self, batch: &'a RecordBatch) -> Result<&'a BooleanArray, OfflineError> {
        let column = batch.column_by_name(DELETED).and_then(|column| column.as_boolean_opt());
        column.ok_or_else(|| self.lacks(DELETED, "rows lack it as bool"))
    }

    fn micros<'a>(&self, batch: &'a RecordBatch, name: &str) -> Result<&'a [i64], OfflineError> {
        let column = batch.column_by_name(name).filter(|column| column.null_count() == 0);
        let column = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        column
            .map(|column| &column.values()[..])
            .ok_or_else(|| self.lacks(name, "rows lack it as microseconds"))
    }
}
