//! Is it alive, is it ready, what is it doing.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{http::App, metrics};

/// Alive: the process answers.
#[utoipa::path(get, path = "/livez", tag = "operations",
    extensions(("x-action" = json!("observe")), ("x-timeout" = json!("read"))), responses((status = 200, description = "alive", body = String, content_type = "text/plain")))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// Whether to send it traffic.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    pub ready: bool,
    /// Why not: starting, draining, a store that refuses writes, an invariant that does not hold.
    pub reasons: Vec<String>,
    /// What wants a person although the node serves: corrupt files, of which only the tables named are affected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[utoipa::path(get, path = "/readyz", tag = "operations",
    extensions(("x-action" = json!("observe")), ("x-timeout" = json!("read"))), responses(
    (status = 200, body = Ready, description = "ready"),
    (status = 503, body = Ready, description = "not ready, with reasons")))]
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let mut reasons = app.readiness.reasons();
    for shard in 0..app.doors.parts.shards.count() {
        if let Err(error) = app.doors.parts.shards.status(shard).check() {
            reasons.push(format!("shard {shard}: {error}"));
        }
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let warnings = app.doors.parts.scrub.report().corrupt.into_iter().map(|corrupt| corrupt.reason).collect();
    (status, Json(Ready { ready, reasons, warnings })).into_response()
}

/// Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    extensions(("x-action" = json!("observe")), ("x-timeout" = json!("read"))),
    responses((status = 200, description = "Prometheus text exposition", body = String, content_type = "text/plain")))]
pub async fn prometheus(State(app): State<Arc<App>>) -> Response {
    metrics::record_free_bytes(app.doors.parts.shards.free_bytes());
    metrics::record_in_flight(app.doors.parts.shards.in_flight());
    for (shard, requests) in app.doors.parts.shards.queued().enumerate() {
        metrics::record_queued(shard, requests);
    }
    let catalog = app.doors.parts.catalog.current();
    metrics::record_registry_version(catalog.version);
    let now = app.clock.now();
    for view in catalog.feature_views.values() {
        // What is computed of events is as old as the newest of them.
        let table = view.stream().map_or(view.schema.table, |stream| stream.source_table);
        let newest = app.doors.parts.shards.committed().of(table).newest_event();
        if let Some(newest) = newest {
            metrics::record_staleness(&view.name, now.micros().saturating_sub(newest.micros()));
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

#[derive(Serialize, ToSchema)]
pub struct Info {
    pub version: &'static str,
    pub registry_version: u64,
    pub uptime_seconds: f64,
    /// What an acknowledged write survives: `fsync`, `interval` or `buffer`.
    pub durability: &'static str,
    pub shards: usize,
    /// The node's clock.
    #[schema(value_type = String)]
    pub now: crate::model::Timestamp,
}

#[utoipa::path(get, path = "/v1/info", tag = "operations",
    extensions(("x-action" = json!("observe")), ("x-timeout" = json!("read"))), responses((status = 200, body = Info)))]
pub async fn info(State(app): State<Arc<App>>) -> Json<Info> {
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        registry_version: app.doors.parts.catalog.current().version,
        uptime_seconds: app.started.elapsed().as_secs_f64(),
        durability: app.config.durability.mode.as_str(),
        shards: app.doors.parts.shards.count(),
        now: app.clock.now(),
    })
}
