//! A job as its node has it: in memory, and in a directory of its own.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use crate::serve::sets::{Job, JobState, Order, SetError, folder::write_json, job::StoredJob};

/// In a job's directory.
pub(super) const JOB: &str = "job.json";

pub(super) struct Entry {
    pub dir: PathBuf,
    pub order: Option<Order>,
    pub job: Mutex<Job>,
    pub cancelled: AtomicBool,
    /// How often a process has begun with it and not come to its end.
    pub attempts: AtomicU32,
}

impl Entry {
    pub fn new(dir: PathBuf, stored: StoredJob) -> Arc<Entry> {
        Arc::new(Entry {
            dir,
            order: stored.order,
            job: Mutex::new(stored.job),
            cancelled: AtomicBool::new(stored.cancelled),
            attempts: AtomicU32::new(stored.attempts),
        })
    }

    /// Makes what is known of the job durable. One that runs is stored as one that waits: after a crash that is what it is.
    pub fn store(&self, job: &Job) -> Result<(), SetError> {
        let mut job = job.clone();
        if job.state == JobState::Running {
            job.state = JobState::Queued;
        }
        let (order, attempts) = (self.order.clone(), self.attempts.load(Ordering::Acquire));
        let cancelled = self.cancelled.load(Ordering::Acquire);
        write_json(&self.dir, JOB, &StoredJob { job, order, attempts, cancelled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{BatchId, Timestamp},
        serve::sets::{Task, folder::read_json},
    };

    #[test]
    fn a_job_that_runs_waits_after_a_crash_and_its_cancel_is_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let task = Task::Build { name: None };
        let queued = Job::queued(BatchId::fresh(), task, Timestamp::from_micros(0));
        let job = Job { state: JobState::Running, ..queued };
        let stored = StoredJob { job: job.clone(), order: None, attempts: 1, cancelled: false };
        let entry = Entry::new(dir.path().to_owned(), stored);
        entry.cancelled.store(true, Ordering::Release);
        entry.store(&job).unwrap();
        let stored: StoredJob = read_json(&dir.path().join(JOB)).unwrap();
        assert_eq!((stored.job.state, stored.attempts, stored.cancelled), (JobState::Queued, 1, true));
        assert!(Entry::new(dir.path().to_owned(), stored).cancelled.load(Ordering::Acquire));
    }
}
