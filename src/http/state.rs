//! What the handlers share.

use std::{
    sync::{Arc, RwLock},
    time::Instant,
};

use tokio::sync::Semaphore;

use crate::{clock::Clock, config::Config, doors::Doors, http::Budget, metrics::MetricsHandle};

/// One node, seen from a request. Handlers hold an `Arc` of it.
pub struct App {
    pub config: Arc<Config>,
    pub clock: Clock,
    /// Everything that can be asked of the node.
    pub doors: Arc<Doors>,
    pub readiness: Readiness,
    pub metrics: MetricsHandle,
    pub started: Instant,
    /// Bodies and answers in flight.
    pub budget: Budget,
    /// Large bodies that may be read off the connections' threads at the same time; more wait.
    pub aside: Arc<Semaphore>,
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
