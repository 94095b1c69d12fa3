//! Tables on their way in, with whatever schema they have.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::{Buf, Bytes};

use crate::{
    format::{Compression, Format, FormatError, ipc, parquet_reader, text_reader},
    model::DataType,
};

/// How a table is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Types that columns of text formats have; those that are not named are inferred.
    pub types: BTreeMap<String, DataType>,
    /// The most rows that a batch has (Arrow streams keep their own batches).
    pub batch_rows: usize,
    /// What the decoded table may take in sum. Set it for bytes from outside: they are then checked before they are
    /// believed, too.
    pub max_decoded_bytes: Option<usize>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { types: BTreeMap::new(), batch_rows: 8_192, max_decoded_bytes: None }
    }
}

pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, FormatError>> + Send>;

/// Reads a table batch by batch: an iterator that ends after its first error.
///
/// Parquet and Arrow have their file's types. CSV, NDJSON and JSON have declared types, or inferred ones: bool, int64,
/// float64, timestamp (RFC 3339 with a zone), string; from JSON also arrays of these, and `json` for the rest. In CSV
/// a number with leading zeros is a string, and an empty field is null.
pub struct TableReader {
    format: Format,
    schema: SchemaRef,
    batches: Batches,
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
        Self::guarded(format, || match format {
            Format::Parquet if compression.is_some() => Err(FormatError::Unsupported(
                "a Parquet file is compressed inside; decompress what is around it first".to_owned(),
            )),
            Format::Parquet => parquet_reader::open(fs_err::File::open(path)?.into_parts().0, options),
            Format::ArrowStream => {
                let mut magic = Vec::new();
                input.reader()?.take(6).read_to_end(&mut magic)?;
                match magic.as_slice() {
                    b"ARROW1" if compression.is_none() => ipc::file(fs_err::File::open(path)?.into_parts().0),
                    _ => ipc::stream(input.reader()?),
                }
            }
            _ => Self::text(format, &input, options),
        })
    }

    /// Reads a table that is in memory, from anyone where `max_decoded_bytes` is set.
    pub fn from_bytes(format: Format, bytes: Bytes, options: &ReadOptions) -> Result<TableReader, FormatError> {
        Self::guarded(format, || match format {
            Format::Parquet => parquet_reader::read(bytes, options),
            Format::ArrowStream => ipc::read(bytes),
            _ => Self::text(format, &Input::Bytes(bytes), options),
        })
    }

    fn text(format: Format, input: &Input, options: &ReadOptions) -> Result<(SchemaRef, Batches), FormatError> {
        match format {
            Format::Csv => text_reader::csv(input, options),
            Format::NdJson => text_reader::ndjson(input, options),
            _ => text_reader::json(input, options),
        }
    }

    fn guarded(
        format: Format,
        open: impl FnOnce() -> Result<(SchemaRef, Batches), FormatError>,
    ) -> Result<TableReader, FormatError> {
        let (schema, batches) = no_panic(format, open)?;
        Ok(TableReader { format, schema, batches, failed: false })
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

/// The readers of Parquet and Arrow have been seen to panic on damaged bytes.
fn no_panic<T>(format: Format, read: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(FormatError::malformed(format, "its reader gave up on it; it is damaged")))
}
