//! A node in this process: in the foreground until a signal, or on a thread of its own.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use actix::System;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    actor::Link,
    clock::Clock,
    config::Config,
    http::{App, Seats, Workers},
    node::{
        NodeError,
        start::{Node, start},
    },
    offline::actor::SegmentWriterActor,
    shard::{
        Flushed,
        integrity::{ONLINE, settle},
    },
};

/// The exit code after a second SIGTERM or SIGINT: the drain was cut short (128 + SIGTERM).
const CUT_SHORT: i32 = 143;

/// Runs a node until SIGTERM or SIGINT, then drains it. A second signal ends the process at once.
pub fn run(config: Config, clock: Clock) -> Result<(), NodeError> {
    let online = config.data.dir.join(ONLINE);
    let flushed = in_system(config.server.workers, async move |seats| {
        let deadline = config.server.drain_deadline.std();
        let restart_after = config.durability.restart_after.std();
        let room = config.data.reserve_bytes.bytes() / 2;
        let node = start(config, clock, seats).await?;
        let failure = tokio::select! {
            () = wait_for_signal() => None,
            failure = node.failed(restart_after, room) => Some(failure),
        };
        if let Some(why) = &failure {
            tracing::error!(why, "the online store takes no more writes: the node ends, to be started again");
        }
        tracing::info!("draining; a second signal ends the process at once");
        tokio::spawn(async {
            wait_for_signal().await;
            std::process::exit(CUT_SHORT);
        });
        let flushed = node.drain(deadline).await;
        failure.map_or(Ok(flushed), |why| Err(NodeError::Failed(why)))
    })?;
    forget_journal(&online, flushed);
    Ok(())
}

/// When nothing of the node is left.
fn forget_journal(online: &Path, flushed: Option<Flushed>) {
    match flushed.map(|flushed| settle(online, flushed)) {
        Some(Ok(true)) => tracing::info!("stopped; the next start has nothing to replay"),
        Some(Err(error)) => tracing::warn!(%error, "stopped; the next start replays the journal"),
        Some(Ok(false)) | None => tracing::info!("stopped; the next start replays the journal"),
    }
}

/// A node on a thread of its own: for the demo and for tests.
pub struct Running {
    address: SocketAddr,
    app: Arc<App>,
    writer: Link<SegmentWriterActor>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), NodeError>>>,
}

/// Returns when the node is ready.
pub fn spawn(config: Config, clock: Clock) -> Result<Running, NodeError> {
    let (ready, started) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("larder-node".to_owned()).spawn(move || {
        let online = config.data.dir.join(ONLINE);
        let flushed = in_system(config.server.workers, async move |seats| {
            let deadline = config.server.drain_deadline.std();
            let node: Node = match start(config, clock, seats).await {
                Ok(node) => node,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return Ok(None);
                }
            };
            let _ = ready.send(Ok((node.address, Arc::clone(&node.app), node.writer.clone())));
            // Also when the handle is dropped.
            let _ = stopped.await;
            Ok(node.drain(deadline).await)
        })?;
        forget_journal(&online, flushed);
        Ok(())
    });
    let thread = thread.map_err(NodeError::Runtime)?;
    let (address, app, writer) = started
        .recv()
        .map_err(|_| NodeError::Start("the node's thread ended before it was ready".to_owned()))??;
    Ok(Running { address, app, writer, stop: Some(stop), thread: Some(thread) })
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the handlers see: for tests that look inside.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// For tests that stop or break it.
    pub fn writer(&self) -> &Link<SegmentWriterActor> {
        &self.writer
    }

    /// Blocks until SIGINT or SIGTERM.
    pub fn wait_for_signal(&self) {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(wait_for_signal());
        }
    }

    /// Drains the node and waits for its end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Threads of the runtime that accepts, ticks and drains.
const NODE_THREADS: usize = 2;

/// Runs a future in an actix system on a multi-thread runtime, beside `workers` threads that serve connections.
fn in_system<T>(
    workers: usize,
    future: impl AsyncFnOnce(Seats) -> Result<T, NodeError>,
) -> Result<T, NodeError> {
    let workers =
        if workers == 0 { std::thread::available_parallelism().map_or(2, usize::from) } else { workers };
    // Built here, so that a failure is an error and not a panic inside actix.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NODE_THREADS)
        .thread_name("larder-node")
        .enable_all()
        .build()
        .map_err(NodeError::Runtime)?;
    let workers = Workers::start(workers).map_err(NodeError::Runtime)?;
    let done = System::with_tokio_rt(move || runtime).block_on(future(workers.seats()));
    // What they still had to do is done before this returns, and nothing of the node is left.
    drop(workers);
    done
}

async fn wait_for_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without signal handlers the default action ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
