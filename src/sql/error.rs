//! Why a query was not answered.

use crate::{
    error::{Code, Coded, Detail},
    format::FormatError,
    offline::OfflineError,
};

#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    #[error("this binary was built without the cargo feature `sql`")]
    NotBuilt,
    /// What is wrong with the text, and where: line and character, both from 1.
    #[error("the query is not acceptable: {reason}{}", place(*.at))]
    Query { reason: String, at: Option<(u64, u64)> },
    /// A value for which an operation has no result, met while the query ran.
    #[error("the query failed: {0}")]
    Failed(String),
    #[error("the query needs more than {limit} ({setting}); {instead}")]
    TooLarge { limit: String, setting: &'static str, instead: &'static str },
    #[error(
        "the query took longer than {limit} (limits.sql_timeout); ask for less, or filter on the event time"
    )]
    Timeout { limit: String },
    /// The client is gone, or the node is stopping.
    #[error("the query was ended before it was done")]
    Cancelled,
    #[error("too many queries are running; try again in a moment")]
    Overloaded,
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("{0}")]
    Internal(String),
}

impl SqlError {
    pub(super) fn query(reason: impl Into<String>) -> SqlError {
        SqlError::Query { reason: reason.into(), at: None }
    }
}

fn place(at: Option<(u64, u64)>) -> String {
    at.map_or(String::new(), |(line, column)| format!(" (line {line}, character {column})"))
}

impl Coded for SqlError {
    fn code(&self) -> Code {
        match self {
            SqlError::Query { .. } | SqlError::Failed(_) => Code::Invalid,
            SqlError::TooLarge { .. } => Code::TooLarge,
            SqlError::Overloaded => Code::Overloaded,
            SqlError::NotBuilt | SqlError::Timeout { .. } | SqlError::Cancelled => Code::Unavailable,
            SqlError::Offline(error) => error.code(),
            SqlError::Format(error) => error.code(),
            SqlError::Internal(_) => Code::Internal,
        }
    }

    fn details(&self) -> Vec<Detail> {
        match self {
            SqlError::Query { reason, at } => {
                let place = at.map_or(String::new(), |(line, column)| format!(":{line}:{column}"));
                vec![Detail { row: None, field: Some(format!("query{place}")), reason: reason.clone() }]
            }
            SqlError::Format(error) => error.details(),
            _ => Vec::new(),
        }
    }
}
