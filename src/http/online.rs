//! `POST /v1/online-features`: the newest values, or those as of a moment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::ArrayRef;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    format::Format,
    http::{
        App, Problem, ProblemBody, answer_arrow, answer_json,
        aside::aside,
        extract::{Body, parse_text},
        media,
        times::time_form,
    },
    model::Timestamp,
    serve::{Answer, AsOf, Asked, Entities, Plan, Progress, request_columns, request_json},
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
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let format = media::accepted(&headers, &[Format::Json, Format::ArrowStream])?;
    let Asking { plan, entities, brought, as_of, include, deadline_ms } = aside(&app, body, read).await?;
    let deadline = deadline(&app, started, deadline_ms);
    let mut answer = if as_of.is_now() {
        let newest = app.reads.newest(&plan, &entities)?;
        if newest.ahead.is_empty() {
            newest.answer
        } else {
            let (plan, now) = (Arc::clone(&newest.answer.plan), newest.answer.now);
            newest.complete(&history(&app, plan, entities, now, None, deadline).await?)
        }
    } else {
        let at = app.reads.moment(&plan, &entities, as_of)?;
        history(&app, plan, entities, at, as_of.known_at, deadline).await?
    };
    answer.compute(&brought)?;
    let mut tally = answer.tally();
    let bytes = match format {
        Format::ArrowStream => answer_arrow::encode(&answer, &include, &mut tally, &app.reads.limits)?,
        _ => answer_json::encode(&answer, &include, &mut tally, &app.reads.limits)?,
    };
    answer.plan.meters.record(started.elapsed(), &tally);
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()))], bytes).into_response())
}

/// A request, read.
struct Asking {
    plan: Arc<Plan>,
    entities: Entities,
    /// For on-demand features.
    brought: Vec<ArrayRef>,
    as_of: AsOf,
    include: Vec<Include>,
    deadline_ms: Option<u64>,
}

fn read(app: &App, body: &[u8]) -> Result<Asking, Problem> {
    let request: OnlineRequest<'_> = parse_text(body, app.config.limits.json_depth)?;
    let plan = app.reads.plan_asked(Asked::new(request.feature_service, request.features)?)?;
    let entities = Entities::from_json(&plan, request.entities.get(), &app.reads.limits)?;
    let given = request.request.map(|text| request_json(text.get())).transpose()?;
    let times = time_form(request.time_unit.as_deref(), request.time_zone.as_deref())?;
    let brought = request_columns(&plan, given, entities.len(), &app.reads.limits, times)?;
    let as_of = AsOf { at: request.as_of, known_at: request.known_at };
    Ok(Asking { plan, entities, brought, as_of, include: request.include, deadline_ms: request.deadline_ms })
}

/// When the request is to be answered with what there is by then: as it says itself, or else as is configured.
fn deadline(app: &App, started: Instant, asked: Option<u64>) -> Option<Instant> {
    let configured = app.config.limits.read_deadline.std();
    let wait = match asked {
        Some(millis) => Duration::from_millis(millis),
        None if configured.is_zero() => return None,
        None => configured,
    };
    started.checked_add(wait)
}

/// A client that waits; when it is gone, nobody does.
struct Waits(Arc<Progress>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Reads history on a thread of its own, so that it does not hold up other requests; for no longer than until `deadline`.
/// A few read at a time, and the others wait: reads of windows, which may hold many events, for each other, and reads of rows
/// for each other.
async fn history(
    app: &App,
    plan: Arc<Plan>,
    entities: Entities,
    at: Timestamp,
    known_at: Option<Timestamp>,
    deadline: Option<Instant>,
) -> Result<Answer, Problem> {
    let progress = Arc::new(Progress::new(&plan));
    let _waits = Waits(Arc::clone(&progress));
    let count = entities.len();
    let read = {
        let (plan, progress) = (Arc::clone(&plan), Arc::clone(&progress));
        async move {
            let slots = match plan.groups.iter().any(|group| group.stream.is_some()) {
                true => &app.history_slots,
                false => &app.as_of_slots,
            };
            let slot = Arc::clone(slots).acquire_owned().await;
            let slot = slot.map_err(|_| Problem::unavailable("the node is stopping"))?;
            let reads = Arc::clone(&app.reads);
            let read = tokio::task::spawn_blocking(move || {
                // Held until the work is done, which goes on when nobody waits for it.
                let _held = slot;
                reads.history(&plan, &entities, at, known_at, &progress)
            });
            read.await.map_err(|_| Problem::internal("the read did not finish"))?.map_err(Problem::from)
        }
    };
    match deadline {
        None => read.await?,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), read).await {
            Ok(done) => done?,
            Err(_) => progress.give_up(),
        },
    }
    Ok(progress.answer(&plan, at, count))
}
