//! The accept loop: how many connections, how long each may dawdle, and how they end.

use std::{convert::Infallible, future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header},
    response::IntoResponse,
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::AsyncWrite,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    RequestId,
    budget::Budget,
    complete::complete,
    pace::Pace,
    problem::{self, Problem},
    stall::Stall,
    workers::Seats,
};
use crate::{
    config::{LimitsConfig, ServerConfig},
    metrics::{HTTP_CONNECTIONS, HTTP_REFUSED_CONNECTIONS},
};

/// Connections that are told at once that there are too many; beyond, they are closed without a word.
const MAX_REFUSALS: usize = 64;

/// Before the next accept when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub max_connections: usize,
    pub first_byte_timeout: Duration,
    /// For a request's head, and for an idle kept-alive connection.
    pub header_timeout: Duration,
    /// For an answer that the client does not take.
    pub stall_timeout: Duration,
    pub drain_deadline: Duration,
    /// How fast a client must take its answer.
    pub pace: Pace,
    pub budget: Budget,
    /// What the connection's buffer must hold for the edge to be the one that refuses long heads.
    pub head_bytes: usize,
}

impl ServerOptions {
    pub fn new(server: &ServerConfig, limits: &LimitsConfig, budget: Budget) -> ServerOptions {
        ServerOptions {
            max_connections: server.max_connections,
            first_byte_timeout: server.first_byte_timeout.std(),
            header_timeout: server.header_timeout.std(),
            stall_timeout: server.stall_timeout.std(),
            drain_deadline: server.drain_deadline.std(),
            pace: Pace::new(server, limits),
            budget,
            head_bytes: limits.header_bytes.as_usize() + limits.url_bytes.as_usize(),
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had a request in flight at the deadline, and were closed.
    pub cut: usize,
}

/// Serves `router` on `listener`, each connection on one of `seats`, until `stop` is ready; then accepts nothing more, closes
/// idle connections, lets requests in flight finish until the drain deadline, and returns. Wrap the router with [`super::edge::wrap`] first.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    seats: Seats,
    options: ServerOptions,
    stop: impl Future<Output = ()>,
) -> Drained {
    let options = Arc::new(options);
    let open = Arc::new(Semaphore::new(options.max_connections));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        // Taken off this thread, to be served on another.
        let stream = match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let seat = seats.take();
        let runtime = seat.runtime();
        if let Ok(permit) = open.clone().try_acquire_owned() {
            let service = TowerToHyperService::new(router.clone());
            let serving = connection(stream, service, options.clone(), stopped.clone());
            let serving = async move {
                let _counted = Counted::new();
                serving.await;
                drop((permit, seat));
            };
            connections.spawn_on(serving, &runtime);
        } else {
            metrics::counter!(HTTP_REFUSED_CONNECTIONS).increment(1);
            if let Ok(permit) = refusals.clone().try_acquire_owned() {
                let serving = connection(stream, service_fn(refuse), options.clone(), stopped.clone());
                let serving = async move {
                    serving.await;
                    drop((permit, seat));
                };
                connections.spawn_on(serving, &runtime);
            }
        }
    }
    drop(listener);
    let _ = stopping.send(true);
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    let _ = timeout(options.drain_deadline, finish).await;
    let cut = connections.len();
    if cut > 0 {
        tracing::warn!(cut, "connections closed with requests in flight: the drain deadline has passed");
    }
    connections.shutdown().await;
    Drained { cut }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended in a panic");
    }
}

/// One connection, from its first byte to its end.
async fn connection<S>(
    stream: std::net::TcpStream,
    service: S,
    options: Arc<ServerOptions>,
    mut stopped: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Unpin,
{
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be served");
            return;
        }
    };
    let mut byte = [0];
    let first_byte = timeout(options.first_byte_timeout, stream.peek(&mut byte));
    let spoke = tokio::select! {
        peeked = first_byte => matches!(peeked, Ok(Ok(1))),
        () = told(&mut stopped) => false,
    };
    if !spoke {
        return;
    }
    // Small answers must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);

    let stream = Stall::new(stream, options.stall_timeout, options.pace, options.budget.clone());
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        // Room above the limits, so that the edge answers what is too long, with a problem; hyper's answer is bare.
        .max_buf_size((4 * options.head_bytes).max(64 << 10))
        // At most 100 headers, hyper's own bound, and its bare answer: a bound of ours would cost each request 2 µs.
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = told(&mut stopped) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
        let parts = connection.into_parts();
        if error.is_timeout() && !parts.read_buf.is_empty() {
            head_timed_out(parts.io.into_inner().into_inner(), options.header_timeout).await;
        }
    }
}

/// Ready once the server was told to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Tells a client that was too slow with its request's head; hyper closes without a word.
async fn head_timed_out(mut stream: TcpStream, allowed: Duration) {
    let id = RequestId::of(&HeaderMap::new());
    let problem =
        Problem::timeout(format!("the request's head took longer than {allowed:?} (server.header_timeout)"));
    let body = problem.json(Some(id.as_str()));
    let mut answer = format!(
        "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n{}: {}\r\nconnection: close\r\n\r\n",
        StatusCode::REQUEST_TIMEOUT,
        problem::CONTENT_TYPE,
        body.len(),
        RequestId::HEADER,
        id.as_str()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    // The first thing written on this connection, or the answer before was taken: there is room, or nobody to tell.
    let _ = stream.try_write(&answer);
    let _ = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await;
}

async fn refuse(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let id = RequestId::of(request.headers());
    let problem = Problem::unavailable("too many connections are open (server.max_connections)");
    let (mut response, _) = complete(problem.into_response(), &id).await;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

/// An open connection, counted.
struct Counted;

impl Counted {
    fn new() -> Counted {
        metrics::gauge!(HTTP_CONNECTIONS).increment(1.0);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!(HTTP_CONNECTIONS).decrement(1.0);
    }
}
