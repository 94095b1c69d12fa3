//! Errors on the wire: RFC 9457 problem details, and the one place where codes become statuses.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::error::{Code, Coded, Detail};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// Entries of `errors` in one answer; the rest is counted in `detail`.
const MAX_ERRORS: usize = 100;

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable and machine-readable: one of [`Code`]'s names, or one of HTTP's own below.
    pub code: &'static str,
    pub detail: String,
    pub errors: Vec<Detail>,
    /// Further members of the answer, as in `breaking`.
    pub members: serde_json::Map<String, serde_json::Value>,
    /// For the log, never for the client.
    pub cause: Option<String>,
}

/// The wire form, as `/openapi.json` describes it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `urn:larder:error:` and the code.
    #[schema(value_type = String)]
    r#type: Cow<'a, str>,
    /// The status in words.
    title: &'a str,
    status: u16,
    /// What was wrong and what would be right.
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// What is wrong piece by piece: `{row?, field?, reason}`.
    #[schema(value_type = Vec<Object>)]
    errors: &'a [Detail],
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem whose code follows from its status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: code_of(status),
            detail: detail.into(),
            errors: Vec::new(),
            members: serde_json::Map::new(),
            cause: None,
        }
    }

    pub fn from_error(error: &dyn Coded) -> Problem {
        let code = error.code();
        let mut errors = error.details();
        let mut problem = Problem::new(status_of(code, !errors.is_empty()), error.to_string());
        if code == Code::Internal {
            problem.cause = Some(chain(error));
            problem.detail = INTERNAL.to_owned();
        }
        if errors.len() > MAX_ERRORS {
            problem.detail.push_str(&format!(" (and {} more errors)", errors.len() - MAX_ERRORS));
            errors.truncate(MAX_ERRORS);
        }
        problem.errors = errors;
        problem
    }

    /// 500. `cause` goes to the log; the client is told where to look.
    pub fn internal(cause: impl Into<String>) -> Problem {
        Problem { cause: Some(cause.into()), ..Problem::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL) }
    }

    /// 400, for what cannot be read at all.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 406. `offered` lists the media types that there are.
    pub fn not_acceptable(asked: &str, offered: &[&str]) -> Problem {
        let offered = offered.join(", ");
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("cannot answer as `{asked}`; Accept one of {offered}"),
        )
    }

    /// 408.
    pub fn timeout(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    /// 412. `current` is the version that there is.
    pub fn precondition_failed(asked: &str, current: u64) -> Problem {
        let detail =
            format!("If-Match asks for version {asked}, the current one is {current}; read it and try again");
        Problem::new(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415. `sent` is empty where no Content-Type was; `known` lists the media types that there are.
    pub fn unsupported_media_type(sent: &str, known: &[&str]) -> Problem {
        let known = known.join(", ");
        let wrong = match sent {
            "" => "the request has no Content-Type".to_owned(),
            sent => format!("Content-Type `{sent}` is not known here"),
        };
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{wrong}; send one of {known}"))
    }

    /// 429.
    pub fn overloaded(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// 503.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Adds a member to the answer.
    pub fn with(mut self, member: &str, value: impl Into<serde_json::Value>) -> Problem {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Seconds after which a retry makes sense.
    fn retry_after(&self) -> Option<u16> {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Some(1),
            StatusCode::SERVICE_UNAVAILABLE => Some(2),
            _ => None,
        }
    }

    /// The body's bytes.
    pub(super) fn json(&self, request_id: Option<&str>) -> Vec<u8> {
        let body = ProblemBody {
            r#type: format!("urn:larder:error:{}", self.code).into(),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            errors: &self.errors,
            members: &self.members,
        };
        serde_json::to_vec(&body).expect("a problem has string keys and derives Serialize")
    }
}

impl<E: Coded> From<E> for Problem {
    fn from(error: E) -> Problem {
        Problem::from_error(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json(None)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // The edge knows the request's id, and puts it in.
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

const INTERNAL: &str = "the server failed to answer; its log says why, under this request's id";

/// Every code's status. What could be read but is wrong piece by piece is 422 rather than 400.
fn status_of(code: Code, piecewise: bool) -> StatusCode {
    match code {
        Code::Invalid if piecewise => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The code of a status, HTTP's own included.
fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unauthenticated",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        406 => "not_acceptable",
        408 => "timeout",
        409 => "conflict",
        411 => "length_required",
        412 => "precondition_failed",
        413 => "too_large",
        414 => "url_too_long",
        415 => "unsupported_media_type",
        421 => "misdirected",
        429 => "overloaded",
        431 => "headers_too_large",
        503 => "unavailable",
        507 => "storage_full",
        500.. => "internal",
        _ => "invalid",
    }
}

fn chain(error: &dyn Coded) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the rows do not fit the view")]
    struct Failure(Code, usize, #[source] std::fmt::Error);

    impl Coded for Failure {
        fn code(&self) -> Code {
            self.0
        }
        fn details(&self) -> Vec<Detail> {
            let detail = |row| Detail {
                row: Some(row as u64),
                field: Some("temp".into()),
                reason: "not a number".into(),
            };
            (0..self.1).map(detail).collect()
        }
    }

    fn json(problem: &Problem) -> serde_json::Value {
        serde_json::from_slice(&problem.json(Some("r-1"))).unwrap()
    }

    #[test]
    fn the_wire_form_has_all_members() {
        let problem = Problem::from(Failure(Code::Invalid, 1, std::fmt::Error)).with("breaking", vec!["x"]);
        assert_eq!(
            json(&problem),
            serde_json::json!({
                "type": "urn:larder:error:invalid",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "the rows do not fit the view",
                "code": "invalid",
                "request_id": "r-1",
                "errors": [{"row": 0, "field": "temp", "reason": "not a number"}],
                "breaking": ["x"],
            })
        );
    }

    #[test]
    fn every_code_has_its_status_and_comes_back_as_its_own_name() {
        for (code, status) in [
            (Code::Invalid, 400),
            (Code::Unauthenticated, 401),
            (Code::Forbidden, 403),
            (Code::NotFound, 404),
            (Code::Conflict, 409),
            (Code::TooLarge, 413),
            (Code::Overloaded, 429),
            (Code::Unavailable, 503),
            (Code::StorageFull, 507),
            (Code::Internal, 500),
        ] {
            let problem = Problem::from(Failure(code, 0, std::fmt::Error));
            assert_eq!(problem.status.as_u16(), status);
            assert_eq!(serde_json::to_value(code).unwrap(), problem.code, "{code:?}");
        }
    }

    #[test]
    fn many_errors_are_cut_and_counted() {
        let problem = Problem::from(Failure(Code::Invalid, 250, std::fmt::Error));
        assert_eq!(problem.errors.len(), 100);
        assert!(problem.detail.ends_with("(and 150 more errors)"), "{}", problem.detail);
    }

    #[test]
    fn what_failed_inside_stays_inside() {
        let problem = Problem::from(Failure(Code::Internal, 0, std::fmt::Error));
        assert!(!problem.detail.contains("rows"), "{}", problem.detail);
        let cause = problem.cause.unwrap();
        assert!(cause.starts_with("the rows do not fit the view: an error occurred"), "{cause}");
    }

    #[test]
    fn retries_are_told_when() {
        let after = |problem: Problem| problem.into_response().headers().get(header::RETRY_AFTER).cloned();
        assert_eq!(after(Problem::overloaded("full")).unwrap(), "1");
        assert_eq!(after(Problem::unavailable("starting")).unwrap(), "2");
        assert_eq!(after(Problem::bad_request("no")), None);
    }
}
