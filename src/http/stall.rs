//! A stream whose writer gives up when the other side takes nothing, or too little.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    budget::Budget,
    pace::{Pace, Speed},
};

/// How often the speed of a client that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Reads and writes as the stream does; a write fails with `TimedOut` that makes no progress for `patience`, or whose client is
/// slower than its pace.
pub(super) struct Stall {
    stream: TcpStream,
    patience: Duration,
    pace: Pace,
    budget: Budget,
    speed: Speed,
    /// While a write waits.
    wait: Option<Wait>,
}

struct Wait {
    began: Instant,
    /// Up to when the client's speed was looked at.
    looked: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Stall {
    pub(super) fn new(stream: TcpStream, patience: Duration, pace: Pace, budget: Budget) -> Stall {
        Stall { stream, patience, pace, budget, speed: Speed::default(), wait: None }
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn watch(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &outcome {
            if let Some(wait) = self.wait.take() {
                let bytes = *written.as_ref().unwrap_or(&0);
                if self.is_too_slow(wait.looked, bytes) {
                    return Poll::Ready(Err(too_slow("the client takes its answer too slowly")));
                }
            }
            return outcome;
        }
        loop {
            let patience = self.patience;
            let wait = self.wait.get_or_insert_with(|| {
                let now = Instant::now();
                Wait { began: now, looked: now, timer: Box::pin(sleep_until(now + LOOK.min(patience))) }
            });
            ready!(wait.timer.as_mut().poll(cx));
            let (now, began, looked) = (Instant::now(), wait.began, wait.looked);
            wait.looked = now;
            wait.timer.as_mut().reset((now + LOOK).min(began + patience).max(now + Duration::from_millis(1)));
            if now >= began + patience {
                return Poll::Ready(Err(too_slow("the client takes nothing of its answer")));
            }
            if self.is_too_slow(looked, 0) {
                return Poll::Ready(Err(too_slow("the client takes its answer too slowly")));
            }
        }
    }

    fn is_too_slow(&mut self, looked: Instant, bytes: usize) -> bool {
        self.speed.is_too_slow(looked.elapsed(), bytes, self.pace, self.budget.is_short())
    }
}

fn too_slow(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl AsyncRead for Stall {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stall {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
