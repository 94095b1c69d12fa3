//! What can be wrong with a training set or with a job that makes one.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{Code, Coded, Detail, is_full, out_of_descriptors},
    format::FormatError,
    offline::OfflineError,
    registry::RegistryError,
    serve::ServeError,
    shard::ShardError,
};

#[derive(Debug, thiserror::Error)]
pub enum SetError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error("the spine: {0}")]
    Spine(#[from] FormatError),
    #[error("there is no training set `{0}`; GET /v1/training-sets lists them")]
    Unknown(String),
    #[error("the training set `{name}` has no version {version}; it has {has}")]
    UnknownVersion { name: String, version: u32, has: String },
    #[error("there is no job `{0}`; only the last ones are remembered")]
    UnknownJob(String),
    #[error(
        "the definitions have changed since the set was asked for: it would be made of `{table}` as well; ask for it anew"
    )]
    Redefined { table: String },
    #[error("the job has not made a training set: it is {0}")]
    NoData(&'static str),
    #[error("the request for a training set is not right")]
    Request(Vec<Detail>),
    #[error("{waiting} jobs wait already; try again when one has ended")]
    Queue { waiting: usize },
    #[error(
        "training sets take {used} bytes, at most {limit} are allowed (limits.training_set_bytes); delete some versions"
    )]
    Budget { used: u64, limit: u64 },
    #[error(
        "the training set would take more than the {limit} bytes that are left (limits.training_set_bytes)"
    )]
    TooLarge { limit: u64 },
    #[error("the node is shutting down; the job is run after the next start")]
    Stopped,
    #[error("it was cancelled")]
    Cancelled,
    /// What a job ended with that is no error of its work.
    #[error("{0}")]
    Broken(String),
    #[error("{}: {reason}; restore it from a backup, or build the training set anew", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("no space left on the device while {doing} {}", path.display())]
    Full { doing: &'static str, path: PathBuf },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl SetError {
    /// For `map_err` on file operations.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetError {
        let path = path.to_owned();
        move |source| {
            if is_full(&source) {
                SetError::Full { doing, path }
            } else {
                SetError::Io { doing, path, source }
            }
        }
    }

    pub(super) fn field(field: &str, reason: impl Into<String>) -> SetError {
        SetError::Request(vec![Detail { row: None, field: Some(field.to_owned()), reason: reason.into() }])
    }

    pub(super) fn damaged(path: &Path, reason: impl ToString) -> SetError {
        SetError::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl From<RegistryError> for SetError {
    fn from(error: RegistryError) -> SetError {
        SetError::Serve(error.into())
    }
}

impl Coded for SetError {
    fn code(&self) -> Code {
        match self {
            SetError::Serve(error) => error.code(),
            SetError::Offline(error) => error.code(),
            SetError::Shard(error) => error.code(),
            SetError::Spine(error) => error.code(),
            SetError::Unknown(_) | SetError::UnknownVersion { .. } | SetError::UnknownJob(_) => {
                Code::NotFound
            }
            SetError::NoData(_) | SetError::Cancelled | SetError::Redefined { .. } => Code::Conflict,
            SetError::Request(_) => Code::Invalid,
            SetError::Queue { .. } => Code::Overloaded,
            SetError::Budget { .. } | SetError::TooLarge { .. } | SetError::Full { .. } => Code::StorageFull,
            SetError::Stopped | SetError::Damaged { .. } => Code::Unavailable,
            SetError::Io { source, .. } if out_of_descriptors(source) => Code::Unavailable,
            SetError::Io { .. } | SetError::Broken(_) => Code::Internal,
        }
    }

    fn details(&self) -> Vec<Detail> {
        match self {
            SetError::Serve(error) => error.details(),
            SetError::Offline(error) => error.details(),
            SetError::Shard(error) => error.details(),
            SetError::Spine(error) => error.details(),
            SetError::Request(details) => details.clone(),
            _ => Vec::new(),
        }
    }
}
