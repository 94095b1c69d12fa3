//! The records of runs that compute a table's rows, each stored with the rows that it speaks of.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    model::TableId,
    shard::{Note, ShardError, store::Store},
};

/// Reads records; any thread. They are written with a [`Write`](crate::shard::Write).
#[derive(Clone)]
pub struct RunLog(Store);

impl RunLog {
    pub fn new(store: Store) -> RunLog {
        RunLog(store)
    }

    /// The record of a run, to be stored; none: to be forgotten.
    pub fn note<R: Serialize>(table: TableId, number: u64, record: Option<&R>) -> Note {
        let value = record.map(|record| serde_json::to_vec(record).unwrap_or_default());
        Note { key: format!("{}{number:020}", prefix(table)), value }
    }

    /// All records of a table, in order of their numbers.
    pub fn read<R: DeserializeOwned>(&self, table: TableId) -> Result<Vec<R>, ShardError> {
        let mut records = Vec::new();
        for guard in self.0.meta.prefix(prefix(table)) {
            let (_, value) = guard.into_inner()?;
            records.push(serde_json::from_slice(&value).map_err(|e| {
                ShardError::Damaged(format!("the record of a run of table {} cannot be read: {e}", table.0))
            })?);
        }
        Ok(records)
    }
}

fn prefix(table: TableId) -> String {
    format!("run/{}/", table.0)
}
