//! Parquet as record batches.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Seek},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    compute::cast,
    datatypes::{DataType as Arrow, Field, FieldRef, Schema, SchemaRef},
};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    },
    basic::{LogicalType, Type as PhysicalType},
    file::reader::ChunkReader,
    schema::types::{ColumnDescPtr, SchemaDescriptor},
};

use crate::{
    Format, FormatError, ReadOptions,
    parquet_guard::{check_footer, check_pages},
    reader::Batches,
    size::decoded_size,
};
use larder_model::DataType;

fn malformed(error: impl ToString) -> FormatError {
    FormatError::malformed(Format::Parquet, error)
}

/// A file that is trusted, with the Arrow schema that its writer kept in it.
pub(super) fn open(file: File, options: &ReadOptions) -> Result<(SchemaRef, Batches), FormatError> {
    match builder(file.try_clone()?) {
        Ok(builder) => unchecked(builder, options),
        // A file without rows, as fastparquet writes it.
        Err(_) if file.metadata()?.len() <= SMALL => {
            let mut bytes = Vec::new();
            let mut file = file;
            file.rewind()?;
            file.read_to_end(&mut bytes)?;
            unchecked(builder(check_footer(Bytes::from(bytes))?)?, options)
        }
        Err(error) => Err(error),
    }
}

/// A reader with the file's own Arrow schema, but for its INT96 columns.
fn builder<T: ChunkReader + 'static>(input: T) -> Result<ParquetRecordBatchReaderBuilder<T>, FormatError> {
    let mut metadata = ArrowReaderMetadata::load(&input, ArrowReaderOptions::new()).map_err(malformed)?;
    if let Some(schema) = with_instants(&metadata) {
        let options = ArrowReaderOptions::new().with_schema(schema);
        metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options).map_err(malformed)?;
    }
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(input, metadata))
}

/// The schema with its INT96 columns as what they are: instants in UTC, of which nanoseconds would hold too few years. `None`
/// where the file has no such columns.
fn with_instants(metadata: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let parquet = metadata.metadata().file_metadata().schema_descr();
    let int96 = (0..parquet.num_columns())
        .filter(|leaf| parquet.column(*leaf).physical_type() == PhysicalType::INT96)
        .map(|leaf| parquet.get_column_root_idx(leaf));
    let mut fields: Vec<FieldRef> = metadata.schema().fields().iter().cloned().collect();
    let mut found = false;
    for root in int96 {
        if let Some(field) = fields.get_mut(root)
            && matches!(field.data_type(), Arrow::Timestamp(..))
        {
            *field = Arc::new(Field::clone(field).with_data_type(DataType::arrow_timestamp()));
            found = true;
        }
    }
    found.then(|| Arc::new(Schema::new_with_metadata(fields, metadata.schema().metadata().clone())))
}

/// Bytes of a file that is looked at a second time.
const SMALL: u64 = 1 << 20;

fn unchecked<T: ChunkReader + 'static>(
    builder: ParquetRecordBatchReaderBuilder<T>,
    options: &ReadOptions,
) -> Result<(SchemaRef, Batches), FormatError> {
    let schema = with_uuids(builder.schema(), builder.parquet_schema());
    let reader = builder.with_batch_size(options.batch_rows).build().map_err(malformed)?;
    let given = schema.clone();
    let batches = reader.map(move |batch| batch.and_then(|batch| batch.with_schema(given.clone())));
    Ok((schema, Box::new(batches.map(|batch| batch.map_err(malformed)))))
}

/// The rows that a file's footer counts; `None` where it cannot be read.
pub(super) fn rows(path: &Path) -> Option<u64> {
    let file = fs_err::File::open(path).ok()?.into_parts().0;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).ok()?;
    u64::try_from(metadata.metadata().file_metadata().num_rows()).ok()
}

/// Bytes from anywhere. With `max_decoded_bytes` they are checked before and while they are decoded.
pub(super) fn read(bytes: Bytes, options: &ReadOptions) -> Result<(SchemaRef, Batches), FormatError> {
    let Some(limit) = options.max_decoded_bytes else {
        return unchecked(builder(check_footer(bytes)?)?, options);
    };
    let bytes = check_footer(bytes)?;
    // Without the embedded Arrow schema: the types are those of Parquet, one to one.
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&bytes, plain.clone()).map_err(malformed)?;
    check_pages(&bytes, metadata.metadata(), limit)?;
    let schema = with_instants(&metadata).unwrap_or_else(|| metadata.schema().clone());
    // As views, a dictionary's string that is repeated a million times is in memory once, and can be measured.
    let views = ArrowReaderMetadata::try_new(
        metadata.metadata().clone(),
        plain.with_schema(Arc::new(Schema::new(schema.fields().iter().map(with_views).collect::<Vec<_>>()))),
    )
    .map_err(malformed)?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, views)
        .with_batch_size(options.batch_rows)
        .build()
        .map_err(malformed)?;
    let schema = with_uuids(&schema, metadata.metadata().file_metadata().schema_descr());
    Ok((schema.clone(), Box::new(Bounded { reader, schema, left: limit, limit })))
}

/// Stops as soon as the decoded batches pass the limit in sum.
struct Bounded {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    left: usize,
    limit: usize,
}

impl Bounded {
    fn expand(&mut self, batch: &RecordBatch) -> Result<RecordBatch, FormatError> {
        let size: usize = batch.columns().iter().map(|column| decoded_size(column)).sum();
        self.left = self.left.checked_sub(size).ok_or_else(|| FormatError::TooLarge {
            what: "the decoded Parquet file".to_owned(),
            limit: self.limit,
        })?;
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<Result<_, _>>()
            .map_err(malformed)?;
        RecordBatch::try_new(self.schema.clone(), columns).map_err(malformed)
    }
}

impl Iterator for Bounded {
    type Item = Result<RecordBatch, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.reader.next()? {
            Ok(batch) => self.expand(&batch),
            Err(error) => Err(malformed(error)),
        })
    }
}

/// Columns of Parquet's type for UUIDs marked as Arrow marks them: without it they are 16 bytes like any others.
fn with_uuids(schema: &SchemaRef, parquet: &SchemaDescriptor) -> SchemaRef {
    let is_uuid = |column: &&ColumnDescPtr| {
        column.path().parts().len() == 1 && column.logical_type_ref() == Some(&LogicalType::Uuid)
    };
    let uuids: HashSet<&str> = parquet.columns().iter().filter(is_uuid).map(|column| column.name()).collect();
    if uuids.is_empty() {
        return schema.clone();
    }
    let marked = |field: &FieldRef| match uuids.contains(field.name().as_str()) {
        true => {
            let mut metadata = field.metadata().clone();
            metadata.insert("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned());
            Arc::new(Field::clone(field).with_metadata(metadata))
        }
        false => field.clone(),
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(marked).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn with_views(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        Arrow::Utf8 => Arrow::Utf8View,
        Arrow::Binary => Arrow::BinaryView,
        Arrow::List(item) => Arrow::List(with_views(item)),
        Arrow::Struct(members) => Arrow::Struct(members.iter().map(with_views).collect()),
        _ => return field.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}
