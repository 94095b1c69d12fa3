//! Removing commits of a Delta log that a checkpoint stands for, after Delta's `delta.logRetentionDuration`.
//!
//! The log begins at a checkpoint then, and it is never the only one: should the newest be damaged and taken away, the
//! one before it and the commits after that say the same.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

use fs_err as fs;

use crate::offline::{
    OfflineError, Table,
    delta_log::log_dir,
    durable::{names, sync_dir},
    log_check::{LogVersion, check_checkpoint, crc_name, log_version},
};

/// While it lives no file of the table's log is removed.
#[derive(Debug, Clone)]
pub struct LogHold(#[allow(dead_code)] Arc<()>);

impl Table {
    /// For who copies the log's files one by one.
    pub fn hold_log(&self) -> LogHold {
        LogHold(Arc::clone(&self.log_hold.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Removes the commits, and the checkpoints, before the newest checkpoint but one that is older than `retention`:
    /// Delta readers go back that far at least. Returns how many files went.
    pub fn forget_commits(&self, retention: Duration) -> Result<usize, OfflineError> {
        let hold = self.log_hold.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&hold) > 1 {
            return Ok(0);
        }
        let names = names(&log_dir(&self.dir))?;
        let mut versions: Vec<_> = names.iter().filter_map(|name| Some((log_version(name)?, name))).collect();
        versions.sort_by_key(|(version, _)| version.number);
        let Some(begin) = self.new_beginning(&versions, retention)? else { return Ok(0) };
        // In order, so that a log of which only some went has no gap either.
        let mut removed = 0;
        for (version, name) in versions.iter().take_while(|(version, _)| version.number < begin) {
            remove(&log_dir(&self.dir).join(name))?;
            if version.is_checkpoint {
                remove(&log_dir(&self.dir).join(crc_name(version.number)))?;
            }
            removed += 1;
        }
        if removed > 0 {
            sync_dir(&log_dir(&self.dir))?;
        }
        Ok(removed)
    }

    /// The checkpoint with which the log may begin: whole, and with every commit after it.
    fn new_beginning(
        &self,
        versions: &[(LogVersion, &String)],
        retention: Duration,
    ) -> Result<Option<u64>, OfflineError> {
        let mut checkpoints = versions.iter().filter(|(version, _)| version.is_checkpoint).rev();
        checkpoints.next();
        for (version, name) in checkpoints {
            let path = log_dir(&self.dir).join(name);
            let written = fs::metadata(&path).and_then(|file| file.modified());
            let written = written.map_err(OfflineError::io("looking at", &path))?;
            if written.elapsed().is_ok_and(|age| age >= retention) {
                check_checkpoint(&self.dir, version.number)?;
                let after = versions.iter().filter(|(v, _)| !v.is_checkpoint && v.number > version.number);
                let whole = after.zip(version.number + 1..).all(|((v, _), number)| v.number == number);
                return Ok(whole.then_some(version.number));
            }
        }
        Ok(None)
    }
}

fn remove(path: &Path) -> Result<(), OfflineError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(OfflineError::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}
