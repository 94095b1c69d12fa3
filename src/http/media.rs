//! Which format a request is in and which it wants back.

use axum::http::{HeaderMap, StatusCode, header};

use crate::{format::Format, http::Problem, ingest::DecodeError};

/// The body's format by `Content-Type`; 415 with the list of what would be right.
pub fn content_type(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Err(Problem::unsupported_media_type("", &known()));
    };
    let text = given.to_str().unwrap_or_default();
    Format::from_media_type(text).ok_or_else(|| Problem::unsupported_media_type(text, &known()))
}

/// The answer's format by `Accept`, among those `offered`; the first where anything will do.
pub fn accepted(headers: &HeaderMap, offered: &[Format]) -> Result<Format, Problem> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(offered.first().copied().unwrap_or(Format::Json));
    };
    let text = accept.to_str().unwrap_or_default();
    Format::from_accept(text, offered).ok_or_else(|| {
        let names: Vec<&str> = offered.iter().map(|f| f.media_type()).collect();
        Problem::not_acceptable(text, &names)
    })
}

/// A body that cannot be decoded: 415 where its encoding is not known.
pub fn undecodable(error: DecodeError) -> Problem {
    match error {
        DecodeError::UnsupportedEncoding(_) => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string())
        }
        other => other.into(),
    }
}

/// A header's text, where it is given.
pub fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    match headers.get(name) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Problem::bad_request(format!("the header {name} is not plain text"))),
        },
    }
}

fn known() -> [&'static str; 5] {
    Format::ALL.map(Format::media_type)
}
