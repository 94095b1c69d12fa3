//! Checkpoints: how far a connector has read, stored in the batch that has the rows.

use crate::shard::{Note, ShardError, store::Store};

/// A connector's place in what it reads; larder does not look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of the connector and its part of the input, as `orders-topic/3`.
    pub name: String,
    pub value: Vec<u8>,
}

/// Bytes of a checkpoint's name.
pub const MOST_NAME: usize = 255;
/// Bytes of a checkpoint's value.
pub const MOST_VALUE: usize = 64 << 10;

impl Checkpoint {
    pub fn note(self) -> Note {
        Note { key: key(&self.name), value: Some(self.value) }
    }
}

/// Reads checkpoints; any thread.
#[derive(Clone)]
pub struct Checkpoints(Store);

impl Checkpoints {
    pub fn new(store: Store) -> Checkpoints {
        Checkpoints(store)
    }

    /// The value stored with the last batch that had a checkpoint of this name.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ShardError> {
        Ok(self.0.meta.get(key(name))?.map(|value| value.to_vec()))
    }
}

fn key(name: &str) -> String {
    format!("checkpoint/{name}")
}
