//! Reads bodies: counted while they stream in, and not for ever.

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{header, request::Parts},
};
use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::{edge::Deadline, problem::Problem};
use crate::{
    config::{LimitsConfig, ServerConfig},
    model::Duration,
};

/// Memory taken on the word of a Content-Length alone.
const MAX_RESERVED: usize = 1 << 20;

/// How many times the allowed size of a refused body is read and dropped, so that its sender sees the refusal.
const DROPPED: usize = 4;

#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    pub max_bytes: usize,
    /// The longest silence within a body.
    pub stall: Duration,
}

impl BodyLimits {
    pub fn new(server: &ServerConfig, limits: &LimitsConfig) -> BodyLimits {
        BodyLimits { max_bytes: limits.body_bytes.as_usize(), stall: server.stall_timeout }
    }
}

/// The whole body, as it was sent (not decompressed).
///
/// # Errors
/// 413 for more than `max_bytes`, at once where Content-Length says so; 408 for a silence longer than `stall`, or where the
/// body is not here by the request's [`Deadline`]; 400 for a body that breaks off.
pub async fn read(head: &Parts, mut body: Body, limits: BodyLimits) -> Result<Bytes, Problem> {
    let announced = body.size_hint().lower();
    if announced > limits.max_bytes as u64 {
        return Err(too_large(head, body, limits).await);
    }
    let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = next(&mut body, limits.stall, deadline).await? {
        let received = first.len() + rest.len();
        if frame.len() > limits.max_bytes - received {
            return Err(too_large(head, body, limits).await);
        }
        if received == 0 {
            first = frame;
        } else {
            if rest.is_empty() {
                let announced = usize::try_from(announced).unwrap_or(usize::MAX);
                rest.reserve(announced.min(MAX_RESERVED).max(received + frame.len()));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&frame);
        }
    }
    // A small body is one frame, and is not copied.
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// The next data; `None` at the end. Trailers are skipped.
async fn next(body: &mut Body, stall: Duration, deadline: Option<Instant>) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout(stall.std(), body.frame());
        let frame = match deadline {
            None => frame.await,
            Some(deadline) => match timeout_at(deadline, frame).await {
                Ok(frame) => frame,
                Err(_) => {
                    return Err(Problem::timeout(
                        "the body was not here when the time for this request was over",
                    ));
                }
            },
        };
        match frame {
            Err(_) => {
                let detail = format!("nothing of the body came for {stall} (server.stall_timeout)");
                return Err(Problem::timeout(detail));
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(Problem::bad_request(format!("the body broke off: {error}"))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The problem, after some more of the body was read and dropped: a client that is still sending when the connection closes
/// would see a reset instead of this answer. One that waits for `100 Continue` sends nothing.
async fn too_large(head: &Parts, mut body: Body, limits: BodyLimits) -> Problem {
    let allowed = limits.max_bytes;
    if !head.headers.contains_key(header::EXPECT) {
        let mut dropped = 0;
        let until = Instant::now() + limits.stall.std();
        while dropped <= allowed.saturating_mul(DROPPED)
            && let Ok(Some(data)) = next(&mut body, limits.stall, Some(until)).await
        {
            dropped += data.len();
        }
    }
    Problem::too_large(format!(
        "the body has more than the {allowed} bytes allowed (limits.body_bytes); send several"
    ))
}
