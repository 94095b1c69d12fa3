//! Backfills of stream feature views: begin one, see how far it is.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::http::{App, Problem, ProblemBody};

#[utoipa::path(post, path = "/v1/feature-views/{view}/backfill", tag = "operations", params(("view" = String, Path)),
    responses((status = 202, body = Object, description = "begun: all events of the view are counted anew; the state \
            that serves goes on until then. See `Location` for how far it is"),
        (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody, description = "the view is not computed from events")))]
pub async fn start(State(app): State<Arc<App>>, Path(view): Path<String>) -> Result<Response, Problem> {
    app.shards.status(0).check()?;
    let view = Arc::clone(app.catalog.current().feature_view(&view, None)?);
    let backfill = app.backfills.start(&view).await?;
    let location = format!("/v1/feature-views/{}/backfill", view.name);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(backfill)).into_response())
}

#[utoipa::path(get, path = "/v1/feature-views/{view}/backfill", tag = "operations", params(("view" = String, Path)),
    responses((status = 200, body = Object, description = "`state` is backfilling or ready; `events_done` of \
            `events_total`; `serving` is the generation whose values are served"),
        (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody, description = "the view is not computed from events")))]
pub async fn progress(State(app): State<Arc<App>>, Path(view): Path<String>) -> Result<Response, Problem> {
    let view = Arc::clone(app.catalog.current().feature_view(&view, None)?);
    Ok(Json(app.backfills.of(&view)?).into_response())
}
