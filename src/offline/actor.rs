//! Owns:      the writing side of every offline table: segments and Delta commits.
//! Receives:  `Seal`, `SealSmall`, `Compact`, `Maintain`, `Scrub`, `Drain`.
//! Sends:     `Sealed` back to the shard that asked.
//! When full: a shard has at most one seal per table under way; more rows wait in the outbox.
//! When it dies: the supervisor starts another; what was not committed is still in the outbox.
//! At drain:  FIFO behind every accepted seal, of which none is begun after the deadline; syncs nothing, each commit already
//!            is on disk.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{self, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::{
    actor::DeathWatch,
    clock::Clock,
    compute::retention::Horizon,
    failpoint, metrics,
    model::{Duration, SEQ, TableId, TableSchema},
    offline::{OfflineError, OfflineStore, Scrubber, Table, Unsealed},
    registry::{Catalog, CatalogHandle, FeatureView},
};

pub struct SegmentWriterActor {
    pub store: Arc<OfflineStore>,
    pub unsealed: Arc<dyn Unsealed>,
    pub catalog: CatalogHandle,
    pub clock: Clock,
    /// Rows that one seal takes from the outbox at a time: bounds the memory of a seal.
    pub chunk_rows: usize,
    /// Files that no snapshot names are kept this long for other readers of the table.
    pub vacuum_after: time::Duration,
    /// How long commits stay that a checkpoint stands for.
    pub log_retention: time::Duration,
    pub scrubber: Scrubber,
    /// From then on nothing more is sealed; set when the node drains.
    pub until: Arc<OnceLock<Instant>>,
    pub watch: DeathWatch,
}

/// Bytes of segments whose statistics are written anew each time that tables are maintained: a few seconds.
const RESTATE_BYTES: u64 = 256 << 20;

/// Put the table's unsealed rows into a segment.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Seal {
    pub schema: Arc<TableSchema>,
    /// Whether segments are merged after it where there are many.
    pub then_compact: bool,
    pub reply: SealReply,
}

/// Put the rows of these tables, of which each has few, into segments: several at a time, for most of it is waiting for the
/// disk.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SealSmall(pub Vec<Seal>);

/// How many tables of few rows are sealed at a time.
const SEALING: usize = 4;

/// Answers a [`Seal`] exactly once: dropped unanswered, as when the writer dies, it says that sealing failed.
pub struct SealReply(Option<(TableId, Recipient<Sealed>)>);

impl SealReply {
    pub fn new(table: TableId, to: Recipient<Sealed>) -> SealReply {
        SealReply(Some((table, to)))
    }

    fn send(mut self, up_to: Option<u64>) {
        self.answer(up_to);
    }

    fn answer(&mut self, up_to: Option<u64>) {
        if let Some((table, to)) = self.0.take() {
            to.do_send(Sealed { table, up_to });
        }
    }
}

impl Drop for SealReply {
    fn drop(&mut self) {
        self.answer(None);
    }
}

/// The table's log names all rows below `up_to`; `None` where sealing failed and is to be tried again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Sealed {
    pub table: TableId,
    pub up_to: Option<u64>,
}

/// Merge the table's small segments, where there are enough of them.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Compact {
    pub schema: Arc<TableSchema>,
}

/// Once in a while: drop what is past its retention, remove files that nothing names.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Maintain;

/// Read on in what is stored, for so many bytes. The flag is cleared when it is done.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Scrub {
    pub bytes: u64,
    pub queued: Arc<AtomicBool>,
}

#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Actor for SegmentWriterActor {
    type Context = Context<Self>;
}

impl Handler<Seal> for SegmentWriterActor {
    type Result = ();

    fn handle(&mut self, seal: Seal, ctx: &mut Self::Context) {
        if let Some(compact) = self.answer(seal) {
            // Behind the seals that are already queued.
            ctx.address().do_send(compact);
        }
    }
}

impl Handler<SealSmall> for SegmentWriterActor {
    type Result = ();

    fn handle(&mut self, SealSmall(seals): SealSmall, ctx: &mut Self::Context) {
        let others = seals.len().min(SEALING) - usize::from(!seals.is_empty());
        let seals = Mutex::new(seals.into_iter());
        let next = || seals.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || std::iter::from_fn(next).filter_map(|seal| self.answer(seal)).collect::<Vec<_>>();
        let done: Vec<Compact> = thread::scope(|scope| {
            let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        done.into_iter().for_each(|compact| ctx.address().do_send(compact));
    }
}

impl Handler<Compact> for SegmentWriterActor {
    type Result = ();

    fn handle(&mut self, compact: Compact, _: &mut Self::Context) {
        let result = self.store.table(&compact.schema).and_then(|table| table.compact());
        match result {
            Ok(outcome) if outcome.merged > 0 => {
                metrics::record_compaction();
                tracing::info!(table = %compact.schema.name, merged = outcome.merged, "segments merged");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(table = %compact.schema.name, %error, "cannot compact"),
        }
    }
}

impl Handler<Maintain> for SegmentWriterActor {
    type Result = ();

    fn handle(&mut self, _: Maintain, _: &mut Self::Context) {
        let catalog = self.catalog.current();
        let mut tables = BTreeMap::new();
        for view in catalog.feature_views.values().filter(|view| view.has_rows()) {
            tables.insert(
                view.schema.table,
                (Arc::clone(&view.schema), view.retention, longest_ttl(&catalog, view)),
            );
        }
        for source in catalog.sources.values() {
            tables.insert(source.schema.table, (Arc::clone(&source.schema), source.retention, None));
        }
        let now = self.clock.now().micros();
        let mut restate = RESTATE_BYTES;
        for (schema, retention, ttl) in tables.into_values() {
            let result = self.store.table(&schema).and_then(|table| {
                if let Some(retention) = retention {
                    table.expire(Horizon { time: now.saturating_sub(retention.micros()), ttl })?;
                }
                restate = restate.saturating_sub(table.restate(restate)?);
                table.vacuum(self.vacuum_after)?;
                table.forget_commits(self.log_retention)
            });
            if let Err(error) = result {
                tracing::error!(table = %schema.name, %error, "cannot maintain");
            }
        }
    }
}

impl Handler<Scrub> for SegmentWriterActor {
    type Result = ();

    fn handle(&mut self, scrub: Scrub, _: &mut Self::Context) {
        self.scrubber.step(scrub.bytes, self.clock.now());
        scrub.queued.store(false, Ordering::Release);
    }
}

impl Handler<Drain> for SegmentWriterActor {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.watch.disarm();
    }
}

#[cfg(feature = "failpoints")]
impl Handler<crate::actor::Panic> for SegmentWriterActor {
    type Result = ();

    fn handle(&mut self, _: crate::actor::Panic, _: &mut Self::Context) {
        panic!("asked to");
    }
}

impl SegmentWriterActor {
    /// Does what is asked and says so; what is to be done next, if anything.
    fn answer(&self, seal: Seal) -> Option<Compact> {
        let up_to = match self.until.get() {
            Some(until) if Instant::now() >= *until => None,
            _ => match self.seal(&seal.schema) {
                Ok(up_to) => Some(up_to),
                Err(error) => {
                    tracing::error!(table = %seal.schema.name, %error, "cannot seal; the rows stay in the outbox");
                    None
                }
            },
        };
        seal.reply.send(up_to);
        (up_to.is_some() && seal.then_compact).then_some(Compact { schema: seal.schema })
    }

    /// Moves one portion of rows from the outbox into segments; returns the number of sealed rows. Only one: a table
    /// that is written to all the time is never done, and its outbox is truncated only after this.
    fn seal(&self, schema: &TableSchema) -> Result<u64, OfflineError> {
        let started = Instant::now();
        let table: Arc<Table> = self.store.table(schema)?;
        let runs = self.unsealed.unsealed(schema.table, table.sealed_seq(), self.chunk_rows)?;
        // Each run goes in under the version that wrote it: the table keeps every column that ever was.
        for (written_by, batch) in runs {
            failpoint::reach("seal.start");
            let up_to = end_seq(&batch).unwrap_or(0);
            table.append(&written_by, vec![batch], up_to)?;
        }
        let snapshot = table.snapshot();
        metrics::record_seal(started.elapsed());
        let rows = snapshot.segments.iter().map(|segment| segment.rows).sum();
        metrics::record_segments(&schema.name, snapshot.segments.len(), rows);
        Ok(table.sealed_seq())
    }
}

/// By which any version of the view's definition can be read: none where one is without.
fn longest_ttl(catalog: &Catalog, view: &FeatureView) -> Option<i64> {
    let versions =
        catalog.feature_view_versions.values().filter(|version| version.schema.table == view.schema.table);
    let ttls = versions.map(|version| version.ttl.map(Duration::micros));
    ttls.reduce(|longest, ttl| longest.zip(ttl).map(|(longest, ttl)| longest.max(ttl))).flatten()
}

/// One past the last row's seq.
fn end_seq(batch: &RecordBatch) -> Option<u64> {
    let seq = batch.column_by_name(SEQ)?.as_primitive_opt::<Int64Type>()?;
    seq.values().last().map(|seq| seq.unsigned_abs() + 1)
}
