//! What can go wrong with a backfill.

use crate::{
    error::{Code, Coded, Detail},
    offline::OfflineError,
    shard::ShardError,
};

#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    #[error("`{0}` is not computed from events; only a stream feature view is")]
    NotAStream(String),
    #[error("`{0}` has no window state yet; try again in a moment")]
    Unknown(String),
    #[error("the node is stopping; the backfill goes on after the next start")]
    Stopped,
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error(transparent)]
    Offline(#[from] OfflineError),
}

impl Coded for BackfillError {
    fn code(&self) -> Code {
        match self {
            BackfillError::NotAStream(_) => Code::Invalid,
            BackfillError::Unknown(_) | BackfillError::Stopped => Code::Unavailable,
            BackfillError::Shard(error) => error.code(),
            BackfillError::Offline(error) => error.code(),
        }
    }
    fn details(&self) -> Vec<Detail> {
        match self {
            BackfillError::NotAStream(_) => {
                vec![Detail { row: None, field: Some("view".to_owned()), reason: self.to_string() }]
            }
            _ => Vec::new(),
        }
    }
}
