//! What the offline store asks of the online one: the acknowledged rows that no segment holds yet.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::{
    error::{Code, Coded},
    model::{TableId, TableSchema},
};

/// Rows of a tail; readers of one moment share them.
pub type TailRows = Arc<Vec<RecordBatch>>;

/// The acknowledged rows of each table that are not sealed yet.
pub trait Tail: Send + Sync {
    /// All acknowledged rows of `table` with `_seq >= from_seq`, ascending and without gaps, in the offline schema
    /// of the version that wrote them. Rows that a segment holds by now may be missing at the front. Where `columns` are
    /// named, the features that are not among them are left out.
    fn tail(&self, table: TableId, from_seq: u64, columns: Option<&[&str]>) -> Result<TailRows, TailError>;
}

/// Unsealed rows in portions: what sealing reads, so that its memory is bounded.
pub trait Unsealed: Send + Sync {
    /// Acknowledged rows of `table` from `from_seq` on, not many more than `max_rows`: a batch for each run of rows
    /// that one version of the table's schema wrote, with that version.
    fn unsealed(
        &self,
        table: TableId,
        from_seq: u64,
        max_rows: usize,
    ) -> Result<Vec<(Arc<TableSchema>, RecordBatch)>, TailError>;
}

/// The tail could not be read.
#[derive(Debug, thiserror::Error)]
#[error("rows that are not yet in a segment cannot be read: {reason}")]
pub struct TailError {
    pub code: Code,
    pub reason: String,
}

impl Coded for TailError {
    fn code(&self) -> Code {
        self.code
    }
}

/// No tail: for tables of which every row is in a segment.
pub struct NoTail;

impl Tail for NoTail {
    fn tail(&self, _: TableId, _: u64, _: Option<&[&str]>) -> Result<TailRows, TailError> {
        Ok(TailRows::default())
    }
}
