//! The thread that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    failpoint, metrics,
    model::{TableId, Timestamp},
    offline::History,
    registry::{Batch, Catalog, FeatureView},
    shard::{Cause, PreparedBatch, Run, RunState, ShardError},
    sql::{
        SqlError, SqlQuery,
        query::{AsOf, Parameter, Scope},
        runs::{
            RunError,
            jobs::{Inner, batch_views, due},
            output::Collected,
            turns::{Rank, Turns},
        },
    },
};

/// Rows that are written at a time.
const PART_ROWS: usize = 20_000;
/// Attempts before a run is given up.
const ATTEMPTS: u32 = 10;
/// Between the first two attempts; each further wait is twice as long …
const FIRST_WAIT: i64 = 10_000_000;
/// … up to this.
const LONGEST_WAIT: i64 = 3_600_000_000;

pub(super) struct Worker {
    pub inner: Arc<Inner>,
    pub runtime: Handle,
    pub turns: Turns,
    /// Views whose tables take no more rows for now; the next thread tries again.
    pub behind: BTreeSet<TableId>,
}

impl Worker {
    /// Works off what there is; returns when there is nothing to do now.
    pub fn run(mut self) {
        while !self.inner.is_stopping() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(RunError::Stopped) => return,
                Err(error) => {
                    // The store takes no writes, or cannot be read: the next tick tries again.
                    tracing::error!(%error, "runs of batch feature views cannot go on");
                    return;
                }
            }
        }
    }

    /// Makes runs that are due, then does one; whether there was one.
    fn step(&mut self) -> Result<bool, RunError> {
        let catalog = self.inner.origin.inputs.catalog.current();
        let now = self.inner.origin.clock.now();
        for (view, batch) in batch_views(&catalog) {
            if self.behind.contains(&view.schema.table) {
                continue;
            }
            let moment = {
                let mut queues = self.inner.queues();
                self.inner.readable(&mut queues, view)?.and_then(|queue| due(batch, queue, now))
            };
            if let Some(moment) = moment {
                let moments = [moment.micros()];
                let stored = self.runtime.block_on(self.inner.enqueue(view, &moments, Cause::Schedule));
                self.unless_behind(view, stored.map(|_| ()))?;
            }
        }
        let Some((view, run)) = self.next(&catalog, now)? else { return Ok(false) };
        self.turns.take(view.schema.table, &run);
        let attempted = self.attempt(&view, run);
        self.unless_behind(&view, attempted)?;
        Ok(true)
    }

    /// Sets a view aside whose table takes no more rows for now, so that the others' runs go on.
    fn unless_behind(&mut self, view: &FeatureView, result: Result<(), RunError>) -> Result<(), RunError> {
        let Err(RunError::Shard(error @ ShardError::Overloaded(_))) = result else { return result };
        tracing::warn!(view = view.name, %error, "its runs wait, those of other views go on");
        self.behind.insert(view.schema.table);
        Ok(())
    }

    /// Of the views' next runs whose inputs are complete, the one whose turn it is.
    fn next(&self, catalog: &Catalog, now: Timestamp) -> Result<Option<(Arc<FeatureView>, Run)>, RunError> {
        let mut queues = self.inner.queues();
        let mut best: Option<(Rank, Arc<FeatureView>, Run)> = None;
        for (view, batch) in batch_views(catalog) {
            if self.behind.contains(&view.schema.table) {
                continue;
            }
            let queue = self.inner.readable(&mut queues, view)?;
            let Some(run) = queue.and_then(|queue| queue.next(now).cloned()) else { continue };
            let mut complete = true;
            for input in batch.reads.iter().filter_map(|name| catalog.view_of_table(name)) {
                if input.batch().is_some() {
                    let queue = self.inner.readable(&mut queues, input)?;
                    complete &= queue.is_some_and(|queue| !queue.waits_for(run.moment));
                }
            }
            let rank = self.turns.rank(view.schema.table, &run);
            if complete && best.as_ref().is_none_or(|(best, ..)| rank < *best) {
                best = Some((rank, Arc::clone(view), run));
            }
        }
        Ok(best.map(|(_, view, run)| (view, run)))
    }

    fn attempt(&self, view: &Arc<FeatureView>, run: Run) -> Result<(), RunError> {
        let started = Instant::now();
        let mut run = run;
        let done = self.begin(view, &mut run).and_then(|()| self.materialise(view, &mut run));
        let now = self.inner.origin.clock.now();
        match done {
            Ok(()) => {
                metrics::record_run(&view.name, true, run.rows, started.elapsed(), now.micros());
                tracing::info!(view = view.name, moment = %run.moment, rows = run.rows, "materialised");
                return Ok(());
            }
            Err(_) if self.inner.is_stopping() => return Err(RunError::Stopped),
            Err(error) => {
                tracing::warn!(view = view.name, moment = %run.moment, %error, "a run failed");
                metrics::record_run(&view.name, false, 0, started.elapsed(), now.micros());
                run.attempts += 1;
                run.error = Some(error.to_string());
            }
        }
        let given_up = run.attempts >= ATTEMPTS;
        run.state = if given_up { RunState::Failed } else { RunState::Queued };
        run.next_try = (!given_up).then(|| {
            let wait =
                FIRST_WAIT.saturating_mul(1 << run.attempts.saturating_sub(1).min(20)).min(LONGEST_WAIT);
            Timestamp::from_micros(now.micros().saturating_add(wait))
        });
        run.finished = given_up.then_some(now);
        self.runtime.block_on(self.inner.store(view, &[run]))
    }

    /// Notes what the run sees, unless a part of it is written already.
    fn begin(&self, view: &Arc<FeatureView>, run: &mut Run) -> Result<(), RunError> {
        let batch = super::jobs::batch_of(view)?;
        let query = xxh3_64(batch.sql.as_bytes());
        if run.parts > 0 && run.query == Some(query) && run.version == Some(view.version) {
            run.state = RunState::Running;
            return Ok(());
        }
        // With another query the parts that are there are versions that what comes now supersedes.
        (run.parts, run.rows) = (0, 0);
        run.below_seq = self.seen(batch)?;
        run.from = match batch.is_incremental() {
            false => None,
            true => {
                let mut queues = self.inner.queues();
                let covered = self.inner.queue(&mut queues, view)?.covered(query, run.moment);
                Some(covered.unwrap_or(Timestamp::MIN))
            }
        };
        run.state = RunState::Running;
        (run.version, run.query) = (Some(view.version), Some(query));
        run.started = Some(self.inner.origin.clock.now());
        (run.next_try, run.finished) = (None, None);
        self.runtime.block_on(self.inner.store(view, std::slice::from_ref(run)))
    }

    /// By table, one past the newest `_seq`.
    fn seen(&self, batch: &Batch) -> Result<BTreeMap<String, u64>, RunError> {
        let inputs = &self.inner.origin.inputs;
        let catalog = inputs.catalog.current();
        let mut seen = BTreeMap::new();
        for name in &batch.reads {
            let schema = catalog.view_of_table(name).map(|view| &view.schema);
            let schema = schema.or_else(|| catalog.sources.get(name).map(|source| &source.schema));
            let Some(schema) = schema else { continue };
            let table = inputs.offline.table(schema).map_err(SqlError::from)?;
            let history = History::open(&table, inputs.tail.as_ref(), schema).map_err(SqlError::from)?;
            seen.insert(schema.name.clone(), history.next_seq());
        }
        Ok(seen)
    }

    /// Computes the rows and writes the parts that are not there yet.
    fn materialise(&self, view: &Arc<FeatureView>, run: &mut Run) -> Result<(), RunError> {
        let batch = super::jobs::batch_of(view)?;
        let query = SqlQuery { text: batch.sql.clone(), parameters: parameters(run.moment, run.from) };
        let scope = Scope::AsOf(AsOf { moment: run.moment.micros(), below_seq: run.below_seq.clone() });
        let mut rows = Collected::new(self.inner.origin.memory);
        let take = &mut |schema: &_, batch| rows.take(schema, batch);
        self.inner.sql.engine.run(&query, &scope, &self.inner.control, take)?;
        let rows = rows.rows(view, &self.inner.origin.limits)?;
        let parts = rows.num_rows().div_ceil(PART_ROWS).max(1);
        for part in run.parts as usize..parts {
            self.inner.control.check()?;
            let first = part * PART_ROWS;
            let rows = rows.slice(first, PART_ROWS.min(rows.num_rows() - first));
            let mut next = run.clone();
            next.parts += 1;
            next.rows += rows.num_rows() as u64;
            if part + 1 == parts {
                next.state = RunState::Done;
                next.finished = Some(self.inner.origin.clock.now());
                (next.error, next.next_try) = (None, None);
            }
            failpoint::reach("run.part.before");
            let prepared = PreparedBatch::rows(Arc::clone(&view.schema), &rows);
            self.runtime.block_on(self.inner.write(view, prepared, std::slice::from_ref(&next)))?;
            failpoint::reach("run.part.after");
            *run = next;
        }
        Ok(())
    }
}

/// `$as_of`, `$to` and `$from`.
pub(in crate::sql) fn parameters(moment: Timestamp, from: Option<Timestamp>) -> BTreeMap<String, Parameter> {
    let from = from.unwrap_or(Timestamp::MIN);
    [("as_of", moment), ("to", moment), ("from", from)]
        .map(|(name, at)| (name.to_owned(), Parameter::Time(at.micros())))
        .into()
}
