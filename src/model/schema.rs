//! Tables: what a feature view or a source looks like to the stores.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType as Arrow, Field, Schema, SchemaRef};

use crate::{DataType, TimeForm};

/// A feature view's event-time column. A source names its own.
pub const EVENT_TIME: &str = "event_time";
/// Offline column: the row's order of acceptance within its table, from 0 without gaps.
pub const SEQ: &str = "_seq";
/// Offline column: when the row was accepted.
pub const ACCEPTED_AT: &str = "_accepted_at";
/// Offline column: true for a tombstone.
pub const DELETED: &str = "_deleted";

/// A table's number: given once by the registry, never reused. Prefix of the table's keys in the online store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct TableId(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Rows keyed by an entity; the newest version of each is served online.
    FeatureView,
    /// Events, kept offline.
    Source,
}

/// A named, typed column; nullable unless it is a join key or the event time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: DataType,
}

/// One version of a table's columns.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct TableSchema {
    pub table: TableId,
    pub name: String,
    pub kind: TableKind,
    /// The definition's version, from 1. Stored rows name the version that wrote them.
    pub version: u32,
    /// Join keys in the entity's order; empty for a source.
    pub keys: Vec<Column>,
    /// The event-time column's name.
    pub event_time: String,
    /// Features of a view, columns of a source; in the definition's order.
    pub columns: Vec<Column>,
    /// The column of a source that identifies an event.
    pub event_id: Option<String>,
    /// How times are written in rows that come in.
    #[serde(flatten, default)]
    pub times: TimeForm,
    #[serde(skip)]
    arrow: OnceLock<SchemaRef>,
    #[serde(skip)]
    offline: OnceLock<SchemaRef>,
}

impl TableSchema {
    pub fn feature_view(
        table: TableId,
        name: &str,
        version: u32,
        keys: Vec<Column>,
        columns: Vec<Column>,
    ) -> Self {
        Self::new(table, name, TableKind::FeatureView, version, keys, EVENT_TIME, columns, None)
    }

    pub fn source(
        table: TableId,
        name: &str,
        version: u32,
        event_time: &str,
        columns: Vec<Column>,
        event_id: Option<String>,
    ) -> Self {
        Self::new(table, name, TableKind::Source, version, Vec::new(), event_time, columns, event_id)
    }

    #[allow(clippy::too_many_arguments)]
    fn new(
        table: TableId,
        name: &str,
        kind: TableKind,
        version: u32,
        keys: Vec<Column>,
        event_time: &str,
        columns: Vec<Column>,
        event_id: Option<String>,
    ) -> Self {
        Self {
            table,
            name: name.to_owned(),
            kind,
            version,
            keys,
            event_time: event_time.to_owned(),
            columns,
            event_id,
            times: TimeForm::EXPLICIT,
            arrow: OnceLock::new(),
            offline: OnceLock::new(),
        }
    }

    /// Declares how times are written in rows that come in.
    pub fn with_times(mut self, times: TimeForm) -> Self {
        self.times = times;
        self
    }

    /// The canonical Arrow form of rows on their way in: join keys, event time, columns; in this order.
    pub fn arrow(&self) -> &SchemaRef {
        self.arrow.get_or_init(|| Arc::new(Schema::new(self.data_fields())))
    }

    /// The offline form: [`TableSchema::arrow`] and then [`SEQ`], [`ACCEPTED_AT`], [`DELETED`].
    pub fn offline(&self) -> &SchemaRef {
        self.offline.get_or_init(|| {
            let mut fields = self.data_fields();
            fields.push(Field::new(SEQ, Arrow::Int64, false));
            fields.push(Field::new(ACCEPTED_AT, DataType::arrow_timestamp(), false));
            fields.push(Field::new(DELETED, Arrow::Boolean, false));
            Arc::new(Schema::new(fields))
        })
    }

    /// Position of the event-time column in [`TableSchema::arrow`].
    pub fn event_time_index(&self) -> usize {
        self.keys.len()
    }

    /// Position of the first of `columns` in [`TableSchema::arrow`].
    pub fn first_column_index(&self) -> usize {
        self.keys.len() + 1
    }

    fn data_fields(&self) -> Vec<Field> {
        let keys = self.keys.iter().map(|key| Field::new(&key.name, key.data_type.arrow(), false));
        let time = std::iter::once(Field::new(&self.event_time, DataType::arrow_timestamp(), false));
        let columns =
            self.columns.iter().map(|column| Field::new(&column.name, column.data_type.arrow(), true));
        keys.chain(time).chain(columns).collect()
    }
}
