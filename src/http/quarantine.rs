//! Rejected rows: look at them, try them again.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    doors::Caller,
    http::{App, Problem, ProblemBody},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QuarantineQuery {
    /// The feature view or source.
    pub view: String,
    /// At most so many, the oldest first; 100 where not given.
    #[serde(default)]
    pub limit: Option<usize>,
    /// The `next` of the answer before: rows from there on.
    #[serde(default)]
    pub from: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Quarantined {
    pub view: String,
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<crate::shard::QuarantinedRow>,
    /// Where there may be more rows: `from` of the next request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;
/// Bytes of the rows in one answer, about.
const LIST_BYTES: usize = 8 << 20;

#[utoipa::path(get, path = "/v1/quarantine", tag = "ingestion",
    extensions(("x-action" = json!("read_quarantine")), ("x-timeout" = json!("read"))), params(QuarantineQuery),
    responses((status = 200, body = Quarantined), (status = 404, body = ProblemBody)))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<QuarantineQuery>,
) -> Result<Json<Quarantined>, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let rows = app.doors.quarantined(&caller, &query.view, query.from.unwrap_or(0), limit, LIST_BYTES)?;
    let next = rows.last().map(|(number, _)| number + 1);
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    Ok(Json(Quarantined { view: query.view, rows, next }))
}

/// What became of the quarantined rows.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retried {
    pub accepted: u64,
    pub late: u64,
    /// Rows that are still not acceptable.
    pub remaining: usize,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RetryQuery {
    pub view: String,
}

#[utoipa::path(post, path = "/v1/quarantine/retry", tag = "ingestion",
    extensions(("x-action" = json!("write")), ("x-timeout" = json!("write"))), params(RetryQuery),
    responses((status = 200, body = Retried), (status = 404, body = ProblemBody)))]
pub async fn retry(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<RetryQuery>,
) -> Result<Json<Retried>, Problem> {
    let retried = app.doors.retry_quarantined(&caller, query.view).await?;
    Ok(Json(Retried { accepted: retried.accepted, late: retried.late, remaining: retried.remaining }))
}
