//! All shards of the node, as the write path sees them: route, bound, send, wait.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    actor::Link,
    model::TableId,
    shard::{
        Applied, BackfillStep, CommittedTables, PendingWrite, ShardError, Warming, Write,
        actor::{Apply, ShardActor, StreamCall, Warm},
    },
};

/// Whether a shard takes writes; read by the write path and by `/readyz`.
#[derive(Debug, Default)]
pub struct ShardStatus {
    draining: AtomicBool,
    poisoned: OnceLock<String>,
    damaged: OnceLock<String>,
}

impl ShardStatus {
    /// Remembers an error after which the store takes no more writes.
    pub fn note(&self, error: &ShardError) {
        if let ShardError::Poisoned(why) | ShardError::DiskFull(why) = error {
            let _ = self.poisoned.set(why.clone());
        }
    }

    /// From now on no write is taken: what was acknowledged before is not all there, or not what it was.
    pub fn refuse_writes(&self, why: String) {
        let _ = self.damaged.set(why);
    }

    /// Why the store takes no more writes until the node is started again, after a failed write or sync.
    pub fn failure(&self) -> Option<&str> {
        self.poisoned.get().map(String::as_str)
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn check(&self) -> Result<(), ShardError> {
        if let Some(why) = self.damaged.get() {
            return Err(ShardError::ReadOnly(why.clone()));
        }
        if let Some(why) = self.poisoned.get() {
            return Err(ShardError::Poisoned(why.clone()));
        }
        if self.draining.load(Ordering::Acquire) { Err(ShardError::Draining) } else { Ok(()) }
    }
}

/// Bounds of the write path.
#[derive(Debug, Clone)]
pub struct WriteLimits {
    /// Bytes of writes between acceptance and acknowledgement.
    pub in_flight: usize,
    /// Rows of one table that may wait for the segment writer …
    pub backlog_rows: u64,
    /// … and bytes.
    pub backlog_bytes: u64,
    /// Free bytes on the data directory's disk below which writes are refused.
    pub min_free: u64,
    pub data_dir: PathBuf,
}

/// Counts a write while it waits for its answer.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(queued: &'a AtomicUsize) -> Self {
        queued.fetch_add(1, Ordering::Relaxed);
        Waiting(queued)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Cloneable handle.
#[derive(Clone)]
pub struct Shards {
    links: Arc<[Link<ShardActor>]>,
    statuses: Arc<[Arc<ShardStatus>]>,
    committed: CommittedTables,
    /// One permit a KiB.
    permits: Arc<Semaphore>,
    limits: Arc<WriteLimits>,
    warming: Arc<AtomicUsize>,
    /// Writes that each shard has not answered yet.
    queued: Arc<[AtomicUsize]>,
}

const PERMIT_BYTES: usize = 1024;
/// Cache fills that may be queued; more are dropped, the next read asks again.
const MAX_WARMING: usize = 1024;

impl Shards {
    pub fn new(count: usize, committed: CommittedTables, limits: WriteLimits) -> Shards {
        Shards {
            links: (0..count).map(|_| Link::unset()).collect(),
            statuses: (0..count).map(|_| Arc::default()).collect(),
            committed,
            permits: Arc::new(Semaphore::new((limits.in_flight / PERMIT_BYTES).max(1))),
            limits: Arc::new(limits),
            warming: Arc::default(),
            queued: (0..count).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    pub fn count(&self) -> usize {
        self.links.len()
    }

    pub fn link(&self, shard: usize) -> &Link<ShardActor> {
        &self.links[shard]
    }

    pub fn status(&self, shard: usize) -> &Arc<ShardStatus> {
        &self.statuses[shard]
    }

    pub fn committed(&self) -> &CommittedTables {
        &self.committed
    }

    /// A share of the memory for writes in flight, taken before a body is decoded and held until the answer.
    pub fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ShardError> {
        let total = self.limits.in_flight / PERMIT_BYTES;
        let permits = u32::try_from((bytes / PERMIT_BYTES + 1).min(total.max(1))).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.permits)
            .try_acquire_many_owned(permits)
            .map_err(|_| ShardError::Overloaded("the memory for writes in flight is used up"))?;
        Ok(permit)
    }

    /// Takes no more writes to any table; reads go on.
    pub fn refuse_writes(&self, why: &str) {
        self.statuses.iter().for_each(|status| status.refuse_writes(why.to_owned()));
    }

    /// See [`ShardStatus::failure`]; of whichever shard met it first.
    pub fn failure(&self) -> Option<&str> {
        self.statuses.iter().find_map(|status| status.failure())
    }

    /// Bytes that writes hold between acceptance and acknowledgement.
    pub fn in_flight(&self) -> usize {
        let total = (self.limits.in_flight / PERMIT_BYTES).max(1);
        total.saturating_sub(self.permits.available_permits()) * PERMIT_BYTES
    }

    /// Writes that wait, by shard.
    pub fn queued(&self) -> impl Iterator<Item = usize> {
        self.queued.iter().map(|queued| queued.load(Ordering::Relaxed))
    }

    /// Whether a write to the table would be taken now; asked before the work of decoding it.
    pub fn check(&self, table: TableId) -> Result<(), ShardError> {
        self.statuses[self.shard_of(table)].check()?;
        self.check_space()?;
        let committed = self.committed.of(table);
        if committed.unsealed() > self.limits.backlog_rows
            || committed.unsealed_bytes() > self.limits.backlog_bytes
        {
            return Err(ShardError::Overloaded("the offline store is behind"));
        }
        Ok(())
    }

    /// Stores a batch as a whole, or says why not. Returns after the durability that the node is configured for.
    pub async fn apply(&self, write: Write, permit: OwnedSemaphorePermit) -> Result<Applied, ShardError> {
        self.hand_over(write, permit)?.await
    }

    /// The same in two steps: batches of one table are stored in the order in which they are handed over.
    pub fn hand_over(
        &self,
        write: Write,
        permit: OwnedSemaphorePermit,
    ) -> Result<impl Future<Output = Result<Applied, ShardError>>, ShardError> {
        let shard = self.shard_of(write.batch.schema.table);
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting::new(&self.queued[shard]);
        if !self.links[shard].send(Apply(PendingWrite { write, permit, reply })) {
            return Err(ShardError::Stopped);
        }
        Ok(async move {
            let _waiting = waiting;
            answer.await.map_err(|_| ShardError::Stopped)?
        })
    }

    /// Asks the shard of `table` to bring what is under `key` into the cache; dropped when many are asked for.
    pub fn warm(&self, table: TableId, kind: Warming, key: &[u8]) {
        if self.warming.fetch_add(1, Ordering::Relaxed) >= MAX_WARMING {
            self.warming.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let warm = Warm { kind, key: key.into(), queued: Arc::clone(&self.warming) };
        self.links[self.shard_of(table)].send(warm);
    }

    /// Returns when every shard has compared its window states with the definitions that are published now.
    pub async fn reconcile(&self) -> Result<(), ShardError> {
        for shard in 0..self.links.len() {
            self.ask(shard, StreamCall::Reconcile).await?;
        }
        Ok(())
    }

    /// Stores a portion of a backfill for a view of `source`.
    pub async fn backfill(&self, source: TableId, step: BackfillStep) -> Result<(), ShardError> {
        self.ask(self.shard_of(source), |reply| StreamCall::Backfill(step, reply)).await
    }

    /// Begins the window state of a view of `source` anew; see [`Shard::rebuild_stream`](super::Shard::rebuild_stream).
    pub async fn rebuild_stream(&self, source: TableId, view: TableId) -> Result<Option<u32>, ShardError> {
        self.ask(self.shard_of(source), |reply| StreamCall::Rebuild(view, reply)).await
    }

    async fn ask<T>(
        &self,
        shard: usize,
        message: impl FnOnce(oneshot::Sender<Result<T, ShardError>>) -> StreamCall,
    ) -> Result<T, ShardError> {
        let (reply, answer) = oneshot::channel();
        if !self.links[shard].send(message(reply)) {
            return Err(ShardError::Restarting(shard));
        }
        answer.await.map_err(|_| ShardError::Stopped)?
    }

    /// Free bytes on the disk of the data directory.
    pub fn free_bytes(&self) -> u64 {
        free_bytes(&self.limits.data_dir)
    }

    /// Whether the disk has the room that writes need.
    pub fn check_space(&self) -> Result<(), ShardError> {
        let free = self.free_bytes();
        if free < self.limits.min_free {
            return Err(ShardError::StorageFull { free, needed: self.limits.min_free });
        }
        Ok(())
    }

    /// Index of the shard that owns `table`.
    pub fn shard_of(&self, table: TableId) -> usize {
        shard_of(table, self.links.len())
    }
}

/// Index of the shard, of `shards`, that owns `table`. It never changes, so that a request is one atomic batch.
pub(super) fn shard_of(table: TableId, shards: usize) -> usize {
    table.0 as usize % shards
}

/// Free bytes on the disk of `dir`.
pub fn free_bytes(dir: &Path) -> u64 {
    // Where the file system cannot be asked, writes are let through: the store itself reports a full disk.
    rustix::fs::statvfs(dir).map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize))
}
