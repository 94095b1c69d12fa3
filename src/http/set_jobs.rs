//! Jobs that build training sets, and that make them again to verify them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequest, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value as Json_, json};

use crate::{
    doors::{Action, Caller, Resource},
    error::Detail,
    format::{Format, TableReader},
    http::{App, Problem, ProblemBody, extract::Body, job_request::JobRequest, media, sets::VersionQuery},
    serve::{
        ServeError,
        sets::{Job, SetRef},
    },
};

#[utoipa::path(post, path = "/v1/training-sets/jobs", tag = "serving",
    extensions(("x-action" = json!("run_job")), ("x-timeout" = json!("long"))), params(JobRequest),
    request_body(content = JobRequest, content_type = "application/json",
        description = "or the spine itself, as Parquet, Arrow, CSV or NDJSON, with everything else in the query. \
            `spine` is `{\"path\": …}` (below `data.spine_dir`), `{\"inline\": [{…}]}` or `{\"sql\": \"SELECT …\"}`"),
    responses((status = 202, body = Object, description = "stored: `id`, and where to ask for it in `Location`"),
        (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
        (status = 429, body = ProblemBody, description = "too many jobs wait"),
        (status = 507, body = ProblemBody, description = "no room: see `limits.training_set_bytes`")))]
pub async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<JobRequest>,
    headers: HeaderMap,
    body: Request,
) -> Result<Response, Problem> {
    app.doors.with_sets(&caller, Action::RunJob, Resource::Node, |sets| sets.check()).await?;
    let given = media::content_type(&headers)?;
    if given == Format::Json && body.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(ServeError::Request(vec![Detail {
            row: None,
            field: Some("query".to_owned()),
            reason: "a JSON body has the options in it, beside its spine; leave those in the query out"
                .to_owned(),
        }])
        .into());
    }
    let Body(body) = Body::from_request(body, &app).await?;
    // With its body here: no place is kept for a client that is slow to send one.
    let place = app.doors.training_job_place(&caller)?;
    let encoding = media::text(&headers, header::CONTENT_ENCODING.as_str())?;
    let worker = Arc::clone(&app);
    let job = tokio::task::spawn_blocking(move || -> Result<Job, Problem> {
        let _held = place;
        let app = worker.as_ref();
        let body = app.doors.decompressed(encoding.as_deref(), body).map_err(media::undecodable)?;
        let (ask, spine) = match given {
            Format::Json => {
                let request = JobRequest::parse(&body, app.config.limits.json_depth)?;
                let (ask, spine) = request.with_spine()?;
                let spine = spine.open(app, &caller, &ask)?;
                (ask, spine)
            }
            format => {
                let ask = query.ask()?;
                let options = app.doors.spine_options(&ask.wanted, ask.event_time.as_deref(), ask.times)?;
                (ask, TableReader::from_bytes(format, body, &options)?)
            }
        };
        let schema = Arc::clone(spine.schema());
        Ok(app.doors.build_set(&caller, ask, &schema, spine)?)
    })
    .await
    .map_err(|_| Problem::internal("the job could not be stored"))??;
    Ok(accepted(&job))
}

fn accepted(job: &Job) -> Response {
    let location = format!("/v1/training-sets/jobs/{}", job.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(job)).into_response()
}

#[utoipa::path(get, path = "/v1/training-sets/jobs", tag = "serving",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("long"))),
    responses((status = 200, body = Object, description = "`jobs`, oldest first")))]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Json_>, Problem> {
    let jobs = app.doors.with_sets(&caller, Action::ReadJob, Resource::Node, |sets| Ok(sets.jobs())).await?;
    Ok(Json(json!({ "jobs": jobs })))
}

#[utoipa::path(get, path = "/v1/training-sets/jobs/{id}", tag = "serving",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("read"))), params(("id" = String, Path)),
    responses((status = 200, body = Object, description = "`state` is queued, running, done, failed (then see `error`) or \
            cancelled; `rows_done` of `rows_total`; at the end `manifest`, or the `verdict` of a verification"),
        (status = 404, body = ProblemBody)))]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    let job = app.doors.with_sets(&caller, Action::ReadJob, Resource::Node, move |sets| sets.job(&id));
    Ok(Json(job.await?))
}

#[utoipa::path(delete, path = "/v1/training-sets/jobs/{id}", tag = "serving",
    extensions(("x-action" = json!("run_job")), ("x-timeout" = json!("read"))), params(("id" = String, Path)),
    responses((status = 200, body = Object, description = "a running job ends with the portion that it is at; a job that \
            has ended is forgotten, with the data that it alone has"),
        (status = 404, body = ProblemBody)))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    let job = app.doors.with_sets(&caller, Action::RunJob, Resource::Node, move |sets| sets.cancel(&id));
    Ok(Json(job.await?))
}

#[utoipa::path(post, path = "/v1/training-sets/{name}/verify", tag = "serving",
    extensions(("x-action" = json!("run_job")), ("x-timeout" = json!("write"))), params(("name" = String, Path), VersionQuery),
    responses((status = 202, body = Object, description = "begun: a job whose `verdict` says whether the set was made again \
            byte for byte, and what differs"),
        (status = 404, body = ProblemBody)))]
pub async fn verify(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<Response, Problem> {
    let set = SetRef { name, version: query.version };
    let name = set.name.clone();
    let resource = Resource::TrainingSet(&name);
    let job = app.doors.with_sets(&caller, Action::RunJob, resource, move |sets| sets.verify(&set));
    Ok(accepted(&job.await?))
}
