//! One table: its published state, and appending to it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde_json::Value;

use crate::{
    model::{TableId, TableKind, TableSchema},
    offline::{
        OfflineError, OfflineOptions,
        compact::Maintenance,
        delta_log::{self, CommitError, Identity},
        delta_read::{Loaded, LogReader},
        evolve::{conform, evolve},
        layout::Layout,
        restate::Restated,
        segment::Segment,
        segment_read::Footer,
        segment_write::{SegmentWriter, Staged},
        seqs::rows_from,
        sort::sort,
    },
};

/// Rows that are read, merged or written at a time.
pub(super) const STEP: usize = 8192;

/// What a table is at one version of its Delta log. Immutable: its segments stay on disk as long as someone holds it.
#[derive(Debug)]
pub struct TableSnapshot {
    /// The Delta log's version.
    pub delta_version: u64,
    /// Rows with `_seq` below this are in the segments.
    pub sealed_seq: u64,
    pub segments: Vec<Arc<Segment>>,
    /// The offline schema: the union of all versions' columns.
    pub schema: SchemaRef,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Rows with `_seq` below this are in segments now.
    pub sealed_seq: u64,
    /// Rows that were not in before.
    pub rows: u64,
    pub segments: usize,
    pub bytes: u64,
}

/// A feature view's or source's history: a Delta table. Appends come from one writer at a time, readers take
/// [`Table::snapshot`] and never wait.
pub struct Table {
    pub(super) id: TableId,
    pub(super) kind: TableKind,
    pub(super) layout: Layout,
    pub(super) dir: PathBuf,
    pub(super) options: Arc<OfflineOptions>,
    log: Arc<LogReader>,
    current: ArcSwap<TableSnapshot>,
    /// Taken for each commit; after `maintenance` where both are needed.
    writer: Mutex<Writer>,
    /// Taken by whatever replaces or removes segments.
    pub(super) maintenance: Mutex<Maintenance>,
    /// Others have it while no file of the log may be removed.
    pub(super) log_hold: Mutex<Arc<()>>,
}

pub(super) struct Writer {
    identity: Identity,
    /// What the log holds is not known: a commit failed half-way, or someone else made one.
    stale: bool,
}

impl Table {
    pub(super) fn new(
        schema: &TableSchema,
        dir: &Path,
        options: &Arc<OfflineOptions>,
        log: &Arc<LogReader>,
        loaded: Loaded,
        maintenance: Maintenance,
    ) -> Result<Table, OfflineError> {
        // A definition that cannot be stored here is better refused now than at the first append.
        evolve(&schema.name, &loaded.schema, schema.offline())?;
        Ok(Table {
            id: schema.table,
            kind: schema.kind,
            layout: Layout::of(schema),
            dir: dir.to_owned(),
            options: Arc::clone(options),
            log: Arc::clone(log),
            writer: Mutex::new(Writer { identity: loaded.identity.clone(), stale: false }),
            current: ArcSwap::from_pointee(published(loaded, &[])),
            maintenance: Mutex::new(maintenance),
            log_hold: Mutex::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.layout.table
    }

    pub fn snapshot(&self) -> Arc<TableSnapshot> {
        self.current.load_full()
    }

    /// Rows with `_seq` below this are in segments.
    pub fn sealed_seq(&self) -> u64 {
        self.current.load().sealed_seq
    }

    /// Stores rows for good: on return they survive a power loss, and the outbox may forget them.
    ///
    /// `rows`, in the offline schema and in order of `_seq`, end right before `up_to_seq` and begin at
    /// [`Table::sealed_seq`] or before; those that are in already are skipped. `schema` may have columns that the
    /// table lacks or wider ones: the table follows. On an error nothing is stored, or all is and the next call
    /// finds that out.
    pub fn append(
        &self,
        schema: &TableSchema,
        rows: Vec<RecordBatch>,
        up_to_seq: u64,
    ) -> Result<Sealed, OfflineError> {
        self.evolve_to(schema)?;
        let mut writer = self.writer()?;
        let current = self.snapshot();
        if up_to_seq <= current.sealed_seq {
            return Ok(Sealed { sealed_seq: current.sealed_seq, ..Sealed::default() });
        }
        let (new, next) = rows_from(&self.layout, &rows, current.sealed_seq)?;
        drop(rows);
        if next != up_to_seq {
            let found = format!("the end of the rows, which were to go up to {up_to_seq}");
            return Err(OfflineError::Gap { table: self.name().to_owned(), expected: next, found });
        }
        let new = new.iter().map(|batch| conform(batch, &current.schema)).collect::<Result<Vec<_>, _>>();
        let new = new.map_err(OfflineError::columns(self.name()))?;

        let version = current.delta_version + 1;
        let sorted = sort(&self.layout, &current.schema, &new)?;
        drop(new);
        let mut out = self.segment_writer(&current.schema, version);
        for batch in sorted.batches(STEP) {
            out.write(&batch?)?;
        }
        let staged = out.finish()?;
        let added: Vec<_> = staged.segments().cloned().collect();
        let sealed = Sealed {
            sealed_seq: up_to_seq,
            rows: sorted.len() as u64,
            segments: added.len(),
            bytes: added.iter().map(|segment| segment.bytes).sum(),
        };
        let mut actions = vec![delta_log::transaction(up_to_seq)];
        actions.extend(staged.adds(true));
        let next = TableSnapshot {
            delta_version: version,
            sealed_seq: up_to_seq,
            segments: current.segments.iter().cloned().chain(added).collect(),
            schema: Arc::clone(&current.schema),
        };
        self.commit(&mut writer, "WRITE", &actions, staged, next)?;
        Ok(sealed)
    }

    /// Adds and widens columns so that rows of `schema` fit. Widening rewrites all segments, in the same commit:
    /// no Delta reader ever meets a file narrower than the table says.
    fn evolve_to(&self, schema: &TableSchema) -> Result<(), OfflineError> {
        self.layout.check(schema)?;
        if !evolve(self.name(), &self.snapshot().schema, schema.offline())?.changed {
            return Ok(());
        }
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = self.writer()?;
        let current = self.snapshot();
        let evolved = evolve(self.name(), &current.schema, schema.offline())?;
        if !evolved.changed {
            return Ok(());
        }
        let version = current.delta_version + 1;
        let mut actions = vec![delta_log::metadata(self.name(), &writer.identity, &evolved.schema)?];
        let mut staged = Staged::default();
        if evolved.widened {
            for segment in &current.segments {
                segment.verify()?;
                let mut out = self.segment_writer(&evolved.schema, version);
                for batch in Footer::read(segment)?.rows(&evolved.schema, None, STEP)? {
                    out.write(&batch?)?;
                }
                staged.extend(out.finish()?);
                actions.push(delta_log::remove(segment, false));
            }
            actions.extend(staged.adds(false));
        }
        let restated = match evolved.widened {
            true => Restated::default(),
            false => Restated::of_columns(&current.segments, &evolved.schema),
        };
        actions.extend(restated.adds());
        let segments = match evolved.widened {
            true => staged.segments().cloned().collect(),
            false => current.segments.clone(),
        };
        let next = TableSnapshot {
            delta_version: version,
            sealed_seq: current.sealed_seq,
            segments,
            schema: evolved.schema,
        };
        self.commit(&mut writer, "CHANGE COLUMN", &actions, staged, next)?;
        restated.done();
        if evolved.widened {
            maintenance.retire(current.segments.iter().cloned());
        }
        Ok(())
    }

    pub(super) fn segment_writer(&self, schema: &SchemaRef, version: u64) -> SegmentWriter<'_> {
        SegmentWriter::new(&self.dir, &self.layout, Arc::clone(schema), &self.options, version)
    }

    /// The right to commit; the published state is the log's newest from here on.
    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writer>, OfflineError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.stale {
            let loaded = self.log.load(&self.dir, &self.layout.event_time)?;
            writer.identity = loaded.identity.clone();
            self.current.store(Arc::new(published(loaded, &self.snapshot().segments)));
            writer.stale = false;
        }
        Ok(writer)
    }

    /// Commits `next` and publishes it. The files in `staged` are removed when the commit is certainly not made.
    pub(super) fn commit(
        &self,
        writer: &mut Writer,
        operation: &str,
        actions: &[Value],
        mut staged: Staged,
        next: TableSnapshot,
    ) -> Result<(), OfflineError> {
        let version = next.delta_version;
        writer.stale = true;
        match delta_log::commit(self.name(), &self.dir, version, operation, actions) {
            Ok(()) => staged.keep(),
            Err(CommitError::NotMade(error)) => {
                writer.stale = matches!(error, OfflineError::Conflict { .. });
                return Err(error);
            }
            Err(CommitError::Unknown(error)) => {
                staged.keep();
                return Err(error);
            }
        }
        self.current.store(Arc::new(next));
        writer.stale = false;
        if version.is_multiple_of(self.options.checkpoint_commits.max(1))
            && let Err(error) = self.log.checkpoint(&self.dir)
        {
            // The commit stands; without the checkpoint opening the table takes longer.
            tracing::warn!(table = self.name(), version, %error, "no checkpoint of the Delta log");
        }
        Ok(())
    }
}

/// `loaded`, with those of the segments `known` that it still has: readers of one file share one [`Segment`].
fn published(loaded: Loaded, known: &[Arc<Segment>]) -> TableSnapshot {
    let share = |segment: Arc<Segment>| match known.iter().find(|known| known.name == segment.name) {
        Some(known) => {
            known.set_stats(segment.stats());
            Arc::clone(known)
        }
        None => segment,
    };
    TableSnapshot {
        delta_version: loaded.version,
        sealed_seq: loaded.sealed_seq,
        segments: loaded.segments.into_iter().map(share).collect(),
        schema: loaded.schema,
    }
}
