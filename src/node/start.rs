//! Building a node, bottom-up.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Instant};

use actix::{Actor, Addr, Arbiter};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::{
    actor::{DeathWatch, Died, Link},
    backfill::{self, Backfills},
    backup::{Backups, Origin, check_restored},
    clock::Clock,
    config::{Config, DurabilityMode},
    http::{self, App, Readiness, Seats},
    ingest::{DecodeLimits, Ingest, Meters, Turns},
    metrics,
    node::{
        NodeError,
        reserve::Reserve,
        supervisor::{NodeSupervisor, Start, Watch},
        ticks,
    },
    offline::{OfflineOptions, OfflineStore, Scrubber, actor::SegmentWriterActor},
    registry::{CatalogHandle, Queries, Registry, actor::RegistryActor},
    serve::{
        Plans, ReadLimits, Reads,
        sets::{self, Sets},
    },
    shard::{
        Answers, CommittedTables, Durability, FjallRegistryLog, Outbox, Quarantine, RowCache, RunLog, Shard,
        ShardOptions, ShardReader, Shards, Store, StoreOptions, StreamDuty, StreamReader, Streams, Warming,
        WriteLimits,
        actor::{ActorState, SealPolicy, ShardActor},
        free_bytes,
        integrity::{OFFLINE, ONLINE},
        recover,
    },
    sql::{self, Runs, Sql, SqlLimits},
};

/// A node that serves. Dropping it stops nothing: see [`super::stop`].
pub struct Node {
    pub address: SocketAddr,
    pub app: Arc<App>,
    pub writer: Link<SegmentWriterActor>,
    pub(super) store: Store,
    pub(super) reserve: Reserve,
    pub(super) arbiters: Vec<(&'static str, Arbiter)>,
    pub(super) http: JoinHandle<()>,
    pub(super) stop_http: watch::Sender<bool>,
    pub(super) ticks: Vec<JoinHandle<()>>,
}

/// A table whose outbox holds this many times the rows of a seal takes no more writes until sealing caught up.
const BACKLOG_FACTOR: u64 = 16;
/// Training sets built at the same time: each may use all cores and much memory.
const TRAINING_SLOTS: usize = 2;
/// Reads of windows from history at the same time.
const HISTORY_SLOTS: usize = 2;
/// Their spines are in memory while they wait.
const TRAINING_QUEUE: usize = 16;

/// `seats`: where its connections are served.
pub async fn start(config: Config, clock: Clock, seats: Seats) -> Result<Node, NodeError> {
    let config = Arc::new(config);
    let metrics_handle = metrics::install()?;
    // First of all, so that a wrong address or a second node is noticed before any work.
    let listener = bind(config.server.listen).await?;
    let address = listener.local_addr().map_err(NodeError::Runtime)?;

    let data = config.data.dir.clone();
    check_restored(&data)?;
    create_dir(&data.join(ONLINE))?;
    create_dir(&data.join(OFFLINE))?;
    let reserve = Reserve::new(&data, config.data.reserve_bytes.bytes());
    // What was not written out before the node ended is written out by what follows.
    reserve.adjust(free_bytes(&data), config.ingest.min_free_bytes.bytes(), false);
    let options = StoreOptions::from(&config.online);
    let (store, shard_count) = Store::open(&data.join(ONLINE), options, usize::from(config.online.shards))?;
    let catalog = CatalogHandle::default();
    let registry =
        Registry::open(Box::new(FjallRegistryLog::new(store.clone())), clock.clone(), catalog.clone())?;

    let offline = OfflineStore::open(
        &data.join(OFFLINE),
        OfflineOptions {
            compression: config.offline.compression,
            compact_min_segments: config.offline.compact_segments,
            segment_rows: config.offline.segment_rows,
            ..OfflineOptions::default()
        },
    )?;
    let committed = CommittedTables::default();
    let streams = Streams::default();
    let mut sealed = std::collections::BTreeMap::new();
    for (table, schemas) in &catalog.current().tables {
        if let Some(schema) = schemas.last() {
            let snapshot = offline.table(schema)?.snapshot();
            let rows = snapshot.segments.iter().map(|segment| segment.rows).sum();
            metrics::record_segments(&schema.name, snapshot.segments.len(), rows);
            sealed.insert(*table, snapshot.sealed_seq);
        }
    }
    let violations = recover(&store, &committed, &clock, &catalog.current(), &sealed)?;

    let readiness = Readiness::starting();
    let control = Arbiter::new();
    let supervisor = NodeSupervisor::start_in_arbiter(&control.handle(), |_| NodeSupervisor::default());
    let outbox = Arc::new(Outbox::new(store.clone(), committed.clone(), catalog.clone()));
    let inputs =
        sql::Inputs { catalog: catalog.clone(), offline: Arc::clone(&offline), tail: outbox.clone() };
    let sql = Sql::new(inputs.clone(), SqlLimits::from(&config.limits))?;
    let registry_link = start_registry(registry, &sql, &store, &catalog, &clock, &control, &supervisor);

    let segments = Arbiter::new();
    let writer = start_writer(&config, &offline, &outbox, &catalog, &clock, &segments, &supervisor)?;

    let cache = RowCache::new(config.online.cache_bytes.as_usize());
    let limits = WriteLimits {
        in_flight: config.ingest.max_in_flight_bytes.as_usize(),
        backlog_rows: (config.offline.seal_rows as u64).saturating_mul(BACKLOG_FACTOR),
        backlog_bytes: config.offline.seal_bytes.bytes().saturating_mul(BACKLOG_FACTOR),
        min_free: config.ingest.min_free_bytes.bytes(),
        data_dir: data.clone(),
    };
    let shards = Shards::new(shard_count, committed.clone(), limits);
    refuse_writes_where_damaged(violations, &readiness, &shards, &data);
    let mut arbiters = vec![("segment writer", segments), ("control", control)];
    for index in 0..shard_count {
        let arbiter = Arbiter::new();
        let parts = ShardParts {
            index,
            config: Arc::clone(&config),
            store: store.clone(),
            cache: cache.clone(),
            committed: committed.clone(),
            catalog: catalog.clone(),
            streams: streams.clone(),
            clock: clock.clone(),
            shards: shards.clone(),
            writer: writer.clone(),
            supervisor: supervisor.clone(),
        };
        parts.start(&arbiter)?;
        arbiters.push(("shard", arbiter));
    }

    // Reads of everything else go on where a damaged store makes this fail.
    if let Err(error) = shards.reconcile().await {
        tracing::error!(%error, "window states cannot be read");
    }
    let (warm, warm_state) = (shards.clone(), shards.clone());
    let stream_reader = StreamReader::new(
        store.clone(),
        cache.clone(),
        Arc::new(move |source, key| warm_state.warm(source, Warming::State, key)),
    );
    let reader = ShardReader::new(
        store.clone(),
        cache,
        Arc::new(move |table, key| warm.warm(table, Warming::Row, key)),
    );
    let tail: Arc<Outbox> = Arc::clone(&outbox);
    let scrub = Arc::clone(offline.scrub_log());
    let backfills = Arc::new(Backfills::new(backfill::Origin {
        catalog: catalog.clone(),
        streams: streams.clone(),
        shards: shards.clone(),
        offline: Arc::clone(&offline),
        tail: tail.clone(),
        clock: clock.clone(),
    }));
    let backups = Backups::new(Origin {
        store: store.clone(),
        offline: Arc::clone(&offline),
        catalog: catalog.clone(),
        shards: shards.clone(),
        clock: clock.clone(),
        data: data.clone(),
    });
    let runs = Runs::new(
        sql.clone(),
        sql::Origin {
            inputs,
            shards: shards.clone(),
            log: RunLog::new(store.clone()),
            limits: decode_limits(&config),
            memory: config.limits.sql_memory.as_usize(),
            clock: clock.clone(),
        },
    );
    let reads = Arc::new(Reads {
        catalog: catalog.clone(),
        reader,
        streams: streams.clone(),
        stream_reader,
        offline,
        tail,
        clock: clock.clone(),
        limits: ReadLimits {
            entities: config.limits.entities_per_read,
            features: config.limits.features_per_read,
            value_bytes: config.limits.string_bytes.as_usize(),
        },
        plans: Plans::default(),
    });
    let sets = Sets::open(sets::Origin {
        reads: Arc::clone(&reads),
        shards: shards.clone(),
        clock: clock.clone(),
        data: data.clone(),
        limit_bytes: config.limits.training_set_bytes.bytes(),
    })?;
    let app = Arc::new(App {
        sql,
        runs: runs.clone(),
        ingest: Ingest {
            catalog: catalog.clone(),
            shards: shards.clone(),
            streams,
            answers: Answers::new(store.clone()),
            clock: clock.clone(),
            limits: decode_limits(&config),
            max_body: config.limits.body_bytes.as_usize(),
            max_ratio: usize::try_from(config.limits.decompression_ratio).unwrap_or(usize::MAX),
            retrying: Arc::default(),
            meters: Meters::default(),
            turns: Turns::default(),
        },
        reads,
        quarantine: Quarantine::new(store.clone()),
        backups: Arc::new(backups),
        backfills: Arc::clone(&backfills),
        sets: Arc::new(sets),
        scrub,
        config: Arc::clone(&config),
        clock,
        catalog,
        registry: registry_link,
        shards: shards.clone(),
        readiness: readiness.clone(),
        metrics: metrics_handle,
        started: Instant::now(),
        training_slots: Arc::new(Semaphore::new(TRAINING_SLOTS)),
        history_slots: Arc::new(Semaphore::new(HISTORY_SLOTS)),
        training_queue: Arc::new(Semaphore::new(TRAINING_QUEUE)),
    });
    let (stop_http, stopped) = watch::channel(false);
    let http = tokio::spawn(http::serve(listener, seats, Arc::clone(&app), stopped));
    let mut ticks =
        ticks::start(&shards, &writer, &backfills, &runs, config.offline.scrub_bytes_per_second.bytes());
    ticks.push(reserve.clone().watch(shards.clone(), config.ingest.min_free_bytes.bytes()));
    readiness.remove(Readiness::STARTING);
    tracing::info!(%address, data = %data.display(), shards = shard_count, "ready");
    Ok(Node { address, app, writer, store, reserve, arbiters, http, stop_http, ticks })
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

async fn bind(address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Bind { address, source })
}

fn create_dir(path: &Path) -> Result<(), NodeError> {
    std::fs::create_dir_all(path).map_err(|source| NodeError::DataDir { path: path.to_owned(), source })
}

/// Rows take more room as Arrow than as text: a number that is 8 bytes there may be 2 in CSV.
const DECODED_FACTOR: usize = 4;

fn decode_limits(config: &Config) -> DecodeLimits {
    let limits = &config.limits;
    DecodeLimits {
        max_json_rows: limits.json_rows,
        max_json_depth: limits.json_depth,
        max_string: limits.string_bytes.as_usize(),
        max_key: limits.key_bytes.as_usize(),
        max_decoded_bytes: limits.body_bytes.as_usize().saturating_mul(DECODED_FACTOR),
    }
}

/// Starts an actor now and, through the supervisor, whenever it died.
fn supervised(supervisor: &Addr<NodeSupervisor>, actor: &str, start: Start) -> Result<(), NodeError> {
    start().map_err(NodeError::Start)?;
    supervisor.do_send(Watch { actor: actor.to_owned(), start });
    Ok(())
}

fn death_watch(actor: &str, supervisor: &Addr<NodeSupervisor>) -> DeathWatch {
    DeathWatch::new(actor, supervisor.clone().recipient::<Died>())
}

fn start_registry(
    registry: Registry,
    sql: &Sql,
    store: &Store,
    catalog: &CatalogHandle,
    clock: &Clock,
    control: &Arbiter,
    supervisor: &Addr<NodeSupervisor>,
) -> Link<RegistryActor> {
    const NAME: &str = "registry";
    let link = Link::unset();
    let watch = death_watch(NAME, supervisor);
    let queries: Arc<dyn Queries> = Arc::new(sql.clone());
    let registry = registry.with_queries(Arc::clone(&queries));
    link.set(RegistryActor::start_in_arbiter(&control.handle(), move |_| RegistryActor { registry, watch }));
    let (handle, again) = (control.handle(), link.clone());
    let (store, catalog, clock, boss) = (store.clone(), catalog.clone(), clock.clone(), supervisor.clone());
    let start: Start = Box::new(move || {
        let log = Box::new(FjallRegistryLog::new(store.clone()));
        let registry = Registry::open(log, clock.clone(), catalog.clone()).map_err(|e| e.to_string())?;
        let registry = registry.with_queries(Arc::clone(&queries));
        let watch = death_watch(NAME, &boss);
        again.set(RegistryActor::start_in_arbiter(&handle, move |_| RegistryActor { registry, watch }));
        Ok(())
    });
    supervisor.do_send(Watch { actor: NAME.to_owned(), start });
    link
}

fn start_writer(
    config: &Arc<Config>,
    store: &Arc<OfflineStore>,
    outbox: &Arc<Outbox>,
    catalog: &CatalogHandle,
    clock: &Clock,
    arbiter: &Arbiter,
    supervisor: &Addr<NodeSupervisor>,
) -> Result<Link<SegmentWriterActor>, NodeError> {
    const NAME: &str = "segment writer";
    let link = Link::unset();
    let (handle, again, config) = (arbiter.handle(), link.clone(), Arc::clone(config));
    let (store, outbox, catalog) = (Arc::clone(store), Arc::clone(outbox), catalog.clone());
    let (clock, boss) = (clock.clone(), supervisor.clone());
    let start: Start = Box::new(move || {
        let actor = SegmentWriterActor {
            store: Arc::clone(&store),
            unsealed: outbox.clone(),
            catalog: catalog.clone(),
            clock: clock.clone(),
            chunk_rows: config.offline.seal_rows,
            vacuum_after: config.offline.vacuum_after.std(),
            log_retention: config.offline.log_retention.std(),
            scrubber: Scrubber::new(Arc::clone(&store)),
            watch: death_watch(NAME, &boss),
        };
        again.set(SegmentWriterActor::start_in_arbiter(&handle, move |_| actor));
        Ok(())
    });
    supervised(supervisor, NAME, start)?;
    Ok(link)
}

/// Everything that an instance of a shard is made of.
struct ShardParts {
    index: usize,
    config: Arc<Config>,
    store: Store,
    cache: RowCache,
    committed: CommittedTables,
    catalog: CatalogHandle,
    streams: Streams,
    clock: Clock,
    shards: Shards,
    writer: Link<SegmentWriterActor>,
    supervisor: Addr<NodeSupervisor>,
}

impl ShardParts {
    fn start(self, arbiter: &Arbiter) -> Result<(), NodeError> {
        let (handle, supervisor) = (arbiter.handle(), self.supervisor.clone());
        let name = format!("shard {}", self.index);
        let link = self.shards.link(self.index).clone();
        let start: Start = Box::new(move || {
            let actor = self.build();
            link.set(ShardActor::start_in_arbiter(&handle, move |_| actor));
            Ok(())
        });
        supervised(&supervisor, &name, start)
    }

    fn build(&self) -> ShardActor {
        let name = format!("shard {}", self.index);
        let durability = match self.config.durability.mode {
            DurabilityMode::Fsync => Durability::Fsync,
            DurabilityMode::Interval => Durability::Interval,
            DurabilityMode::Buffer => Durability::Buffer,
        };
        let options = ShardOptions { durability, quarantine_rows: self.config.ingest.quarantine_rows as u64 };
        let (index, shards) = (self.index, self.shards.clone());
        let duty = StreamDuty {
            catalog: self.catalog.clone(),
            streams: self.streams.clone(),
            owns: Box::new(move |source| shards.shard_of(source) == index),
        };
        ShardActor {
            shard: Shard::new(
                self.index.to_string(),
                self.store.clone(),
                self.cache.clone(),
                self.committed.clone(),
                self.clock.clone(),
                options,
                duty,
            ),
            index: self.index,
            shards: self.shards.count(),
            status: Arc::clone(self.shards.status(self.index)),
            committed: self.committed.clone(),
            catalog: self.catalog.clone(),
            clock: self.clock.clone(),
            writer: self.writer.clone(),
            seal: SealPolicy {
                rows: self.config.offline.seal_rows as u64,
                bytes: self.config.offline.seal_bytes.bytes(),
                after: self.config.offline.seal_after.std(),
            },
            durability,
            sync_interval: self.config.durability.interval.std(),
            answers_kept: self.config.ingest.idempotency_window.std(),
            watch: death_watch(&name, &self.supervisor),
            state: ActorState::default(),
        }
    }
}
