//! The jobs of a node: stored before they are acknowledged, run one after the other on a thread of their own, run again
//! after a restart.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use arrow::datatypes::Schema;
use fs_err as fs;

use crate::{
    clock::Clock,
    format::FormatError,
    metrics,
    model::{BatchId, EVENT_TIME, Timestamp},
    offline::sync_dir,
    serve::{
        LeakGuard, Reads, Split, Wanted,
        sets::{
            Folder, Job, JobState, Manifest, Order, SetError, SetRef, SpineMark, TableMark, Task, Verdict,
            build::{Built, build, kept_format, table_rows},
            folder::{MANIFEST, SPINE, check_name, read_json, write_json},
            job::StoredJob,
            manifest::views,
            spine,
            verify::verify,
        },
        until::tables,
    },
    shard::Shards,
};

/// In a job's directory.
const JOB: &str = "job.json";
/// In a job's directory: what will be the version's.
const BUILT: &str = "set";
/// Jobs that may wait.
const QUEUE: usize = 16;
/// How often a job is begun that ends the process each time.
const ATTEMPTS: u32 = 3;
/// Ended jobs that can still be asked about.
const REMEMBERED: usize = 32;

/// What jobs work with.
pub struct Origin {
    pub reads: Arc<Reads>,
    pub shards: Shards,
    pub clock: Clock,
    pub data: PathBuf,
    /// What all training sets together may take on the disk.
    pub limit_bytes: u64,
}

/// Whose knowledge a set has.
#[derive(Debug, Clone)]
pub enum KnownAt {
    /// What was accepted up to then.
    Time(Timestamp),
    /// What that version of a set was made of, to the row.
    Set(SetRef),
}

/// What is asked of a job that builds; the spine comes apart from it.
#[derive(Debug)]
pub struct Ask {
    pub wanted: Wanted,
    /// Under which the set is kept; without one it is kept with the job.
    pub name: Option<String>,
    pub format: String,
    pub known_at: Option<KnownAt>,
    pub event_time: Option<String>,
    pub full_feature_names: bool,
    pub leak_guard: LeakGuard,
    pub split: Option<Split>,
}

struct Entry {
    dir: PathBuf,
    order: Option<Order>,
    job: Mutex<Job>,
    cancelled: AtomicBool,
    attempts: AtomicU32,
}

impl Entry {
    fn new(dir: PathBuf, stored: StoredJob) -> Arc<Entry> {
        Arc::new(Entry {
            dir,
            order: stored.order,
            job: Mutex::new(stored.job),
            cancelled: AtomicBool::new(false),
            attempts: AtomicU32::new(stored.attempts),
        })
    }

    /// Makes what is known of the job durable.
    fn store(&self, job: &Job) -> Result<(), SetError> {
        let (order, attempts) = (self.order.clone(), self.attempts.load(Ordering::Acquire));
        write_json(&self.dir, JOB, &StoredJob { job: job.clone(), order, attempts })
    }
}

/// All training sets of a node.
pub struct Sets {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    origin: Origin,
    folder: Folder,
    /// By id, which is by age.
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    changed: Condvar,
    stopping: AtomicBool,
}

impl Sets {
    /// Goes on with what an earlier process left undone.
    pub fn open(origin: Origin) -> Result<Sets, SetError> {
        let folder = Folder::open(&origin.data)?;
        let mut entries = BTreeMap::new();
        for dir in folder.job_dirs()? {
            let stored: StoredJob = match read_json(&dir.join(JOB)) {
                Ok(stored) => stored,
                // It was never acknowledged.
                Err(SetError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    remove(&dir)?;
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "a job for a training set is left alone");
                    continue;
                }
            };
            let id = stored.job.id.to_string();
            entries.insert(id, Entry::new(dir, stored));
        }
        let inner = Arc::new(Inner {
            origin,
            folder,
            entries: Mutex::new(entries),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let worker = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("larder-sets".to_owned())
            .spawn(move || worker.run())
            .map_err(SetError::io("starting a thread for", &inner.origin.data))?;
        Ok(Sets { inner, thread: Mutex::new(Some(thread)) })
    }

    pub fn folder(&self) -> &Folder {
        &self.inner.folder
    }

    /// Whether another job may be given; asked before the work of reading its spine.
    pub fn check(&self) -> Result<(), SetError> {
        self.inner.check()
    }

    /// Stores a job that builds a set of the spine's rows, as they are known at this moment if nothing else is said. On
    /// return the job survives a crash.
    pub fn build(
        &self,
        ask: Ask,
        spine: &Schema,
        rows: impl Iterator<Item = Result<arrow::array::RecordBatch, FormatError>>,
    ) -> Result<Job, SetError> {
        let inner = &self.inner;
        let left = inner.check_room()?;
        ask.name.as_deref().map_or(Ok(()), check_name)?;
        let format = kept_format(&ask.format)?;
        let id = BatchId::fresh();
        let dir = inner.folder.job_dir(&id);
        let stored = (|| {
            let mut order = inner.order(&ask, &format.to_string())?;
            fs::create_dir(&dir).map_err(SetError::io("creating", &dir))?;
            let (mark, schema) = spine::store(&dir, spine, rows, &order.event_time, left)?;
            order.columns(&inner.origin.reads, &schema)?;
            order.spine = mark;
            let job =
                Job { rows_total: order.spine.rows, ..inner.job(id, Task::Build { name: ask.name.clone() }) };
            inner.push(&dir, job, Some(order))
        })();
        if stored.is_err() {
            // What is left of it is removed at the next start.
            let _ = fs::remove_dir_all(&dir);
        }
        stored
    }

    /// Stores a job that makes a version again and compares.
    pub fn verify(&self, set: &SetRef) -> Result<Job, SetError> {
        let inner = &self.inner;
        inner.check()?;
        let manifest = inner.folder.manifest(set)?;
        let id = BatchId::fresh();
        let dir = inner.folder.job_dir(&id);
        fs::create_dir(&dir).map_err(SetError::io("creating", &dir))?;
        let set = SetRef { name: set.name.clone(), version: manifest.version };
        let job = Job { rows_total: manifest.rows, ..inner.job(id, Task::Verify { set }) };
        inner.push(&dir, job, None)
    }

    pub fn job(&self, id: &str) -> Result<Job, SetError> {
        self.inner.entry(id).map(|entry| lock(&entry.job).clone())
    }

    /// Oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        lock(&self.inner.entries).values().map(|entry| lock(&entry.job).clone()).collect()
    }

    /// The data that a job has made: its own, or the named version's.
    pub fn data_of_job(&self, id: &str) -> Result<(Manifest, PathBuf), SetError> {
        let entry = self.inner.entry(id)?;
        let job = lock(&entry.job).clone();
        let manifest = job.manifest.ok_or(SetError::NoData(job.state.as_str()))?;
        let dir = match (&manifest.name, manifest.version) {
            (Some(name), version) => self.inner.folder.find(&SetRef { name: name.clone(), version })?.1,
            _ => entry.dir.join(BUILT),
        };
        Ok((manifest, dir))
    }

    /// Cancels a job; one that has ended is forgotten, with the data that it alone has.
    pub fn cancel(&self, id: &str) -> Result<Job, SetError> {
        let entry = self.inner.entry(id)?;
        let mut job = lock(&entry.job);
        match job.state {
            JobState::Running => entry.cancelled.store(true, Ordering::Release),
            JobState::Queued => {
                job.state = JobState::Cancelled;
                job.finished_at = Some(self.inner.origin.clock.now());
                self.inner.settle(&entry, &job)?;
            }
            _ => {
                let ended = job.clone();
                // Who has all jobs may ask for one of them, never the other way round.
                drop(job);
                lock(&self.inner.entries).remove(id);
                remove(&entry.dir)?;
                return Ok(ended);
            }
        }
        Ok(job.clone())
    }

    /// Ends what is under way; it is run again after the next start.
    pub fn stop(&self) {
        self.inner.stopping.store(true, Ordering::Release);
        drop(lock(&self.inner.entries));
        self.inner.changed.notify_all();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread of the training sets ended with a panic");
        }
    }
}

impl Inner {
    fn check(&self) -> Result<(), SetError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(SetError::Stopped);
        }
        let states = lock(&self.entries).values().map(|entry| lock(&entry.job).state).collect::<Vec<_>>();
        let waiting = states.into_iter().filter(|state| *state == JobState::Queued).count();
        if waiting >= QUEUE { Err(SetError::Queue { waiting }) } else { Ok(()) }
    }

    /// How many bytes may still be stored.
    fn check_room(&self) -> Result<u64, SetError> {
        self.check()?;
        self.origin.shards.check_space()?;
        let (used, limit) = (self.folder.bytes()?, self.origin.limit_bytes);
        limit.checked_sub(used).filter(|left| *left > 0).ok_or(SetError::Budget { used, limit })
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, SetError> {
        lock(&self.entries).get(id).cloned().ok_or_else(|| SetError::UnknownJob(id.to_owned()))
    }

    fn job(&self, id: BatchId, task: Task) -> Job {
        Job {
            id,
            task,
            state: JobState::Queued,
            created_at: self.origin.clock.now(),
            started_at: None,
            finished_at: None,
            rows_done: 0,
            rows_total: 0,
            error: None,
            manifest: None,
            verdict: None,
        }
    }

    /// Everything that is asked, with versions and bounds; the spine is yet to come.
    fn order(&self, ask: &Ask, format: &str) -> Result<Order, SetError> {
        let reads = &self.origin.reads;
        let catalog = reads.catalog.current();
        let resolved = ask.wanted.resolve(&catalog)?;
        let feature_service = match &ask.wanted {
            Wanted::Service(name) => {
                let (name, version) =
                    name.split_once('@').map_or((name.as_str(), None), |(n, v)| (n, v.parse().ok()));
                Some(format!("{name}@{}", catalog.feature_service(name, version)?.version))
            }
            _ => None,
        };
        // The time before the numbers: what was accepted up to then has one below them.
        let now = self.origin.clock.now();
        let mut marks = BTreeMap::new();
        for schema in tables(&catalog, &resolved)? {
            let delta_version = reads.offline.table(&schema)?.snapshot().delta_version;
            let next_seq = self.origin.shards.committed().of(schema.table).next_seq();
            marks.insert(schema.name.clone(), TableMark { delta_version, next_seq });
        }
        let (known_at, by_time) = match &ask.known_at {
            None => (now, false),
            Some(KnownAt::Time(time)) => match self.version_known_at(ask.name.as_deref(), *time)? {
                Some(manifest) if marks.keys().all(|table| manifest.order.tables.contains_key(table)) => {
                    marks.retain(|table, mark| Self::take_mark(&manifest, table, mark));
                    (*time, manifest.order.by_time)
                }
                _ => (*time, true),
            },
            Some(KnownAt::Set(set)) => {
                let manifest = self.folder.manifest(set)?;
                if let Some(table) = marks.keys().find(|table| !manifest.order.tables.contains_key(*table)) {
                    let reason = format!("`{set}` was not made of `{table}`; give a time");
                    return Err(SetError::field("known_at", reason));
                }
                marks.retain(|table, mark| Self::take_mark(&manifest, table, mark));
                (manifest.order.known_at, manifest.order.by_time)
            }
        };
        Ok(Order {
            feature_service,
            features: resolved.pinned(),
            registry_version: catalog.version,
            event_time: ask.event_time.clone().unwrap_or_else(|| EVENT_TIME.to_owned()),
            full_feature_names: ask.full_feature_names,
            format: format.to_owned(),
            known_at,
            by_time,
            tables: marks,
            spine: SpineMark { rows: 0, sha256: String::new() },
            leak_guard: ask.leak_guard,
            split: ask.split.clone(),
        })
    }

    fn take_mark(manifest: &Manifest, table: &str, mark: &mut TableMark) -> bool {
        manifest.order.tables.get(table).map(|theirs| *mark = *theirs).is_some()
    }

    /// The version of the set whose manifest says `known_at`: that time then means its rows, not only its microsecond.
    fn version_known_at(
        &self,
        name: Option<&str>,
        known_at: Timestamp,
    ) -> Result<Option<Manifest>, SetError> {
        let Some(name) = name else { return Ok(None) };
        for version in self.folder.versions(name)? {
            let manifest = self.folder.manifest(&SetRef { name: name.to_owned(), version: Some(version) })?;
            if manifest.order.known_at == known_at {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    fn push(&self, dir: &Path, job: Job, order: Option<Order>) -> Result<Job, SetError> {
        let entry = Entry::new(dir.to_owned(), StoredJob { job: job.clone(), order, attempts: 0 });
        entry.store(&job)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
        lock(&self.entries).insert(job.id.to_string(), entry);
        self.changed.notify_all();
        Ok(job)
    }

    fn run(&self) {
        while let Some(entry) = self.next() {
            let started = std::time::Instant::now();
            let ended = catch_unwind(AssertUnwindSafe(|| self.work(&entry)));
            let ended = ended.unwrap_or_else(|_| {
                Err(SetError::Broken("the job ended with a panic; the node's log says why".to_owned()))
            });
            let mut job = lock(&entry.job);
            match ended {
                Err(SetError::Stopped) => {
                    job.state = JobState::Queued;
                    // It was not the job's fault.
                    entry.attempts.store(0, Ordering::Release);
                    if let Err(error) = entry.store(&job) {
                        tracing::warn!(job = %job.id, %error, "that a job waits again could not be stored");
                    }
                    continue;
                }
                Ok(()) => job.state = JobState::Done,
                Err(SetError::Cancelled) => job.state = JobState::Cancelled,
                Err(error) => {
                    tracing::error!(job = %job.id, %error, "a job for a training set failed");
                    job.state = JobState::Failed;
                    job.error = Some(in_words(&error));
                }
            }
            job.finished_at = Some(self.origin.clock.now());
            metrics::record_set_job(job.state.as_str(), started.elapsed());
            if let Err(error) = self.settle(&entry, &job) {
                tracing::error!(job = %job.id, %error, "a job's end could not be stored; it is run again after a restart");
            }
            drop(job);
            self.forget_old();
        }
    }

    /// The oldest job that waits; none once the node is stopping.
    fn next(&self) -> Option<Arc<Entry>> {
        let mut entries = lock(&self.entries);
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            let waiting = entries.values().find(|entry| lock(&entry.job).state == JobState::Queued);
            if let Some(entry) = waiting {
                return Some(Arc::clone(entry));
            }
            entries = self.changed.wait(entries).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, entry: &Entry) -> Result<(), SetError> {
        let (id, task) = {
            let mut job = lock(&entry.job);
            if job.state != JobState::Queued {
                return Err(SetError::Cancelled);
            }
            if entry.attempts.fetch_add(1, Ordering::AcqRel) >= ATTEMPTS {
                let reason = format!("the node ended {ATTEMPTS} times while it ran; it is not begun again");
                return Err(SetError::Broken(reason));
            }
            // Stored as one that waits: after a crash that is what it is.
            entry.store(&job)?;
            job.state = JobState::Running;
            job.started_at = Some(self.origin.clock.now());
            job.rows_done = 0;
            (job.id, job.task.clone())
        };
        let done = |rows| {
            lock(&entry.job).rows_done = rows;
            if self.stopping.load(Ordering::Acquire) {
                return Err(SetError::Stopped);
            }
            if entry.cancelled.load(Ordering::Acquire) {
                return Err(SetError::Cancelled);
            }
            Ok(self.origin.shards.check_space()?)
        };
        match task {
            Task::Verify { set } => {
                let (_, dir) = self.folder.find(&set)?;
                let manifest = self.folder.manifest(&set)?;
                let verdict: Verdict = verify(&self.origin.reads, &manifest, &dir, done)?;
                lock(&entry.job).verdict = Some(verdict);
            }
            Task::Build { name } => {
                let order = entry
                    .order
                    .as_ref()
                    .ok_or_else(|| SetError::damaged(&entry.dir, "the job has no order"))?;
                let manifest = match self.published(name.as_deref(), id)? {
                    Some(manifest) => manifest,
                    None => self.make(entry, order, name.as_deref(), id, done)?,
                };
                let mut job = lock(&entry.job);
                job.rows_done = manifest.rows;
                job.manifest = Some(manifest);
            }
        }
        Ok(())
    }

    /// The version that the job has made, where it was ended before it could say so.
    fn published(&self, name: Option<&str>, id: BatchId) -> Result<Option<Manifest>, SetError> {
        let Some(name) = name else { return Ok(None) };
        for version in self.folder.versions(name)? {
            let manifest = self.folder.manifest(&SetRef { name: name.to_owned(), version: Some(version) })?;
            if manifest.job == id {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    fn make(
        &self,
        entry: &Entry,
        order: &Order,
        name: Option<&str>,
        id: BatchId,
        done: impl Fn(u64) -> Result<(), SetError>,
    ) -> Result<Manifest, SetError> {
        let reads = &self.origin.reads;
        let left = self.origin.limit_bytes.saturating_sub(self.folder.bytes()?);
        let built = entry.dir.join(BUILT);
        remove(&built)?;
        fs::create_dir(&built).map_err(SetError::io("creating", &built))?;
        let spine = entry.dir.join(SPINE);
        let Built { data, columns, leaks } = build(reads, order, &spine, &built, left, &done)?;
        done(order.spine.rows)?;
        let resolved = order.wanted().resolve(&reads.catalog.current())?;
        let mut manifest = Manifest {
            name: None,
            version: None,
            job: id,
            created_at: self.origin.clock.now(),
            larder: env!("CARGO_PKG_VERSION").to_owned(),
            order: order.clone(),
            views: views(&reads.catalog.current(), &resolved)?,
            columns: columns.fields().iter().map(|f| (f.name().clone(), f.data_type().to_string())).collect(),
            table_rows: table_rows(reads, order)?,
            rows: order.spine.rows,
            leaks,
            data,
        };
        // The job keeps its own until it has ended.
        let kept = built.join(SPINE);
        if std::fs::hard_link(&spine, &kept).is_err() {
            fs::copy(&spine, &kept).map_err(SetError::io("copying to", &kept))?;
            fs::File::open(&kept).and_then(|file| file.sync_all()).map_err(SetError::io("syncing", &kept))?;
        }
        match name {
            Some(name) => {
                sync_dir(&built)?;
                self.folder.publish(&built, name, &mut manifest)?;
            }
            None => write_json(&built, MANIFEST, &manifest)?,
        }
        Ok(manifest)
    }

    /// Stores a job's end, and removes what it does not need any more.
    fn settle(&self, entry: &Entry, job: &Job) -> Result<(), SetError> {
        entry.store(job)?;
        let spine = entry.dir.join(SPINE);
        if spine.exists() {
            fs::remove_file(&spine).map_err(SetError::io("removing", &spine))?;
        }
        if job.state != JobState::Done {
            remove(&entry.dir.join(BUILT))?;
        }
        Ok(())
    }

    fn forget_old(&self) {
        let mut entries = lock(&self.entries);
        let ended: Vec<String> = entries
            .iter()
            .filter(|(_, entry)| lock(&entry.job).state.is_final())
            .map(|(id, _)| id.clone())
            .collect();
        for id in &ended[..ended.len().saturating_sub(REMEMBERED)] {
            if let Some(entry) = entries.remove(id)
                && let Err(error) = remove(&entry.dir)
            {
                tracing::warn!(%error, "an old job could not be removed");
            }
        }
    }
}

/// The message, and what is wrong piece by piece.
fn in_words(error: &SetError) -> String {
    use crate::error::Coded;
    let mut text = error.to_string();
    for detail in error.details().into_iter().take(5) {
        text.push_str("; ");
        if let Some(row) = detail.row {
            text.push_str(&format!("row {row}: "));
        }
        if let Some(field) = detail.field {
            text.push_str(&format!("{field}: "));
        }
        text.push_str(&detail.reason);
    }
    text
}

fn remove(dir: &Path) -> Result<(), SetError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(SetError::io("removing", dir)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
