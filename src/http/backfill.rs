//! Backfills of stream feature views: begin one, see how far it is.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    doors::Caller,
    http::{App, Problem, ProblemBody},
};

#[utoipa::path(post, path = "/v1/feature-views/{view}/backfill", tag = "operations",
    extensions(("x-action" = json!("run_job")), ("x-timeout" = json!("write"))), params(("view" = String, Path)),
    responses((status = 202, body = Object, description = "begun: all events of the view are counted anew; the state \
            that serves goes on until then. See `Location` for how far it is"),
        (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody, description = "the view is not computed from events")))]
pub async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(view): Path<String>,
) -> Result<Response, Problem> {
    let (view, backfill) = app.doors.start_backfill(&caller, &view).await?;
    let location = format!("/v1/feature-views/{}/backfill", view.name);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(backfill)).into_response())
}

#[utoipa::path(get, path = "/v1/feature-views/{view}/backfill", tag = "operations",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("read"))), params(("view" = String, Path)),
    responses((status = 200, body = Object, description = "`state` is backfilling or ready; `events_done` of \
            `events_total`; `serving` is the generation whose values are served"),
        (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody, description = "the view is not computed from events")))]
pub async fn progress(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(view): Path<String>,
) -> Result<Response, Problem> {
    Ok(Json(app.doors.backfill(&caller, &view)?).into_response())
}
