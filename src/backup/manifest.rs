//! The manifest: the last file of a backup to be written, and what makes it one.

use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path},
};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    backup::{BackupError, files::write_file},
    model::{BatchId, TableId, Timestamp},
};

const MANIFEST: &str = "manifest.json";
/// The format that this version writes; a backup of a newer one is refused.
const FORMAT: u32 = 1;

/// What a backup holds, and what state of the node it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of larder that wrote it.
    pub larder: String,
    pub id: BatchId,
    /// The data directory that it is a backup of.
    pub node: BatchId,
    /// When the node stood still: everything acknowledged before is in the backup, nothing that came after.
    pub barrier: Timestamp,
    pub shards: usize,
    pub tables: BTreeMap<String, TableMark>,
    /// Exported keyspaces, in the order in which they are read back: path below the backup.
    pub online: Vec<Export>,
    /// Every file by its path below the backup.
    pub files: BTreeMap<String, FileMark>,
}

/// Where a table stood at the barrier.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableMark {
    pub table: TableId,
    /// The number of rows that were ever accepted.
    pub next_seq: u64,
    /// The number of them that are in segments; the rest is in the exported outbox.
    pub sealed_seq: u64,
    pub delta_version: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    pub keyspace: String,
    pub file: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    pub bytes: u64,
    pub crc32c: u32,
}

/// The file: the manifest's text with its checksum.
#[derive(Serialize, Deserialize)]
struct Sealed {
    crc32c: u32,
    manifest: Box<RawValue>,
}

impl Manifest {
    pub fn new(node: BatchId, id: BatchId, barrier: Timestamp, shards: usize) -> Manifest {
        Manifest {
            format: FORMAT,
            larder: env!("CARGO_PKG_VERSION").to_owned(),
            id,
            node,
            barrier,
            shards,
            tables: BTreeMap::new(),
            online: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// `None` where `dir` has no manifest.
    pub fn read(dir: &Path) -> Result<Option<Manifest>, BackupError> {
        let path = dir.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::io("reading", &path)(error)),
        };
        let damaged = |reason: &dyn ToString| BackupError::damaged(&path, reason.to_string());
        let sealed: Sealed = serde_json::from_slice(&text).map_err(|e| damaged(&e))?;
        if crc32c::crc32c(sealed.manifest.get().as_bytes()) != sealed.crc32c {
            return Err(damaged(&"it has changed since it was written"));
        }
        let format: Format = serde_json::from_str(sealed.manifest.get()).map_err(|e| damaged(&e))?;
        if format.format > FORMAT {
            let reason = format!(
                "it has format {}, this version of larder reads up to {FORMAT}; use a newer larder",
                format.format
            );
            return Err(BackupError::NoBackup { dir: dir.to_owned(), reason });
        }
        let manifest: Manifest = serde_json::from_str(sealed.manifest.get()).map_err(|e| damaged(&e))?;
        let exports = manifest.online.iter().map(|export| &export.file);
        if let Some(name) = manifest.files.keys().chain(exports).find(|name| !is_below(name)) {
            return Err(damaged(&format!("the path `{name}` leads out of the backup")));
        }
        Ok(Some(manifest))
    }

    /// Durable, and in place of an earlier one, when it returns.
    pub fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(MANIFEST);
        let wrong = |error: serde_json::Error| BackupError::io("writing", &path)(error.into());
        let text = serde_json::to_string_pretty(self).map_err(wrong)?;
        let crc32c = crc32c::crc32c(text.as_bytes());
        let sealed = Sealed { crc32c, manifest: RawValue::from_string(text).map_err(wrong)? };
        let bytes = serde_json::to_vec(&sealed).map_err(wrong)?;
        write_file(&path, |mut out| {
            io::Write::write_all(&mut out, &bytes).map_err(BackupError::io("writing", &path))?;
            Ok(out)
        })?;
        Ok(())
    }
}

/// All that a newer format must keep.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn is_below(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let id = BatchId::fresh();
        let mut manifest = Manifest::new(id, id, Timestamp::from_micros(5), 2);
        manifest.files.insert("offline/a/b".to_owned(), FileMark { bytes: 3, crc32c: 7 });
        manifest
    }

    #[test]
    fn reads_back_and_any_flip_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Manifest::read(dir.path()).unwrap().is_none());
        let manifest = sample();
        manifest.write(dir.path()).unwrap();
        let back = Manifest::read(dir.path()).unwrap().unwrap();
        assert_eq!((back.id, &back.files), (manifest.id, &manifest.files));
        let path = dir.path().join(MANIFEST);
        let text = fs::read(&path).unwrap();
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, damaged).unwrap();
            assert!(Manifest::read(dir.path()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn newer_formats_and_paths_that_lead_out_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = sample();
        manifest.format = FORMAT + 1;
        manifest.write(dir.path()).unwrap();
        let error = Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("use a newer larder"), "{error}");
        for name in ["../x", "/etc/x", "a/../../x", ""] {
            let mut manifest = sample();
            manifest.files.insert(name.to_owned(), FileMark { bytes: 0, crc32c: 0 });
            manifest.write(dir.path()).unwrap();
            let error = Manifest::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("leads out"), "{name}: {error}");
        }
    }
}
