//! Stream feature views: what is computed of a source's events.

use std::collections::HashSet;

use larder_compute::window::{Function, Window, tiles::Layout};
use larder_expression::{Expression, ExpressionError};
use larder_model::{Column, DataType, TableId};

/// What a stream feature view computes. `aggregations[i]` makes the view's `features[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    pub source: String,
    /// The source's table. Its events have the view's join keys among their columns.
    pub source_table: TableId,
    pub aggregations: Vec<Aggregation>,
}

/// A function of those events of an entity that a window covers and a filter lets pass.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Aggregation {
    #[serde(flatten)]
    pub function: Function,
    /// Of the source; none where events are counted or timed as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The column's type when the view was built: its source may widen it later, and the view gets a version then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_type: Option<DataType>,
    #[serde(flatten)]
    pub window: Window,
    /// An SQL expression over the source's columns and its event time; events for which it is not true do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// A condition on the events of a source, which may name the source's columns and its event time.
pub fn compile_filter(
    filter: &str,
    event_time: &str,
    columns: &[Column],
) -> Result<Expression, ExpressionError> {
    let time = Column { name: event_time.to_owned(), data_type: DataType::Timestamp };
    let inputs: Vec<Column> = columns.iter().cloned().chain([time]).collect();
    Expression::compile(filter, &inputs, Some(&DataType::Bool))
}

/// Whether `filter` is a condition on the events of a source.
pub(super) fn check_filter(filter: &str, event_time: &str, columns: &[Column]) -> Result<(), String> {
    let compiled = compile_filter(filter, event_time, columns);
    compiled.map(drop).map_err(|error| format!("`filter`: {error}"))
}

/// What is wrong where aggregations use more columns or filters than the state of an entity has room for.
pub fn too_many<'a>(aggregations: impl IntoIterator<Item = &'a Aggregation>) -> Option<String> {
    let (mut columns, mut filters) = (HashSet::new(), HashSet::new());
    for aggregation in aggregations {
        // A column that was widened is kept once for each of its types.
        columns.extend(aggregation.column.as_ref().map(|column| (column, &aggregation.column_type)));
        filters.extend(&aggregation.filter);
    }
    let most = Layout::MAX_SLOTS;
    let told = |what, found| format!("{found} different {what} are used; at most {most} are allowed");
    match (columns.len(), filters.len()) {
        (columns, _) if columns > most => Some(told("columns", columns)),
        (_, filters) if filters > most => Some(told("filters", filters)),
        _ => None,
    }
}
