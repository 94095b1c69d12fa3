//! Answers keep room in the budget until they are written.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use super::{
    budget::{Budget, SMALL, Share},
    problem::Problem,
};

/// What an answer that is streamed may have in memory: a step of its file, and what the connection holds back.
const STREAMED: usize = 512 << 10;

/// The answer, with room for it where it is large.
///
/// # Errors
/// 503 where there is none.
pub(super) async fn hold(response: Response, budget: &Budget) -> Result<Response, Problem> {
    let exact = response.body().size_hint().exact();
    if exact.is_some_and(|bytes| bytes <= SMALL as u64) {
        return Ok(response);
    }
    let bytes = exact.map_or(STREAMED, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let share = budget.answer(bytes).await.ok_or_else(|| {
        Problem::unavailable(format!(
            "there is no room for this answer of {bytes} bytes beside those of other requests (limits.bytes_in_flight); \
             try again in a moment"
        ))
    })?;
    let (head, mut body) = response.into_parts();
    if exact.is_some()
        && let Some(Ok(frame)) = body.frame().await
        && let Ok(data) = frame.into_data()
    {
        // An answer of known size is in memory whole.
        return Ok(Response::from_parts(head, Body::from(share.hold(data))));
    }
    Ok(Response::from_parts(head, Body::new(Streamed { body, _share: share })))
}

struct Streamed {
    body: Body,
    _share: Share,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
