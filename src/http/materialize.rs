//! Runs of batch feature views: ask for some, see how they are.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    doors::Caller,
    http::{
        App, Problem, ProblemBody,
        aside::aside,
        extract::{Body, parse_json},
    },
    model::Timestamp,
};

/// Nothing: one run as of now.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaterializeBody {
    /// A run of each moment of the schedule from here on …
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// … to here, or to now; both included (RFC 3339).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub to: Option<Timestamp>,
}

#[utoipa::path(post, path = "/v1/feature-views/{view}/materialize", tag = "operations",
    extensions(("x-action" = json!("run_job")), ("x-timeout" = json!("write"))), params(("view" = String, Path)),
    request_body = MaterializeBody,
    responses((status = 202, body = Object, description = "`runs`: those that were asked for, in order of their moments. They \
            are done in the background; see `Location` for how they are"),
        (status = 400, body = ProblemBody, description = "not a batch feature view, or no moment in that range"),
        (status = 404, body = ProblemBody), (status = 429, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(view): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let given: MaterializeBody = match body.is_empty() {
        true => MaterializeBody::default(),
        false => aside(&app, body, |app, body| parse_json(body, app.config.limits.json_depth)).await?,
    };
    let (view, runs) = app.doors.request_runs(&caller, &view, given.from, given.to).await?;
    let location = format!("/v1/feature-views/{}/materialize", view.name);
    let body = json!({ "view": view.name, "runs": runs });
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response())
}

#[utoipa::path(get, path = "/v1/feature-views/{view}/materialize", tag = "operations",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("read"))), params(("view" = String, Path)),
    responses((status = 200, body = Object, description = "`state` is idle, queued, running, failing (there will be another \
            attempt) or failed; `next` is when the next run is due; `runs`, newest first"),
        (status = 400, body = ProblemBody, description = "not a batch feature view"), (status = 404, body = ProblemBody)))]
pub async fn runs(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(view): Path<String>,
) -> Result<Response, Problem> {
    Ok(Json(app.doors.runs(&caller, &view)?).into_response())
}
