//! Opens every table after the node's start, one after the other, so that damage to a log is found soon and the first reader
//! of a table does not wait for it. The start itself reads the ends of the logs only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{
    http::Readiness,
    metrics,
    node::{NodeError, stores::Stores},
    offline::OfflineError,
    priority,
    shard::Shards,
};

/// Runs until all tables are open, or it is dropped.
pub(super) struct TableOpener {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TableOpener {
    pub fn start(stores: &Stores, shards: &Shards, readiness: &Readiness) -> Result<TableOpener, NodeError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stores, shards, readiness, stopped) =
            (stores.clone(), shards.clone(), readiness.clone(), Arc::clone(&stop));
        let open = move || {
            let catalog = stores.catalog.current();
            for schema in catalog.tables.values().filter_map(|schemas| schemas.last()) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if !stores.offline.has(schema) {
                    continue;
                }
                match stores.offline.table(schema) {
                    Ok(table) => {
                        let snapshot = table.snapshot();
                        let rows = snapshot.segments.iter().map(|segment| segment.rows).sum();
                        metrics::record_segments(&schema.name, snapshot.segments.len(), rows);
                    }
                    // Says nothing of the table.
                    Err(error @ OfflineError::Io { .. }) => {
                        tracing::warn!(table = %schema.name, %error, "cannot open the table yet");
                    }
                    Err(error) => {
                        let violation = format!("table `{}`: {error}", schema.name);
                        tracing::error!(%violation, "an invariant does not hold");
                        shards.refuse_writes(&violation);
                        readiness.add(violation);
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("larder-tables".to_owned()).spawn(priority::waiting(open));
        Ok(TableOpener { stop, thread: Some(thread.map_err(NodeError::Runtime)?) })
    }
}

impl Drop for TableOpener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends with the table at hand; a panic was reported by its hook.
            let _ = thread.join();
        }
    }
}
