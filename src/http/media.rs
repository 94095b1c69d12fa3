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

/// The answer's format by `Accept`: the first named that is `offered`; `default` where anything will do.
pub fn accepted(headers: &HeaderMap, default: Format, offered: &[Format]) -> Result<Format, Problem> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(default) };
    let text = accept.to_str().unwrap_or_default();
    for part in text.split(',') {
        let media = part.split(';').next().unwrap_or_default().trim();
        if media.is_empty() || media == "*/*" || (media == "application/*" && default != Format::Csv) {
            return Ok(default);
        }
        if let Some(format) = Format::from_media_type(media)
            && offered.contains(&format)
        {
            return Ok(format);
        }
    }
    let names: Vec<&str> = offered.iter().map(|f| f.media_type()).collect();
    Err(Problem::not_acceptable(format!("`{text}` cannot be answered; this can: {}", names.join(", "))))
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
    let formats = [Format::Json, Format::NdJson, Format::Csv, Format::ArrowStream, Format::Parquet];
    formats.map(Format::media_type).join(", ")
}
