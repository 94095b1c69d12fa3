//! A segment: one immutable Parquet file, named by the table's Delta log.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    error::out_of_descriptors,
    offline::{OfflineError, stats::Bounds, tags::Tags},
};

/// One Parquet file of a table, sorted by (key, event time, seq).
#[derive(Debug)]
pub struct Segment {
    pub path: PathBuf,
    /// The path as the Delta log has it.
    pub(super) name: String,
    pub bytes: u64,
    pub rows: u64,
    /// Least and greatest event time in microseconds; none when another writer left it out.
    pub event_time: Option<(i64, i64)>,
    /// Least and greatest `_seq`; none when another writer left it out.
    pub seq: Option<(u64, u64)>,
    /// Of the whole file; none when another writer wrote it.
    pub(super) crc32c: Option<u32>,
    /// Whether the whole file agreed with `bytes` and `crc32c` when this process last looked.
    verified: AtomicBool,
    /// Versions that were superseded at this time (microseconds) were left out when it was written.
    pub(super) horizon: Option<i64>,
    /// Changes where the log gets better ones for the same file; none where the log's are in an earlier form.
    stats: Mutex<Option<FileStats>>,
}

/// A file's statistics in the log.
#[derive(Debug, Clone)]
pub(super) struct FileStats {
    pub json: Arc<str>,
    /// Of how many of the table's columns they tell: a table's columns only grow in number.
    pub columns: usize,
}

impl Segment {
    /// `stats`: what the log has, if it is what `tags` say of it.
    pub(super) fn new(
        dir: &Path,
        name: String,
        bytes: u64,
        bounds: Bounds,
        tags: &Tags,
        stats: Option<&str>,
    ) -> Segment {
        let stats = tags.stats_columns.zip(stats);
        Segment {
            path: dir.join(&name),
            name,
            bytes,
            rows: bounds.rows.unwrap_or(0),
            event_time: bounds.event_time,
            seq: bounds.seq,
            crc32c: tags.crc32c,
            verified: AtomicBool::new(false),
            horizon: tags.horizon,
            stats: Mutex::new(stats.map(|(columns, json)| FileStats { json: json.into(), columns })),
        }
    }

    pub(super) fn stats(&self) -> Option<FileStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// To be called when the log has them.
    pub(super) fn set_stats(&self, stats: Option<FileStats>) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    pub(super) fn tags(&self) -> Tags {
        Tags {
            crc32c: self.crc32c,
            stats_columns: self.stats().map(|stats| stats.columns),
            event_time: self.event_time,
            seq: self.seq,
            horizon: self.horizon,
        }
    }

    /// Opens the file. The first time in a process all of it is read and checked, so that a changed byte is an error
    /// and never a wrong number.
    pub(super) fn open(&self) -> Result<File, OfflineError> {
        if !self.verified.load(Ordering::Acquire) {
            self.verify()?;
        }
        File::open(&self.path).map_err(|error| self.unreadable(error))
    }

    /// Reads the whole file again and compares it with what the log says of it. A file that is wrong is read by nobody
    /// until it is found right again.
    pub fn verify(&self) -> Result<(), OfflineError> {
        let mut check = self.begin_check()?;
        while check.step(self, 1 << 18)?.is_some() {}
        Ok(())
    }

    /// The same in portions.
    pub(super) fn begin_check(&self) -> Result<SegmentCheck, OfflineError> {
        let file = File::open(&self.path).map_err(|error| self.unreadable(error))?;
        let length = file.metadata().map_err(|error| self.unreadable(error))?.len();
        if length != self.bytes {
            let reason = format!("it is {length} bytes long, the Delta log says {}", self.bytes);
            return Err(self.distrust(OfflineError::corrupt(&self.path, reason)));
        }
        Ok(SegmentCheck { file, crc: 0, block: Vec::new() })
    }

    fn distrust(&self, error: OfflineError) -> OfflineError {
        self.verified.store(false, Ordering::Release);
        error
    }

    fn unreadable(&self, error: io::Error) -> OfflineError {
        match error.kind() {
            // Says nothing of the file.
            _ if out_of_descriptors(&error) => OfflineError::io("opening", &self.path)(error),
            io::ErrorKind::NotFound => {
                self.distrust(OfflineError::corrupt(&self.path, "the file is missing"))
            }
            _ => self.distrust(OfflineError::corrupt(&self.path, error)),
        }
    }
}

/// A check of a whole segment under way.
pub(super) struct SegmentCheck {
    file: File,
    crc: u32,
    /// What was read last; its memory is used again.
    block: Vec<u8>,
}

impl SegmentCheck {
    /// Reads on, up to `most` bytes; returns how many it were, and `None` when the file has been found right.
    pub fn step(&mut self, segment: &Segment, most: usize) -> Result<Option<usize>, OfflineError> {
        self.block.resize(most, 0);
        match self.file.read(&mut self.block) {
            Ok(0) => match segment.crc32c {
                Some(expected) if expected != self.crc => {
                    let reason = format!(
                        "its content has changed (checksum {:08x}, the Delta log says {expected:08x})",
                        self.crc
                    );
                    Err(segment.distrust(OfflineError::corrupt(&segment.path, reason)))
                }
                _ => {
                    segment.verified.store(true, Ordering::Release);
                    Ok(None)
                }
            },
            Ok(n) => {
                self.crc = crc32c::crc32c_append(self.crc, &self.block[..n]);
                Ok(Some(n))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
            Err(error) => Err(segment.unreadable(error)),
        }
    }
}
