//! Every answer that the tests see is one that `/openapi.json` declares: its status and content type, for a route that fits.

use std::sync::OnceLock;

use reqwest::{blocking::Response, header::CONTENT_TYPE};
use serde_json::Value as Json;

static API: OnceLock<Json> = OnceLock::new();

/// Panics where the answer is not declared. Paths that there are none of, and methods that they do not have, are not declared
/// anywhere.
pub fn check(response: &Response) {
    let url = response.url();
    let api = API.get_or_init(|| {
        let found = reqwest::blocking::get(url.join("/openapi.json").unwrap()).unwrap();
        serde_json::from_str(&found.text().unwrap()).unwrap()
    });
    let status = response.status().as_u16();
    let media = response.headers().get(CONTENT_TYPE).map(|media| media.to_str().unwrap());
    let media = media.map(|media| media.split(';').next().unwrap().trim());
    let fitting: Vec<&Json> = api["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(route, _)| fits(route, url.path()))
        .flat_map(|(_, item)| item.as_object().unwrap().values())
        .collect();
    if fitting.is_empty() || status == 405 {
        return;
    }
    assert!(
        fitting.iter().any(|operation| declares(operation, status, media)),
        "not declared: {url} {status} {media:?}"
    );
}

fn fits(route: &str, path: &str) -> bool {
    let (mut route, mut path) = (route.split('/'), path.split('/'));
    loop {
        match (route.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part.starts_with('{') || part == given => {}
            _ => return false,
        }
    }
}

/// Whether the operation declares an answer of this status and content type.
pub fn declares(operation: &Json, status: u16, media: Option<&str>) -> bool {
    let response = &operation["responses"][status.to_string()];
    match (response["content"].as_object(), media) {
        (Some(content), Some(media)) => content.contains_key(media),
        (None, None) => response.is_object(),
        // An answer without a body may have its type; a declared body may be missing for HEAD alone.
        (None, Some(_)) | (Some(_), None) => false,
    }
}
