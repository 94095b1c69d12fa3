//! Looking at tables without changing anything: opening them through the store clears away what a crash left.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use fs_err as fs;

use crate::{
    model::TableSchema,
    offline::{
        OfflineError,
        delta_read::LogReader,
        durable::{TEMPORARY, names},
        orphans::{has_log, version_of},
    },
};

/// Reads the tables of a directory that no node has open.
pub struct Inspector {
    dir: PathBuf,
    log: LogReader,
}

/// A table as its directory has it.
#[derive(Debug, Default, serde::Serialize)]
pub struct TableInspection {
    pub delta_version: u64,
    /// Rows with `_seq` below this are in segments.
    pub sealed_seq: u64,
    pub segments: usize,
    pub rows: u64,
    pub bytes: u64,
    /// Files that a crash left and the next start removes.
    pub orphans: Vec<String>,
    pub problems: Vec<String>,
}

impl Inspector {
    pub fn new(dir: &Path) -> Result<Inspector, OfflineError> {
        let dir = match dir.exists() {
            true => fs::canonicalize(dir).map_err(OfflineError::io("opening", dir))?,
            false => dir.to_owned(),
        };
        let log = LogReader::new(None).map_err(OfflineError::io("starting a thread for", &dir))?;
        Ok(Inspector { dir, log })
    }

    /// What there is of a table, and what is wrong with it. `deep`: every segment is read and compared with its
    /// checksum.
    pub fn table(&self, schema: &TableSchema, deep: bool) -> TableInspection {
        let mut found = TableInspection::default();
        if let Err(error) = self.look(schema, deep, &mut found) {
            found.problems.push(error.to_string());
        }
        found
    }

    fn look(
        &self,
        schema: &TableSchema,
        deep: bool,
        found: &mut TableInspection,
    ) -> Result<(), OfflineError> {
        let dir = self.dir.join(&schema.name);
        if !dir.join("_delta_log").exists() || !has_log(&dir)? {
            return Ok(());
        }
        let loaded = self.log.load(&dir, &schema.event_time)?;
        found.delta_version = loaded.version;
        found.sealed_seq = loaded.sealed_seq;
        found.segments = loaded.segments.len();
        for segment in &loaded.segments {
            found.rows += segment.rows;
            found.bytes += segment.bytes;
            let size = fs::metadata(&segment.path).map(|meta| meta.len());
            match size {
                Ok(size) if size == segment.bytes && deep => {
                    found.problems.extend(segment.verify().err().map(|error| error.to_string()));
                }
                Ok(size) if size == segment.bytes => {}
                Ok(size) => found.problems.push(format!(
                    "segment {} is {size} bytes long, the Delta log says {}",
                    segment.path.display(),
                    segment.bytes
                )),
                Err(error) => found.problems.push(format!("segment {}: {error}", segment.path.display())),
            }
        }
        let live: HashSet<&str> = loaded.segments.iter().map(|segment| segment.name.as_str()).collect();
        for name in names(&dir)? {
            let unnamed = version_of(&name).is_some_and(|version| version > loaded.version);
            if name.starts_with(TEMPORARY) || (unnamed && !live.contains(name.as_str())) {
                found.orphans.push(name);
            }
        }
        Ok(())
    }
}
