//! Bodies as handlers get them: read within the limits, parsed with a message that helps.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::Deserialize;

use crate::format::{MOST_JSON, json_weight, nests_within};
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

/// A JSON body of a known shape, nested at most `max_depth` deep, whose values have room in memory.
pub fn parse_json<'a, T: Deserialize<'a>>(body: &'a [u8], max_depth: usize) -> Result<T, Problem> {
    if body.len() > WEIGHED {
        weigh(json_weight(text(body)?))?;
    }
    parse_text(body, max_depth)
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
    std::str::from_utf8(body).map_err(|error| {
        Problem::bad_request(format!("the body is not UTF-8 (byte {})", error.valid_up_to()))
    })
}

/// The same of a shape that leaves what is large in it as text.
pub fn parse_text<'a, T: Deserialize<'a>>(body: &'a [u8], max_depth: usize) -> Result<T, Problem> {
    let text = text(body)?;
    if !nests_within(text, max_depth) {
        return Err(Problem::bad_request(format!("the body is nested more than {max_depth} deep")));
    }
    serde_json::from_str(text).map_err(|error| {
        if body.is_empty() {
            return Problem::bad_request("the body is empty; send a JSON object");
        }
        Problem::bad_request(format!("the body is not the JSON that is expected here: {error}"))
    })
}
