//! What requests are answered with, on top of the stores and the actors.

use std::{sync::Arc, time::Instant};

use tokio::sync::Semaphore;

use crate::{
    backfill::{self, Backfills},
    backup::{self, Backups},
    config::Config,
    doors::{Access, Admission, Doors, Observers, Parts},
    http::{App, Budget, Readiness},
    ingest::{DecodeLimits, Ingest, Meters, Turns},
    metrics::MetricsHandle,
    node::{NodeError, actors::Actors, stores::Stores},
    serve::{
        Plans, ReadLimits, Reads,
        sets::{self, Sets},
    },
    shard::{Answers, Checkpoints, Quarantine, RunLog, ShardReader, StreamReader, Warming},
    sql::{self, Runs, Sql},
};

/// Each may take several times its body.
const ASIDE_SLOTS: usize = 2;
/// Rows take more room as Arrow than as text: a number that is 8 bytes there may be 2 in CSV.
const DECODED_FACTOR: usize = 4;

pub(super) fn app(
    stores: &Stores,
    actors: &Actors,
    sql: Sql,
    readiness: Readiness,
    metrics: MetricsHandle,
) -> Result<App, NodeError> {
    let Stores { config, clock, catalog, online, streams, offline, outbox, .. } = stores;
    let shards = &actors.shards;
    let backfills = Backfills::new(backfill::Origin {
        catalog: catalog.clone(),
        streams: streams.clone(),
        shards: shards.clone(),
        offline: Arc::clone(offline),
        tail: outbox.clone(),
        clock: clock.clone(),
    });
    let backups = Backups::new(backup::Origin {
        store: online.clone(),
        offline: Arc::clone(offline),
        catalog: catalog.clone(),
        shards: shards.clone(),
        clock: clock.clone(),
        data: config.data.dir.clone(),
    });
    let runs = Runs::new(
        sql.clone(),
        sql::Origin {
            inputs: stores.inputs(),
            shards: shards.clone(),
            log: RunLog::new(online.clone()),
            limits: decode_limits(config),
            memory: config.limits.sql_memory.as_usize(),
            clock: clock.clone(),
        },
    );
    let reads = Arc::new(reads(stores, actors));
    let ingest = Ingest {
        catalog: catalog.clone(),
        shards: shards.clone(),
        streams: streams.clone(),
        answers: Answers::new(online.clone()),
        clock: clock.clone(),
        offline: Arc::clone(&reads.offline),
        tail: Arc::clone(&reads.tail),
        limits: decode_limits(config),
        max_body: config.limits.body_bytes.as_usize(),
        max_ratio: usize::try_from(config.limits.decompression_ratio).unwrap_or(usize::MAX),
        retrying: Arc::default(),
        meters: Meters::default(),
        turns: Turns::default(),
    };
    let sets = Sets::open(sets::Origin {
        reads: Arc::clone(&reads),
        shards: shards.clone(),
        clock: clock.clone(),
        data: config.data.dir.clone(),
        limit_bytes: config.limits.training_set_bytes.bytes(),
    })?;
    let parts = Parts {
        sql,
        runs,
        ingest,
        reads,
        quarantine: Quarantine::new(online.clone()),
        checkpoints: Checkpoints::new(online.clone()),
        backups: Arc::new(backups),
        backfills: Arc::new(backfills),
        sets: Arc::new(sets),
        scrub: Arc::clone(offline.scrub_log()),
        clock: clock.clone(),
        catalog: catalog.clone(),
        registry: actors.registry.clone(),
        shards: shards.clone(),
    };
    let doors = Doors {
        access: Access::default(),
        admission: Admission::default(),
        observers: Observers::default(),
        parts,
        read_deadline: Some(config.limits.read_deadline.std()).filter(|deadline| !deadline.is_zero()),
    };
    Ok(App {
        doors: Arc::new(doors),
        config: Arc::clone(config),
        clock: clock.clone(),
        readiness,
        metrics,
        started: Instant::now(),
        budget: Budget::new(&config.server, &config.limits),
        aside: Arc::new(Semaphore::new(ASIDE_SLOTS)),
    })
}

/// Readers read the stores themselves; what they miss in the cache they ask the shards to put there.
fn reads(stores: &Stores, actors: &Actors) -> Reads {
    let Stores { config, clock, catalog, online, cache, streams, offline, outbox, .. } = stores.clone();
    let (rows, states) = (actors.shards.clone(), actors.shards.clone());
    let warm_row = Arc::new(move |table, key: &_| rows.warm(table, Warming::Row, key));
    let warm_state = Arc::new(move |source, key: &_| states.warm(source, Warming::State, key));
    Reads {
        catalog,
        reader: ShardReader::new(online.clone(), cache.clone(), warm_row),
        streams,
        stream_reader: StreamReader::new(online, cache, warm_state),
        offline,
        tail: outbox,
        clock,
        limits: ReadLimits {
            entities: config.limits.entities_per_read,
            features: config.limits.features_per_read,
            value_bytes: config.limits.string_bytes.as_usize(),
            answer_bytes: config.limits.answer_bytes.as_usize(),
            joined_bytes: config.limits.training_answer_bytes.as_usize(),
        },
        plans: Plans::new(config.limits.features_per_read),
    }
}

fn decode_limits(config: &Config) -> DecodeLimits {
    let limits = &config.limits;
    DecodeLimits {
        max_json_rows: limits.json_rows,
        max_json_depth: limits.json_depth,
        max_string: limits.string_bytes.as_usize(),
        max_array: limits.array_bytes.as_usize(),
        max_key: limits.key_bytes.as_usize(),
        max_decoded_bytes: limits.body_bytes.as_usize().saturating_mul(DECODED_FACTOR),
    }
}
