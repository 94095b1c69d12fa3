//! What can go wrong offline.

use std::{
    io,
    path::{Path, PathBuf},
};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::{
    error::{Code, Coded, is_full, out_of_descriptors},
    offline::tail::TailError,
};

#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// A segment is missing, truncated or changed; nothing is read from it.
    #[error("segment {}: {reason}; restore the file from a backup", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("no space left on the device while {doing} {}", path.display())]
    Full { doing: &'static str, path: PathBuf },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the Delta log in {}: {reason}", path.display())]
    Log { path: PathBuf, reason: String },
    #[error(
        "table `{table}`: version {version} of its Delta log was written by someone else; nothing was stored, the rows \
         are kept for the next attempt"
    )]
    Conflict { table: String, version: u64 },
    #[error("table `{table}`: expected the row with _seq {expected}, got {found}")]
    Gap { table: String, expected: u64, found: String },
    #[error("table `{table}`, column `{column}`: {reason}")]
    Schema { table: String, column: String, reason: String },
    #[error(
        "the values of `{table}` come to more than {limit} bytes for these rows; send fewer rows or ask for fewer features at once; a \
         named training set is built in parts"
    )]
    TooLarge { table: String, limit: usize },
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error("columns of table `{table}`: {source}")]
    Columns { table: String, source: ArrowError },
    #[error("{doing} {}: {source}", path.display())]
    Write { doing: &'static str, path: PathBuf, source: ParquetError },
}

impl Coded for OfflineError {
    fn code(&self) -> Code {
        match self {
            OfflineError::Corrupt { .. } | OfflineError::Log { .. } => Code::Unavailable,
            OfflineError::Full { .. } => Code::StorageFull,
            OfflineError::TooLarge { .. } => Code::TooLarge,
            OfflineError::Tail(error) => error.code(),
            // It passes: the request can be sent again.
            OfflineError::Io { source, .. } if out_of_descriptors(source) => Code::Unavailable,
            OfflineError::Write { source: ParquetError::External(inner), .. }
                if inner.downcast_ref::<io::Error>().is_some_and(out_of_descriptors) =>
            {
                Code::Unavailable
            }
            _ => Code::Internal,
        }
    }
}

impl OfflineError {
    /// For `map_err` on file operations.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OfflineError {
        let path = path.to_owned();
        move |source| {
            if is_full(&source) {
                OfflineError::Full { doing, path }
            } else {
                OfflineError::Io { doing, path, source }
            }
        }
    }

    /// For `map_err` on what is written as Parquet.
    pub(super) fn write(doing: &'static str, path: &Path) -> impl FnOnce(ParquetError) -> OfflineError {
        let path = path.to_owned();
        move |source| match source {
            ParquetError::External(inner) if inner.downcast_ref::<io::Error>().is_some_and(is_full) => {
                OfflineError::Full { doing, path }
            }
            source => OfflineError::Write { doing, path, source },
        }
    }

    pub(super) fn corrupt(path: &Path, reason: impl ToString) -> OfflineError {
        OfflineError::Corrupt { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn log(path: &Path, reason: impl ToString) -> OfflineError {
        OfflineError::Log { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn columns(table: &str) -> impl FnOnce(ArrowError) -> OfflineError {
        let table = table.to_owned();
        move |source| OfflineError::Columns { table, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = Path::new("/a");
        assert_eq!(OfflineError::io("writing", path)(full()).code(), Code::StorageFull);
        assert_eq!(OfflineError::write("writing", path)(full().into()).code(), Code::StorageFull);
        let none_left = rustix::io::Errno::MFILE.into();
        assert_eq!(OfflineError::io("opening", path)(none_left).code(), Code::Unavailable);
        let broken = || io::Error::from_raw_os_error(5);
        assert_eq!(OfflineError::io("writing", path)(broken()).code(), Code::Internal);
        assert_eq!(OfflineError::write("writing", path)(broken().into()).code(), Code::Internal);
    }
}
