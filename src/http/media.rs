//! Which format a request is in and which it wants back.

use axum::http::{HeaderMap, header};

use crate::{format::Format, http::Problem};

/// The body's format by `Content-Type`; 415 with the list of what would be right.
pub fn content_type(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Err(Problem::unsupported_media_type(format!("the request has no Content-Type; send {}", known())));
    };
    let text = given.to_str().unwrap_or_default();
    Format::from_media_type(text)
        .ok_or_else(|| Problem::unsupported_media_type(format!("`{text}` is not understood; send {}", known())))
}

/// The answer's format by `Accept`, among those `offered`; the first where anything will do.
pub fn accepted(headers: &HeaderMap, offered: &[Format]) -> Result<Format, Problem> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(offered.first().copied().unwrap_or(Format::Json));
    };
    let text = accept.to_str().unwrap_or_default();
    Format::from_accept(text, offered).ok_or_else(|| {
        let names: Vec<&str> = offered.iter().map(|f| f.media_type()).collect();
        Problem::not_acceptable(format!("`{text}` cannot be answered; this can: {}", names.join(", ")))
    })
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

fn known() -> String {
    Format::ALL.map(Format::media_type).join(", ")
}
