//! `POST /v1/online-features`: the newest values, or those as of a moment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    doors::{Caller, OnlineRequest as DoorRequest},
    format::Format,
    http::{
        App, Problem, ProblemBody, answer_arrow, answer_json,
        aside::aside,
        extract::{Body, parse_text},
        media,
        times::time_form,
    },
    model::Timestamp,
    serve::{AsOf, Asked, Entities, request_columns, request_json},
};

/// What of each value to include beside the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Include {
    Status,
    EventTime,
    AgeMs,
    /// The effective window of an aggregate: `[start, end]`, start inclusive (null: all events before end), end exclusive.
    Window,
}

/// What names features and entities is left as the text that it is: the plan is found by it, and the entities' columns are
/// read from it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineRequest<'a> {
    /// A feature service, `name` or `name@version`. Either this or `features`.
    #[serde(default, borrow)]
    #[schema(value_type = Option<String>)]
    pub feature_service: Option<&'a RawValue>,
    /// Feature references: `view`, `view:feature`, `view@3:feature`.
    #[serde(default, borrow)]
    #[schema(value_type = Option<Vec<String>>)]
    pub features: Option<&'a RawValue>,
    /// Rows `[{"origin":"JFK"}, …]` or columns `{"origin":["JFK", …]}`.
    #[serde(borrow)]
    #[schema(value_type = Object)]
    pub entities: &'a RawValue,
    /// Values at this time instead of now (RFC 3339).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub as_of: Option<Timestamp>,
    /// Ignore what was accepted after this time (RFC 3339).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub known_at: Option<Timestamp>,
    /// What on-demand features take of the request, for each entity: rows `[{"distance":500}, …]`, columns
    /// `{"distance":[500, …]}`, or one object for all entities.
    #[serde(default, borrow)]
    #[schema(value_type = Option<Object>)]
    pub request: Option<&'a RawValue>,
    /// What numbers in `request` count that are times: `s`, `ms`, `us` or `ns`.
    #[serde(default)]
    pub time_unit: Option<String>,
    /// The zone of times in `request` that are written without one: `UTC` or an IANA name.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Answer after this many milliseconds with what there is: what is missing has the status TIMED_OUT, and `partial` is
    /// true. Only reads of history take that long.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    #[serde(default)]
    pub include: Vec<Include>,
}

#[utoipa::path(post, path = "/v1/online-features", tag = "serving",
    extensions(("x-action" = json!("read_online")), ("x-timeout" = json!("read"))),
    request_body(content = OnlineRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "one row of values per entity, in the request's order; \
            `feature_names`, `values`, and what `include` asked for: `status`, `event_time`, `age_ms`, `window`; \
            `partial` where the deadline passed; \
            as one record batch with `Accept: application/vnd.apache.arrow.stream`"),
        (status = 404, body = ProblemBody, description = "unknown feature service, view or feature"),
        (status = 422, body = ProblemBody, description = "an entity lacks a join key or a column of the \
            request, or has one of the wrong type")))]
pub async fn online_features(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let format = media::accepted(&headers, &[Format::Json, Format::ArrowStream])?;
    let (request, include) = aside(&app, body, move |app, body| read(app, body, started)).await?;
    let answer = app.doors.online(&caller, request).await?;
    let limits = app.doors.read_limits();
    let bytes = answer.encode(|answer, tally| match format {
        Format::ArrowStream => answer_arrow::encode(answer, &include, tally, limits),
        _ => answer_json::encode(answer, &include, tally, limits),
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()))], bytes).into_response())
}

fn read(app: &App, body: &[u8], started: Instant) -> Result<(DoorRequest, Vec<Include>), Problem> {
    let request: OnlineRequest<'_> = parse_text(body, app.config.limits.json_depth)?;
    let plan = app.doors.plan_json(Asked::new(request.feature_service, request.features)?)?;
    let limits = app.doors.read_limits();
    let entities = Entities::from_json(&plan, request.entities.get(), limits)?;
    let given = request.request.map(|text| request_json(text.get())).transpose()?;
    let times = time_form(request.time_unit.as_deref(), request.time_zone.as_deref())?;
    let brought = request_columns(&plan, given, entities.len(), limits, times)?;
    let read = DoorRequest {
        plan,
        entities,
        request: brought,
        as_of: AsOf { at: request.as_of, known_at: request.known_at },
        deadline: request.deadline_ms.map(Duration::from_millis),
        started,
    };
    Ok((read, request.include))
}
