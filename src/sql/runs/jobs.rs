//! All runs of a node: which there are, when they are due, and the thread that works them off.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use tokio::runtime::Handle;

use crate::{
    clock::Clock,
    ingest::DecodeLimits,
    model::{TableId, Timestamp},
    priority,
    registry::{Batch, Catalog, FeatureView},
    shard::{Cause, PreparedBatch, Run, RunLog, ShardError, Shards, Write},
    sql::{
        Inputs, Sql,
        engine::Schedule,
        query::Control,
        runs::{Overview, RunError, queue::Queue, turns::Turns, worker::Worker},
    },
};

/// What runs read, and where they write.
#[derive(Clone)]
pub struct Origin {
    pub inputs: Inputs,
    pub shards: Shards,
    pub log: RunLog,
    pub limits: DecodeLimits,
    /// Bytes that the rows of a run may take.
    pub memory: usize,
    pub clock: Clock,
}

/// Moments that may be asked for at once.
const MOST_MOMENTS: usize = 1000;
/// Runs of one view that may be pending; each has a record on disk and in memory.
const MOST_PENDING: usize = 2 * MOST_MOMENTS;
/// The stack of the thread: it plans.
const STACK: usize = 128 << 20;

/// By the view's table; read from the store when a view is first looked at. Or what is wrong with the stored records, which
/// only `larder repair` mends.
pub(super) type Queues = BTreeMap<TableId, Result<Queue, String>>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

pub(super) struct Inner {
    pub sql: Sql,
    pub origin: Origin,
    queues: Mutex<Queues>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Asked of the run that is under way.
    pub control: Arc<Control>,
    stopping: AtomicBool,
}

impl Runs {
    pub fn new(sql: Sql, origin: Origin) -> Runs {
        Runs(Arc::new(Inner {
            sql,
            origin,
            queues: Mutex::default(),
            thread: Mutex::default(),
            control: Arc::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Starts the thread where there is something to do and it is not running. Called again and again.
    pub fn wake(&self) {
        let inner = &self.0;
        if inner.is_stopping() {
            return;
        }
        let mut thread = lock(&inner.thread);
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        match inner.has_work() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::error!(%error, "runs of batch feature views cannot be read"),
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let inner = Arc::clone(inner);
        let worker = Worker { inner, runtime, turns: Turns::default(), behind: BTreeSet::new() };
        let builder = std::thread::Builder::new().name("larder-runs".to_owned()).stack_size(STACK);
        match builder.spawn(priority::waiting(move || worker.run())) {
            Ok(handle) => *thread = Some(handle),
            Err(error) => tracing::error!(%error, "cannot start the thread for runs; it is tried again"),
        }
    }

    /// Asks for a run of each moment of the schedule in a range, or for one as of now; returns them.
    pub async fn request(
        &self,
        view: &Arc<FeatureView>,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<Run>, RunError> {
        let batch = batch_of(view)?;
        let schedule = Schedule::parse(&batch.schedule).map_err(RunError::Invalid)?;
        let now = self.0.origin.clock.now();
        let moments = match (from, to) {
            (None, None) => vec![now.micros()],
            (None, Some(_)) => return Err(RunError::Invalid("`to` needs a `from`".to_owned())),
            (Some(from), to) => schedule.between(from, to.map_or(now, |to| to.min(now)), MOST_MOMENTS),
        };
        if moments.is_empty() {
            return Err(RunError::Invalid(format!(
                "no moment of the schedule `{}` lies in that range, up to now",
                batch.schedule
            )));
        }
        if moments.len() > MOST_MOMENTS {
            return Err(RunError::Invalid(format!(
                "more than {MOST_MOMENTS} moments of the schedule lie in that range; ask for a part of it"
            )));
        }
        let runs = self.0.enqueue(view, &moments, Cause::Request).await?;
        {
            // Whoever asks has perhaps put right what was wrong.
            let mut queues = self.0.queues();
            self.0.queue(&mut queues, view)?.hurry();
        }
        self.wake();
        Ok(runs)
    }

    pub fn of(&self, view: &Arc<FeatureView>) -> Result<Overview, RunError> {
        let batch = batch_of(view)?;
        let now = self.0.origin.clock.now().micros();
        let next = Schedule::parse(&batch.schedule).ok().and_then(|schedule| schedule.next(now));
        let mut queues = self.0.queues();
        let queue = self.0.queue(&mut queues, view)?;
        Ok(queue.overview(&view.name, &batch.schedule, next.map(Timestamp::from_micros)))
    }

    /// Ends what is under way and waits for its end; the next start goes on from there.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.control.stop();
        let thread = lock(&self.0.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::warn!("the thread for runs ended with a panic");
        }
    }
}

pub(super) fn batch_of(view: &FeatureView) -> Result<&Arc<Batch>, RunError> {
    view.batch().ok_or_else(|| RunError::NotABatch(view.name.clone()))
}

/// The batch feature views of a catalog.
pub(super) fn batch_views(catalog: &Catalog) -> impl Iterator<Item = (&Arc<FeatureView>, &Arc<Batch>)> {
    catalog.feature_views.values().filter_map(|view| Some((view, view.batch()?)))
}

impl Inner {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn queues(&self) -> MutexGuard<'_, Queues> {
        lock(&self.queues)
    }

    /// The view's runs, read from the store where that has not been done.
    pub fn queue<'a>(&self, queues: &'a mut Queues, view: &FeatureView) -> Result<&'a mut Queue, RunError> {
        let table = view.schema.table;
        let queue = match queues.entry(table) {
            Entry::Occupied(queue) => queue.into_mut(),
            Entry::Vacant(place) => place.insert(match self.origin.log.read(table) {
                Ok(stored) => Ok(Queue::new(stored.into_iter())),
                Err(ShardError::Damaged(why)) => {
                    tracing::error!(view = view.name, why, "its runs are held up until `larder repair`");
                    Err(why)
                }
                Err(error) => return Err(error.into()),
            }),
        };
        let unreadable =
            |why: &mut String| RunError::Unreadable { view: view.name.clone(), why: why.clone() };
        queue.as_mut().map_err(unreadable)
    }

    /// None: the view's runs are held up, and with them those of views that read it.
    pub fn readable<'a>(
        &self,
        queues: &'a mut Queues,
        view: &FeatureView,
    ) -> Result<Option<&'a mut Queue>, RunError> {
        match self.queue(queues, view) {
            Err(RunError::Unreadable { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    fn has_work(&self) -> Result<bool, RunError> {
        let catalog = self.origin.inputs.catalog.current();
        let now = self.origin.clock.now();
        let mut queues = self.queues();
        for (view, batch) in batch_views(&catalog) {
            let Some(queue) = self.readable(&mut queues, view)? else { continue };
            if queue.next(now).is_some() || due(batch, queue, now).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes runs of these moments (microseconds).
    pub async fn enqueue(
        &self,
        view: &Arc<FeatureView>,
        moments: &[i64],
        cause: Cause,
    ) -> Result<Vec<Run>, RunError> {
        let runs = {
            let mut queues = self.queues();
            let queue = self.queue(&mut queues, view)?;
            let pending = queue.pending();
            // What is due is one run at a time, and is never refused.
            if cause == Cause::Request && pending + moments.len() > MOST_PENDING {
                return Err(RunError::TooManyPending {
                    view: view.name.clone(),
                    pending,
                    most: MOST_PENDING,
                });
            }
            let first = queue.next_number();
            let run = |(number, at): (u64, &i64)| Run::queued(number, Timestamp::from_micros(*at), cause);
            let runs: Vec<Run> = (first..).zip(moments).map(run).collect();
            // Held before they are stored, so that nobody else takes their numbers.
            queue.hold(&runs);
            runs
        };
        let stored = self.store(view, &runs).await;
        let mut queues = self.queues();
        self.queue(&mut queues, view)?.release();
        stored.map(|()| runs)
    }

    /// Stores the records of runs, and forgets those that have become too many.
    pub async fn store(&self, view: &Arc<FeatureView>, runs: &[Run]) -> Result<(), RunError> {
        let empty = arrow::array::RecordBatch::new_empty(Arc::clone(view.schema.arrow()));
        let batch = PreparedBatch::rows(Arc::clone(&view.schema), &empty);
        self.write(view, batch, runs).await
    }

    /// Stores rows together with the records of runs that say that they are there.
    pub async fn write(
        &self,
        view: &Arc<FeatureView>,
        batch: PreparedBatch,
        runs: &[Run],
    ) -> Result<(), RunError> {
        let table = view.schema.table;
        let mut notes: Vec<_> = runs.iter().map(|run| RunLog::note(table, run)).collect();
        let surplus = {
            let mut queues = self.queues();
            self.queue(&mut queues, view)?.surplus()
        };
        notes.extend(surplus.iter().map(|number| RunLog::forget(table, *number)));
        self.origin.shards.check(table)?;
        let permit = self.origin.shards.reserve(batch.size())?;
        let batch_id = runs.first().map_or_else(crate::model::BatchId::fresh, |run| run.batch_id(table));
        let write = Write::of(batch, view.offline).with_id(batch_id).noting(notes);
        self.origin.shards.apply(write, permit).await?;
        let mut queues = self.queues();
        let queue = self.queue(&mut queues, view)?;
        surplus.into_iter().for_each(|number| queue.remove(number));
        runs.iter().for_each(|run| queue.set(run.clone()));
        Ok(())
    }
}

/// The last moment of the schedule, where no run has been made for it. What was missed before it is left to a request.
pub(super) fn due(batch: &Batch, queue: &Queue, now: Timestamp) -> Option<Timestamp> {
    let moment = Schedule::parse(&batch.schedule).ok()?.last(now.micros()).map(Timestamp::from_micros)?;
    queue.last_scheduled().is_none_or(|last| last < moment).then_some(moment)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
