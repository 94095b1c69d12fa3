//! Writes: rows of feature views, events of sources, deletes.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::{
    doors::{Caller, DoorError},
    http::{
        App, Problem, ProblemBody,
        aside::aside,
        extract::{Body, parse_json},
        media,
        times::time_form,
    },
    ingest::{DeleteRequest, IngestError, IngestRequest, OnError, WriteMode},
    model::TableKind,
    shard::Applied,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const AFTER: &str = "ingest-after";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IngestQuery {
    /// `reject` (the default): any bad row and nothing is stored. `quarantine`: good rows are stored.
    #[serde(default)]
    pub on_error: OnError,
    /// `replace` (the default): features that a row leaves out are null. `merge` (rows alone): they keep the values that they
    /// have at the row's event time. A row of JSON or NDJSON leaves out what it does not name, other formats what they have no
    /// column for.
    #[serde(default)]
    #[param(inline)]
    pub mode: WriteMode,
    /// What numbers count that are times: `s`, `ms`, `us` or `ns`.
    #[serde(default)]
    pub time_unit: Option<String>,
    /// The zone of times that are written without one: `UTC` or an IANA name.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// How the `event_time` of a delete is written.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// What numbers count that are times: `s`, `ms`, `us` or `ns`.
    #[serde(default)]
    pub time_unit: Option<String>,
    /// The zone of times that are written without one: `UTC` or an IANA name.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// A stored batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledged {
    #[schema(value_type = String)]
    pub batch_id: crate::model::BatchId,
    /// Rows stored.
    pub accepted: u64,
    /// Of these, rows older than their entity's newest: they are history only.
    pub late: u64,
    /// Events that were there before.
    pub deduplicated: u64,
    pub quarantined: u64,
    /// Rows that left features out: these are null, or with `mode=merge` as they were.
    pub incomplete: u64,
    /// What the acknowledgement survives: `fsync`, `interval` or `buffer`.
    pub durability: &'static str,
}

#[utoipa::path(post, path = "/v1/feature-views/{view}/rows", tag = "ingestion",
    extensions(("x-action" = json!("write")), ("x-timeout" = json!("write"))),
    params(("view" = String, Path), IngestQuery, ("Idempotency-Key" = Option<String>, Header),
        ("Ingest-After" = Option<String>, Header,
            description = "the Idempotency-Key of the batch before: this one is stored only after that one, 409 where it is not stored")),
    request_body(content = Object, content_type = "application/json",
        description = "`{\"rows\":[{…}]}`; also application/x-ndjson, text/csv, \
            application/vnd.apache.arrow.stream, application/vnd.apache.parquet; gzip or zstd"),
    responses((status = 200, body = Acknowledged), (status = 400, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody),
        (status = 429, body = ProblemBody), (status = 503, body = ProblemBody), (status = 507, body = ProblemBody)))]
pub async fn rows(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(view): Path<String>,
    Query(query): Query<IngestQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    ingest(&app, &caller, view, TableKind::FeatureView, &query, &headers, body).await
}

#[utoipa::path(post, path = "/v1/sources/{source}/events", tag = "ingestion",
    extensions(("x-action" = json!("write")), ("x-timeout" = json!("write"))),
    params(("source" = String, Path), IngestQuery, ("Idempotency-Key" = Option<String>, Header),
        ("Ingest-After" = Option<String>, Header, description = "as for rows")),
    request_body(content = Object, content_type = "application/json", description = "as for rows"),
    responses((status = 200, body = Acknowledged), (status = 400, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody),
        (status = 429, body = ProblemBody), (status = 503, body = ProblemBody), (status = 507, body = ProblemBody)))]
pub async fn events(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(source): Path<String>,
    Query(query): Query<IngestQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    ingest(&app, &caller, source, TableKind::Source, &query, &headers, body).await
}

async fn ingest(
    app: &App,
    caller: &Caller,
    table: String,
    kind: TableKind,
    query: &IngestQuery,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = IngestRequest {
        table,
        kind,
        format: media::content_type(headers)?,
        encoding: media::text(headers, header::CONTENT_ENCODING.as_str())?,
        body,
        on_error: query.on_error,
        mode: query.mode,
        times: time_form(query.time_unit.as_deref(), query.time_zone.as_deref())?,
        idempotency_key: media::text(headers, IDEMPOTENCY_KEY)?,
        after: media::text(headers, AFTER)?,
        checkpoint: None,
    };
    Ok(acknowledge(app, app.doors.write(caller, request).await.map_err(refusal)?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    /// The join keys of each entity.
    #[schema(value_type = Vec<Object>)]
    pub entities: Vec<Map<String, Value>>,
    /// From when on there is no value; now, where not given. RFC 3339, or as the view or the request declares.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub event_time: Option<Value>,
}

#[utoipa::path(post, path = "/v1/feature-views/{view}/delete", tag = "ingestion",
    extensions(("x-action" = json!("delete")), ("x-timeout" = json!("write"))),
    params(("view" = String, Path), DeleteQuery, ("Idempotency-Key" = Option<String>, Header)),
    request_body = DeleteBody,
    responses((status = 200, body = Acknowledged), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(view): Path<String>,
    Query(query): Query<DeleteQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let given: DeleteBody =
        aside(&app, body, |app, body| parse_json(body, app.config.limits.json_depth)).await?;
    let request = DeleteRequest {
        view,
        entities: given.entities,
        event_time: given.event_time,
        times: time_form(query.time_unit.as_deref(), query.time_zone.as_deref())?,
        idempotency_key: media::text(&headers, IDEMPOTENCY_KEY)?,
    };
    Ok(acknowledge(&app, app.doors.delete(&caller, request).await?))
}

/// An encoding that is not known has a status of its own; everything else follows from its code.
fn refusal(error: DoorError) -> Problem {
    match error {
        DoorError::Ingest(IngestError::Decode(error)) => media::undecodable(error),
        other => other.into(),
    }
}

fn acknowledge(app: &App, applied: Applied) -> Response {
    let replayed = applied.replayed;
    let mut response = Json(Acknowledged {
        batch_id: applied.batch_id,
        accepted: applied.accepted,
        late: applied.late,
        deduplicated: applied.deduplicated,
        quarantined: applied.quarantined,
        incomplete: applied.incomplete,
        durability: app.config.durability.mode.as_str(),
    })
    .into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, axum::http::HeaderValue::from_static("true"));
    }
    response
}
