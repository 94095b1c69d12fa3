//! DataFusion's errors in words for those who wrote the query.

use datafusion::{common::DataFusionError, error::DataFusionError as Error};

use crate::{config::Size, offline::OfflineError, sql::SqlError};

/// Characters of a message: some repeat whole expressions.
const MAX_MESSAGE: usize = 500;

/// An error of parsing or planning: the text is wrong.
pub(super) fn planning(error: DataFusionError) -> SqlError {
    match ours(error) {
        Ok(ours) => ours,
        Err(error) => {
            let at = error
                .diagnostic()
                .and_then(|diagnostic| diagnostic.span)
                .map(|span| (span.start.line, span.start.column));
            let (reason, told) = without_place(&words(&error));
            SqlError::Query { reason, at: at.or(told) }
        }
    }
}

/// An error while the query ran: a value is wrong, or it was too much.
pub(super) fn running(error: DataFusionError, memory: usize) -> SqlError {
    match ours(error) {
        Ok(ours) => ours,
        Err(error) => match error.find_root() {
            Error::ResourcesExhausted(_) => SqlError::TooLarge {
                limit: Size::from_bytes(memory as u64).to_string(),
                setting: "limits.sql_memory",
                instead: "filter, or aggregate in steps",
            },
            // Only met when the plan is made.
            Error::NotImplemented(reason) if reason.contains("does not support logical expression") => {
                SqlError::query(
                    "a query within an expression refers to the query around it in a way that is not supported; join the \
                     tables, or compare their columns with = alone",
                )
            }
            _ => SqlError::Failed(words(&error)),
        },
    }
}

/// An error of ours on its way through DataFusion.
pub(super) fn external(error: impl Into<SqlError>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}

/// Takes an error of ours out of what DataFusion has put around it.
fn ours(error: DataFusionError) -> Result<SqlError, DataFusionError> {
    match error {
        Error::External(inner) => match inner.downcast::<SqlError>() {
            Ok(ours) => Ok(*ours),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => ours(*inner),
                Err(inner) => Err(Error::External(inner)),
            },
        },
        Error::Context(context, inner) => {
            ours(*inner).map_err(|inner| Error::Context(context, Box::new(inner)))
        }
        Error::Diagnostic(diagnostic, inner) => {
            ours(*inner).map_err(|inner| Error::Diagnostic(diagnostic, Box::new(inner)))
        }
        Error::ArrowError(inner, context) => match *inner {
            arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => ours(*inner),
                Err(inner) => {
                    Err(Error::ArrowError(Box::new(arrow::error::ArrowError::ExternalError(inner)), context))
                }
            },
            inner => Err(Error::ArrowError(Box::new(inner), context)),
        },
        // Of several readers: what one of ours says is said once more.
        Error::Shared(shared) => match shared.find_root() {
            Error::External(inner) => match inner.downcast_ref::<SqlError>() {
                Some(inner) => Ok(again(inner)),
                None => Err(Error::Shared(shared)),
            },
            _ => Err(Error::Shared(shared)),
        },
        other => Err(other),
    }
}

fn again(error: &SqlError) -> SqlError {
    match error {
        SqlError::Cancelled => SqlError::Cancelled,
        SqlError::Timeout { limit } => SqlError::Timeout { limit: limit.clone() },
        SqlError::TooLarge { limit, setting, instead } => {
            SqlError::TooLarge { limit: limit.clone(), setting, instead }
        }
        SqlError::Offline(OfflineError::Corrupt { path, reason }) => {
            SqlError::Offline(OfflineError::Corrupt { path: path.clone(), reason: reason.clone() })
        }
        SqlError::Failed(reason) => SqlError::Failed(reason.clone()),
        other => SqlError::Internal(other.to_string()),
    }
}

/// The innermost message, on one line, without the name of an error type.
fn words(error: &DataFusionError) -> String {
    let message = match error.find_root() {
        Error::SQL(error, _) => error.to_string(),
        Error::ArrowError(error, _) => error.to_string(),
        Error::Collection(errors) => errors.first().map_or(String::new(), words),
        root => root.message().into_owned(),
    };
    let message = message.strip_prefix("sql parser error: ").unwrap_or(&message);
    let mut line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // What the library takes for a defect is the text of this query to us.
    if let Some(at) = line.find(" This issue was likely caused by a bug") {
        line.truncate(at);
    }
    if let Some((end, _)) = line.char_indices().nth(MAX_MESSAGE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// sqlparser ends its messages with the place.
fn without_place(message: &str) -> (String, Option<(u64, u64)>) {
    let Some((reason, place)) = message.split_once(" at Line: ") else { return (message.to_owned(), None) };
    let at = place.split_once(", Column: ").and_then(|(line, column)| {
        let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
        Some((line.parse().ok()?, digits.parse().ok()?))
    });
    (reason.to_owned(), at)
}
