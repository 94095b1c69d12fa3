//! Draining a node, in order, within one deadline: not ready → HTTP → backfill, runs, backup → shards → what they have
//! unsealed → segment writer → registry → training sets → memtables.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{
    actor::registry::Drain as DrainRegistry,
    http::App,
    node::{start::Node, supervisor::Rest},
    offline::actor::Drain as DrainWriter,
    shard::{
        Flushed,
        actor::{Drain as DrainShard, SealAll},
    },
};

/// How often it is looked whether the store has failed.
const LOOK: Duration = Duration::from_millis(200);
/// The least that the memtables have to be written out, when all else has used up the deadline.
const FLUSH: Duration = Duration::from_secs(5);
/// How often the shards are told to seal what is left.
const SEAL_AGAIN: Duration = Duration::from_millis(20);

impl Node {
    /// Waits until the store takes no more writes after a failed one, the node has run for `after`, and the disk has
    /// `room` to open the store again; then says what failed. Never where `after` is 0.
    pub async fn failed(&self, after: Duration, room: u64) -> String {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(why) = self.app.doors.parts.shards.failure()
                && !after.is_zero()
                && self.app.started.elapsed() >= after
                && self.app.doors.parts.shards.free_bytes() >= room
            {
                return why.to_owned();
            }
        }
    }

    /// Everything acknowledged is stored when this returns; names what did not finish in time. What it returns is for
    /// [`settle`](crate::shard::integrity::settle), once nothing of the node is left.
    pub async fn drain(self, deadline: Duration) -> Option<Flushed> {
        let deadline = Instant::now() + deadline;
        self.app.readiness.add("draining".to_owned());
        let _ = self.seal_until.set(deadline.into_std());
        for tick in &self.ticks {
            tick.abort();
        }
        drop(self.opener);
        self.app.doors.parts.sets.begin_stop();
        let _ = self.stop_http.send(true);
        if timeout_at(deadline, self.http).await.is_err() {
            tracing::warn!("requests were still going on at the drain deadline");
        }
        let backfills = std::sync::Arc::clone(&self.app.doors.parts.backfills);
        if timeout_at(deadline, tokio::task::spawn_blocking(move || backfills.stop())).await.is_err() {
            tracing::warn!(
                "a backfill was still going on at the drain deadline; it goes on after the next start"
            );
        }
        let runs = self.app.doors.parts.runs.clone();
        if timeout_at(deadline, tokio::task::spawn_blocking(move || runs.stop())).await.is_err() {
            tracing::warn!("a run was still going on at the drain deadline; it goes on after the next start");
        }
        let backups = std::sync::Arc::clone(&self.app.doors.parts.backups);
        if timeout_at(deadline, tokio::task::spawn_blocking(move || backups.stop())).await.is_err() {
            tracing::warn!("a backup was still being taken at the drain deadline");
        }
        for shard in 0..self.app.doors.parts.shards.count() {
            let Some(addr) = self.app.doors.parts.shards.link(shard).get() else { continue };
            match timeout_at(deadline, addr.send(DrainShard)).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::error!(shard, %error, "could not be drained"),
                Ok(Err(_)) => tracing::error!(shard, "died while it was drained"),
                Err(_) => tracing::error!(shard, "still pending at the drain deadline"),
            }
        }
        seal_all(&self.app, deadline).await;
        if let Some(addr) = self.writer.get()
            && timeout_at(deadline, addr.send(DrainWriter)).await.is_err()
        {
            // What it had not committed is in the outbox.
            tracing::warn!("the segment writer was still pending at the drain deadline");
        }
        if let Some(addr) = self.app.doors.parts.registry.get()
            && timeout_at(deadline, addr.send(DrainRegistry)).await.is_err()
        {
            tracing::warn!("the registry was still pending at the drain deadline");
        }
        self.supervisor.do_send(Rest);
        for (name, arbiter) in self.arbiters {
            arbiter.stop();
            match timeout_at(deadline, tokio::task::spawn_blocking(move || arbiter.join())).await {
                Ok(Ok(Ok(()))) => {}
                Ok(_) => tracing::warn!(name, "its thread ended with a panic"),
                Err(_) => tracing::warn!(name, "its thread was still busy at the drain deadline"),
            }
        }
        // After all that has something to store: it was told long ago, and loses nothing where it is not waited for.
        let sets = std::sync::Arc::clone(&self.app.doors.parts.sets);
        if timeout_at(deadline, tokio::task::spawn_blocking(move || sets.stop())).await.is_err() {
            tracing::warn!(
                "a training set was still being built at the drain deadline; it is built after the next start"
            );
        }
        self.reserve.give_back();
        if self.app.doors.parts.shards.failure().is_some() {
            // Its workers may be gone; what is acknowledged is in the journal.
            return None;
        }
        let until = (deadline.into_std()).max(std::time::Instant::now() + FLUSH);
        match tokio::task::spawn_blocking(move || self.store.flush(until)).await {
            Ok(Ok(flushed)) => flushed,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the memtables could not be written out; the next start replays the journal");
                None
            }
            Err(_) => None,
        }
    }
}

/// Puts every acknowledged row into a segment, so that who reads the Delta tables of a stopped node sees them all. What
/// is left at the deadline is in the outbox, and sealed after the next start.
async fn seal_all(app: &App, deadline: Instant) {
    let shards = &app.doors.parts.shards;
    loop {
        let catalog = app.doors.parts.catalog.current();
        let unsealed = |table| Some(shards.committed().of(table).unsealed()).filter(|rows| *rows > 0);
        let mut left = catalog
            .tables
            .iter()
            .filter_map(|(table, schemas)| Some((&schemas.last()?.name, unsealed(*table)?)));
        let Some(first) = left.next() else { return };
        if Instant::now() >= deadline || shards.failure().is_some() {
            for (table, rows) in std::iter::once(first).chain(left) {
                tracing::warn!(%table, rows, "rows are not in a segment yet; they are sealed after the next start");
            }
            return;
        }
        for shard in 0..shards.count() {
            shards.link(shard).send(SealAll);
        }
        tokio::time::sleep(SEAL_AGAIN).await;
    }
}
