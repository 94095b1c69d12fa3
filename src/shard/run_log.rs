//! The records of runs that compute a table's rows, each stored with the rows that it speaks of.

use crate::{
    model::TableId,
    shard::{Note, Run, ShardError, record, store::Store},
};

/// Reads records; any thread. They are written with a [`Write`](crate::shard::Write).
#[derive(Clone)]
pub struct RunLog(Store);

impl RunLog {
    pub fn new(store: Store) -> RunLog {
        RunLog(store)
    }

    /// A record that is to be stored.
    pub fn note(table: TableId, run: &Run) -> Note {
        Note { key: key(table, run.number), value: Some(encode(run)) }
    }

    /// A record that is to be forgotten.
    pub fn forget(table: TableId, number: u64) -> Note {
        Note { key: key(table, number), value: None }
    }

    /// All records of a table, in order of their numbers.
    pub fn read(&self, table: TableId) -> Result<Vec<Run>, ShardError> {
        let records = records(&self.0, table)?.into_iter();
        records
            .map(|(_, run)| run.map_err(|why| ShardError::Damaged(format!("table {}: {why}", table.0))))
            .collect()
    }
}

/// A stored record with its key, or what is wrong with it.
type Stored = (Vec<u8>, Result<Run, String>);

/// All records of a table, in order of their numbers.
pub(super) fn records(store: &Store, table: TableId) -> Result<Vec<Stored>, ShardError> {
    let mut found = Vec::new();
    for guard in store.meta.prefix(prefix(table)) {
        let (key, value) = guard.into_inner()?;
        let name = String::from_utf8_lossy(&key).into_owned();
        let run = match serde_json::from_slice::<Run>(&value) {
            Ok(run) if name == self::key(table, run.number) => Ok(run),
            Ok(run) => Err(format!("the record `{name}` of a run is that of run {}", run.number)),
            Err(error) => Err(format!("the record `{name}` of a run cannot be read: {error}")),
        };
        found.push((key.to_vec(), run));
    }
    Ok(found)
}

pub(super) fn encode(run: &Run) -> Vec<u8> {
    record::encode(run)
}

fn key(table: TableId, number: u64) -> String {
    format!("{}{number:020}", prefix(table))
}

fn prefix(table: TableId) -> String {
    format!("run/{}/", table.0)
}
