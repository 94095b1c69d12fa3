//! Filters of aggregations.

use crate::{
    expression::Expression,
    model::DataType,
    registry::{definition::SourceDefinition, stream::filter_columns},
};

/// Whether `filter` is a condition on the events of `source`.
pub(super) fn check_filter(filter: &str, source: &SourceDefinition) -> Result<(), String> {
    let columns = filter_columns(&source.event_time, &source.columns);
    match Expression::compile(filter, &columns, Some(&DataType::Bool)) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`filter`: {error}")),
    }
}
