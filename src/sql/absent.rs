//! In the engine's place in a binary that was built without the cargo feature `sql`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::{
    model::Timestamp,
    registry::Catalog,
    sql::{
        Inputs, SqlError, SqlLimits, SqlQuery,
        query::{Control, Scope, Take},
    },
};

pub(super) struct Engine;

impl Engine {
    pub fn new(_: Inputs, _: &SqlLimits) -> Result<Engine, SqlError> {
        Ok(Engine)
    }

    pub fn run(&self, _: &SqlQuery, _: &Scope, _: &Arc<Control>, _: &mut Take<'_>) -> Result<(), SqlError> {
        Err(SqlError::NotBuilt)
    }

    pub fn reads(_: &str) -> Result<Vec<String>, SqlError> {
        Err(SqlError::NotBuilt)
    }

    pub fn columns(&self, _: &Catalog, _: &SqlQuery) -> Result<SchemaRef, SqlError> {
        Err(SqlError::NotBuilt)
    }
}

/// Nothing is ever due.
pub(super) struct Schedule;

impl Schedule {
    pub fn parse(_: &str) -> Result<Schedule, String> {
        Err(SqlError::NotBuilt.to_string())
    }

    pub fn last(&self, _: i64) -> Option<i64> {
        None
    }

    pub fn next(&self, _: i64) -> Option<i64> {
        None
    }

    pub fn between(&self, _: Timestamp, _: Timestamp, _: usize) -> Vec<i64> {
        Vec::new()
    }
}
