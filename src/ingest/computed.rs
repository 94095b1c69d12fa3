//! Rows that the node has computed itself, held to the rules of those that are sent to it.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{
    ingest::{DecodeLimits, IngestError, decode, pipeline::check_rules},
    registry::FeatureView,
};

/// What of the columns `given` does not fit the view's: a column that is missing, unknown or of a type whose values the
/// view's cannot hold.
pub fn check_columns(view: &FeatureView, given: &SchemaRef) -> Result<(), IngestError> {
    Ok(decode::check_columns(given, &view.schema)?)
}

/// The rows in the view's canonical form; an error where any of them is not acceptable.
pub fn computed_rows(
    view: &FeatureView,
    given: &SchemaRef,
    batches: Vec<RecordBatch>,
    limits: &DecodeLimits,
) -> Result<RecordBatch, IngestError> {
    let decoded = decode::batches(given, batches.into_iter().map(Ok), &view.schema, limits)?;
    let decoded = check_rules(decoded, Some(view))?;
    match decoded.rejected.is_empty() {
        true => Ok(decoded.batch),
        false => Err(IngestError::Computed { rejected: decoded.rejected, total: decoded.rows }),
    }
}
