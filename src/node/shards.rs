//! The actors of the shards.

use std::sync::Arc;

use actix::{Actor, Addr, Arbiter};

use crate::{
    actor::Link,
    config::DurabilityMode,
    node::{
        NodeError,
        actors::{death_watch, supervised},
        stores::Stores,
        supervisor::{NodeSupervisor, Start},
    },
    offline::actor::SegmentWriterActor,
    shard::{
        Durability, Shard, ShardOptions, Shards, StreamDuty, WriteLimits,
        actor::{ActorState, SealPolicy, ShardActor},
    },
};

/// A table whose outbox holds this many times the rows of a seal takes no more writes until sealing caught up.
const BACKLOG_FACTOR: u64 = 16;

pub(super) fn write_limits(stores: &Stores) -> WriteLimits {
    let config = &stores.config;
    WriteLimits {
        in_flight: config.ingest.max_in_flight_bytes.as_usize(),
        backlog_rows: (config.offline.seal_rows as u64).saturating_mul(BACKLOG_FACTOR),
        backlog_bytes: config.offline.seal_bytes.bytes().saturating_mul(BACKLOG_FACTOR),
        min_free: config.ingest.min_free_bytes.bytes(),
        data_dir: config.data.dir.clone(),
    }
}

/// Everything that an instance of a shard is made of.
pub(super) struct ShardParts {
    pub index: usize,
    pub stores: Stores,
    pub shards: Shards,
    pub writer: Link<SegmentWriterActor>,
    pub supervisor: Addr<NodeSupervisor>,
}

impl ShardParts {
    pub fn start(self, arbiter: &Arbiter) -> Result<(), NodeError> {
        let (handle, supervisor) = (arbiter.handle(), self.supervisor.clone());
        let name = self.name();
        let link = self.shards.link(self.index).clone();
        let start: Start = Box::new(move || {
            let actor = self.build();
            link.set(ShardActor::start_in_arbiter(&handle, move |_| actor));
            Ok(())
        });
        supervised(&supervisor, &name, start)
    }

    fn name(&self) -> String {
        format!("shard {}", self.index)
    }

    fn build(&self) -> ShardActor {
        let Stores { config, clock, catalog, online, cache, committed, streams, .. } = &self.stores;
        let durability = match config.durability.mode {
            DurabilityMode::Fsync => Durability::Fsync,
            DurabilityMode::Interval => Durability::Interval,
            DurabilityMode::Buffer => Durability::Buffer,
        };
        let options = ShardOptions {
            durability,
            quarantine_rows: config.ingest.quarantine_rows as u64,
            quarantine_bytes: config.ingest.quarantine_bytes.bytes(),
        };
        let (index, shards) = (self.index, self.shards.clone());
        let duty = StreamDuty {
            catalog: catalog.clone(),
            streams: streams.clone(),
            owns: Box::new(move |source| shards.shard_of(source) == index),
        };
        ShardActor {
            shard: Shard::new(
                index.to_string(),
                online.clone(),
                cache.clone(),
                committed.clone(),
                clock.clone(),
                options,
                duty,
            ),
            index,
            shards: self.shards.count(),
            status: Arc::clone(self.shards.status(index)),
            committed: committed.clone(),
            catalog: catalog.clone(),
            clock: clock.clone(),
            writer: self.writer.clone(),
            seal: SealPolicy {
                rows: config.offline.seal_rows as u64,
                bytes: config.offline.seal_bytes.bytes(),
                after: config.offline.seal_after.std(),
            },
            durability,
            sync_interval: config.durability.interval.std(),
            answers_kept: config.ingest.idempotency_window.std(),
            watch: death_watch(&self.name(), &self.supervisor),
            state: ActorState::default(),
        }
    }
}
