//! Jobs that build training sets, and that make them again to verify them.

use std::{path::Path as FilePath, sync::Arc};

use axum::{
    Json,
    extract::{FromRequest, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value as Json_, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    error::Detail,
    format::{Format, ReadOptions, TableReader},
    http::{
        App, Problem, ProblemBody,
        extract::{Body, parse_json},
        media,
        sets::{VersionQuery, look},
        sql::answered,
        training::spine_options,
    },
    ingest::decompress,
    model::Timestamp,
    serve::{
        LeakGuard, ServeError, Split, Wanted,
        sets::{Ask, Job, KnownAt, SetError, SetRef, confined},
    },
    sql::SqlQuery,
};

/// What a job is asked beside its spine; the query of a request whose body is the spine.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// `name` or `name@version`. Either this or `features`.
    #[serde(default)]
    pub feature_service: Option<String>,
    /// Feature references, separated by commas.
    #[serde(default)]
    pub features: Option<String>,
    /// Keeps the result under this name, as its next version.
    #[serde(default)]
    pub name: Option<String>,
    /// Of the result: parquet (the default), csv, ndjson or json.
    #[serde(default)]
    pub format: Option<String>,
    /// A time (RFC 3339): what was accepted later is ignored. Or `name@version`: the rows of which that version was made.
    #[serde(default)]
    pub known_at: Option<String>,
    /// The spine's column of times; `event_time` where not given.
    #[serde(default)]
    pub event_time: Option<String>,
    /// `false`: columns are named `feature` instead of `view__feature`.
    #[serde(default)]
    pub full_feature_names: Option<bool>,
    /// What came too late for a row: off (the default), lag, report, exclude.
    #[serde(default)]
    #[param(inline)]
    pub leak_guard: LeakGuard,
    /// JSON: `{"time": {"train": TIME, …}}` or `{"hash": {"key": COLUMN, "fractions": {"train": 0.8, …}, "seed"?}}`.
    #[serde(default)]
    pub split: Option<String>,
}

/// The same as a JSON body, with the spine in it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    #[schema(value_type = Object)]
    pub spine: SpineForm,
    #[serde(default)]
    pub feature_service: Option<String>,
    #[serde(default)]
    pub features: Option<Vec<String>>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub format: Option<String>,
    #[serde(default)]
    pub known_at: Option<String>,
    #[serde(default)]
    pub event_time: Option<String>,
    #[serde(default)]
    pub full_feature_names: Option<bool>,
    #[serde(default)]
    pub leak_guard: LeakGuard,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub split: Option<Split>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpineForm {
    /// A file below `data.spine_dir`.
    Path(String),
    /// Rows: `[{"tailnum": "N1", "event_time": "…"}, …]`.
    Inline(Vec<Map<String, Json_>>),
    /// What a query answers, within the limits of `POST /v1/sql`.
    Sql(String),
}

#[utoipa::path(post, path = "/v1/training-sets/jobs", tag = "serving", params(JobQuery),
    request_body(content = JobRequest, content_type = "application/json",
        description = "or the spine itself, as Parquet, Arrow, CSV or NDJSON, with everything else in the query. \
            `spine` is `{\"path\": …}` (below `data.spine_dir`), `{\"inline\": [{…}]}` or `{\"sql\": \"SELECT …\"}`"),
    responses((status = 202, body = Object, description = "stored: `id`, and where to ask for it in `Location`"),
        (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
        (status = 429, body = ProblemBody, description = "too many jobs wait"),
        (status = 507, body = ProblemBody, description = "no room: see `limits.training_set_bytes`")))]
pub async fn start(
    State(app): State<Arc<App>>,
    Query(query): Query<JobQuery>,
    headers: HeaderMap,
    body: Request,
) -> Result<Response, Problem> {
    look(Arc::clone(&app), |app| app.sets.check()).await?;
    let place = Arc::clone(&app.training_queue).try_acquire_owned().map_err(|_| {
        Problem::overloaded("too many training sets are being asked for; try again in a moment")
    })?;
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
    let encoding = media::text(&headers, header::CONTENT_ENCODING.as_str())?;
    let worker = Arc::clone(&app);
    let job = tokio::task::spawn_blocking(move || -> Result<Job, Problem> {
        let _held = place;
        let app = worker.as_ref();
        let body = decompress(encoding.as_deref(), body, app.ingest.max_body, app.ingest.max_ratio)
            .map_err(media::undecodable)?;
        let (ask, spine) = match given {
            Format::Json => {
                let request: JobRequest = parse_json(&body, app.config.limits.json_depth)?;
                let (form, ask) = request.split()?;
                let spine = form.open(app, &ask)?;
                (ask, spine)
            }
            format => {
                let ask = query.ask()?;
                let options = spine_options(app, &ask.wanted, ask.event_time.as_deref())?;
                (ask, TableReader::from_bytes(format, body, &options)?)
            }
        };
        let schema = Arc::clone(spine.schema());
        Ok(app.sets.build(ask, &schema, spine)?)
    })
    .await
    .map_err(|_| Problem::internal("the job could not be stored"))??;
    Ok(accepted(&job))
}

fn accepted(job: &Job) -> Response {
    let location = format!("/v1/training-sets/jobs/{}", job.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(job)).into_response()
}

impl JobQuery {
    fn ask(self) -> Result<Ask, Problem> {
        let features = self.features.map(|list| list.split(',').map(|f| f.trim().to_owned()).collect());
        Ok(Ask {
            wanted: Wanted::from_parts(self.feature_service, features)?,
            name: self.name,
            format: self.format.unwrap_or_else(|| Format::Parquet.to_string()),
            known_at: self.known_at.as_deref().map(known_at).transpose()?,
            event_time: self.event_time,
            full_feature_names: self.full_feature_names.unwrap_or(true),
            leak_guard: self.leak_guard,
            split: self.split.as_deref().map(Split::parse).transpose()?,
        })
    }
}

impl JobRequest {
    fn split(self) -> Result<(SpineForm, Ask), Problem> {
        let ask = Ask {
            wanted: Wanted::from_parts(self.feature_service, self.features)?,
            name: self.name,
            format: self.format.unwrap_or_else(|| Format::Parquet.to_string()),
            known_at: self.known_at.as_deref().map(known_at).transpose()?,
            event_time: self.event_time,
            full_feature_names: self.full_feature_names.unwrap_or(true),
            leak_guard: self.leak_guard,
            split: self.split,
        };
        Ok((self.spine, ask))
    }
}

/// A time begins with a digit, a set's name with a letter.
fn known_at(text: &str) -> Result<KnownAt, Problem> {
    if text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(KnownAt::Set(text.parse::<SetRef>()?));
    }
    let wrong = |reason: String| {
        ServeError::Request(vec![Detail { row: None, field: Some("known_at".to_owned()), reason }])
    };
    Ok(KnownAt::Time(Timestamp::parse(text).map_err(|error| wrong(error.to_string()))?))
}

impl SpineForm {
    /// Everything that gives record batches can be a spine.
    fn open(self, app: &App, ask: &Ask) -> Result<TableReader, Problem> {
        let options = spine_options(app, &ask.wanted, ask.event_time.as_deref())?;
        match self {
            SpineForm::Inline(rows) => {
                let document = serde_json::to_vec(&json!({ "rows": rows })).unwrap_or_default();
                Ok(TableReader::from_bytes(Format::Json, Bytes::from(document), &options)?)
            }
            SpineForm::Path(path) => {
                let dir = &app.config.data.spine_dir;
                let dir = Some(dir.as_path()).filter(|dir| !dir.as_os_str().is_empty());
                let file = confined(dir, FilePath::new(&path))?;
                // It is read batch by batch; what it may come to is bounded where it is stored.
                Ok(TableReader::open(&file, &ReadOptions { max_decoded_bytes: None, ..options })?)
            }
            SpineForm::Sql(text) => {
                let query = SqlQuery { text, ..SqlQuery::default() };
                let answer =
                    tokio::runtime::Handle::current().block_on(answered(app, query, Format::Parquet))?;
                // Its rows and bytes are bounded already.
                let options = ReadOptions { max_decoded_bytes: None, ..options };
                Ok(TableReader::from_bytes(Format::Parquet, Bytes::from(answer.bytes), &options)?)
            }
        }
    }
}

#[utoipa::path(get, path = "/v1/training-sets/jobs", tag = "serving",
    responses((status = 200, body = Object, description = "`jobs`, oldest first")))]
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Json_>, Problem> {
    let jobs = look(app, |app| Ok(app.sets.jobs())).await?;
    Ok(Json(json!({ "jobs": jobs })))
}

#[utoipa::path(get, path = "/v1/training-sets/jobs/{id}", tag = "serving", params(("id" = String, Path)),
    responses((status = 200, body = Object, description = "`state` is queued, running, done, failed (then see `error`) or \
            cancelled; `rows_done` of `rows_total`; at the end `manifest`, or the `verdict` of a verification"),
        (status = 404, body = ProblemBody)))]
pub async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(look(app, move |app| app.sets.job(&id)).await?))
}

#[utoipa::path(delete, path = "/v1/training-sets/jobs/{id}", tag = "serving", params(("id" = String, Path)),
    responses((status = 200, body = Object, description = "a running job ends with the portion that it is at; a job that \
            has ended is forgotten, with the data that it alone has"),
        (status = 404, body = ProblemBody)))]
pub async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(look(app, move |app| app.sets.cancel(&id)).await?))
}

#[utoipa::path(post, path = "/v1/training-sets/{name}/verify", tag = "serving", params(("name" = String, Path), VersionQuery),
    responses((status = 202, body = Object, description = "begun: a job whose `verdict` says whether the set was made again \
            byte for byte, and what differs"),
        (status = 404, body = ProblemBody)))]
pub async fn verify(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<Response, Problem> {
    let set = SetRef { name, version: query.version };
    let job = look(app, move |app| -> Result<Job, SetError> { app.sets.verify(&set) }).await?;
    Ok(accepted(&job))
}
