//! The actors, each born with what it sends to, and started again when it dies.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use actix::{Actor, Addr, Arbiter};

use crate::{
    actor::{DeathWatch, Died, Link, registry::RegistryActor},
    node::{
        NodeError,
        shards::{self, ShardParts},
        stores::Stores,
        supervisor::{NodeSupervisor, Start, Watch},
    },
    offline::{Scrubber, actor::SegmentWriterActor},
    priority,
    registry::{Queries, Registry},
    shard::{FjallRegistryLog, Shards},
    sql::Sql,
};

pub(super) struct Actors {
    pub registry: Link<RegistryActor>,
    pub writer: Link<SegmentWriterActor>,
    pub shards: Shards,
    pub supervisor: Addr<NodeSupervisor>,
    /// When the writer is to seal no more.
    pub seal_until: Arc<OnceLock<Instant>>,
    /// Their threads.
    pub arbiters: Vec<(&'static str, Arbiter)>,
}

impl Actors {
    /// `sql` checks the queries of definitions.
    pub fn start(stores: &Stores, registry: Registry, sql: &Sql) -> Result<Actors, NodeError> {
        let control = Arbiter::new();
        let supervisor = NodeSupervisor::start_in_arbiter(&control.handle(), |_| NodeSupervisor::default());
        let registry = start_registry(stores, registry, sql, &control, &supervisor);
        let segments = Arbiter::new();
        segments.spawn_fn(priority::may_wait);
        let seal_until = Arc::default();
        let writer = start_writer(stores, &segments, &supervisor, &seal_until)?;
        let shards = Shards::new(stores.shard_count, stores.committed.clone(), shards::write_limits(stores));
        let mut arbiters = vec![("segment writer", segments), ("control", control)];
        for index in 0..stores.shard_count {
            let arbiter = Arbiter::new();
            let parts = ShardParts {
                index,
                stores: stores.clone(),
                shards: shards.clone(),
                writer: writer.clone(),
                supervisor: supervisor.clone(),
            };
            parts.start(&arbiter)?;
            arbiters.push(("shard", arbiter));
        }
        Ok(Actors { registry, writer, shards, supervisor, seal_until, arbiters })
    }
}

/// Starts an actor now and, through the supervisor, whenever it died.
pub(super) fn supervised(
    supervisor: &Addr<NodeSupervisor>,
    actor: &str,
    start: Start,
) -> Result<(), NodeError> {
    start().map_err(NodeError::Start)?;
    supervisor.do_send(Watch { actor: actor.to_owned(), start });
    Ok(())
}

pub(super) fn death_watch(actor: &str, supervisor: &Addr<NodeSupervisor>) -> DeathWatch {
    DeathWatch::new(actor, supervisor.clone().recipient::<Died>())
}

fn start_registry(
    stores: &Stores,
    registry: Registry,
    sql: &Sql,
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
    let (stores, boss) = (stores.clone(), supervisor.clone());
    let start: Start = Box::new(move || {
        let log = Box::new(FjallRegistryLog::new(stores.online.clone()));
        let registry = Registry::open(log, stores.clock.clone(), stores.catalog.clone());
        let registry = registry.map_err(|e| e.to_string())?.with_queries(Arc::clone(&queries));
        let watch = death_watch(NAME, &boss);
        again.set(RegistryActor::start_in_arbiter(&handle, move |_| RegistryActor { registry, watch }));
        Ok(())
    });
    supervisor.do_send(Watch { actor: NAME.to_owned(), start });
    link
}

fn start_writer(
    stores: &Stores,
    arbiter: &Arbiter,
    supervisor: &Addr<NodeSupervisor>,
    until: &Arc<OnceLock<Instant>>,
) -> Result<Link<SegmentWriterActor>, NodeError> {
    const NAME: &str = "segment writer";
    let link = Link::unset();
    let (handle, again) = (arbiter.handle(), link.clone());
    let (stores, boss, until) = (stores.clone(), supervisor.clone(), Arc::clone(until));
    let start: Start = Box::new(move || {
        let options = &stores.config.offline;
        let actor = SegmentWriterActor {
            store: Arc::clone(&stores.offline),
            unsealed: stores.outbox.clone(),
            catalog: stores.catalog.clone(),
            clock: stores.clock.clone(),
            chunk_rows: options.seal_rows,
            vacuum_after: options.vacuum_after.std(),
            log_retention: options.log_retention.std(),
            scrubber: Scrubber::new(Arc::clone(&stores.offline)),
            until: Arc::clone(&until),
            watch: death_watch(NAME, &boss),
        };
        again.set(SegmentWriterActor::start_in_arbiter(&handle, move |_| actor));
        Ok(())
    });
    supervised(supervisor, NAME, start)?;
    Ok(link)
}
