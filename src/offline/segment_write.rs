//! Writing segments: sorted rows in, durable Parquet files with their add actions out.

use std::{path::Path, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};
use serde_json::Value;

use crate::{
    config::SegmentCompression,
    failpoint,
    model::SEQ,
    offline::{
        OfflineError, OfflineOptions, delta_log,
        durable::{NewFile, sync_dir},
        layout::Layout,
        segment::Segment,
        stats::describe,
        stats_float::{FloatRanges, float_columns},
        tags::Tags,
    },
};

/// The first part of a segment's file name; the version that was to name it, and a UUID, follow.
pub(super) const PREFIX: &str = "part-";

/// A column's dictionary of a row group is given up beyond this: a larger one, of values that hardly repeat, takes longer to
/// write and to decode than the values themselves.
const DICTIONARY_BYTES: usize = 64 << 10;

/// Writes one stream of sorted rows as as many segments as it takes. What it has written is removed again when it is
/// dropped before [`Staged::keep`].
pub(super) struct SegmentWriter<'a> {
    dir: &'a Path,
    layout: &'a Layout,
    schema: SchemaRef,
    options: &'a OfflineOptions,
    /// The version of the Delta log that is to name the files, at the earliest.
    version: u64,
    open: Option<ArrowWriter<NewFile>>,
    rows_in_open: usize,
    floats_in_open: FloatRanges,
    /// Versions that were superseded at this time are not among the rows.
    horizon: Option<i64>,
    staged: Staged,
}

/// Segments on disk that no commit names yet.
#[derive(Default)]
pub(super) struct Staged {
    files: Vec<Arc<Segment>>,
    kept: bool,
}

impl Staged {
    /// The add actions that name the segments.
    pub fn adds(&self, data_change: bool) -> impl Iterator<Item = Value> {
        self.files.iter().map(move |segment| {
            let stats = segment.stats().expect("a segment that was just written has its statistics");
            delta_log::add(segment, &stats, data_change)
        })
    }

    pub fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.files.iter()
    }

    pub fn extend(&mut self, mut other: Staged) {
        self.files.append(&mut other.files);
    }

    /// To be called when a commit names the files, or may name them.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            for segment in &self.files {
                // What cannot be removed now is an orphan when the table is next opened.
                let _ = fs_err::remove_file(&segment.path);
            }
        }
    }
}

impl<'a> SegmentWriter<'a> {
    pub fn new(
        dir: &'a Path,
        layout: &'a Layout,
        schema: SchemaRef,
        options: &'a OfflineOptions,
        version: u64,
    ) -> Self {
        Self {
            dir,
            layout,
            schema,
            options,
            version,
            open: None,
            rows_in_open: 0,
            floats_in_open: FloatRanges::default(),
            horizon: None,
            staged: Staged::default(),
        }
    }

    /// The rows are without the versions that were superseded at `horizon`.
    pub fn with_horizon(self, horizon: Option<i64>) -> Self {
        Self { horizon, ..self }
    }

    /// Rows of the schema given, not before those written so far.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), OfflineError> {
        let mut rest = batch.clone();
        while rest.num_rows() > 0 {
            let writer = match &mut self.open {
                Some(writer) => writer,
                None => {
                    let made = NewFile::create(self.dir).and_then(|file| {
                        ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(self.properties()))
                            .map_err(OfflineError::write("writing a segment in", self.dir))
                    })?;
                    self.rows_in_open = 0;
                    self.open.insert(made)
                }
            };
            let room = self.options.segment_rows.max(1) - self.rows_in_open;
            let take = rest.num_rows().min(room);
            let wrong = OfflineError::write("writing a segment in", self.dir);
            let rows = rest.slice(0, take);
            writer.write(&rows).map_err(wrong)?;
            self.floats_in_open.take(&rows);
            rest = rest.slice(take, rest.num_rows() - take);
            self.rows_in_open += take;
            let bytes = writer.bytes_written() as u64 + writer.in_progress_size() as u64;
            if take == room || bytes >= self.options.segment_bytes {
                self.close()?;
            }
        }
        Ok(())
    }

    /// All files are whole and synced, and so are their names.
    pub fn finish(mut self) -> Result<Staged, OfflineError> {
        self.close()?;
        if !self.staged.files.is_empty() {
            sync_dir(self.dir)?;
            failpoint::reach("seal.dirsynced");
        }
        Ok(std::mem::take(&mut self.staged))
    }

    fn close(&mut self) -> Result<(), OfflineError> {
        let Some(mut writer) = self.open.take() else { return Ok(()) };
        failpoint::reach("seal.half");
        let footer = writer.finish().map_err(OfflineError::write("writing a segment in", self.dir))?;
        let name = format!("{PREFIX}{:020}-{}.parquet", self.version, crate::model::BatchId::fresh());
        let path = self.dir.join(&name);
        let written = writer.inner_mut().rename(&path)?;
        let floats = std::mem::take(&mut self.floats_in_open);
        let (stats, bounds) = describe(&footer, &self.schema, &floats, &self.layout.event_time);
        let tags = Tags {
            crc32c: Some(written.crc32c),
            stats_columns: Some(self.schema.fields().len()),
            horizon: self.horizon,
            ..Tags::default()
        };
        let segment = Segment::new(self.dir, name, written.length, bounds, &tags, Some(&stats));
        self.staged.files.push(Arc::new(segment));
        Ok(())
    }

    fn properties(&self) -> WriterProperties {
        let compression = match self.options.compression {
            SegmentCompression::Snappy => Compression::SNAPPY,
            SegmentCompression::Lz4 => Compression::LZ4_RAW,
            SegmentCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
        };
        let mut properties = WriterProperties::builder()
            .set_compression(compression)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_max_row_group_row_count(Some(self.options.row_group_rows.max(1)))
            .set_data_page_row_count_limit(self.options.page_rows.max(1))
            .set_write_batch_size(self.options.page_rows.clamp(1, 1024))
            .set_created_by(concat!("larder/", env!("CARGO_PKG_VERSION")).to_owned())
            // Every value differs or nearly so: a dictionary would be built and thrown away.
            .set_column_dictionary_enabled(ColumnPath::from(SEQ), false);
        // Parquet's bounds leave NaN out: readers to whom NaN is above all numbers would pass over it.
        for column in float_columns(&self.schema) {
            let path = ColumnPath::from(column);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        // A key that is within a row group's bounds and yet not in it is common only where keys are not dense:
        // strings. For the integers the bounds and the page index do.
        for key in &self.layout.keys {
            let is_text = self
                .schema
                .field_with_name(key)
                .is_ok_and(|f| *f.data_type() == arrow::datatypes::DataType::Utf8);
            if is_text {
                let path = ColumnPath::from(key.as_str());
                properties = properties
                    .set_column_bloom_filter_enabled(path.clone(), true)
                    .set_column_bloom_filter_fpp(path.clone(), 0.01)
                    // The writer folds the filter down to what the row group turns out to need.
                    .set_column_bloom_filter_max_ndv(path, self.options.row_group_rows.max(1) as u64);
            }
        }
        properties.build()
    }
}
