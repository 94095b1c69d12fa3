//! What the handlers share.

use std::{
    sync::{Arc, RwLock},
    time::Instant,
};

use tokio::sync::Semaphore;

use crate::{
    actor::Link,
    backfill::Backfills,
    backup::Backups,
    clock::Clock,
    config::Config,
    http::Budget,
    ingest::Ingest,
    metrics::MetricsHandle,
    offline::ScrubLog,
    registry::{CatalogHandle, actor::RegistryActor},
    serve::{Reads, sets::Sets},
    shard::{Quarantine, Shards},
    sql::{Runs, Sql},
};

/// One node, seen from a request. Handlers hold an `Arc` of it.
pub struct App {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub catalog: CatalogHandle,
    pub registry: Link<RegistryActor>,
    pub shards: Shards,
    pub ingest: Ingest,
    pub reads: Arc<Reads>,
    pub sql: Sql,
    pub runs: Runs,
    pub quarantine: Quarantine,
    pub backups: Arc<Backups>,
    pub backfills: Arc<Backfills>,
    pub sets: Arc<Sets>,
    pub scrub: Arc<ScrubLog>,
    pub readiness: Readiness,
    pub metrics: MetricsHandle,
    pub started: Instant,
    /// Bodies and answers in flight.
    pub budget: Budget,
    /// Large bodies that may be read off the connections' threads at the same time; more wait.
    pub aside: Arc<Semaphore>,
    /// Training sets that may be built at the same time; more wait.
    pub training_slots: Arc<Semaphore>,
    /// Online reads of windows as of a moment that may be answered at the same time: each may hold many events.
    pub history_slots: Arc<Semaphore>,
    /// Online reads of rows as of a moment that may be answered at the same time; more wait.
    pub as_of_slots: Arc<Semaphore>,
    /// Training sets that may be asked for at the same time, built or waiting; more get 429.
    pub training_queue: Arc<Semaphore>,
}

/// Why the node should not be sent traffic; empty when it should.
#[derive(Clone, Default)]
pub struct Readiness(Arc<RwLock<Vec<String>>>);

impl Readiness {
    pub const STARTING: &str = "starting";

    pub fn starting() -> Readiness {
        let readiness = Readiness::default();
        readiness.add(Self::STARTING.to_owned());
        readiness
    }

    pub fn add(&self, reason: String) {
        self.0.write().unwrap_or_else(|e| e.into_inner()).push(reason);
    }

    pub fn remove(&self, reason: &str) {
        self.0.write().unwrap_or_else(|e| e.into_inner()).retain(|r| r != reason);
    }

    pub fn reasons(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}
