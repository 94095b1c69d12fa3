//! What can be wrong with a write.

use arrow::error::ArrowError;

use crate::{
    error::{Code, Coded, Detail},
    ingest::{DecodeError, Rejected},
    offline::OfflineError,
    registry::{FeatureView, Origin},
    shard::ShardError,
};

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("there is no {kind} `{name}`{hint}")]
    UnknownTable { kind: &'static str, name: String, hint: String },
    #[error(
        "`{view}` is a stream feature view, computed of the events of source `{source_name}`; \
         send events to /v1/sources/{source_name}/events"
    )]
    StreamView { view: String, source_name: String },
    #[error("`{0}` is an on-demand feature view, computed when it is asked for: it has no rows")]
    OnDemandView(String),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(
        "{} of {total} rows are not acceptable, so none were stored; correct them, or send on_error=quarantine",
        rejected.len()
    )]
    Rows { rejected: Vec<Rejected>, total: usize },
    /// Of rows that no client has sent.
    #[error("{} of {total} rows are not acceptable: {}", rejected.len(), first(rejected))]
    Computed { rejected: Vec<Rejected>, total: usize },
    #[error(
        "`{0}` is a batch feature view: its rows are those of its query, which `larder materialize {0}` runs"
    )]
    BatchView(String),
    #[error(
        "the batch that this one comes after (Ingest-After) comes after this one: they wait for each other; send the first \
         of them without Ingest-After"
    )]
    Circle,
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// Of history that late rows are merged with.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error("events are stored as they are sent; only rows of a feature view are merged (mode=merge)")]
    MergedEvents,
}

impl From<ArrowError> for IngestError {
    fn from(error: ArrowError) -> Self {
        IngestError::Decode(error.into())
    }
}

impl IngestError {
    /// Why rows of a view whose values are computed can be neither written nor deleted; none of any other view.
    pub fn of_computed(view: &FeatureView) -> Option<IngestError> {
        match &view.origin {
            Origin::Written => None,
            Origin::Stream(stream) => {
                Some(IngestError::StreamView { view: view.name.clone(), source_name: stream.source.clone() })
            }
            Origin::OnDemand(_) => Some(IngestError::OnDemandView(view.name.clone())),
            Origin::Batch(_) => Some(IngestError::BatchView(view.name.clone())),
        }
    }
}

fn first(rejected: &[Rejected]) -> String {
    let Some(first) = rejected.first() else { return String::new() };
    let field = first.field.as_deref().unwrap_or("row");
    format!("`{field}` {} in {}", first.reason, crate::format::shorten(&first.raw))
}

impl Coded for IngestError {
    fn code(&self) -> Code {
        match self {
            IngestError::UnknownTable { .. } => Code::NotFound,
            IngestError::Decode(e) => e.code(),
            IngestError::Rows { .. }
            | IngestError::Computed { .. }
            | IngestError::Invalid(_)
            | IngestError::StreamView { .. }
            | IngestError::BatchView(_)
            | IngestError::OnDemandView(_) => Code::Invalid,
            IngestError::Circle => Code::Conflict,
            IngestError::Shard(e) => e.code(),
            IngestError::Offline(e) => e.code(),
            IngestError::MergedEvents => Code::Invalid,
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
            IngestError::MergedEvents => {
                vec![Detail { row: None, field: Some("mode".to_owned()), reason: self.to_string() }]
            }
            // With a detail it is 422: what was sent could be read, but not done.
            IngestError::BatchView(_) | IngestError::OnDemandView(_) => {
                vec![Detail { row: None, field: Some("view".to_owned()), reason: self.to_string() }]
            }
            _ => Vec::new(),
        }
    }
}
