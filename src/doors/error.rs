//! Why a door did not open, or what went wrong behind it.

use crate::{
    backfill::BackfillError,
    backup::BackupError,
    doors::Denied,
    error::{Code, Coded, Detail},
    ingest::IngestError,
    registry::RegistryError,
    serve::{ServeError, sets::SetError},
    shard::ShardError,
    sql::{RunError, SqlError},
};

#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{0}; try again in a moment")]
    Busy(&'static str),
    #[error("the node is stopping")]
    Stopping,
    #[error("{0}")]
    Unavailable(&'static str),
    #[error("there is no {kind} `{name}`")]
    Unknown { kind: &'static str, name: String },
    /// A thread ended without an answer.
    #[error("{0} did not finish")]
    Interrupted(&'static str),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    Runs(#[from] RunError),
    #[error(transparent)]
    Sets(#[from] SetError),
    #[error(transparent)]
    Backfill(#[from] BackfillError),
    #[error(transparent)]
    Backup(#[from] BackupError),
}

impl DoorError {
    /// The error of the layer behind the door.
    fn inner(&self) -> Option<&dyn Coded> {
        Some(match self {
            DoorError::Denied(error) => error,
            DoorError::Serve(error) => error,
            DoorError::Ingest(error) => error,
            DoorError::Registry(error) => error,
            DoorError::Shard(error) => error,
            DoorError::Sql(error) => error,
            DoorError::Runs(error) => error,
            DoorError::Sets(error) => error,
            DoorError::Backfill(error) => error,
            DoorError::Backup(error) => error,
            DoorError::Busy(_)
            | DoorError::Stopping
            | DoorError::Unavailable(_)
            | DoorError::Unknown { .. }
            | DoorError::Interrupted(_) => return None,
        })
    }
}

impl Coded for DoorError {
    fn code(&self) -> Code {
        match (self, self.inner()) {
            (_, Some(inner)) => inner.code(),
            (DoorError::Busy(_), _) => Code::Overloaded,
            (DoorError::Stopping | DoorError::Unavailable(_), _) => Code::Unavailable,
            (DoorError::Unknown { .. }, _) => Code::NotFound,
            _ => Code::Internal,
        }
    }

    fn details(&self) -> Vec<Detail> {
        self.inner().map_or_else(Vec::new, Coded::details)
    }
}
