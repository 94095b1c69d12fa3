//! The files that a table consists of at one version: what a backup keeps of it.

use std::path::PathBuf;

use crate::offline::{
    OfflineError, Table, TableSnapshot,
    delta_log::{LOG_DIR, log_dir},
    durable::names,
    log_check::{crc_name, log_version},
};

/// One file of a table. Immutable: it is there unchanged, or not at all.
#[derive(Debug, Clone)]
pub struct TableFile {
    /// Below the table's directory.
    pub name: String,
    pub path: PathBuf,
    /// What the Delta log says of a segment; none for the log's own files.
    pub crc32c: Option<u32>,
}

impl Table {
    /// The segments of `snapshot` and its Delta log, up to that version. The caller's hold on `snapshot` keeps the
    /// segments from being removed, and a [`Table::hold_log`] from before it was taken the log's files.
    pub fn files(&self, snapshot: &TableSnapshot) -> Result<Vec<TableFile>, OfflineError> {
        let mut files: Vec<TableFile> = snapshot
            .segments
            .iter()
            .map(|s| TableFile { name: s.name.clone(), path: s.path.clone(), crc32c: s.crc32c })
            .collect();
        let log = log_dir(&self.dir);
        for name in names(&log)? {
            let Some(version) = log_version(&name) else { continue };
            if version.number > snapshot.delta_version {
                continue;
            }
            // A checkpoint's checksum was there before the checkpoint.
            let beside = version.is_checkpoint.then(|| crc_name(version.number));
            for name in beside.into_iter().filter(|name| log.join(name).exists()).chain([name]) {
                let path = log.join(&name);
                files.push(TableFile { name: format!("{LOG_DIR}/{name}"), path, crc32c: None });
            }
        }
        Ok(files)
    }
}
