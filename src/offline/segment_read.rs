//! Reading segments: some columns of some rows, in the shape of a given schema.

use std::{fs::File, ops::Range, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder, RowSelection,
        },
    },
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData},
        statistics::Statistics,
    },
};

use crate::{
    model::{DataType as ModelType, Value, encode_key_part},
    offline::{OfflineError, evolve::conform, layout::Layout, segment::Segment},
};

/// A segment's footer, read and checked.
#[derive(Clone)]
pub(super) struct Footer {
    pub segment: Arc<Segment>,
    metadata: ArrowReaderMetadata,
}

/// One row group's bounds; what is not known is none.
pub(super) struct GroupBounds {
    /// Number of the group's first row within the segment.
    pub first_row: u64,
    pub rows: u64,
    pub event_time: Option<(i64, i64)>,
    /// The encoded first join key: least and greatest. Leading parts of the whole keys.
    pub key: Option<(Vec<u8>, Vec<u8>)>,
}

impl Footer {
    /// Checks the file and reads its footer, without the page index.
    pub fn read(segment: &Arc<Segment>) -> Result<Footer, OfflineError> {
        Self::load(segment, PageIndexPolicy::Skip)
    }

    /// The same with the pages' offsets, for reading few rows.
    pub fn read_with_offsets(segment: &Arc<Segment>) -> Result<Footer, OfflineError> {
        Self::load(segment, PageIndexPolicy::Optional)
    }

    fn load(segment: &Arc<Segment>, offsets: PageIndexPolicy) -> Result<Footer, OfflineError> {
        let file = segment.open()?;
        let options = ArrowReaderOptions::new()
            .with_offset_index_policy(offsets)
            .with_column_index_policy(PageIndexPolicy::Skip);
        let metadata = ArrowReaderMetadata::load(&file, options)
            .map_err(|error| OfflineError::corrupt(&segment.path, error))?;
        Ok(Footer { segment: Arc::clone(segment), metadata })
    }

    pub fn parquet(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    pub fn groups(&self, layout: &Layout) -> Vec<GroupBounds> {
        let mut first_row = 0;
        let groups = self.metadata.metadata().row_groups().iter();
        groups
            .map(|group| {
                let rows = group.num_rows().unsigned_abs();
                let bounds = GroupBounds {
                    first_row,
                    rows,
                    event_time: self.event_time(group, layout),
                    key: self.first_key(group, layout),
                };
                first_row += rows;
                bounds
            })
            .collect()
    }

    fn event_time(&self, group: &RowGroupMetaData, layout: &Layout) -> Option<(i64, i64)> {
        match self.statistics(group, &layout.event_time)? {
            Statistics::Int64(stats) => Some((*stats.min_opt()?, *stats.max_opt()?)),
            _ => None,
        }
    }

    fn first_key(&self, group: &RowGroupMetaData, layout: &Layout) -> Option<(Vec<u8>, Vec<u8>)> {
        let name = layout.keys.first()?;
        let encode = |data_type: ModelType, value: Value| {
            let mut key = Vec::new();
            encode_key_part(name, &data_type, &value, &mut key).ok().map(|()| key)
        };
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?;
            encode(ModelType::String, Value::String(text.to_owned()))
        };
        match (self.statistics(group, name)?, self.metadata.schema().field_with_name(name).ok()?.data_type())
        {
            (Statistics::Int32(stats), DataType::Int32) => Some((
                encode(ModelType::Int32, Value::Int32(*stats.min_opt()?))?,
                encode(ModelType::Int32, Value::Int32(*stats.max_opt()?))?,
            )),
            (Statistics::Int64(stats), DataType::Int64) => Some((
                encode(ModelType::Int64, Value::Int64(*stats.min_opt()?))?,
                encode(ModelType::Int64, Value::Int64(*stats.max_opt()?))?,
            )),
            (Statistics::ByteArray(stats), DataType::Utf8) => {
                Some((text(stats.min_opt()?.data())?, text(stats.max_opt()?.data())?))
            }
            _ => None,
        }
    }

    fn statistics<'a>(&self, group: &'a RowGroupMetaData, column: &str) -> Option<&'a Statistics> {
        let leaves = self.metadata.parquet_schema();
        let leaf = (0..leaves.num_columns()).find(|&i| leaves.column(i).path().parts() == [column])?;
        group.column(leaf).statistics()
    }

    /// All rows of the segment, or of one of its row groups, in the shape of `target`, `step` rows at a time.
    pub fn rows(
        &self,
        target: &SchemaRef,
        group: Option<usize>,
        step: usize,
    ) -> Result<SegmentRows, OfflineError> {
        let builder = self.builder(target, step)?;
        let builder = match group {
            Some(group) => builder.with_row_groups(vec![group]),
            None => builder,
        };
        self.build(builder, target)
    }

    /// The rows of the given numbers (ascending, disjoint ranges), in their order.
    pub fn picked(
        &self,
        target: &SchemaRef,
        ranges: impl Iterator<Item = Range<usize>>,
        step: usize,
    ) -> Result<SegmentRows, OfflineError> {
        let selection = RowSelection::from_consecutive_ranges(ranges, self.segment.rows as usize);
        self.build(self.builder(target, step)?.with_row_selection(selection), target)
    }

    fn builder(
        &self,
        target: &SchemaRef,
        step: usize,
    ) -> Result<ParquetRecordBatchReaderBuilder<File>, OfflineError> {
        let stored = self.metadata.schema().fields();
        let roots = stored
            .iter()
            .enumerate()
            .filter(|(_, f)| target.fields().find(f.name()).is_some())
            .map(|(i, _)| i);
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.segment.open()?, self.metadata.clone());
        Ok(builder.with_projection(mask).with_batch_size(step))
    }

    fn build(
        &self,
        builder: ParquetRecordBatchReaderBuilder<File>,
        target: &SchemaRef,
    ) -> Result<SegmentRows, OfflineError> {
        let reader = builder.build().map_err(|error| OfflineError::corrupt(&self.segment.path, error))?;
        Ok(SegmentRows { segment: Arc::clone(&self.segment), target: Arc::clone(target), reader })
    }
}

/// Rows of one segment.
pub(super) struct SegmentRows {
    segment: Arc<Segment>,
    target: SchemaRef,
    reader: ParquetRecordBatchReader,
}

impl Iterator for SegmentRows {
    type Item = Result<RecordBatch, OfflineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?.and_then(|batch| conform(&batch, &self.target));
        Some(batch.map_err(|error| OfflineError::corrupt(&self.segment.path, error)))
    }
}
