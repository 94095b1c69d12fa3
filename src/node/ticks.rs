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
    offline::actor::{Maintain, SegmentWriterActor},
    shard::{Shards, actor::Tick},
};

/// Fine enough for the `interval` durability's default of 50 ms.
const SHARD_TICK: Duration = Duration::from_millis(25);
const MAINTAIN: Duration = Duration::from_secs(60);

pub fn start(shards: &Shards, writer: &Link<SegmentWriterActor>) -> Vec<JoinHandle<()>> {
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
    let writer = writer.clone();
    let maintenance = tokio::spawn(async move {
        let mut interval = tokio::time::interval(MAINTAIN);
        interval.tick().await;
        loop {
            interval.tick().await;
            writer.send(Maintain);
        }
    });
    vec![shard_ticks, maintenance]
}
