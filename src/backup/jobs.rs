//! Backups that were asked for: one at a time, each on a thread of its own.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crate::{
    backup::{
        BackupError,
        take::{Origin, claim, take},
    },
    metrics,
    model::{BatchId, Timestamp},
    priority,
};

/// How many finished backups can still be asked about.
const REMEMBERED: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Running,
    Done,
    Failed,
}

/// How far a backup is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Job {
    pub id: BatchId,
    pub dir: PathBuf,
    pub state: JobState,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// Everything acknowledged before this moment is in the backup.
    pub barrier: Option<Timestamp>,
    /// How long writes stood still for it.
    pub held_ms: Option<f64>,
    /// Entries of the online store written so far.
    pub entries: u64,
    /// Bytes written to the backup so far; links are free.
    pub bytes_written: u64,
    pub files_copied: u64,
    pub files_linked: u64,
    /// Files that the earlier backup in the directory had already.
    pub files_kept: u64,
    pub error: Option<String>,
}

/// A job as its thread sees it.
pub(super) struct Progress {
    job: Arc<Mutex<Job>>,
    stopping: Arc<AtomicBool>,
}

impl Progress {
    pub fn note(&self, change: impl FnOnce(&mut Job)) {
        change(&mut lock(&self.job));
    }

    /// An error once the node is shutting down.
    pub fn check(&self) -> Result<(), BackupError> {
        if self.stopping.load(Ordering::Acquire) { Err(BackupError::Stopped) } else { Ok(()) }
    }
}

/// All backups of one node.
pub struct Backups {
    origin: Origin,
    jobs: Mutex<Jobs>,
    stopping: Arc<AtomicBool>,
}

#[derive(Default)]
struct Jobs {
    known: VecDeque<Arc<Mutex<Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Backups {
    pub fn new(origin: Origin) -> Backups {
        Backups { origin, jobs: Mutex::default(), stopping: Arc::default() }
    }

    /// Begins a backup into `dir`; returns what [`Backups::get`] can be asked.
    pub fn start(&self, dir: PathBuf) -> Result<Job, BackupError> {
        let mut jobs = lock(&self.jobs);
        if let Some(thread) = &jobs.thread
            && !thread.is_finished()
        {
            let running = jobs.known.back().map_or(String::new(), |job| lock(job).id.to_string());
            return Err(BackupError::Running(running));
        }
        if self.stopping.load(Ordering::Acquire) {
            return Err(BackupError::Stopped);
        }
        let node = claim(&self.origin, &dir)?;
        let begun = Job {
            id: BatchId::fresh(),
            dir: dir.clone(),
            state: JobState::Running,
            started_at: self.origin.clock.now(),
            finished_at: None,
            barrier: None,
            held_ms: None,
            entries: 0,
            bytes_written: 0,
            files_copied: 0,
            files_linked: 0,
            files_kept: 0,
            error: None,
        };
        let job = Arc::new(Mutex::new(begun.clone()));
        let progress = Progress { job: Arc::clone(&job), stopping: Arc::clone(&self.stopping) };
        let origin = self.origin.clone();
        let thread = std::thread::Builder::new().name("larder-backup".to_owned()).spawn(move || {
            priority::may_wait();
            let result = take(&origin, &dir, (node, begun.id), &progress);
            metrics::record_backup(result.is_ok());
            if let Err(error) = &result {
                tracing::error!(dir = %dir.display(), %error, "the backup failed");
            }
            progress.note(|job| {
                job.finished_at = Some(origin.clock.now());
                job.state = if result.is_ok() { JobState::Done } else { JobState::Failed };
                job.error = result.err().map(|error| error.to_string());
            });
        });
        jobs.thread = Some(thread.map_err(|source| BackupError::Io {
            doing: "starting a thread for",
            path: lock(&job).dir.clone(),
            source,
        })?);
        jobs.known.push_back(job);
        if jobs.known.len() > REMEMBERED {
            jobs.known.pop_front();
        }
        Ok(begun)
    }

    /// The job as it is now; `None` where none of the last few has that id.
    pub fn get(&self, id: &str) -> Option<Job> {
        self.all().into_iter().find(|job| job.id.to_string() == id)
    }

    /// The last few, as they are now, oldest first.
    pub fn all(&self) -> Vec<Job> {
        let jobs = lock(&self.jobs);
        let ended = jobs.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let now = |job: Job| match job.state {
            // Its thread cannot end so but by a panic.
            JobState::Running if ended => {
                let error = Some("it ended with a panic; the node's log says why".to_owned());
                Job { state: JobState::Failed, error, ..job }
            }
            _ => job,
        };
        jobs.known.iter().map(|job| now(lock(job).clone())).collect()
    }

    /// Ends the backup under way, if there is one, and waits for its end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let thread = lock(&self.jobs).thread.take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::warn!("the backup's thread ended with a panic");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
