//! Reads bodies: counted while they stream in, and not for ever.

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{header, request::Parts},
};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::{Instant, timeout_at};

use super::{
    budget::{Budget, SMALL, Share},
    edge::Deadline,
    pace::{Pace, Speed},
    problem::Problem,
};
use crate::{
    config::{LimitsConfig, ServerConfig},
    model::Duration,
};

/// How many times the allowed size of a refused body is read and dropped, so that its sender sees the refusal.
const DROPPED: usize = 4;

/// Up to this size memory is taken in larger steps.
const FAST: usize = 1 << 20;

/// How often the speed of a client that is waited for is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct BodyLimits {
    pub max_bytes: usize,
    /// The longest silence within a body.
    pub stall: Duration,
    pub pace: Pace,
    pub budget: Budget,
}

impl BodyLimits {
    pub fn new(server: &ServerConfig, limits: &LimitsConfig, budget: Budget) -> BodyLimits {
        let max_bytes = limits.body_bytes.as_usize();
        BodyLimits { max_bytes, stall: server.stall_timeout, pace: Pace::new(server, limits), budget }
    }
}

/// The whole body, as it was sent (not decompressed). A large one keeps its room in the budget for as long as its bytes are
/// used.
///
/// # Errors
/// 413 for more than `max_bytes`, at once where Content-Length says so; 408 for a silence longer than `stall`, for a client
/// slower than `pace`, or where the body is not here by the request's [`Deadline`]; 503 where the budget has no room; 400 for
/// a body that breaks off.
pub async fn read(head: &Parts, body: Body, limits: &BodyLimits) -> Result<Bytes, Problem> {
    let announced = body.size_hint().lower();
    let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
    let mut incoming = Incoming { body, limits, deadline, speed: Speed::default() };
    if announced > limits.max_bytes as u64 {
        return Err(incoming.too_large(head).await);
    }
    // A small body is one frame, and is not copied.
    let Some(first) = incoming.next().await? else { return Ok(Bytes::new()) };
    if incoming.body.is_end_stream() && first.len() <= limits.max_bytes {
        return Ok(first);
    }
    let mut whole = Growing::default();
    let mut next = Some(first);
    while let Some(frame) = next {
        if frame.len() > limits.max_bytes - whole.bytes.len() {
            return Err(incoming.too_large(head).await);
        }
        if whole.push(&frame, announced as usize, limits).await.is_none() {
            drop((frame, whole));
            let problem = Problem::unavailable(
                "there is no room for this body beside those of other requests (limits.bytes_in_flight); try again \
                 in a moment",
            );
            return Err(incoming.refuse(head, problem).await);
        }
        next = incoming.next().await?;
    }
    Ok(whole.finish())
}

/// A body's beginning, with the room that it takes.
#[derive(Default)]
struct Growing {
    bytes: Vec<u8>,
    share: Share,
}

impl Growing {
    /// Adds a frame; `None` where there is no room for it.
    async fn push(&mut self, frame: &[u8], announced: usize, limits: &BodyLimits) -> Option<()> {
        let (held, needed) = (self.bytes.len(), self.bytes.len() + frame.len());
        if needed > self.bytes.capacity() {
            // Memory is not taken on the word of a Content-Length alone.
            let step = if held < FAST { 4 * held } else { 2 * held };
            let most = if announced >= needed { announced } else { limits.max_bytes };
            let room = step.max(announced.min(SMALL)).min(most).max(needed);
            if room > SMALL {
                limits.budget.grow(&mut self.share, room).await?;
            }
            self.bytes.reserve_exact(room - held);
        }
        self.bytes.extend_from_slice(frame);
        Some(())
    }

    fn finish(self) -> Bytes {
        match self.share.is_none() {
            true => Bytes::from(self.bytes),
            false => self.share.hold(self.bytes),
        }
    }
}

/// A body that comes in.
struct Incoming<'a> {
    body: Body,
    limits: &'a BodyLimits,
    deadline: Option<Instant>,
    speed: Speed,
}

impl Incoming<'_> {
    /// The next data; `None` at the end. Trailers are skipped.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = match self.body.frame().now_or_never() {
                Some(frame) => frame,
                None => self.wait().await?,
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Problem::bad_request(format!("the body broke off: {error}"))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// What comes after a wait, for which the client is held to its pace.
    async fn wait(&mut self) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, Problem> {
        let BodyLimits { stall, pace, budget, .. } = self.limits;
        let silent = Instant::now() + stall.std();
        let mut since = Instant::now();
        loop {
            let until = silent.min(since + LOOK);
            let until = self.deadline.map_or(until, |deadline| until.min(deadline));
            let frame = timeout_at(until, self.body.frame()).await.ok();
            let now = Instant::now();
            if frame.is_none() && self.deadline.is_some_and(|deadline| now >= deadline) {
                return Err(Problem::timeout(
                    "the body was not here when the time for this request was over",
                ));
            }
            if frame.is_none() && now >= silent {
                return Err(Problem::timeout(format!(
                    "nothing of the body came for {stall} (server.stall_timeout)"
                )));
            }
            let bytes = match &frame {
                Some(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            if self.speed.is_too_slow(now - since, bytes, *pace, budget.is_short()) {
                return Err(Problem::timeout(format!(
                    "the body came slower than {} bytes a second (limits.min_rate_bytes)",
                    pace.rate
                )));
            }
            if let Some(frame) = frame {
                return Ok(frame);
            }
            since = now;
        }
    }

    async fn too_large(&mut self, head: &Parts) -> Problem {
        let allowed = self.limits.max_bytes;
        let problem = Problem::too_large(format!(
            "the body has more than the {allowed} bytes allowed (limits.body_bytes); send several"
        ));
        self.refuse(head, problem).await
    }

    /// The problem, after some more of the body was read and dropped: a client that is still sending when the connection
    /// closes would see a reset instead of this answer. One that waits for `100 Continue` sends nothing.
    async fn refuse(&mut self, head: &Parts, problem: Problem) -> Problem {
        if !head.headers.contains_key(header::EXPECT) {
            let most = self.limits.max_bytes.saturating_mul(DROPPED);
            let mut dropped = 0;
            self.deadline = Some(Instant::now() + self.limits.stall.std());
            while dropped <= most
                && let Ok(Some(data)) = self.next().await
            {
                dropped += data.len();
            }
        }
        problem
    }
}
