//! `GET /v1/jobs`: every background job of the node.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    doors::{Caller, JobKind, JobPhase, ListedJob},
    http::{App, Problem, ProblemBody},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only jobs of this kind.
    #[serde(default)]
    #[param(inline)]
    pub kind: Option<JobKind>,
    /// Only jobs in this state.
    #[serde(default)]
    #[param(inline)]
    pub state: Option<JobPhase>,
    /// Only jobs about this view, training set or directory.
    #[serde(default)]
    pub subject: Option<String>,
    /// At most so many; 100 where not given, 10,000 at most.
    #[serde(default)]
    pub limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    /// Those under way first, then those that ended last.
    pub jobs: Vec<ListedJob>,
    /// How many there are, beyond `limit` too.
    pub total: usize,
}

const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 10_000;

#[utoipa::path(get, path = "/v1/jobs", tag = "operations",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("read"))),
    params(JobsQuery),
    responses((status = 200, body = JobList, description = "backfills, backups, runs of batch views, training sets"),
        (status = 400, body = ProblemBody)))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<JobsQuery>,
) -> Result<Json<JobList>, Problem> {
    let mut jobs = app.doors.jobs(&caller).await?;
    jobs.retain(|job| {
        query.kind.is_none_or(|kind| kind == job.kind)
            && query.state.is_none_or(|state| state == job.state)
            && query.subject.as_deref().is_none_or(|subject| subject == job.subject)
    });
    let total = jobs.len();
    jobs.truncate(query.limit.unwrap_or(DEFAULT_LIMIT).min(MOST));
    Ok(Json(JobList { jobs, total }))
}
