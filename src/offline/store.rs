//! The directory of tables.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use fs_err as fs;

use crate::{
    model::TableSchema,
    offline::{
        OfflineError, OfflineOptions, ScrubLog,
        compact::Maintenance,
        delta_log::{self, CommitError, Identity, log_dir},
        delta_read::LogReader,
        durable::sync_dir,
        log_end::sealed_seq,
        orphans::{has_log, remove_orphans, remove_temporary},
        table::Table,
    },
};

/// A table, once it is open. Whoever opens it holds the lock, so that others wait for this one alone.
type Slot = Arc<Mutex<Option<Arc<Table>>>>;

/// All tables of one data directory. One process at a time: the online store's lock sees to that.
pub struct OfflineStore {
    dir: PathBuf,
    options: Arc<OfflineOptions>,
    log: Arc<LogReader>,
    open: Mutex<HashMap<String, Slot>>,
    scrub_log: Arc<ScrubLog>,
}

impl OfflineStore {
    /// Creates `dir` when it is not there. Tables are opened when they are first asked for.
    pub fn open(dir: &Path, options: OfflineOptions) -> Result<Arc<OfflineStore>, OfflineError> {
        fs::create_dir_all(dir).map_err(OfflineError::io("creating", dir))?;
        let dir = fs::canonicalize(dir).map_err(OfflineError::io("opening", dir))?;
        let log = LogReader::new(options.runtime.clone())
            .map_err(OfflineError::io("starting a thread for", &dir))?;
        Ok(Arc::new(OfflineStore {
            dir,
            options: Arc::new(options),
            log: Arc::new(log),
            open: Mutex::new(HashMap::new()),
            scrub_log: Arc::default(),
        }))
    }

    /// The table of that schema's name, opened or created. What a crash left in its directory is cleared away.
    pub fn table(&self, schema: &TableSchema) -> Result<Arc<Table>, OfflineError> {
        let slot = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(open.entry(schema.name.clone()).or_default())
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = &*slot {
            return Ok(Arc::clone(table));
        }
        let dir = self.dir.join(&schema.name);
        fs::create_dir_all(log_dir(&dir)).map_err(OfflineError::io("creating", &dir))?;
        remove_temporary(&dir)?;
        if !has_log(&dir)? {
            sync_dir(&self.dir)?;
            sync_dir(&dir)?;
            let metadata = delta_log::metadata(&schema.name, &Identity::new(), schema.offline())?;
            let actions = [delta_log::protocol(), metadata];
            delta_log::commit(&schema.name, &dir, 0, "CREATE TABLE", &actions)
                .map_err(CommitError::into_inner)?;
        }
        let loaded = self.log.load(&dir, &schema.event_time)?;
        let maintenance = Maintenance::new(remove_orphans(&dir, &loaded)?);
        let table = Arc::new(Table::new(schema, &dir, &self.options, &self.log, loaded, maintenance)?);
        *slot = Some(Arc::clone(&table));
        Ok(table)
    }

    /// How far the table's rows are in segments, without opening it where its log's end says so.
    pub fn sealed_seq(&self, schema: &TableSchema) -> Result<u64, OfflineError> {
        match sealed_seq(&self.dir.join(&schema.name))? {
            Some(sealed) => Ok(sealed),
            None => Ok(self.table(schema)?.sealed_seq()),
        }
    }

    /// Whether there is anything of the table yet.
    pub fn has(&self, schema: &TableSchema) -> bool {
        log_dir(&self.dir.join(&schema.name)).exists()
    }

    /// What the scrub has found in these tables.
    pub fn scrub_log(&self) -> &Arc<ScrubLog> {
        &self.scrub_log
    }

    /// The tables that were asked for so far: soon after a node's start all that have rows.
    pub fn opened(&self) -> Vec<Arc<Table>> {
        let slots: Vec<Slot> =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        slots.iter().filter_map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }
}
