//! The thread that backfills, and how far it is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::runtime::Handle;

use crate::{
    backfill::{BackfillError, fold::Part},
    clock::Clock,
    metrics,
    model::TableId,
    offline::{History, OfflineStore, Tail},
    priority,
    registry::{CatalogHandle, FeatureView},
    shard::{BackfillStep, BackfilledEntity, Generation, Shards, Stage, Streams},
};

/// What the thread reads, and where it sends what it makes of it.
#[derive(Clone)]
pub struct Origin {
    pub catalog: CatalogHandle,
    pub streams: Streams,
    pub shards: Shards,
    pub offline: Arc<OfflineStore>,
    pub tail: Arc<dyn Tail>,
    pub clock: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillState {
    Backfilling,
    Ready,
}

/// How far a view's window state is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Backfill {
    pub view: String,
    /// Of its newest generation.
    pub state: BackfillState,
    pub generation: u32,
    /// The generation whose values are served; none while the first is backfilled.
    pub serving: Option<u32>,
    /// Events looked at so far, in this run …
    pub events_done: u64,
    /// … of so many: each part looks at all of them.
    pub events_total: u64,
    /// Why the last attempt did not succeed; it is tried again.
    pub error: Option<String>,
}

#[derive(Debug, Default, Clone)]
struct Progress {
    done: u64,
    total: u64,
    error: Option<String>,
}

/// All backfills of one node: one at a time.
pub struct Backfills {
    origin: Origin,
    progress: Arc<Mutex<BTreeMap<TableId, Progress>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stopping: Arc<AtomicBool>,
}

/// Bytes of events that a part may have in memory.
const PART_BYTES: u64 = 128 << 20;
/// What an event is taken to need.
const EVENT_BYTES: u64 = 64;
const MAX_PARTS: u64 = 4096;
/// A portion is sent when it has so many bytes: a commit of a few milliseconds.
const STEP_BYTES: usize = 512 * 1024;
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

impl Backfills {
    pub fn new(origin: Origin) -> Backfills {
        Backfills { origin, progress: Arc::default(), thread: Mutex::default(), stopping: Arc::default() }
    }

    /// Starts the thread where there is something to do and it is not running. Called again and again.
    pub fn wake(&self) {
        if self.stopping.load(Ordering::Acquire)
            || self.origin.streams.current().all().all(|generation| generation.is_ready())
        {
            return;
        }
        let mut thread = lock(&self.thread);
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let worker = Worker {
            origin: self.origin.clone(),
            progress: Arc::clone(&self.progress),
            stopping: Arc::clone(&self.stopping),
            runtime,
        };
        let started = std::thread::Builder::new()
            .name("larder-backfill".to_owned())
            .spawn(priority::waiting(move || worker.run()));
        match started {
            Ok(handle) => *thread = Some(handle),
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that backfills; it is tried again")
            }
        }
    }

    /// Counts all of the view's events anew. What serves goes on until that is done.
    pub async fn start(&self, view: &FeatureView) -> Result<Backfill, BackfillError> {
        let stream = view.stream().ok_or_else(|| BackfillError::NotAStream(view.name.clone()))?;
        self.origin.shards.rebuild_stream(stream.source_table, view.schema.table).await?;
        lock(&self.progress).remove(&view.schema.table);
        self.wake();
        self.of(view)
    }

    pub fn of(&self, view: &FeatureView) -> Result<Backfill, BackfillError> {
        if view.stream().is_none() {
            return Err(BackfillError::NotAStream(view.name.clone()));
        }
        let streams = self.origin.streams.current();
        let newest = streams.of_view(view.schema.table).next();
        let newest = newest.ok_or_else(|| BackfillError::Unknown(view.name.clone()))?;
        let serving = streams.of_view(view.schema.table).find(|generation| generation.is_ready());
        let progress = lock(&self.progress).get(&view.schema.table).cloned().unwrap_or_default();
        Ok(Backfill {
            view: view.name.clone(),
            state: if newest.is_ready() { BackfillState::Ready } else { BackfillState::Backfilling },
            generation: newest.number,
            serving: serving.map(|generation| generation.number),
            events_done: progress.done,
            events_total: progress.total,
            error: progress.error,
        })
    }

    /// Ends what is under way and waits for its end; the next start goes on from there.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::warn!("the backfill's thread ended with a panic");
        }
    }
}

struct Worker {
    origin: Origin,
    progress: Arc<Mutex<BTreeMap<TableId, Progress>>>,
    stopping: Arc<AtomicBool>,
    runtime: Handle,
}

impl Worker {
    fn run(&self) {
        // One that fails is tried again when the others have had their turn.
        let mut failed: Vec<(TableId, u32)> = Vec::new();
        loop {
            let id = |generation: &Generation| (generation.plan.spec.view, generation.number);
            let streams = self.origin.streams.current();
            let open: Vec<_> = streams.all().filter(|generation| !generation.is_ready()).collect();
            let Some(any) = open.first() else { return };
            let next = open.iter().find(|generation| !failed.contains(&id(generation)));
            if next.is_none() {
                failed.clear();
            }
            let generation = Arc::clone(next.unwrap_or(any));
            match self.backfill(&generation) {
                Ok(()) => {}
                Err(BackfillError::Stopped) => return,
                Err(error) => {
                    tracing::error!(view = %generation.plan.spec.name, %error, "the backfill failed; it is tried again");
                    self.note(&generation, |progress| progress.error = Some(error.to_string()));
                    failed.push(id(&generation));
                    std::thread::sleep(RETRY);
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// From where the generation's stage says it is, to its end.
    fn backfill(&self, generation: &Generation) -> Result<(), BackfillError> {
        let spec = &generation.plan.spec;
        let catalog = self.origin.catalog.current();
        let Some(source) = catalog.newest_schema(spec.source) else { return Ok(()) };
        let table = self.origin.offline.table(source)?;
        let rows = History::open(&table, self.origin.tail.as_ref(), source)?.rows();
        let (parts, first, mut after) = match &generation.stage {
            Stage::Backfilling { parts: 0, .. } => (parts(rows), 0, None),
            Stage::Backfilling { parts, part, after } => (*parts, *part, after.clone()),
            _ => return Ok(()),
        };
        let mut stage = generation.stage.clone();
        let total = rows * u64::from(parts - first);
        self.note(generation, |progress| *progress = Progress { done: 0, total, error: None });
        for part in first..parts {
            // A history for each part: what it holds open would keep merged segments on the disk.
            let history = History::open(&table, self.origin.tail.as_ref(), source)?;
            let now = self.origin.clock.now().micros();
            let work = Part { generation, source, part, parts, now };
            let folded = work.fold(&history, |rows| {
                self.note(generation, |progress| progress.done += rows);
                metrics::record_backfilled(&spec.name, rows);
                match self.stopping.load(Ordering::Acquire) {
                    true => Err(BackfillError::Stopped),
                    false => Ok(()),
                }
            })?;
            self.send(generation, &mut stage, (part, parts), after.take(), folded)?;
        }
        Ok(())
    }

    /// Sends the entities of a part that come after the key `after`, and that the part is done.
    fn send(
        &self,
        generation: &Generation,
        stage: &mut Stage,
        (part, parts): (u32, u32),
        after: Option<Vec<u8>>,
        entities: impl Iterator<Item = Result<BackfilledEntity, BackfillError>>,
    ) -> Result<(), BackfillError> {
        let (mut portion, mut bytes) = (Vec::new(), 0);
        for entity in entities {
            let entity = entity?;
            if after.as_ref().is_some_and(|after| entity.key <= *after) {
                continue;
            }
            bytes += entity.key.len() + entity.base.len();
            portion.push(entity);
            if bytes >= STEP_BYTES {
                let after = portion.last().map(|entity| entity.key.clone());
                let then = Stage::Backfilling { parts, part, after };
                self.step(generation, stage, std::mem::take(&mut portion), then)?;
                bytes = 0;
            }
        }
        let then = match part + 1 < parts {
            true => Stage::Backfilling { parts, part: part + 1, after: None },
            false => Stage::Ready,
        };
        self.step(generation, stage, portion, then)
    }

    fn step(
        &self,
        generation: &Generation,
        stage: &mut Stage,
        entities: Vec<BackfilledEntity>,
        then: Stage,
    ) -> Result<(), BackfillError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(BackfillError::Stopped);
        }
        let spec = &generation.plan.spec;
        // The same bounds as for everyone who writes: free space, damage, a store that takes no more.
        self.origin.shards.check(spec.source)?;
        let from = std::mem::replace(stage, then.clone());
        let step = BackfillStep { view: spec.view, generation: generation.number, entities, from, then };
        Ok(self.runtime.block_on(self.origin.shards.backfill(spec.source, step))?)
    }

    fn note(&self, generation: &Generation, change: impl FnOnce(&mut Progress)) {
        change(lock(&self.progress).entry(generation.plan.spec.view).or_default());
    }
}

/// Into how many parts the entities are divided, so that one part's events fit in memory.
fn parts(rows: u64) -> u32 {
    u32::try_from((rows * EVENT_BYTES).div_ceil(PART_BYTES).clamp(1, MAX_PARTS)).unwrap_or(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
