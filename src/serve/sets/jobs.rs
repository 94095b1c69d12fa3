//! The jobs of a node: stored before they are acknowledged, run one after the other on a thread of their own, run again
//! after a restart.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use arrow::datatypes::Schema;
use fs_err as fs;

use crate::{
    clock::Clock,
    format::FormatError,
    model::BatchId,
    offline::sync_dir,
    priority,
    serve::{
        Reads,
        sets::{
            Ask, Folder, Job, JobState, Manifest, Order, SetError, SetRef, Task,
            build::{Pinned, kept_format},
            entry::{Entry, JOB},
            folder::{check_name, read_json},
            job::StoredJob,
            spine,
        },
    },
    shard::Shards,
};

/// In a job's directory: what will be the version's.
pub(super) const BUILT: &str = "set";
/// Jobs that may wait.
const QUEUE: usize = 16;

/// What jobs work with.
pub struct Origin {
    pub reads: Arc<Reads>,
    pub shards: Shards,
    pub clock: Clock,
    pub data: PathBuf,
    /// What all training sets together may take on the disk.
    pub limit_bytes: u64,
}

/// All training sets of a node.
pub struct Sets {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Inner {
    pub origin: Origin,
    pub folder: Folder,
    /// By id, which is by age.
    pub entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    pub changed: Condvar,
    /// Held while a spine is stored.
    storing: Mutex<()>,
    pub stopping: AtomicBool,
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
            storing: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let worker = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("larder-sets".to_owned())
            .spawn(priority::waiting(move || worker.run()))
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
        // One spine after the other, so that each knows of the room that those before it have left.
        let _storing = lock(&inner.storing);
        let left = inner.check_room()?;
        ask.name.as_deref().map_or(Ok(()), check_name)?;
        let format = kept_format(&ask.format)?;
        inner.acknowledged(|id, dir| {
            let mut order = inner.order(&ask, &format.to_string())?;
            let (mark, schema) = spine::store(dir, spine, rows, (&order.event_time, order.times), left)?;
            order.columns(&Pinned::new(&inner.origin.reads), &schema)?;
            order.spine = mark;
            let job = Job {
                rows_total: order.spine.rows,
                ..Job::queued(id, Task::Build { name: ask.name.clone() }, inner.origin.clock.now())
            };
            inner.push(dir, job, Some(order))
        })
    }

    /// Stores a job that makes a version again and compares.
    pub fn verify(&self, set: &SetRef) -> Result<Job, SetError> {
        let inner = &self.inner;
        inner.check()?;
        let manifest = inner.folder.manifest(set)?;
        let set = SetRef { name: set.name.clone(), version: manifest.version };
        inner.acknowledged(|id, dir| {
            let job = Job {
                rows_total: manifest.rows,
                ..Job::queued(id, Task::Verify { set }, inner.origin.clock.now())
            };
            inner.push(dir, job, None)
        })
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
            JobState::Running => {
                entry.cancelled.store(true, Ordering::Release);
                entry.store(&job)?;
            }
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

    /// Ends what is under way, soon; it is run again after the next start.
    pub fn begin_stop(&self) {
        self.inner.stopping.store(true, Ordering::Release);
        drop(lock(&self.inner.entries));
        self.inner.changed.notify_all();
    }

    /// The same, and waits for it.
    pub fn stop(&self) {
        self.begin_stop();
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
        check_queue(&lock(&self.entries))
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

    /// Makes a job with a directory of its own; where that fails, nothing of it is left.
    fn acknowledged(
        &self,
        make: impl FnOnce(BatchId, &Path) -> Result<Job, SetError>,
    ) -> Result<Job, SetError> {
        let id = BatchId::fresh();
        let dir = self.folder.job_dir(&id);
        fs::create_dir(&dir).map_err(SetError::io("creating", &dir))?;
        let made = make(id, &dir);
        if made.is_err() {
            // What is left of it is removed at the next start.
            let _ = fs::remove_dir_all(&dir);
        }
        made
    }

    fn push(&self, dir: &Path, job: Job, order: Option<Order>) -> Result<Job, SetError> {
        let entry =
            Entry::new(dir.to_owned(), StoredJob { job: job.clone(), order, attempts: 0, cancelled: false });
        entry.store(&job)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
        let mut entries = lock(&self.entries);
        // Others may have come since it was asked.
        check_queue(&entries)?;
        entries.insert(job.id.to_string(), entry);
        drop(entries);
        self.changed.notify_all();
        Ok(job)
    }
}

fn check_queue(entries: &BTreeMap<String, Arc<Entry>>) -> Result<(), SetError> {
    let waiting = entries.values().filter(|entry| lock(&entry.job).state == JobState::Queued).count();
    if waiting >= QUEUE { Err(SetError::Queue { waiting }) } else { Ok(()) }
}

pub(super) fn remove(dir: &Path) -> Result<(), SetError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(SetError::io("removing", dir)),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
