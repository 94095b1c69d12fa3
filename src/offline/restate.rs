//! Better statistics for files that a table already has: the log names a file again, and readers go by the newest.

use std::sync::{Arc, PoisonError};

use arrow::datatypes::Schema;
use serde_json::Value;

use crate::offline::{
    OfflineError, Table, delta_log,
    segment::{FileStats, Segment},
    segment_read::Footer,
    segment_write::Staged,
    stats::{describe, with_columns},
    stats_float::{FloatRanges, float_columns},
    table::STEP,
};

/// Segments and their new statistics, which are theirs once a commit has the actions.
#[derive(Default)]
pub(super) struct Restated(Vec<(Arc<Segment>, FileStats)>);

impl Restated {
    /// Of those of `segments` that lack columns of `schema` in their statistics: these are null in all their rows. A filter
    /// of delta-rs on such a column would find nothing in the file. Files with statistics of an earlier form are left.
    pub fn of_columns(segments: &[Arc<Segment>], schema: &Schema) -> Restated {
        let columns = schema.fields().len();
        let stats = |segment: &Arc<Segment>| {
            let stats = segment.stats().filter(|stats| stats.columns < columns)?;
            let new = schema.fields()[stats.columns..].iter().map(|field| field.name().as_str());
            let json = with_columns(&stats.json, new, segment.rows)?.into();
            Some((Arc::clone(segment), FileStats { json, columns }))
        };
        Restated(segments.iter().filter_map(stats).collect())
    }

    /// The add actions that give the files their statistics.
    pub fn adds(&self) -> impl Iterator<Item = Value> {
        self.0.iter().map(|(segment, stats)| delta_log::add(segment, stats, false))
    }

    /// To be called when a commit has the actions.
    pub fn done(self) {
        for (segment, stats) in self.0 {
            segment.set_stats(Some(stats));
        }
    }
}

impl Table {
    /// Gives files that an earlier larder wrote statistics in today's form, in one commit; those with a NaN in a float column
    /// are written anew, without Parquet's own bounds of floats. Begins no file when `most` bytes were read. Returns how
    /// many bytes were; 0 where there is nothing to do.
    pub fn restate(&self, most: u64) -> Result<u64, OfflineError> {
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        let (mut read, mut restated, mut rewritten, mut staged) =
            (0, Restated::default(), Vec::new(), Staged::default());
        // What another writer wrote is as that one left it.
        let earlier = |segment: &&Arc<Segment>| segment.crc32c.is_some() && segment.stats().is_none();
        for segment in before.segments.iter().filter(earlier) {
            if read >= most {
                break;
            }
            // A changed byte must not get a new checksum.
            segment.verify()?;
            let footer = Footer::read(segment)?;
            let floats = self.floats(&footer, &before.schema)?;
            if floats.has_nan() {
                let mut out = self
                    .segment_writer(&before.schema, before.delta_version + 1)
                    .with_horizon(segment.horizon);
                for batch in footer.rows(&before.schema, None, STEP)? {
                    out.write(&batch?)?;
                }
                staged.extend(out.finish()?);
                rewritten.push(Arc::clone(segment));
            } else {
                let (json, _) = describe(footer.parquet(), &before.schema, &floats, &self.layout.event_time);
                let stats = FileStats { json: json.into(), columns: before.schema.fields().len() };
                restated.0.push((Arc::clone(segment), stats));
            }
            read += segment.bytes;
        }
        if read > 0 {
            self.replace("COMPUTE STATS", &rewritten, staged, restated.adds().collect(), false)?;
            restated.done();
            maintenance.retire(rewritten);
        }
        Ok(read)
    }

    /// The bounds of the file's float columns. Those that it lacks are not among them.
    fn floats(&self, footer: &Footer, schema: &Schema) -> Result<FloatRanges, OfflineError> {
        let mut floats = FloatRanges::default();
        let there = footer.parquet().file_metadata().schema_descr().root_schema().get_fields();
        let names: Vec<&str> =
            float_columns(schema).filter(|name| there.iter().any(|field| field.name() == *name)).collect();
        if !names.is_empty() {
            for batch in footer.rows(&self.layout.project(schema, &names)?, None, STEP)? {
                floats.take(&batch?);
            }
        }
        Ok(floats)
    }
}
