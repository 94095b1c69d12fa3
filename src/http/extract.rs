//! Bodies as handlers get them: read within the limits, parsed with a message that helps.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::Deserialize;

use crate::format::{MOST_JSON, json_error, json_weight, nests_within, repeated_key, utf8_text};
use crate::http::{
    App, Problem,
    body::{self, BodyLimits},
};

/// The whole body as it was sent, within `limits.body_bytes`.
pub struct Body(pub Bytes);

impl FromRequest<Arc<App>> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let limits = BodyLimits::new(&app.config.server, &app.config.limits, app.budget.clone());
        body::read(&head, body, &limits).await.map(Body)
    }
}

/// A body from this size on is weighed before it is parsed.
const WEIGHED: usize = 64 << 10;

/// A JSON body of a known shape, nested at most `max_depth` deep, whose values have room in memory, and no object of which has
/// a key twice.
pub fn parse_json<'a, T: Deserialize<'a>>(body: &'a [u8], max_depth: usize) -> Result<T, Problem> {
    if body.len() > WEIGHED {
        weigh(json_weight(text(body)?))?;
    }
    let parsed = parse_text(body, max_depth)?;
    refuse_repeated(body)?;
    Ok(parsed)
}

/// Refuses a key that an object of the body has twice.
fn refuse_repeated(body: &[u8]) -> Result<(), Problem> {
    match repeated_key(text(body)?) {
        Some(repeated) => Err(Problem::bad_request(format!("the body: {repeated}; give it once"))),
        None => Ok(()),
    }
}

/// 413 for a tree of JSON values that takes too much memory.
pub fn weigh(weight: usize) -> Result<(), Problem> {
    match weight > MOST_JSON {
        true => Err(Problem::too_large(format!(
            "the body's JSON values would take about {} MiB in memory, at most {} are allowed; send several",
            weight >> 20,
            MOST_JSON >> 20
        ))),
        false => Ok(()),
    }
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    utf8_text(body).map_err(|reason| Problem::bad_request(format!("the body: {reason}")))
}

/// A body of a shape that leaves what is large in it as text; repeated keys of that are found elsewhere.
pub fn parse_text<'a, T: Deserialize<'a>>(body: &'a [u8], max_depth: usize) -> Result<T, Problem> {
    let text = text(body)?;
    if !nests_within(text, max_depth) {
        return Err(Problem::bad_request(format!("the body is nested more than {max_depth} deep")));
    }
    serde_json::from_str(text).map_err(|error| {
        if body.is_empty() {
            return Problem::bad_request("the body is empty; send a JSON object");
        }
        Problem::bad_request(format!(
            "the body is not the JSON that is expected here: {}",
            json_error(text, &error)
        ))
    })
}
