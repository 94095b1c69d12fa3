//! What can be wrong with a write.

use crate::{
    error::{Code, Coded, Detail},
    ingest::{DecodeError, Rejected},
    shard::ShardError,
};

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("there is no {kind} `{name}`{hint}")]
    UnknownTable { kind: &'static str, name: String, hint: String },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(
        "{} of {total} rows are not acceptable, so none were stored; correct them, or send on_error=quarantine",
        rejected.len()
    )]
    Rows { rejected: Vec<Rejected>, total: usize },
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl Coded for IngestError {
    fn code(&self) -> Code {
        match self {
            IngestError::UnknownTable { .. } => Code::NotFound,
            IngestError::Decode(e) => e.code(),
            IngestError::Rows { .. } | IngestError::Invalid(_) => Code::Invalid,
            IngestError::Shard(e) => e.code(),
        }
    }

    fn details(&self) -> Vec<Detail> {
        match self {
            IngestError::Decode(e) => e.details(),
            IngestError::Shard(e) => e.details(),
            IngestError::Rows { rejected, .. } => rejected
                .iter()
                .map(|r| Detail { row: Some(r.row), field: r.field.clone(), reason: r.reason.clone() })
                .collect(),
            _ => Vec::new(),
        }
    }
}
