//! Doors: one entry per capability, below every transport.
//!
//! ```text
//! transports   http · cli (later: feast, grpc, flight, connectors)      bytes <-> request and answer types
//! doors        authorise(caller, action, resource) -> admit -> execute -> observe
//! stores       online · offline · registry
//! ```
//!
//! A transport parses, calls one function of [`Doors`] and encodes; it knows no semaphore and counts no value. Request types
//! know nothing of HTTP. Every door takes the [`Caller`] first.
//!
//! | file | doors |
//! |---|---|
//! | `online` | newest values, values as of a time |
//! | `training` | a training set answered at once, the spine of one |
//! | `explain` | why values are what they are |
//! | `writes` | rows, events, deletes, quarantined rows; checkpoints of connectors |
//! | `definitions` | apply, read the catalog |
//! | `queries` | SQL |
//! | `listed` | every background job in one list |
//! | `jobs` | backfills, runs of batch views, named training sets, backups, scrub reports |

mod access;
mod admission;
mod caller;
mod definitions;
mod error;
mod explain;
mod jobs;
mod listed;
mod observe;
mod online;
mod queries;
mod training;
mod writes;

use std::sync::Arc;

use bytes::Bytes;

pub use access::{Access, Action, Denied, Policy, Resource};
pub use admission::Admission;
pub use caller::Caller;
pub use error::DoorError;
pub use listed::{JobKind, JobPhase, ListedJob};
pub use observe::{Event, Observer, Observers, Sampler};
pub use online::{OnlineAnswer, OnlineRequest};

use crate::{
    actor::{Link, registry::RegistryActor},
    backfill::Backfills,
    backup::Backups,
    clock::Clock,
    ingest::{DecodeError, Ingest, decompress},
    offline::ScrubLog,
    registry::CatalogHandle,
    serve::{Reads, sets::Sets},
    shard::{Checkpoints, Quarantine, Shards},
    sql::{Runs, Sql},
};

/// Every capability of a node. Transports hold an `Arc` of it.
pub struct Doors {
    pub access: Access,
    pub admission: Admission,
    pub observers: Observers,
    pub parts: Parts,
    /// How long an online read may take that does not say so itself; none where it may take any time.
    pub read_deadline: Option<std::time::Duration>,
}

/// The stores and actors behind the doors; cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub clock: Clock,
    pub catalog: CatalogHandle,
    pub registry: Link<RegistryActor>,
    pub shards: Shards,
    pub ingest: Ingest,
    pub reads: Arc<Reads>,
    pub sql: Sql,
    pub runs: Runs,
    pub quarantine: Quarantine,
    pub checkpoints: Checkpoints,
    pub backups: Arc<Backups>,
    pub backfills: Arc<Backfills>,
    pub sets: Arc<Sets>,
    pub scrub: Arc<ScrubLog>,
}

impl Doors {
    /// Refuses what the caller may not do with the resource.
    fn authorise(&self, caller: &Caller, action: Action, resource: Resource<'_>) -> Result<(), DoorError> {
        Ok(self.access.check(caller, action, resource)?)
    }

    /// A body without its `Content-Encoding`, within the bounds of what it may unfold to. Blocks.
    pub fn decompressed(&self, encoding: Option<&str>, body: Bytes) -> Result<Bytes, DecodeError> {
        let ingest = &self.parts.ingest;
        decompress(encoding, body, ingest.max_body, ingest.max_ratio)
    }

    /// Runs `work` on a thread that may block. It goes on when nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DoorError> {
        tokio::task::spawn_blocking(work).await.map_err(|_| DoorError::Interrupted(what))
    }
}
