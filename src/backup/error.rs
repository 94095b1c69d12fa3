//! What can go wrong with a backup or a restore.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{Code, Coded, is_full},
    offline::OfflineError,
    registry::RegistryError,
    shard::ShardError,
};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("`{}` is not an absolute path; the node's working directory is not yours", .0.display())]
    Relative(PathBuf),
    #[error("{} is inside of the data directory {}; a backup belongs elsewhere", dir.display(), data.display())]
    Inside { dir: PathBuf, data: PathBuf },
    #[error("{} is neither empty nor an earlier backup; name an empty directory", .0.display())]
    Occupied(PathBuf),
    #[error("{} holds the backup of another node ({theirs}, this one is {ours}); name an empty directory", dir.display())]
    OtherNode { dir: PathBuf, ours: String, theirs: String },
    #[error(
        "{} differs from what the earlier backup has under that name: the node has another history; name an empty \
         directory", .0.display()
    )]
    OtherHistory(PathBuf),
    #[error("backup {0} is still being taken; one at a time")]
    Running(String),
    #[error("the node stopped before the backup was complete")]
    Stopped,
    #[error("{} is no backup: {reason}", dir.display())]
    NoBackup { dir: PathBuf, reason: String },
    /// A file of the node, found broken while it was copied.
    #[error(
        "the table's file {} has changed since it was written; nothing was backed up, restore the file from an \
         earlier backup", .0.display()
    )]
    Corrupt(PathBuf),
    #[error("the backup's file {}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("{} is not empty; restore into an empty directory", .0.display())]
    NotEmpty(PathBuf),
    #[error(
        "a restore into {} did not finish; remove the directory's content and restore again", .0.display()
    )]
    Unfinished(PathBuf),
    #[error("what was restored does not fit together: {0}")]
    Invariant(String),
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Coded for BackupError {
    fn code(&self) -> Code {
        match self {
            BackupError::Relative(_) | BackupError::Inside { .. } => Code::Invalid,
            BackupError::Occupied(_)
            | BackupError::OtherNode { .. }
            | BackupError::OtherHistory(_)
            | BackupError::Running(_)
            | BackupError::NotEmpty(_)
            | BackupError::Unfinished(_) => Code::Conflict,
            BackupError::Stopped | BackupError::Corrupt(_) => Code::Unavailable,
            // The caller named the path, so the caller is told what is wrong with it.
            BackupError::Io { source, .. } if is_full(source) => Code::StorageFull,
            BackupError::Io { .. } => Code::Invalid,
            BackupError::NoBackup { .. } | BackupError::Damaged { .. } => Code::Conflict,
            BackupError::Invariant(_) => Code::Internal,
            BackupError::Shard(e) => e.code(),
            BackupError::Offline(e) => e.code(),
            BackupError::Registry(e) => e.code(),
        }
    }
}

impl BackupError {
    /// For `map_err` on file operations.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
        let path = path.to_owned();
        move |source| BackupError::Io { doing, path, source }
    }

    pub(super) fn damaged(path: &Path, reason: impl ToString) -> BackupError {
        BackupError::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}
