//! What can be wrong with a body as a whole.

use arrow::error::ArrowError;

use crate::{
    error::{Code, Coded, Detail},
    format::{Format, FormatError},
};

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Half a document, text that is not UTF-8, a damaged file.
    #[error("the body is not well-formed {format}: {reason}")]
    Malformed { format: Format, reason: String },
    #[error("row {row}: JSON is nested more than {limit} deep")]
    TooDeep { row: u64, limit: usize },
    /// Columns that are missing, unknown, or of a type that does not fit. One detail for each.
    #[error("the body's columns do not fit the table: {}", first(.0))]
    Columns(Vec<Detail>),
    #[error("{what}; the limit is {limit}")]
    TooLarge { what: String, limit: usize },
    /// More rows are wrong than are told one by one, or kept in quarantine.
    #[error("more than {limit} rows are wrong; nothing was stored. The first: {}", first(.details))]
    TooManyWrong { details: Vec<Detail>, limit: usize },
    /// HTTP's 415.
    #[error("content encoding `{0}` is not supported; supported: gzip, zstd, identity")]
    UnsupportedEncoding(String),
    /// Well-formed, but of a kind that is not taken from clients.
    #[error("{0}")]
    Unsupported(String),
    #[error("the body's content encoding is damaged: {0}")]
    Encoding(String),
    /// Not the body's fault.
    #[error("arrow: {0}")]
    Arrow(#[from] ArrowError),
}

fn first(details: &[Detail]) -> String {
    let Some(detail) = details.first() else { return String::new() };
    let more = match details.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    format!("`{}`: {}{more}", detail.field.as_deref().unwrap_or_default(), detail.reason)
}

impl From<FormatError> for DecodeError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Malformed { format, reason } => DecodeError::Malformed { format, reason },
            FormatError::TooLarge { what, limit } => {
                DecodeError::TooLarge { what: format!("{what} is too large"), limit }
            }
            FormatError::Column { field, reason } => {
                DecodeError::Columns(vec![Detail { row: None, field: Some(field), reason }])
            }
            other => DecodeError::Unsupported(other.to_string()),
        }
    }
}

impl Coded for DecodeError {
    fn code(&self) -> Code {
        match self {
            DecodeError::TooLarge { .. } => Code::TooLarge,
            DecodeError::Arrow(_) => Code::Internal,
            _ => Code::Invalid,
        }
    }

    fn details(&self) -> Vec<Detail> {
        match self {
            DecodeError::Columns(details) | DecodeError::TooManyWrong { details, .. } => details.clone(),
            _ => Vec::new(),
        }
    }
}
