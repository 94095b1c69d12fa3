//! Building a node, bottom-up: its stores, the actors that write them, what requests are answered with, HTTP, time.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Instant,
};

use actix::{Addr, Arbiter};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    actor::Link,
    clock::Clock,
    config::Config,
    http::{self, App, Readiness, Seats},
    metrics,
    node::{
        NodeError,
        actors::Actors,
        reserve::Reserve,
        serving,
        stores::{Opened, Stores},
        supervisor::NodeSupervisor,
        tables::TableOpener,
        ticks,
    },
    offline::actor::SegmentWriterActor,
    shard::{Shards, Store},
    sql::{Sql, SqlLimits},
};

/// A node that serves. Dropping it stops nothing: see [`super::stop`].
pub struct Node {
    pub address: SocketAddr,
    pub app: Arc<App>,
    pub writer: Link<SegmentWriterActor>,
    pub(super) store: Store,
    pub(super) reserve: Reserve,
    pub(super) supervisor: Addr<NodeSupervisor>,
    pub(super) seal_until: Arc<OnceLock<Instant>>,
    pub(super) arbiters: Vec<(&'static str, Arbiter)>,
    pub(super) http: JoinHandle<()>,
    pub(super) stop_http: watch::Sender<bool>,
    pub(super) ticks: Vec<JoinHandle<()>>,
    pub(super) opener: TableOpener,
}

/// `seats`: where its connections are served.
pub async fn start(config: Config, clock: Clock, seats: Seats) -> Result<Node, NodeError> {
    let config = Arc::new(config);
    let metrics = metrics::install()?;
    // First of all, so that a wrong address or a second node is noticed before any work.
    let listener = bind(config.server.listen).await?;
    let address = listener.local_addr().map_err(NodeError::Runtime)?;

    let Opened { stores, registry, reserve, violations } = Stores::open(&config, &clock)?;
    let sql = Sql::new(stores.inputs(), SqlLimits::from(&config.limits))?;
    let actors = Actors::start(&stores, registry, &sql)?;
    let readiness = Readiness::starting();
    refuse_writes_where_damaged(violations, &readiness, &actors.shards, &config.data.dir);
    // Reads of everything else go on where a damaged store makes this fail.
    if let Err(error) = actors.shards.reconcile().await {
        tracing::error!(%error, "window states cannot be read");
    }
    let app = Arc::new(serving::app(&stores, &actors, sql, readiness.clone(), metrics)?);

    let (stop_http, stopped) = watch::channel(false);
    let http = tokio::spawn(http::serve(listener, seats, Arc::clone(&app), stopped));
    let Actors { writer, shards, supervisor, seal_until, arbiters, .. } = actors;
    let scrub_bytes = config.offline.scrub_bytes_per_second.bytes();
    let mut ticks =
        ticks::start(&shards, &writer, &app.doors.parts.backfills, &app.doors.parts.runs, scrub_bytes);
    ticks.push(reserve.clone().watch(shards.clone(), config.ingest.min_free_bytes.bytes()));
    ticks.push(ticks::measure(stores.online.clone(), stores.cache.clone()));
    let opener = TableOpener::start(&stores, &shards, &readiness)?;
    readiness.remove(Readiness::STARTING);
    tracing::info!(%address, data = %config.data.dir.display(), shards = stores.shard_count, "ready");
    let store = stores.online;
    Ok(Node {
        address,
        app,
        writer,
        store,
        reserve,
        supervisor,
        seal_until,
        arbiters,
        http,
        stop_http,
        ticks,
        opener,
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Bind { address, source })
}

/// Each violation is a reason not to be ready, and one is enough to take no more writes: a number that was given out
/// for a row that is gone must not be given out again.
fn refuse_writes_where_damaged(violations: Vec<String>, readiness: &Readiness, shards: &Shards, data: &Path) {
    if violations.is_empty() {
        return;
    }
    let data = data.display();
    shards.refuse_writes(&format!(
        "the data directory is damaged in {} places, which /readyz names; stop the node and run `larder repair {data}`",
        violations.len()
    ));
    for violation in violations {
        tracing::error!(%violation, "an invariant does not hold");
        readiness.add(violation);
    }
}
