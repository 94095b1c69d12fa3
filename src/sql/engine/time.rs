//! Times in queries: one type, as the tables have it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    common::Result, logical_expr::planner::TypePlanner, sql::sqlparser::ast::DataType as SqlType,
};

/// The session's zone.
pub(super) const UTC: &str = "UTC";

/// `TIMESTAMP`, with or without a zone, is a moment: text without a zone says it in UTC.
#[derive(Debug)]
pub(super) struct Moments;

impl TypePlanner for Moments {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let unit = match sql_type {
            SqlType::Timestamp(Some(0), _) => TimeUnit::Second,
            SqlType::Timestamp(Some(3), _) => TimeUnit::Millisecond,
            SqlType::Timestamp(Some(9), _) => TimeUnit::Nanosecond,
            SqlType::Timestamp(None | Some(6), _)
            | SqlType::TimestampNtz(_)
            | SqlType::Datetime(None | Some(6)) => TimeUnit::Microsecond,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", DataType::Timestamp(unit, Some(UTC.into())), true))))
    }
}
