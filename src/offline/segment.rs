//! A segment: one immutable Parquet file, named by the table's Delta log.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::offline::{OfflineError, stats::Bounds};

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
    /// Whether this process has seen the whole file agree with `bytes` and `crc32c`.
    verified: OnceLock<()>,
}

impl Segment {
    pub(super) fn new(dir: &Path, name: String, bytes: u64, bounds: Bounds, crc32c: Option<u32>) -> Segment {
        Segment {
            path: dir.join(&name),
            name,
            bytes,
            rows: bounds.rows.unwrap_or(0),
            event_time: bounds.event_time,
            seq: bounds.seq,
            crc32c,
            verified: OnceLock::new(),
        }
    }

    /// Opens the file. The first time in a process all of it is read and checked, so that a changed byte is an error
    /// and never a wrong number.
    pub(super) fn open(&self) -> Result<File, OfflineError> {
        let mut file = File::open(&self.path).map_err(|error| self.unreadable(&error))?;
        if self.verified.get().is_none() {
            self.check(&mut file)?;
            let _ = self.verified.set(());
        }
        Ok(file)
    }

    /// Reads the whole file again and compares it with what the log says of it.
    pub fn verify(&self) -> Result<(), OfflineError> {
        let mut file = File::open(&self.path).map_err(|error| self.unreadable(&error))?;
        self.check(&mut file)
    }

    fn check(&self, file: &mut File) -> Result<(), OfflineError> {
        let length = file.metadata().map_err(|error| self.unreadable(&error))?.len();
        if length != self.bytes {
            let reason = format!("it is {length} bytes long, the Delta log says {}", self.bytes);
            return Err(OfflineError::corrupt(&self.path, reason));
        }
        let Some(expected) = self.crc32c else { return Ok(()) };
        let mut crc = 0;
        let mut block = vec![0; 1 << 18];
        loop {
            match file.read(&mut block) {
                Ok(0) => break,
                Ok(n) => crc = crc32c::crc32c_append(crc, &block[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(&error)),
            }
        }
        file.rewind().map_err(|error| self.unreadable(&error))?;
        if crc != expected {
            let reason =
                format!("its content has changed (checksum {crc:08x}, the Delta log says {expected:08x})");
            return Err(OfflineError::corrupt(&self.path, reason));
        }
        Ok(())
    }

    fn unreadable(&self, error: &io::Error) -> OfflineError {
        match error.kind() {
            io::ErrorKind::NotFound => OfflineError::corrupt(&self.path, "the file is missing"),
            _ => OfflineError::corrupt(&self.path, error),
        }
    }
}
