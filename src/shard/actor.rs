//! Owns:      its tables' rows, outbox and answers in the online store, and what the cache holds of them.
//! Receives:  `Apply`, `Warm`, `Sealed`, `Tick`, `Drain`; `CommitGroup` from itself.
//! Sends:     `offline::Seal` to the segment writer.
//! When full: callers hold byte permits; without one they get 429 before a message is sent.
//! When it dies: in-flight writes answer 503, reads go on, the supervisor starts another over the same store.
//! At drain:  FIFO behind every accepted write: commits what is pending, syncs, then refuses.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Message};

use crate::{
    actor::{DeathWatch, Link, Panic},
    clock::Clock,
    metrics,
    model::{TableId, Timestamp},
    offline::actor::{Seal, Sealed, SegmentWriterActor},
    registry::CatalogHandle,
    shard::{CommittedTables, Durability, PendingWrite, Shard, ShardError, shards::ShardStatus},
};

/// When rows leave the outbox for a segment: at whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct SealPolicy {
    pub rows: u64,
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
    last_sync: Option<Instant>,
    last_forget: Option<Instant>,
    dirty: bool,
}

/// How often answers to idempotency keys are looked through for old ones.
const FORGET_EVERY: Duration = Duration::from_secs(600);

#[derive(Message)]
#[rtype(result = "()")]
pub struct Apply(pub PendingWrite);

/// Sent by the actor to itself behind the writes that are already queued: they all join one commit.
#[derive(Message)]
#[rtype(result = "()")]
struct CommitGroup;

/// A reader missed this key. The counter bounds how many are queued.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Warm {
    pub key: Box<[u8]>,
    pub queued: Arc<AtomicUsize>,
}

/// Time passes. `seal_all`: whatever is in the outbox goes, however little.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tick {
    pub queued: Arc<AtomicBool>,
    pub seal_all: bool,
}

/// Everything accepted before this is stored when it is answered.
#[derive(Message)]
#[rtype(result = "Result<(), ShardError>")]
pub struct Drain;

impl Handler<Panic> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
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
        warm.queued.fetch_sub(1, Ordering::Relaxed);
        self.shard.warm(&warm.key);
    }
}

impl Handler<Sealed> for ShardActor {
    type Result = ();

    fn handle(&mut self, sealed: Sealed, _: &mut Self::Context) {
        self.state.sealing.remove(&sealed.table);
        if let Some(up_to) = sealed.up_to
            && let Err(error) = self.shard.truncate(sealed.table, up_to)
        {
            tracing::error!(table = sealed.table.0, %error, "cannot truncate the outbox");
            self.status.note(&error);
        }
    }
}

impl Handler<Tick> for ShardActor {
    type Result = ();

    fn handle(&mut self, tick: Tick, ctx: &mut Self::Context) {
        tick.queued.store(false, Ordering::Release);
        self.sync_when_due();
        self.forget_when_due();
        self.seal_what_is_due(tick.seal_all, ctx);
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

    fn sync_when_due(&mut self) {
        let due = self.state.last_sync.is_none_or(|last| last.elapsed() >= self.sync_interval);
        if self.durability == Durability::Interval && self.state.dirty && due {
            if let Err(error) = self.shard.sync() {
                self.status.note(&error);
            }
            self.state.dirty = false;
            self.state.last_sync = Some(Instant::now());
        }
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
            if let Err(error) = self.shard.forget_answers(cutoff) {
                tracing::warn!(%error, "cannot forget old idempotency keys");
            }
        }
    }

    fn seal_what_is_due(&mut self, seal_all: bool, ctx: &mut Context<Self>) {
        let catalog = self.catalog.current();
        let now = self.clock.now();
        for (&table, schemas) in &catalog.tables {
            if table.0 as usize % self.shards != self.index {
                continue;
            }
            let (committed, Some(schema)) = (self.committed.of(table), schemas.last()) else { continue };
            let age =
                committed.oldest_unsealed().map_or(0, |t| now.micros().saturating_sub(t.micros()).max(0));
            metrics::record_outbox(&schema.name, committed.unsealed(), age);
            let due = seal_all
                || committed.unsealed() >= self.seal.rows
                || u128::from(age.unsigned_abs()) >= self.seal.after.as_micros();
            if committed.unsealed() == 0 || !due || self.state.sealing.contains(&table) {
                continue;
            }
            let seal = Seal { schema: Arc::clone(schema), reply: ctx.address().recipient() };
            if self.writer.send(seal) {
                self.state.sealing.insert(table);
            }
        }
    }
}
