//! What every answer gets on its way out.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header, response::Parts},
    response::Response,
};
use http_body_util::{BodyExt, Limited};

use super::{Problem, RequestId, problem::CONTENT_TYPE};

/// How much of a plain-text error of a library is taken over as `detail`.
const MAX_PLAIN: usize = 4 << 10;

/// `x-request-id` on each, and in a problem's body; bare and plain-text errors (of the router, of
/// extractors) become problems. Gives back the problem, for the log.
pub(super) async fn complete(response: Response, id: &RequestId) -> (Response, Option<Arc<Problem>>) {
    let (mut head, body) = response.into_parts();
    head.headers.insert(RequestId::HEADER, id.header());
    let problem = match head.extensions.remove::<Arc<Problem>>() {
        Some(problem) => problem,
        None if is_bare_error(&head) => Arc::new(adopt(head.status, body).await),
        None => return (Response::from_parts(head, body), None),
    };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    (Response::from_parts(head, Body::from(problem.json(Some(id.as_str())))), Some(problem))
}

fn is_bare_error(head: &Parts) -> bool {
    let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    (head.status.is_client_error() || head.status.is_server_error())
        && content_type.is_none_or(|media| media.starts_with(b"text/plain"))
}

async fn adopt(status: StatusCode, body: Body) -> Problem {
    let text = match Limited::new(body, MAX_PLAIN).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    let reason = || status.canonical_reason().unwrap_or("error").to_lowercase();
    let detail = match (status, text.trim()) {
        (StatusCode::METHOD_NOT_ALLOWED, "") => {
            "this path has no such method; the Allow header lists those that it has".to_owned()
        }
        (_, "") => reason(),
        (_, text) => text.to_owned(),
    };
    Problem::new(status, detail)
}
