//! Owns:      its tables' rows, outbox and answers in the online store, and what the cache holds of them.
//! Receives:  `Apply`, `StreamCall`, `Warm`, `Sealed`, `Tick`, `Hold`, `Drain`, `SealAll`; `CommitGroup`, `Truncate` from
//!            itself.
//! Sends:     `offline::Seal` to the segment writer.
//! When full: callers hold byte permits; without one they get 429 before a message is sent.
//! When it dies: in-flight writes answer 503, reads go on, the supervisor starts another over the same store.
//! At drain:  FIFO behind every accepted write: commits what is pending, syncs, then refuses; then seals all that it has.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use crate::{
    actor::{DeathWatch, Link},
    clock::Clock,
    metrics,
    model::{TableId, Timestamp},
    offline::actor::{Seal, SealReply, SealSmall, Sealed, SegmentWriterActor},
    registry::CatalogHandle,
    shard::{
        BackfillStep, Committed, CommittedTables, Durability, PendingWrite, Shard, ShardError, Warming,
        shards::{ShardStatus, shard_of},
    },
};

/// When rows leave the outbox for a segment: at whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct SealPolicy {
    pub rows: u64,
    pub bytes: u64,
    pub after: Duration,
}

pub struct ShardActor {
    pub shard: Shard,
    pub index: usize,
    pub shards: usize,
    pub status: Arc<ShardStatus>,
    pub committed: CommittedTables,
    pub catalog: CatalogHandle,
    pub clock: Clock,
    pub writer: Link<SegmentWriterActor>,
    pub seal: SealPolicy,
    pub durability: Durability,
    pub sync_interval: Duration,
    pub answers_kept: Duration,
    pub watch: DeathWatch,
    pub state: ActorState,
}

/// What the actor remembers between messages; starts empty.
#[derive(Default)]
pub struct ActorState {
    pending: Vec<PendingWrite>,
    sealing: HashSet<TableId>,
    /// Tables whose sealing failed, with when to try again.
    retry_seal: HashMap<TableId, Instant>,
    last_sync: Option<Instant>,
    last_forget: Option<Instant>,
    dirty: bool,
}

/// A table with fewer bytes of unsealed rows, as far as they are known, and …
const SMALL_BYTES: u64 = 1 << 20;
/// … fewer of these is sealed beside others.
const SMALL_ROWS: u64 = 1000;

/// How long after a failed seal the next is tried.
const SEAL_RETRY: Duration = Duration::from_secs(2);
/// How often answers to idempotency keys are looked through for old ones.
const FORGET_EVERY: Duration = Duration::from_secs(1);
/// Answers that are looked at each time: a few milliseconds.
const FORGET_STEP: usize = 2000;

/// Blobs that leave the outbox each time. Single rows are a blob each, and writes wait while they are removed: 60,000 at once
/// took a quarter of a second.
const TRUNCATE_STEP: usize = 500;

/// Keys of dropped window states that are removed each time.
const REMOVE_STEP: usize = 2000;

#[derive(Message)]
#[rtype(result = "()")]
pub struct Apply(pub PendingWrite);

/// Sent by the actor to itself behind the writes that are already queued: they all join one commit.
#[derive(Message)]
#[rtype(result = "()")]
struct CommitGroup;

/// The rest of the outbox's rows below `up_to`, behind the writes that came meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
struct Truncate {
    table: TableId,
    up_to: u64,
}

/// What is asked of the window states of the shard's sources; answered when it is stored. Callers wait for the answer,
/// so there are as many as there are callers.
#[derive(Message)]
#[rtype(result = "()")]
pub enum StreamCall {
    /// Compare them with the definitions that are published.
    Reconcile(Reply<()>),
    Backfill(BackfillStep, Reply<()>),
    /// Begin a view's state anew; answers with its number.
    Rebuild(TableId, Reply<Option<u32>>),
}

type Reply<T> = oneshot::Sender<Result<T, ShardError>>;

/// A reader missed this key. The counter bounds how many are queued; it comes down also when the shard dies.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Warm {
    pub kind: Warming,
    pub key: Box<[u8]>,
    pub queued: Arc<AtomicUsize>,
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Time passes. The flag says that one is queued; it is cleared also when the shard dies.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tick {
    pub queued: Arc<AtomicBool>,
}

impl Drop for Tick {
    fn drop(&mut self) {
        self.queued.store(false, Ordering::Release);
    }
}

/// A shard that gets it commits what it has accepted, says so, and then waits until the other end is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Hold {
    pub held: Sender<()>,
    pub release: Receiver<Infallible>,
}

/// Everything accepted before this is stored when it is answered.
#[derive(Message)]
#[rtype(result = "Result<(), ShardError>")]
pub struct Drain;

/// Seal every table that has unsealed rows, whatever their number and age; to be sent again until none has.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SealAll;

impl Handler<SealAll> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: SealAll, ctx: &mut Self::Context) {
        self.seal_where(ctx, |_, _| true, false);
    }
}

#[cfg(feature = "failpoints")]
impl Handler<crate::actor::Panic> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: crate::actor::Panic, _: &mut Self::Context) {
        panic!("asked to");
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;
}

impl Handler<Apply> for ShardActor {
    type Result = ();

    fn handle(&mut self, Apply(write): Apply, ctx: &mut Self::Context) {
        if self.state.pending.is_empty() {
            ctx.address().do_send(CommitGroup);
        }
        self.state.pending.push(write);
    }
}

impl Handler<CommitGroup> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: CommitGroup, _: &mut Self::Context) {
        self.commit();
    }
}

impl Handler<Warm> for ShardActor {
    type Result = ();

    fn handle(&mut self, warm: Warm, _: &mut Self::Context) {
        self.shard.warm(warm.kind, &warm.key);
    }
}

impl Handler<StreamCall> for ShardActor {
    type Result = ();

    fn handle(&mut self, call: StreamCall, _: &mut Self::Context) {
        // A caller that is gone has what it asked for all the same.
        match call {
            StreamCall::Reconcile(reply) => {
                let _ = reply.send(self.noted(Shard::reconcile));
            }
            StreamCall::Backfill(step, reply) => {
                self.state.dirty = true;
                let _ = reply.send(self.noted(|shard| shard.backfill(step)));
            }
            StreamCall::Rebuild(view, reply) => {
                let _ = reply.send(self.noted(|shard| shard.rebuild_stream(view)));
            }
        }
    }
}

impl Handler<Sealed> for ShardActor {
    type Result = ();

    fn handle(&mut self, sealed: Sealed, ctx: &mut Self::Context) {
        match sealed.up_to {
            None => {
                self.state.sealing.remove(&sealed.table);
                self.state.retry_seal.insert(sealed.table, Instant::now() + SEAL_RETRY);
            }
            Some(up_to) => {
                self.state.retry_seal.remove(&sealed.table);
                self.truncate(sealed.table, up_to, ctx);
            }
        }
    }
}

impl Handler<Truncate> for ShardActor {
    type Result = ();

    fn handle(&mut self, Truncate { table, up_to }: Truncate, ctx: &mut Self::Context) {
        self.truncate(table, up_to, ctx);
    }
}

impl Handler<Tick> for ShardActor {
    type Result = ();

    fn handle(&mut self, tick: Tick, ctx: &mut Self::Context) {
        drop(tick);
        self.sync_when_due();
        self.forget_when_due();
        self.keep_streams();
        self.seal_what_is_due(ctx);
    }
}

impl Handler<Hold> for ShardActor {
    type Result = ();

    fn handle(&mut self, hold: Hold, _: &mut Self::Context) {
        self.commit();
        // Where nobody waits any more there is nothing to stand still for.
        if hold.held.send(()).is_ok() {
            let _ = hold.release.recv();
        }
    }
}

impl Handler<Drain> for ShardActor {
    type Result = Result<(), ShardError>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.commit();
        self.status.start_draining();
        self.watch.disarm();
        self.shard.sync()
    }
}

impl ShardActor {
    /// One commit for all writes that have gathered, then their answers.
    fn commit(&mut self) {
        let pending = std::mem::take(&mut self.state.pending);
        if pending.is_empty() {
            return;
        }
        let mut writes = Vec::with_capacity(pending.len());
        let mut replies = Vec::with_capacity(pending.len());
        for PendingWrite { write, permit, reply } in pending {
            writes.push(write);
            replies.push((permit, reply));
        }
        let results = self.shard.commit(&mut writes);
        self.state.dirty = true;
        for (result, (permit, reply)) in results.into_iter().zip(replies) {
            if let Err(error) = &result {
                self.status.note(error);
            }
            // The caller may have gone; what it sent is stored all the same.
            let _ = reply.send(result);
            drop(permit);
        }
    }

    /// The next step of it; the table is not sealed again before the last.
    fn truncate(&mut self, table: TableId, up_to: u64, ctx: &mut Context<Self>) {
        match self.noted(|shard| shard.truncate(table, up_to, TRUNCATE_STEP)) {
            Ok(false) => return ctx.address().do_send(Truncate { table, up_to }),
            Ok(true) => {}
            Err(error) => tracing::error!(table = table.0, %error, "cannot truncate the outbox"),
        }
        self.state.sealing.remove(&table);
    }

    fn noted<T>(&mut self, work: impl FnOnce(&mut Shard) -> Result<T, ShardError>) -> Result<T, ShardError> {
        let result = work(&mut self.shard);
        if let Err(error) = &result {
            self.status.note(error);
        }
        result
    }

    fn keep_streams(&mut self) {
        if self.status.check().is_err() {
            return;
        }
        let kept = self.noted(|shard| {
            shard.reconcile()?;
            shard.remove_dropped_streams(REMOVE_STEP)
        });
        if let Err(error) = kept {
            tracing::error!(%error, "cannot keep window states");
        }
    }

    fn sync_when_due(&mut self) {
        let due = self.state.last_sync.is_none_or(|last| last.elapsed() >= self.sync_interval);
        if self.durability == Durability::Interval && due {
            self.sync_journal();
        }
    }

    /// Whether everything that was committed is on the disk now.
    fn sync_journal(&mut self) -> bool {
        if self.durability == Durability::Fsync || !self.state.dirty {
            return true;
        }
        self.state.last_sync = Some(Instant::now());
        self.state.dirty = self.noted(|shard| shard.sync()).is_err();
        !self.state.dirty
    }

    fn forget_when_due(&mut self) {
        if self.state.last_forget.is_some_and(|last| last.elapsed() < FORGET_EVERY) {
            return;
        }
        self.state.last_forget = Some(Instant::now());
        // Shard 0 does it for all: the keyspace is shared.
        if self.index == 0 {
            let kept = i64::try_from(self.answers_kept.as_micros()).unwrap_or(i64::MAX);
            let cutoff = Timestamp::from_micros(self.clock.now().micros().saturating_sub(kept));
            if let Err(error) = self.noted(|shard| shard.forget_answers(cutoff, FORGET_STEP)) {
                tracing::warn!(%error, "cannot forget old idempotency keys");
            }
        }
    }

    fn seal_what_is_due(&mut self, ctx: &mut Context<Self>) {
        let policy = self.seal;
        let due = move |committed: &Committed, age: i64| {
            committed.unsealed() >= policy.rows
                || committed.unsealed_bytes() >= policy.bytes
                || u128::from(age.unsigned_abs()) >= policy.after.as_micros()
        };
        self.seal_where(ctx, due, true);
    }

    /// `due`: given a table's state and the age of its oldest unsealed row, in microseconds.
    fn seal_where(
        &mut self,
        ctx: &mut Context<Self>,
        due: impl Fn(&Committed, i64) -> bool,
        then_compact: bool,
    ) {
        let catalog = self.catalog.current();
        let now = self.clock.now();
        let mut small = Vec::new();
        for (&table, schemas) in &catalog.tables {
            if shard_of(table, self.shards) != self.index {
                continue;
            }
            let (committed, Some(schema)) = (self.committed.of(table), schemas.last()) else { continue };
            let age =
                committed.oldest_unsealed().map_or(0, |t| now.micros().saturating_sub(t.micros()).max(0));
            metrics::record_outbox(&schema.name, committed.unsealed(), age);
            let waits = self.state.retry_seal.get(&table).is_some_and(|at| Instant::now() < *at);
            if committed.unsealed() == 0
                || !due(&committed, age)
                || waits
                || self.state.sealing.contains(&table)
            {
                continue;
            }
            // What a segment holds must not be lost from the journal: the numbers of rows would be given twice.
            if !self.sync_journal() {
                break;
            }
            let reply = SealReply::new(table, ctx.address().recipient());
            let seal = Seal { schema: Arc::clone(schema), then_compact, reply };
            if committed.unsealed_bytes() < SMALL_BYTES && committed.unsealed() < SMALL_ROWS {
                small.push((table, seal));
            } else if self.writer.send(seal) {
                self.state.sealing.insert(table);
            }
        }
        let (tables, seals): (Vec<_>, Vec<_>) = small.into_iter().unzip();
        if !seals.is_empty() && self.writer.send(SealSmall(seals)) {
            self.state.sealing.extend(tables);
        }
    }
}
