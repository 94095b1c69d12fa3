//! What an operator asks of a node: backups, and what the scrub found.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    doors::Caller,
    http::{
        App, Problem, ProblemBody,
        aside::aside,
        extract::{Body, parse_json},
    },
    offline::ScrubReport,
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// An absolute path on the node's machine: an empty directory, or an earlier backup of the same node.
    #[schema(value_type = String)]
    pub dir: PathBuf,
}

#[utoipa::path(post, path = "/v1/admin/backup", tag = "operations",
    extensions(("x-action" = json!("operate")), ("x-timeout" = json!("write"))), request_body = BackupRequest,
    responses((status = 202, body = Object, description = "begun: `id`, and where to ask for it in `Location`"),
        (status = 400, body = ProblemBody, description = "the path is relative, or inside of the data directory"),
        (status = 409, body = ProblemBody,
            description = "the directory holds something else, or a backup is being taken")))]
pub async fn backup(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, Problem> {
    let request: BackupRequest =
        aside(&app, body, |app, body| parse_json(body, app.config.limits.json_depth)).await?;
    let job = app.doors.start_backup(&caller, request.dir).await?;
    let location = format!("/v1/admin/backup/{}", job.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(job)).into_response())
}

#[utoipa::path(get, path = "/v1/admin/backup/{id}", tag = "operations",
    extensions(("x-action" = json!("operate")), ("x-timeout" = json!("read"))), params(("id" = String, Path)),
    responses((status = 200, body = Object, description = "`state` is running, done or failed (then see `error`); \
            everything acknowledged before `barrier` is in the backup"),
        (status = 404, body = ProblemBody)))]
pub async fn backup_job(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let job = app.doors.backup(&caller, &id)?.ok_or_else(|| {
        Problem::not_found(format!("there is no backup `{id}`; only the last few are remembered"))
    })?;
    Ok(Json(job).into_response())
}

#[utoipa::path(get, path = "/v1/admin/scrub", tag = "operations",
    extensions(("x-action" = json!("operate")), ("x-timeout" = json!("read"))),
    responses((status = 200, body = Object, description = "`last_full_pass`, and every `corrupt` file: what needs one \
        answers 503 until it is restored")))]
pub async fn scrub(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<ScrubReport>, Problem> {
    Ok(Json(app.doors.scrub_report(&caller)?))
}
