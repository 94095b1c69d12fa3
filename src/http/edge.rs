//! What every request passes on its way to a handler, and every answer on its way back.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode, Uri},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::{
    RequestId,
    accepts::Accepts,
    budget::Budget,
    complete::complete,
    declared::Declared,
    held,
    problem::Problem,
    requests::{Requests, UNMATCHED},
    site::Sites,
};
use crate::{
    config::{LimitsConfig, ServerConfig},
    model::Duration,
};

/// How long a request may take as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `server.read_timeout`.
    Read,
    /// `server.write_timeout`.
    Write,
    /// As long as it needs: training sets, SQL.
    Long,
}

#[derive(Debug)]
pub struct EdgeOptions {
    /// Names and values of a request's headers together.
    pub header_bytes: usize,
    /// A request's path and query.
    pub url_bytes: usize,
    pub read_timeout: Duration,
    pub write_timeout: Duration,
    /// The class of each route.
    pub declared: Declared,
    pub sites: Sites,
    pub accepts: Accepts,
    pub budget: Budget,
}

impl EdgeOptions {
    pub fn new(
        server: &ServerConfig,
        limits: &LimitsConfig,
        budget: Budget,
        accepts: Accepts,
        declared: Declared,
    ) -> EdgeOptions {
        EdgeOptions {
            header_bytes: limits.header_bytes.as_usize(),
            url_bytes: limits.url_bytes.as_usize(),
            read_timeout: server.read_timeout,
            write_timeout: server.write_timeout,
            declared,
            sites: Sites::new(server),
            accepts,
            budget,
        }
    }
}

/// When a request must be answered; among its extensions, where it has such a time.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

struct Edge {
    options: EdgeOptions,
    requests: Requests,
}

/// Wraps a whole router, once: request ids, limits on URL and headers, foreign sites, content types, room for answers, deadlines, caught panics, a span, metrics, and
/// problems for whatever fails, unknown paths and methods included.
pub fn wrap(router: Router, options: EdgeOptions) -> Router {
    let edge = Arc::new(Edge { options, requests: Requests::default() });
    router.fallback(no_such_path).layer(from_fn_with_state(edge, pass))
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is no `{}`; GET /openapi.json lists all paths", uri.path()))
}

async fn pass(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let span = tracing::debug_span!("request", %method, route, id = id.as_str());

    let response = match edge.options.refuse(&request, route) {
        Some(problem) => problem.into_response(),
        None => {
            let time = edge.options.time(&method, route);
            request.extensions_mut().insert(id.clone());
            if let Some((time, _)) = time {
                request.extensions_mut().insert(Deadline(started + time.std()));
            }
            answer(next.run(request), started, time).instrument(span).await
        }
    };

    let response = match held::hold(response, &edge.options.budget).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    let (response, problem) = complete(response, &id).await;
    if let Some(cause) = problem.as_ref().and_then(|problem| problem.cause.as_deref()) {
        tracing::error!(%method, route, request_id = id.as_str(), "request failed: {cause}");
    }
    edge.requests.record(route, &method, response.status(), started.elapsed());
    response
}

/// A handler's answer, or the problem that it ended in.
async fn answer(
    handler: impl Future<Output = Response>,
    started: Instant,
    time: Option<(Duration, &str)>,
) -> Response {
    let caught = AssertUnwindSafe(handler).catch_unwind();
    let ended = match time {
        None => caught.await,
        Some((time, key)) => match timeout_at(started + time.std(), caught).await {
            Ok(ended) => ended,
            Err(_) => {
                let detail = format!(
                    "no answer within {time} ({key}); what it asked for may still be done: repeat a write with the same \
                     Idempotency-Key"
                );
                return Problem::unavailable(detail).into_response();
            }
        },
    };
    ended.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Problem::internal(format!("panic: {said}")).into_response()
    })
}

impl EdgeOptions {
    /// What is too long to be looked at, comes from elsewhere, or is of a type that is not taken.
    fn refuse(&self, request: &Request, route: &str) -> Option<Problem> {
        let (method, headers) = (request.method(), request.headers());
        self.too_long(request)
            .or_else(|| self.sites.refuse(method, request.uri(), headers))
            .or_else(|| self.accepts.refuse(method, route, headers, request.body().is_end_stream()))
    }

    fn too_long(&self, request: &Request) -> Option<Problem> {
        let url = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        if url > self.url_bytes {
            let detail = format!(
                "the URL has {url} bytes, more than the {} allowed (limits.url_bytes)",
                self.url_bytes
            );
            return Some(Problem::new(StatusCode::URI_TOO_LONG, detail));
        }
        let headers: usize =
            request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        (headers > self.header_bytes).then(|| {
            let allowed = self.header_bytes;
            let detail = format!(
                "the headers have {headers} bytes, more than the {allowed} allowed (limits.header_bytes)"
            );
            Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        })
    }

    /// The time that a request has, and the key that sets it.
    fn time(&self, method: &Method, route: &str) -> Option<(Duration, &'static str)> {
        match self.declared.class(method, route) {
            Class::Read => Some((self.read_timeout, "server.read_timeout")),
            Class::Write => Some((self.write_timeout, "server.write_timeout")),
            Class::Long => None,
        }
    }
}
