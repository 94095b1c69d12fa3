//! Tables on their way in, with whatever schema they have.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType as Arrow, SchemaRef},
};
use bytes::{Buf, Bytes};

use crate::{
    Compression, Format, FormatError, ipc, ipc_file, parquet_reader, size::decoded_size, text_reader,
    type_words,
};
use larder_model::{DataType, TimeForm};

/// How a table is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Types that columns of text formats have; those that are not named are inferred.
    pub types: BTreeMap<String, DataType>,
    /// How times are written in text formats, where they do not say so themselves.
    pub times: TimeForm,
    /// The most rows that a batch has (Arrow streams keep their own batches).
    pub batch_rows: usize,
    /// What the decoded table may take in sum. Set it for bytes from outside: they are then checked before they are
    /// believed, too.
    pub max_decoded_bytes: Option<usize>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            types: BTreeMap::new(),
            times: TimeForm::EXPLICIT,
            batch_rows: 8_192,
            max_decoded_bytes: None,
        }
    }
}

pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, FormatError>> + Send>;

/// Reads a table batch by batch: an iterator that ends after its first error.
///
/// Parquet and Arrow have their file's types. CSV, NDJSON and JSON have declared types, or inferred ones: bool, int64,
/// float64, timestamp (RFC 3339 with a zone), string; from JSON also arrays of these, and `json` for the rest. A column of
/// CSV has another type than string only where each of its fields would be written again as it is: `7` and `0.5` are
/// numbers, `007`, `1.10`, `1e5` and `True` are text. In CSV nothing is null, and `""` is the empty string.
pub struct TableReader {
    format: Format,
    schema: SchemaRef,
    batches: Batches,
    /// Where the format says so in advance.
    rows: Option<u64>,
    failed: bool,
}

/// What can be opened again, since inference reads it twice.
pub(super) enum Input {
    Bytes(Bytes),
    File(PathBuf, Option<Compression>),
}

impl Input {
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Input::Bytes(bytes) => Ok(Box::new(bytes.clone().reader())),
            Input::File(path, compression) => {
                let file = fs_err::File::open(path)?;
                match compression {
                    Some(compression) => compression.reader(io::BufReader::new(file)),
                    None => Ok(Box::new(file)),
                }
            }
        }
    }
}

impl TableReader {
    /// Opens a file, whose name tells its format and its compression.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<TableReader, FormatError> {
        let (format, compression) = Format::from_path(path)?;
        Self::open_as(path, format, compression, options)
    }

    /// Opens a file of that format, whatever its name.
    pub fn open_as(
        path: &Path,
        format: Format,
        compression: Option<Compression>,
        options: &ReadOptions,
    ) -> Result<TableReader, FormatError> {
        let input = Input::File(path.to_owned(), compression);
        let rows = match format {
            Format::Parquet => parquet_reader::rows(path),
            _ => None,
        };
        let reader = Self::guarded(format, || match format {
            Format::Parquet if compression.is_some() => Err(FormatError::Unsupported(
                "a Parquet file is compressed inside; decompress what is around it first".to_owned(),
            )),
            Format::Parquet => parquet_reader::open(fs_err::File::open(path)?.into_parts().0, options),
            Format::ArrowStream => {
                let mut magic = Vec::new();
                input.reader()?.take(6).read_to_end(&mut magic)?;
                match magic.as_slice() {
                    ipc_file::MAGIC if compression.is_none() => {
                        ipc::file(fs_err::File::open(path)?.into_parts().0)
                    }
                    _ => ipc::stream(input.reader()?),
                }
            }
            _ => Self::text(format, &input, options),
        })?;
        Ok(TableReader { rows, ..reader })
    }

    /// Reads a table that is in memory, from anyone where `max_decoded_bytes` is set.
    pub fn from_bytes(
        format: Format,
        bytes: Bytes,
        options: &ReadOptions,
    ) -> Result<TableReader, FormatError> {
        Self::guarded(format, || match format {
            Format::Parquet => parquet_reader::read(bytes, options),
            Format::ArrowStream => Ok(bounded(format, ipc::read(bytes)?, options)),
            _ => Self::text(format, &Input::Bytes(bytes), options),
        })
    }

    fn text(
        format: Format,
        input: &Input,
        options: &ReadOptions,
    ) -> Result<(SchemaRef, Batches), FormatError> {
        match format {
            Format::Csv => text_reader::csv(input, options),
            Format::NdJson => text_reader::ndjson(input, options),
            _ => Ok(bounded(format, text_reader::json(input, options)?, options)),
        }
    }

    fn guarded(
        format: Format,
        open: impl FnOnce() -> Result<(SchemaRef, Batches), FormatError>,
    ) -> Result<TableReader, FormatError> {
        let (schema, batches) = no_panic(format, open)?;
        for field in schema.fields() {
            if let Some(refused) = refused(field.data_type()) {
                let reason = format!(
                    "its type is {}, and {refused} are not taken; leave the column out, or send it in another type",
                    type_words(field.data_type())
                );
                return Err(FormatError::Column { field: field.name().clone(), reason });
            }
        }
        Ok(TableReader { format, schema, batches, rows: None, failed: false })
    }

    /// How many rows there are; Parquet files tell.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for TableReader {
    type Item = Result<RecordBatch, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batches = &mut self.batches;
        let next = no_panic(self.format, || batches.next().transpose()).transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Ends the table with an error as soon as its batches pass the limit in sum.
fn bounded(
    format: Format,
    (schema, batches): (SchemaRef, Batches),
    options: &ReadOptions,
) -> (SchemaRef, Batches) {
    let Some(limit) = options.max_decoded_bytes else { return (schema, batches) };
    let mut left = limit;
    let batches = batches.map(move |batch| {
        let batch = batch?;
        let size: usize = batch.columns().iter().map(|column| decoded_size(column)).sum();
        left = left
            .checked_sub(size)
            .ok_or_else(|| FormatError::TooLarge { what: format!("the decoded {format}"), limit })?;
        Ok(batch)
    });
    (schema, Box::new(batches))
}

/// Types of which no table is made. The library cannot tell how many values of length 0 there are, and mixes up the members
/// of unions within lists.
fn refused(data_type: &Arrow) -> Option<&'static str> {
    match data_type {
        Arrow::FixedSizeBinary(..=0) => Some("bytes of length 0"),
        Arrow::FixedSizeList(_, ..=0) => Some("lists of length 0"),
        Arrow::Union(..) => Some("unions"),
        Arrow::Dictionary(_, values) => refused(values),
        Arrow::Struct(members) => members.iter().find_map(|member| refused(member.data_type())),
        Arrow::List(item)
        | Arrow::LargeList(item)
        | Arrow::ListView(item)
        | Arrow::LargeListView(item)
        | Arrow::FixedSizeList(item, _)
        | Arrow::Map(item, _)
        | Arrow::RunEndEncoded(_, item) => refused(item.data_type()),
        _ => None,
    }
}

/// The readers of Parquet and Arrow have been seen to panic on damaged bytes.
fn no_panic<T>(format: Format, read: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(FormatError::malformed(format, "its reader gave up on it; it is damaged")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, sync::Arc};

    use arrow::{
        array::{
            ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
        },
        datatypes::Int64Type,
    };

    use crate::TableWriter;
    use larder_model::error::Coded;

    fn spine(rows: i64) -> RecordBatch {
        let ids = (0..rows).map(|n| format!("{n:03}"));
        let lists = (0..rows).map(|n| Some(vec![Some(n), None]));
        RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(StringArray::from_iter_values(ids)) as ArrayRef, true),
            ("n", Arc::new(Int64Array::from_iter_values(0..rows)), true),
            (
                "x",
                Arc::new(Float64Array::from_iter((0..rows).map(|n| (n % 2 == 0).then_some(n as f64 + 0.5)))),
                true,
            ),
            ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(0..rows).with_timezone("UTC")), true),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)), true),
        ])
        .unwrap()
    }

    fn bytes(format: Format, batch: &RecordBatch) -> Vec<u8> {
        let mut writer = TableWriter::new(format, Vec::new(), batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap()
    }

    fn read_all(reader: TableReader) -> RecordBatch {
        let schema = reader.schema().clone();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        arrow::compute::concat_batches(&schema, &batches).unwrap()
    }

    /// Column by column, since the names of list elements differ.
    fn assert_same(format: Format, read: &RecordBatch, written: &RecordBatch) {
        assert_eq!(read.num_rows(), written.num_rows(), "{format}");
        for (column, field) in written.columns().iter().zip(written.schema_ref().fields()) {
            let read = read.column_by_name(field.name()).unwrap();
            if format != Format::Csv || field.name() != "list" {
                assert_eq!(
                    &arrow::compute::cast(read, field.data_type()).unwrap(),
                    column,
                    "{format} {field}"
                );
            }
        }
    }

    #[test]
    fn every_format_gives_back_what_was_written() {
        let spine = spine(2500);
        let directory = tempfile::tempdir().unwrap();
        for format in Format::ALL {
            let bytes = bytes(format, &spine);
            for limit in [None, Some(1 << 20)] {
                let options =
                    ReadOptions { batch_rows: 1000, max_decoded_bytes: limit, ..ReadOptions::default() };
                let reader = TableReader::from_bytes(format, bytes.clone().into(), &options).unwrap();
                assert_same(format, &read_all(reader), &spine);
            }
            let path = directory.path().join(format!("spine.{format}"));
            fs_err::write(&path, &bytes).unwrap();
            assert_same(
                format,
                &read_all(TableReader::open(&path, &ReadOptions::default()).unwrap()),
                &spine,
            );
            let path = directory.path().join(format!("spine.{format}.gz"));
            let mut encoder = flate2::write::GzEncoder::new(
                fs_err::File::create(&path).unwrap(),
                flate2::Compression::fast(),
            );
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap();
            let packed = TableReader::open(&path, &ReadOptions::default());
            if format == Format::Parquet {
                assert!(packed.is_err());
            } else {
                assert_same(format, &read_all(packed.unwrap()), &spine);
            }
        }
    }

    #[test]
    fn the_arrow_file_format_is_recognised() {
        let spine = spine(10);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spine.arrow");
        let file = fs_err::File::create(&path).unwrap();
        let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &spine.schema()).unwrap();
        writer.write(&spine).unwrap();
        writer.finish().unwrap();
        assert_eq!(read_all(TableReader::open(&path, &ReadOptions::default()).unwrap()), spine);
    }

    #[test]
    fn batches_are_bounded_and_declared_types_hold() {
        let csv = bytes(Format::Csv, &spine(2500));
        let types = BTreeMap::from([("n".to_owned(), DataType::String), ("x".to_owned(), DataType::Float32)]);
        let options = ReadOptions { types, batch_rows: 1000, ..ReadOptions::default() };
        let reader = TableReader::from_bytes(Format::Csv, csv.into(), &options).unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert_eq!(batches[0].column_by_name("n").unwrap().as_string::<i32>().value(7), "7");
        assert_eq!(batches[0].column_by_name("x").unwrap().data_type(), &DataType::Float32.arrow());
    }

    #[test]
    fn errors_name_row_line_and_column_and_end_the_table() {
        let types = BTreeMap::from([("n".to_owned(), DataType::Int64)]);
        let options = ReadOptions { types, ..ReadOptions::default() };
        let body = Bytes::from_static(b"k,n\na,1\nb,x\nc,3\n");
        let mut reader = TableReader::from_bytes(Format::Csv, body, &options).unwrap();
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "row 1 (line 3), column `n`: expected int64, got x");
        assert_eq!(error.details()[0].row, Some(1));
        assert!(reader.next().is_none());
        for (format, body) in [
            (Format::Csv, ""),
            (Format::Csv, "a,a\n"),
            (Format::NdJson, "{\"a\":1}\n{"),
            (Format::Json, "{\"rows\":[{]}"),
            (Format::Parquet, "PAR1"),
            (Format::ArrowStream, ""),
        ] {
            assert!(
                TableReader::from_bytes(format, body.into(), &ReadOptions::default()).is_err(),
                "{format} {body}"
            );
        }
        let missing = TableReader::open(Path::new("/nowhere/spine.csv"), &options).err().unwrap();
        assert_eq!(missing.code(), larder_model::error::Code::NotFound);
    }

    #[test]
    fn a_limit_on_what_is_decoded() {
        let options = ReadOptions { max_decoded_bytes: Some(10_000), ..ReadOptions::default() };
        for format in Format::ALL {
            let read = TableReader::from_bytes(format, bytes(format, &spine(2500)).into(), &options);
            let error = read.and_then(|reader| reader.collect::<Result<Vec<_>, _>>()).unwrap_err();
            assert!(matches!(error, FormatError::TooLarge { limit: 10_000, .. }), "{format}: {error}");
        }
    }
}
