//! Why a node does not start.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    backup::BackupError, offline::OfflineError, registry::RegistryError, serve::sets::SetError,
    shard::ShardError, sql::SqlError,
};

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("the data directory {path}: {source}", path = .path.display())]
    DataDir { path: PathBuf, source: std::io::Error },
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    #[error("the online store: {0}")]
    Shard(#[from] ShardError),
    #[error("the offline store: {0}")]
    Offline(#[from] OfflineError),
    #[error(transparent)]
    Metrics(#[from] crate::metrics::MetricsError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error("the training sets: {0}")]
    Sets(#[from] SetError),
    #[error("the registry: {0}")]
    Registry(#[from] RegistryError),
    /// It served reads after a write had failed; see `durability.restart_after`.
    #[error("the online store takes no more writes ({0}); the node is to be started again")]
    Failed(String),
    #[error("{0}")]
    Start(String),
}
