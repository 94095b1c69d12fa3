//! Why a run did not succeed, or was not begun.

use crate::{
    error::{Code, Coded},
    ingest::IngestError,
    shard::ShardError,
    sql::SqlError,
};

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("`{0}` is not a batch feature view; only those are materialised by a query")]
    NotABatch(String),
    #[error("{0}")]
    Invalid(String),
    #[error(
        "`{view}` has {pending} runs pending, and at most {most} may be; request more when these are done"
    )]
    TooManyPending { view: String, pending: usize, most: usize },
    /// What the query gives cannot be stored.
    #[error("the query's rows cannot be stored: {0}")]
    Rows(String),
    /// Of one view; the others go on.
    #[error(
        "the runs of `{view}` are held up, their records are damaged: {why}; stop the node and run `larder repair`"
    )]
    Unreadable { view: String, why: String },
    #[error("the node is stopping; the run goes on after the next start")]
    Stopped,
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl Coded for RunError {
    fn code(&self) -> Code {
        match self {
            RunError::NotABatch(_) | RunError::Invalid(_) | RunError::Rows(_) => Code::Invalid,
            RunError::TooManyPending { .. } => Code::Overloaded,
            RunError::Unreadable { .. } | RunError::Stopped => Code::Unavailable,
            RunError::Sql(error) => error.code(),
            RunError::Ingest(error) => error.code(),
            RunError::Shard(error) => error.code(),
        }
    }
}
