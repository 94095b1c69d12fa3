//! `POST /v1/explain`: why the values of one entity are what they are.

use std::{sync::Arc, time::Instant};

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    doors::{Caller, OnlineRequest},
    http::{
        App, Problem, ProblemBody,
        aside::aside,
        extract::{Body, parse_text},
        times::time_form,
    },
    model::Timestamp,
    serve::{AsOf, Asked, Entities, explain::Explanation, request_columns, request_json},
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest<'a> {
    /// A feature service, `name` or `name@version`. Either this or `features`.
    #[serde(default, borrow)]
    #[schema(value_type = Option<String>)]
    pub feature_service: Option<&'a RawValue>,
    #[serde(default, borrow)]
    #[schema(value_type = Option<Vec<String>>)]
    pub features: Option<&'a RawValue>,
    /// As of an online read, with one entity: `[{"origin":"JFK"}]`.
    #[serde(borrow)]
    #[schema(value_type = Object)]
    pub entities: &'a RawValue,
    /// What on-demand features take of the request, as of an online read.
    #[serde(default, borrow)]
    #[schema(value_type = Option<Object>)]
    pub request: Option<&'a RawValue>,
    /// What numbers in `request` count that are times: `s`, `ms`, `us` or `ns`.
    #[serde(default)]
    pub time_unit: Option<String>,
    /// The zone of times in `request` that are written without one: `UTC` or an IANA name.
    #[serde(default)]
    pub time_zone: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub as_of: Option<Timestamp>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub known_at: Option<Timestamp>,
}

#[utoipa::path(post, path = "/v1/explain", tag = "serving",
    extensions(("x-action" = json!("explain")), ("x-timeout" = json!("read"))),
    request_body(content = ExplainRequest, content_type = "application/json"),
    responses((status = 200, body = Object, description = "`values`: of each `feature` its `value`, `status` and `reason`, \
            and `from_version` (event time, seq, acceptance, ttl, cache) or `from_window` (start, end, function, filter, \
            number of events and the newest hundred of them, what answered) or `computed` (expression, inputs)"),
        (status = 400, body = ProblemBody, description = "not exactly one entity"),
        (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn explained(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Explanation>, Problem> {
    let request = aside(&app, body, read).await?;
    Ok(Json(app.doors.explain(&caller, request).await?))
}

fn read(app: &App, body: &[u8]) -> Result<OnlineRequest, Problem> {
    let request: ExplainRequest<'_> = parse_text(body, app.config.limits.json_depth)?;
    let plan = app.doors.plan_json(Asked::new(request.feature_service, request.features)?)?;
    let limits = app.doors.read_limits();
    let entities = Entities::from_json(&plan, request.entities.get(), limits)?;
    let given = request.request.map(|text| request_json(text.get())).transpose()?;
    let times = time_form(request.time_unit.as_deref(), request.time_zone.as_deref())?;
    let brought = request_columns(&plan, given, entities.len(), limits, times)?;
    let as_of = AsOf { at: request.as_of, known_at: request.known_at };
    Ok(OnlineRequest { plan, entities, request: brought, as_of, deadline: None, started: Instant::now() })
}
