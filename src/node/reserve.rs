//! A file that holds room on the data directory's disk back.
//!
//! A store that meets a full disk cannot write its memtables out, and takes no more writes until it is opened again,
//! which takes room too. So some room is taken while there is plenty, and given back when it is needed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use fs_err as fs;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::task::JoinHandle;

use crate::shard::Shards;

/// How often it is looked how much is free.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// Of `bytes`, in the directory `data`; 0 = it never takes any.
    pub fn new(data: &Path, bytes: u64) -> Reserve {
        Reserve { path: data.join("reserve"), bytes }
    }

    /// Takes the room or gives it back, whichever is right where `free` bytes are free on the disk. `keep`: what must
    /// stay free besides. `failed`: the store has met an error.
    pub fn adjust(&self, free: u64, keep: u64, failed: bool) {
        let held = self.path.exists();
        let plenty = free >= keep.saturating_add(self.bytes.saturating_mul(2));
        if held && (failed || free < self.bytes || self.bytes == 0) {
            tracing::warn!(bytes = self.bytes, free, "the reserve file is given back");
            self.give_back();
        } else if !held && !failed && plenty && self.bytes > 0 {
            self.take();
        }
    }

    /// The room is not there until it is written or allocated; a file system that cannot allocate has no reserve.
    fn take(&self) {
        let taken = fs::File::create(&self.path).and_then(|file| {
            fallocate(&file, FallocateFlags::empty(), 0, self.bytes).map_err(std::io::Error::from)
        });
        if let Err(error) = taken {
            tracing::debug!(%error, "no reserve file");
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Also at a clean stop: there is nothing left to write then.
    pub fn give_back(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(%error, "cannot give the reserve file back");
            }
            _ => {}
        }
    }

    /// Looks after it until the task is aborted.
    pub fn watch(self, shards: Shards, keep: u64) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(LOOK);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                self.adjust(shards.free_bytes(), keep, shards.failure().is_some());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn taken_while_there_is_plenty_and_given_back_when_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path(), MIB);
        let held = || fs::metadata(dir.path().join("reserve")).map_or(0, |file| file.len());
        reserve.adjust(11 * MIB, 10 * MIB, false);
        assert_eq!(held(), 0, "it would take what must stay free");
        reserve.adjust(12 * MIB, 10 * MIB, false);
        assert_eq!(held(), MIB);
        reserve.adjust(2 * MIB, 10 * MIB, false);
        assert_eq!(held(), MIB, "there is still room");
        reserve.adjust(MIB - 1, 10 * MIB, false);
        assert_eq!(held(), 0);
        reserve.adjust(100 * MIB, 10 * MIB, true);
        assert_eq!(held(), 0, "a store that has failed needs the room");
        reserve.adjust(100 * MIB, 10 * MIB, false);
        reserve.adjust(100 * MIB, 10 * MIB, true);
        assert_eq!(held(), 0);
        Reserve::new(dir.path(), 0).adjust(100 * MIB, 0, false);
        assert_eq!(held(), 0);
    }
}
