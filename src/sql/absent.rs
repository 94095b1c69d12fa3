//! In the engine's place in a binary that was built without the cargo feature `sql`.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::sql::{
    Inputs, SqlError, SqlLimits, SqlQuery,
    query::{Control, Scope},
};

pub struct Engine;

impl Engine {
    pub fn new(_: Inputs, _: &SqlLimits) -> Result<Engine, SqlError> {
        Ok(Engine)
    }

    pub fn run(
        &self,
        _: &SqlQuery,
        _: &Scope,
        _: &std::sync::Arc<Control>,
        _: &mut dyn FnMut(&SchemaRef, Option<RecordBatch>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        Err(SqlError::NotBuilt)
    }
}
