//! Maintenance: merging small segments, dropping old rows, deleting files that nobody reads any more.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use fs_err as fs;
use serde_json::Value;

use crate::{
    compute::retention::Horizon,
    failpoint,
    model::TableKind,
    offline::{
        OfflineError, OfflineOptions, delta_log,
        durable::sync_dir,
        merge::{Forget, Merge},
        segment::Segment,
        segment_read::Footer,
        segment_write::Staged,
        table::{Table, TableSnapshot},
    },
};

/// Segments merged at a time, so that their open pages fit in memory.
pub(super) const MAX_INPUTS: usize = 32;
/// Rows read from each input at a time.
const STEP: usize = 1024;
/// A segment is alike when it has at most so many times the rows of all smaller ones: a row is rewritten a logarithmic
/// number of times over the table's life.
pub(super) const GROWTH: u64 = 4;

/// What maintenance of a table remembers; its lock is held while segments are replaced.
pub(super) struct Maintenance {
    /// What need not survive a merge.
    pub horizon: Option<Horizon>,
    /// Segments that the log no longer names, since when.
    retired: Vec<(Arc<Segment>, Instant)>,
}

impl Maintenance {
    pub fn new(retired: impl IntoIterator<Item = Arc<Segment>>) -> Self {
        let mut maintenance = Maintenance { horizon: None, retired: Vec::new() };
        maintenance.retire(retired);
        maintenance
    }

    pub fn retire(&mut self, segments: impl IntoIterator<Item = Arc<Segment>>) {
        let now = Instant::now();
        self.retired.extend(segments.into_iter().map(|segment| (segment, now)));
    }
}

/// What a compaction did; all zero when there was nothing worth doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactOutcome {
    /// Segments that were replaced …
    pub merged: usize,
    /// … by so many …
    pub written: usize,
    /// … with so many rows.
    pub rows: u64,
    /// Rows that their retention did not keep.
    pub dropped: u64,
}

impl Table {
    /// Merges small segments into larger ones, in one commit that changes no row (but for those that are past
    /// their retention). Appends go on meanwhile.
    /// To be called again until it reports nothing.
    pub fn compact(&self) -> Result<CompactOutcome, OfflineError> {
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        let inputs = choose(&before.segments, &self.options);
        if inputs.is_empty() {
            return Ok(CompactOutcome::default());
        }
        failpoint::reach("compact.before");
        let outcome = self.merge(&mut maintenance, &before, inputs)?;
        failpoint::reach("compact.after");
        Ok(outcome)
    }

    /// Puts one sorted run of rows in place of `inputs`, without what the horizon forgets.
    pub(super) fn merge(
        &self,
        maintenance: &mut Maintenance,
        before: &TableSnapshot,
        inputs: Vec<Arc<Segment>>,
    ) -> Result<CompactOutcome, OfflineError> {
        // Whatever was read before: a changed byte must not get a new checksum.
        let readers = inputs.iter().map(|segment| {
            segment.verify()?;
            Footer::read(segment)?.rows(&before.schema, None, STEP)
        });
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        let horizon = maintenance.horizon;
        let forget = match horizon {
            None => Forget::Nothing,
            Some(horizon) if self.kind == TableKind::Source => Forget::EventsBefore(horizon.time),
            Some(horizon) => Forget::Versions(horizon),
        };
        let mut merge = Merge::new(&self.layout, &before.schema, readers, forget)?;
        let mut out = self
            .segment_writer(&before.schema, before.delta_version + 1)
            .with_horizon(horizon.map(|horizon| horizon.time));
        for batch in merge.by_ref() {
            out.write(&batch?)?;
        }
        let staged = out.finish()?;
        let outcome = CompactOutcome {
            merged: inputs.len(),
            written: staged.segments().count(),
            rows: staged.segments().map(|segment| segment.rows).sum(),
            dropped: merge.dropped,
        };
        self.replace("OPTIMIZE", &inputs, staged, Vec::new(), outcome.dropped > 0)?;
        maintenance.retire(inputs);
        Ok(outcome)
    }

    /// Deletes files that the log has not named for `older_than` and that no snapshot in this process holds.
    /// Readers in other processes have that long to finish. Returns how many went.
    pub fn vacuum(&self, older_than: Duration) -> Result<usize, OfflineError> {
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deleted = 0;
        let mut failed = Ok(());
        maintenance.retired.retain(|(segment, since)| {
            if since.elapsed() < older_than || Arc::strong_count(segment) > 1 || failed.is_err() {
                return true;
            }
            match fs::remove_file(&segment.path) {
                Ok(()) => deleted += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    failed = Err(OfflineError::io("removing", &segment.path)(error));
                    return true;
                }
            }
            false
        });
        failed?;
        if deleted > 0 {
            sync_dir(&self.dir)?;
        }
        Ok(deleted)
    }

    /// Reads every segment through and compares it with its checksum in the log.
    pub fn verify(&self) -> Result<(), OfflineError> {
        self.snapshot().segments.iter().try_for_each(|segment| segment.verify())
    }

    /// One commit that removes `old` and adds `staged`, with further actions that change no row, on top of whatever was
    /// appended meanwhile.
    pub(super) fn replace(
        &self,
        operation: &str,
        old: &[Arc<Segment>],
        staged: Staged,
        further: Vec<Value>,
        data_change: bool,
    ) -> Result<(), OfflineError> {
        let mut writer = self.writer()?;
        let current = self.snapshot();
        let is_old = |segment: &Arc<Segment>| old.iter().any(|old| old.name == segment.name);
        if current.segments.iter().filter(|segment| is_old(segment)).count() != old.len() {
            // Someone else has replaced them; the files in `staged` go.
            let (table, version) = (self.name().to_owned(), current.delta_version);
            return Err(OfflineError::Conflict { table, version });
        }
        let mut actions: Vec<_> = old.iter().map(|segment| delta_log::remove(segment, data_change)).collect();
        actions.extend(staged.adds(data_change));
        actions.extend(further);
        let kept = current.segments.iter().filter(|segment| !is_old(segment));
        let next = TableSnapshot {
            delta_version: current.delta_version + 1,
            sealed_seq: current.sealed_seq,
            segments: kept.chain(staged.segments()).cloned().collect(),
            schema: Arc::clone(&current.schema),
        };
        self.commit(&mut writer, operation, &actions, staged, next)
    }
}

/// The segments to merge, smallest first; none when there are too few of like size. Those that are smaller still go with
/// them: they are little work, and a single small one must not keep all others from being merged.
fn choose(segments: &[Arc<Segment>], options: &OfflineOptions) -> Vec<Arc<Segment>> {
    let is_small =
        |s: &&Arc<Segment>| s.rows < options.compact_small_rows && s.bytes < options.compact_small_bytes;
    let mut small: Vec<_> = segments.iter().filter(is_small).cloned().collect();
    small.sort_by_key(|segment| segment.rows);
    let enough = options.compact_min_segments.max(2);
    let (mut rows, mut alike, mut chosen) = (0, 0, 0);
    for (position, segment) in small.iter().enumerate() {
        if rows > 0 && segment.rows > rows * GROWTH {
            if alike >= enough {
                break;
            }
            alike = 0;
        }
        rows += segment.rows;
        alike += 1;
        if alike >= enough {
            chosen = position + 1;
        }
    }
    small.truncate(chosen.min(MAX_INPUTS));
    small
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::offline::{stats::Bounds, tags::Tags};

    fn segments(rows: &[u64]) -> Vec<Arc<Segment>> {
        let segment = |rows: &u64| {
            let bounds = Bounds { rows: Some(*rows), ..Bounds::default() };
            Arc::new(Segment::new(
                Path::new("/"),
                rows.to_string(),
                rows * 10,
                bounds,
                &Tags::default(),
                None,
            ))
        };
        rows.iter().map(segment).collect()
    }

    #[test]
    fn like_sizes_are_merged_and_large_ones_left() {
        let options = OfflineOptions {
            compact_small_rows: 1000,
            compact_small_bytes: 100_000,
            compact_min_segments: 3,
            ..OfflineOptions::default()
        };
        let chosen =
            |rows: &[u64]| choose(&segments(rows), &options).iter().map(|s| s.rows).collect::<Vec<_>>();
        assert!(chosen(&[10, 12]).is_empty());
        assert_eq!(chosen(&[12, 10, 11, 5000]), [10, 11, 12]);
        assert_eq!(chosen(&[10, 10, 10, 900]), [10, 10, 10]);
        assert_eq!(chosen(&[10, 10, 10, 100]), [10, 10, 10, 100]);
        // One that is much smaller than all others neither keeps them from being merged nor is left behind.
        assert_eq!(chosen(&[500, 1, 500, 500]), [1, 500, 500, 500]);
        assert!(chosen(&[10, 12, 500, 500]).is_empty());
        assert_eq!(chosen(&vec![7; 40]).len(), MAX_INPUTS);
    }
}
