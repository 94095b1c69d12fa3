//! The thread that runs jobs, one after the other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use fs_err as fs;

use crate::{
    error::Coded,
    metrics,
    model::BatchId,
    offline::sync_dir,
    serve::sets::{
        Job, JobState, Manifest, Order, SetError, Task, Verdict,
        build::{Built, Pinned, build},
        entry::Entry,
        folder::{MANIFEST, SPINE, write_json},
        jobs::{BUILT, Inner, lock, remove},
        manifest::views,
        verify::verify,
    },
};

/// How often a job is begun that ends the process each time.
const ATTEMPTS: u32 = 3;
/// Ended jobs that can still be asked about.
const REMEMBERED: usize = 32;

impl Inner {
    pub(super) fn run(&self) {
        while let Some(entry) = self.next() {
            let started = std::time::Instant::now();
            let ended = catch_unwind(AssertUnwindSafe(|| self.work(&entry)));
            let ended = ended.unwrap_or_else(|_| {
                Err(SetError::Broken("the job ended with a panic; the node's log says why".to_owned()))
            });
            let mut job = lock(&entry.job);
            let stopping = self.stopping.load(Ordering::Acquire);
            match ended {
                Err(SetError::Cancelled) => job.state = JobState::Cancelled,
                // Also what fails because nothing else of the node is there any more.
                Err(error) if stopping && !matches!(error, SetError::Broken(_)) => {
                    tracing::info!(job = %job.id, %error, "a job for a training set waits for the next start");
                    job.state = JobState::Queued;
                    // It was not the job's fault.
                    entry.attempts.store(0, Ordering::Release);
                    if let Err(error) = entry.store(&job) {
                        tracing::warn!(job = %job.id, %error, "that a job waits again could not be stored");
                    }
                    continue;
                }
                Ok(()) => job.state = JobState::Done,
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
            if job.state != JobState::Queued || entry.cancelled.load(Ordering::Acquire) {
                return Err(SetError::Cancelled);
            }
            if entry.attempts.fetch_add(1, Ordering::AcqRel) >= ATTEMPTS {
                let reason = format!("the node ended {ATTEMPTS} times while it ran; it is not begun again");
                return Err(SetError::Broken(reason));
            }
            job.state = JobState::Running;
            entry.store(&job)?;
            job.started_at = Some(self.origin.clock.now());
            job.rows_done = 0;
            (job.id, job.task.clone())
        };
        let done = |rows| {
            lock(&entry.job).rows_done = rows;
            // A cancel was acknowledged: it is not for the next start to forget.
            if entry.cancelled.load(Ordering::Acquire) {
                return Err(SetError::Cancelled);
            }
            if self.stopping.load(Ordering::Acquire) {
                return Err(SetError::Stopped);
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
        Ok(self.folder.manifests(name)?.into_iter().find(|manifest| manifest.job == id))
    }

    fn make(
        &self,
        entry: &Entry,
        order: &Order,
        name: Option<&str>,
        id: BatchId,
        done: impl Fn(u64) -> Result<(), SetError>,
    ) -> Result<Manifest, SetError> {
        let pinned = Pinned::new(&self.origin.reads);
        let left = self.origin.limit_bytes.saturating_sub(self.folder.bytes()?);
        let built = entry.dir.join(BUILT);
        remove(&built)?;
        fs::create_dir(&built).map_err(SetError::io("creating", &built))?;
        let spine = entry.dir.join(SPINE);
        let Built { data, columns, leaks, failed_rows } = build(&pinned, order, &spine, &built, left, &done)?;
        done(order.spine.rows)?;
        let mut manifest = Manifest {
            name: None,
            version: None,
            job: id,
            created_at: self.origin.clock.now(),
            larder: env!("CARGO_PKG_VERSION").to_owned(),
            order: order.clone(),
            views: views(&pinned.catalog, &pinned.resolve(order)?)?,
            columns: columns.fields().iter().map(|f| (f.name().clone(), f.data_type().to_string())).collect(),
            table_rows: pinned.table_rows(order)?,
            rows: order.spine.rows,
            leaks,
            failed_rows,
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
    pub(super) fn settle(&self, entry: &Entry, job: &Job) -> Result<(), SetError> {
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
        let old = &ended[..ended.len().saturating_sub(REMEMBERED)];
        let old: Vec<Arc<Entry>> = old.iter().filter_map(|id| entries.remove(id)).collect();
        drop(entries);
        for entry in old {
            if let Err(error) = remove(&entry.dir) {
                tracing::warn!(%error, "an old job could not be removed");
            }
        }
    }
}

/// The message, and what is wrong piece by piece.
fn in_words(error: &SetError) -> String {
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
