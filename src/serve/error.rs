//! What can be wrong with a read.

use crate::{
    error::{Code, Coded, Detail},
    model::DataType,
    offline::OfflineError,
    registry::RegistryError,
    shard::ShardError,
};

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error("the column `{column}` would have to be {first} and, for the view `{view}`, {second}")]
    KeyTypes { column: String, first: DataType, second: DataType, view: String },
    #[error("the request does not fit the features asked for")]
    Request(Vec<Detail>),
    #[error("{what}: {given} were asked for, at most {limit} are allowed")]
    TooMany { what: &'static str, given: usize, limit: usize },
    /// Counted while they are read, and no further.
    #[error(
        "entities: more than the {limit} allowed were asked for (limits.entities_per_read); send several requests"
    )]
    TooManyEntities { limit: usize },
    #[error("the answer comes to more than {limit} bytes ({setting}); {instead}")]
    AnswerTooLarge { limit: usize, setting: &'static str, instead: &'static str },
    #[error("the definitions changed while the request was read; send it again")]
    StalePlan,
    #[error("{0}")]
    Invalid(String),
    #[error("the training set: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Coded for ServeError {
    fn code(&self) -> Code {
        match self {
            ServeError::Registry(e) => e.code(),
            ServeError::Shard(e) => e.code(),
            ServeError::Offline(e) => e.code(),
            ServeError::KeyTypes { .. } | ServeError::Request(_) | ServeError::Invalid(_) => Code::Invalid,
            ServeError::StalePlan => Code::Unavailable,
            ServeError::TooMany { .. }
            | ServeError::TooManyEntities { .. }
            | ServeError::AnswerTooLarge { .. } => Code::TooLarge,
            ServeError::Arrow(_) => Code::Internal,
        }
    }

    fn details(&self) -> Vec<Detail> {
        match self {
            ServeError::Registry(e) => e.details(),
            ServeError::Shard(e) => e.details(),
            ServeError::Offline(e) => e.details(),
            ServeError::Request(details) => details.clone(),
            _ => Vec::new(),
        }
    }
}
