//! What can be wrong with a table's bytes.

use std::io;

use arrow::error::ArrowError;

use crate::{Format, kind::UnknownFormat};
use larder_model::error::{Code, Coded, Detail};

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    UnknownFormat(#[from] UnknownFormat),
    /// The bytes are not what they are said to be.
    #[error("this is not well-formed {format}: {reason}")]
    Malformed { format: Format, reason: String },
    /// Well-formed, but not of a kind that is read here.
    #[error("{0}")]
    Unsupported(String),
    #[error("row {row}{}{}: {reason}", line.map(|n| format!(" (line {n})")).unwrap_or_default(),
        field.as_ref().map(|f| format!(", column `{f}`")).unwrap_or_default())]
    Row { row: u64, line: Option<u64>, field: Option<String>, reason: String },
    /// A column that cannot be read, or not be written in the format.
    #[error("the column `{field}`: {reason}")]
    Column { field: String, reason: String },
    #[error("{what} would take more than the limit of {limit} bytes")]
    TooLarge { what: String, limit: usize },
    /// Writing or converting failed; not the input's fault.
    #[error("arrow: {0}")]
    Arrow(String),
}

impl FormatError {
    pub(crate) fn malformed(format: Format, reason: impl ToString) -> FormatError {
        FormatError::Malformed { format, reason: reason.to_string() }
    }

    /// An error of an arrow or parquet writer: the operating system's where it is one.
    pub(crate) fn writing(error: ArrowError) -> FormatError {
        match error {
            ArrowError::IoError(_, error) => FormatError::Io(error),
            other => FormatError::Arrow(other.to_string()),
        }
    }
}

impl Coded for FormatError {
    fn code(&self) -> Code {
        match self {
            FormatError::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => Code::NotFound,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
                    Code::Invalid
                }
                _ => Code::Internal,
            },
            FormatError::TooLarge { .. } => Code::TooLarge,
            FormatError::Arrow(_) => Code::Internal,
            _ => Code::Invalid,
        }
    }

    fn details(&self) -> Vec<Detail> {
        match self {
            FormatError::Row { row, field, reason, .. } => {
                vec![Detail { row: Some(*row), field: field.clone(), reason: reason.clone() }]
            }
            FormatError::Column { field, reason } => {
                vec![Detail { row: None, field: Some(field.clone()), reason: reason.clone() }]
            }
            _ => Vec::new(),
        }
    }
}
