//! Completes `/openapi.json` with what is the same for many routes, so that no route has to say it: the problems that any call
//! can end in, and the formats of bodies and answers.

use axum::http::StatusCode;
use utoipa::openapi::{
    Content, Object, OpenApi, Ref, RefOr, Response, Schema,
    path::{Operation, ParameterIn},
    schema::{KnownFormat, SchemaFormat, Type},
};

use super::problem;
use crate::format::Format;

const JSON: &str = "application/json";
const TOML: &str = "application/toml";

/// Adds to each operation what its route's handler does not declare.
pub(super) fn complete(api: &mut OpenApi) {
    for (route, item) in &mut api.paths.paths {
        for (method, operation) in
            [("GET", &mut item.get), ("POST", &mut item.post), ("DELETE", &mut item.delete)]
        {
            if let Some(operation) = operation {
                bodies(route, operation);
                answers(method, route, operation);
                problems(method, route, operation);
            }
        }
    }
}

/// All formats of a body that is rows; definitions come as TOML or JSON.
fn bodies(route: &str, operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    match route {
        "/v1/feature-views/{view}/rows"
        | "/v1/sources/{source}/events"
        | "/v1/training-sets"
        | "/v1/training-sets/jobs" => {
            for format in Format::ALL {
                body.content.entry(format.media_type().to_owned()).or_insert_with(|| content(format));
            }
        }
        "/v1/registry/apply" => {
            body.content.entry(JSON.to_owned()).or_insert_with(|| content(Format::Json));
            debug_assert!(body.content.contains_key(TOML), "the handler declares it");
        }
        _ => {}
    }
}

/// All formats of an answer that `Accept`, or what was asked for once, decides.
fn answers(method: &str, route: &str, operation: &mut Operation) {
    let formats: &[Format] = match (method, route) {
        ("POST", "/v1/online-features") => &[Format::Json, Format::ArrowStream],
        ("POST", "/v1/training-sets" | "/v1/sql")
        | ("GET", "/v1/training-sets/{name}/data" | "/v1/training-sets/jobs/{id}/data") => &Format::ALL,
        _ => return,
    };
    if method == "POST" {
        problem(operation, StatusCode::NOT_ACCEPTABLE);
    }
    for status in ["200", "206"] {
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
            for format in formats {
                response.content.entry(format.media_type().to_owned()).or_insert_with(|| content(*format));
            }
        }
    }
}

fn content(format: Format) -> RefOr<Content> {
    let schema = match format {
        Format::Json => Object::new(),
        Format::ArrowStream | Format::Parquet => {
            let mut binary = Object::with_type(Type::String);
            binary.format = Some(SchemaFormat::KnownFormat(KnownFormat::Binary));
            binary
        }
        Format::NdJson | Format::Csv => Object::with_type(Type::String),
    };
    RefOr::T(Content::new(Some(RefOr::T(Schema::Object(schema)))))
}

/// What any call can end in, and what a call can that has a body, a name in its path, or an effect.
fn problems(method: &str, route: &str, operation: &mut Operation) {
    for response in operation.responses.responses.iter_mut().filter(|(status, _)| is_error(status)) {
        if let RefOr::T(response) = response.1 {
            as_problem(response);
        }
    }
    let named = |place: &ParameterIn| {
        let mut all = operation.parameters.iter().flatten();
        all.any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == *place))
    };
    let (in_path, in_query, with_body) =
        (named(&ParameterIn::Path), named(&ParameterIn::Query), operation.request_body.is_some());
    let mut add = |statuses: &[StatusCode]| {
        for status in statuses {
            problem(operation, *status);
        }
    };
    add(&[
        StatusCode::BAD_REQUEST,
        StatusCode::URI_TOO_LONG,
        StatusCode::MISDIRECTED_REQUEST,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ]);
    if in_path || in_query || route == "/v1/explain" || route == "/v1/online-features" {
        add(&[StatusCode::NOT_FOUND]);
    }
    if in_path || in_query || with_body {
        add(&[StatusCode::UNPROCESSABLE_ENTITY]);
    }
    if method != "GET" {
        // Pages of other sites; their content types.
        add(&[StatusCode::FORBIDDEN, StatusCode::UNSUPPORTED_MEDIA_TYPE]);
    }
    if with_body {
        add(&[StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE]);
    }
    let reads = matches!(route, "/v1/online-features" | "/v1/explain" | "/v1/sql" | "/v1/training-sets");
    if method != "GET" && !reads {
        add(&[StatusCode::CONFLICT, StatusCode::INSUFFICIENT_STORAGE]);
    }
    if method == "POST" {
        add(&[StatusCode::TOO_MANY_REQUESTS]);
    }
    if route.ends_with("/data") {
        add(&[StatusCode::RANGE_NOT_SATISFIABLE]);
    }
}

fn is_error(status: &str) -> bool {
    status.starts_with(['4', '5'])
}

/// An answer with this status, where there is none yet; one that has another body, too, keeps that.
fn problem(operation: &mut Operation, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or("an error").to_lowercase();
    let response = operation.responses.responses.entry(status.as_u16().to_string());
    if let RefOr::T(response) = response.or_insert_with(|| RefOr::T(Response::new(reason))) {
        as_problem(response);
    }
}

/// Problems have a media type of their own.
fn as_problem(response: &mut Response) {
    let declared = matches!(response.content.get(JSON), Some(RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }))
        if schema.ref_location == problem_schema().ref_location);
    if declared {
        response.content.shift_remove(JSON);
    }
    let content = || RefOr::T(Content::new(Some(RefOr::<Schema>::Ref(problem_schema()))));
    response.content.entry(problem::CONTENT_TYPE.to_owned()).or_insert_with(content);
}

fn problem_schema() -> Ref {
    Ref::from_schema_name("Problem")
}
