//! Time comes to the actors as messages, one at a time: a timer inside a busy actor would starve.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{
    actor::Link,
    backfill::Backfills,
    metrics,
    offline::actor::{Maintain, Scrub, SegmentWriterActor},
    shard::{RowCache, Shards, Store, actor::Tick},
    sql::Runs,
};

/// Fine enough for the `interval` durability's default of 50 ms.
const SHARD_TICK: Duration = Duration::from_millis(25);
/// How soon a backfill begins that nobody asked for: of a view that a crash left behind.
const BACKFILL: Duration = Duration::from_millis(500);
/// How soon a run begins that is due.
const RUN: Duration = Duration::from_millis(500);
const MAINTAIN: Duration = Duration::from_secs(60);

/// The scrub reads its bytes of a second at once, so this is short.
const SCRUB: Duration = Duration::from_secs(1);

/// How often the online store's memory is told.
const MEASURE: Duration = Duration::from_secs(1);

/// Tells what the online store holds of memory, until the task is aborted.
pub fn measure(store: Store, cache: RowCache) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(MEASURE);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            store.record_memory();
            metrics::record_memory("row_cache", cache.size() as u64);
        }
    })
}

/// `scrub_bytes`: what the scrub may read a second; 0 = it does not run.
pub fn start(
    shards: &Shards,
    writer: &Link<SegmentWriterActor>,
    backfills: &Arc<Backfills>,
    runs: &Runs,
    scrub_bytes: u64,
) -> Vec<JoinHandle<()>> {
    let shards = shards.clone();
    let shard_ticks = tokio::spawn(async move {
        let queued: Vec<Arc<AtomicBool>> = (0..shards.count()).map(|_| Arc::default()).collect();
        let mut interval = tokio::time::interval(SHARD_TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            for (shard, queued) in queued.iter().enumerate() {
                // A shard that has not come to the last one gets no second.
                if !queued.swap(true, Ordering::AcqRel) {
                    shards.link(shard).send(Tick { queued: Arc::clone(queued) });
                }
            }
        }
    });
    let scrubbed = writer.clone();
    let scrub = tokio::spawn(async move {
        let queued: Arc<AtomicBool> = Arc::default();
        let mut interval = tokio::time::interval(SCRUB);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if scrub_bytes == 0 {
            return;
        }
        loop {
            interval.tick().await;
            // A writer that is busy sealing has its portion later, not twice.
            let scrub = || Scrub { bytes: scrub_bytes, queued: Arc::clone(&queued) };
            if !queued.swap(true, Ordering::AcqRel) && !scrubbed.send(scrub()) {
                queued.store(false, Ordering::Release);
            }
        }
    });
    let backfills = Arc::clone(backfills);
    let backfill = tokio::spawn(async move {
        let mut interval = tokio::time::interval(BACKFILL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            backfills.wake();
        }
    });
    let runs = runs.clone();
    let run = tokio::spawn(async move {
        let mut interval = tokio::time::interval(RUN);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            runs.wake();
        }
    });
    let writer = writer.clone();
    let maintenance = tokio::spawn(async move {
        let mut interval = tokio::time::interval(MAINTAIN);
        interval.tick().await;
        loop {
            interval.tick().await;
            writer.send(Maintain);
        }
    });
    vec![shard_ticks, scrub, backfill, run, maintenance]
}
