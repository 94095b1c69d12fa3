//! What a Parquet file of unknown origin says of itself, checked before the reader allocates by it.
//!
//! The reader sizes its buffers by the counts in the footer and in each page's header, recurses over the schema, and
//! lets some codecs write without a bound. An allocation that fails ends the process and cannot be caught, so a file
//! of a few bytes could. The footer and every page header are therefore read here first, by a reader that trusts
//! nothing.

use std::io::Read;

use bytes::Bytes;
use parquet::{
    basic::{Compression, Type as Physical},
    file::metadata::{ColumnChunkMetaData, ParquetMetaData},
};

use crate::{
    Format, FormatError,
    thrift::{self, STRUCT, Thrift},
};

/// Schemas nest lists of scalars; anything much deeper is an attack on the stack.
const MAX_SCHEMA_DEPTH: usize = 16;
/// Encodings whose decoders allocate by a length inside the page, which cannot be seen from outside.
const DELTA_LENGTH_BYTE_ARRAY: i32 = 6;
const DELTA_BYTE_ARRAY: i32 = 7;

fn malformed(reason: impl ToString) -> FormatError {
    FormatError::malformed(Format::Parquet, reason)
}

/// Checks the footer, before the metadata is parsed by the library. Gives the file with a footer that the library reads:
/// fastparquet notes of an empty list (a file without rows has no row groups) that it is one of bytes, which the library
/// takes for an error.
pub(super) fn check_footer(file: Bytes) -> Result<Bytes, FormatError> {
    let lists = empty_lists(&file)?;
    if lists.is_empty() {
        return Ok(file);
    }
    let mut mended = file.to_vec();
    lists.into_iter().for_each(|at| mended[at] = STRUCT);
    Ok(Bytes::from(mended))
}

/// Where in the file its footer has lists of no structs that are said to be of something else.
fn empty_lists(file: &[u8]) -> Result<Vec<usize>, FormatError> {
    let not_parquet = || malformed("it does not end as a Parquet file does; it may be cut off");
    let (rest, tail) = file.split_last_chunk::<8>().ok_or_else(not_parquet)?;
    let (length, magic) = tail.split_first_chunk::<4>().ok_or_else(not_parquet)?;
    if magic != b"PAR1" {
        return Err(not_parquet());
    }
    let length = u32::from_le_bytes(*length) as usize;
    let start = rest.len().checked_sub(length).ok_or_else(not_parquet)?;
    let footer = rest.get(start..).ok_or_else(not_parquet)?;
    let mut found = Vec::new();
    let walked = Thrift::new(footer).fields(|reader, id, kind| {
        let at = reader.position();
        match (id, kind) {
            (2, thrift::LIST) => return check_schema(reader),
            // Row groups, notes of the writer, orders of columns: all of them structs.
            (4 | 5 | 7, thrift::LIST)
                if footer.get(at).is_some_and(|head| head >> 4 == 0 && *head != STRUCT) =>
            {
                found.push(start + at);
            }
            _ => {}
        }
        reader.skip(kind)
    });
    walked.map(|()| found).map_err(malformed)
}

/// The schema is a tree, flattened: each element says how many of those that follow are its children.
fn check_schema(reader: &mut Thrift<'_>) -> thrift::Result<()> {
    let (kind, length) = reader.list()?;
    if kind != STRUCT {
        return Err("its schema is not a list of elements");
    }
    let mut open: Vec<i32> = Vec::new();
    for _ in 0..length {
        let mut children = 0;
        reader.fields(|reader, id, kind| match (id, kind) {
            (5, thrift::I32) => {
                children = reader.i32()?;
                Ok(())
            }
            _ => reader.skip(kind),
        })?;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(children);
        while open.last().is_some_and(|left| *left <= 0) {
            open.pop();
        }
        if open.len() > MAX_SCHEMA_DEPTH {
            return Err("its schema is nested too deeply");
        }
    }
    Ok(())
}

/// Walks every page header: neither the pages' sizes nor the values that they declare may pass `limit` in sum.
pub(super) fn check_pages(file: &Bytes, metadata: &ParquetMetaData, limit: usize) -> Result<(), FormatError> {
    let (mut bytes, mut values) = (0_usize, 0_usize);
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let name = column.column_path().string();
        match column.compression() {
            Compression::BROTLI(_) | Compression::LZ4 | Compression::LZO => {
                return Err(FormatError::Unsupported(format!(
                    "column `{name}` is compressed with {}, which is not taken from clients; use zstd, snappy, \
                     gzip or lz4_raw",
                    column.compression()
                )));
            }
            _ => {}
        }
        let width = value_width(column);
        let pages = column_bytes(file, column).ok_or_else(|| {
            malformed(format!("column `{name}` is said to lie outside of the file; the file may be cut off"))
        })?;
        let mut rest = pages;
        while !rest.is_empty() {
            let page = PageHeader::read(rest).map_err(malformed)?;
            let body = rest
                .get(page.header_length..)
                .and_then(|body| body.get(..page.compressed))
                .ok_or_else(|| malformed(format!("a page of column `{name}` is cut off")))?;
            bytes = bytes.saturating_add(page.uncompressed);
            values = values.saturating_add(page.values.saturating_mul(width));
            if bytes.max(values) > limit {
                return Err(FormatError::TooLarge { what: "the decoded Parquet file".to_owned(), limit });
            }
            if page.encodings.iter().any(|e| matches!(*e, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY)) {
                return Err(FormatError::Unsupported(format!(
                    "column `{name}` is delta-encoded, which is not taken from clients for strings; use the plain \
                     or the dictionary encoding (data page version 1)"
                )));
            }
            if page.is_compressed && matches!(column.compression(), Compression::GZIP(_)) {
                check_gzip(body.get(page.levels..).unwrap_or_default(), page.uncompressed)
                    .map_err(malformed)?;
            }
            rest = rest.get(page.header_length + page.compressed..).unwrap_or_default();
        }
    }
    Ok(())
}

/// The bytes of a column chunk, where it lies within the file.
fn column_bytes<'a>(file: &'a Bytes, column: &ColumnChunkMetaData) -> Option<&'a [u8]> {
    // As the reader has it. A chunk without values has no data page, whose offset some writers then leave at 0.
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let start = usize::try_from(start).ok()?;
    let length = usize::try_from(column.compressed_size()).ok()?;
    file.get(start..start.checked_add(length)?)
}

/// Bytes that the reader needs for each value.
fn value_width(column: &ColumnChunkMetaData) -> usize {
    match column.column_type() {
        Physical::BOOLEAN => 1,
        Physical::INT32 | Physical::FLOAT => 4,
        Physical::INT64 | Physical::DOUBLE => 8,
        Physical::INT96 => 12,
        Physical::BYTE_ARRAY => 16,
        Physical::FIXED_LEN_BYTE_ARRAY => {
            usize::try_from(column.column_descr().type_length()).unwrap_or(0).max(1)
        }
    }
}

/// The library decompresses gzip to the end, whatever the header declares.
fn check_gzip(compressed: &[u8], declared: usize) -> Result<(), &'static str> {
    if compressed.is_empty() {
        return Ok(());
    }
    let mut bounded = flate2::read::MultiGzDecoder::new(compressed).take(declared as u64 + 1);
    match std::io::copy(&mut bounded, &mut std::io::sink()) {
        Ok(length) if length <= declared as u64 => Ok(()),
        Ok(_) => Err("a gzip page holds more than it declares"),
        Err(_) => Err("a gzip page is damaged"),
    }
}

struct PageHeader {
    header_length: usize,
    compressed: usize,
    uncompressed: usize,
    values: usize,
    encodings: Vec<i32>,
    /// Bytes of levels that precede the compressed part (data page version 2).
    levels: usize,
    is_compressed: bool,
}

impl PageHeader {
    fn read(bytes: &[u8]) -> thrift::Result<PageHeader> {
        let mut reader = Thrift::new(bytes);
        let (mut compressed, mut uncompressed, mut values, mut levels) = (None, None, 0, 0_usize);
        let (mut encodings, mut is_compressed) = (Vec::new(), true);
        reader.fields(|reader, id, kind| match (id, kind) {
            (2, thrift::I32) => {
                uncompressed = Some(size(reader)?);
                Ok(())
            }
            (3, thrift::I32) => {
                compressed = Some(size(reader)?);
                Ok(())
            }
            // Data page (version 1 and 2) and dictionary page: in each the first field is the number of values.
            (5 | 7 | 8, STRUCT) => reader.fields(|reader, inner, kind| match (id, inner, kind) {
                (_, 1, thrift::I32) => {
                    values = size(reader)?;
                    Ok(())
                }
                (5 | 7, 2, thrift::I32) | (8, 4, thrift::I32) => {
                    encodings.push(reader.i32()?);
                    Ok(())
                }
                (8, 5 | 6, thrift::I32) => {
                    levels = levels.saturating_add(size(reader)?);
                    Ok(())
                }
                (8, 7, thrift::FALSE) => {
                    is_compressed = false;
                    Ok(())
                }
                _ => reader.skip(kind),
            }),
            _ => reader.skip(kind),
        })?;
        Ok(PageHeader {
            header_length: reader.position(),
            compressed: compressed.ok_or("a page has no size")?,
            uncompressed: uncompressed.ok_or("a page has no size")?,
            values,
            encodings,
            levels,
            is_compressed,
        })
    }
}

fn size(reader: &mut Thrift<'_>) -> thrift::Result<usize> {
    usize::try_from(reader.i32()?).map_err(|_| "a page has a negative size")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use parquet::{
        arrow::ArrowWriter,
        basic::{BrotliLevel, GzipLevel},
        file::{
            metadata::ParquetMetaDataReader,
            properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
        },
    };

    fn file(properties: WriterPropertiesBuilder) -> Bytes {
        let names: Vec<String> = (0..1000).map(|n| format!("name {n}")).collect();
        let batch =
            RecordBatch::try_from_iter([("name", Arc::new(StringArray::from(names)) as ArrayRef)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        Bytes::from(writer.into_inner().unwrap())
    }

    fn check(file: &Bytes, limit: usize) -> Result<(), FormatError> {
        check_footer(file.clone())?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(file).unwrap();
        check_pages(file, &metadata, limit)
    }

    #[test]
    fn honest_files_pass_up_to_the_limit() {
        let plain = WriterProperties::builder;
        for properties in [
            plain(),
            plain().set_dictionary_enabled(false),
            plain().set_compression(Compression::SNAPPY),
            plain().set_compression(Compression::GZIP(GzipLevel::default())),
            plain()
                .set_compression(Compression::GZIP(GzipLevel::default()))
                .set_writer_version(WriterVersion::PARQUET_2_0),
        ] {
            let file = file(properties);
            check(&file, 100_000).unwrap();
            assert!(matches!(check(&file, 10_000), Err(FormatError::TooLarge { .. })));
        }
    }

    #[test]
    fn what_decodes_without_a_bound_is_not_taken() {
        let brotli =
            file(WriterProperties::builder().set_compression(Compression::BROTLI(BrotliLevel::default())));
        assert!(check(&brotli, 100_000).unwrap_err().to_string().contains("zstd"));
        let delta = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_writer_version(WriterVersion::PARQUET_2_0);
        assert!(check(&file(delta), 100_000).unwrap_err().to_string().contains("delta"));
        assert!(check_gzip(b"", 0).is_ok() && check_gzip(b"not gzip", 8).is_err());
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, &[0; 100_000]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(check_gzip(&bomb, 99_999).is_err() && check_gzip(&bomb, 100_000).is_ok());
    }

    /// A footer whose schema is a chain of groups of one child each.
    fn chain(depth: u8) -> Vec<u8> {
        let mut file = vec![0x29, 0xFC, depth];
        file.extend([0x55, 2, 0].repeat(usize::from(depth)));
        file.push(0);
        let length = file.len() as u32;
        file.extend(length.to_le_bytes());
        file.extend(b"PAR1");
        file
    }

    #[test]
    fn lying_footers() {
        assert!(check_footer(chain(15).into()).is_ok());
        assert!(check_footer(chain(100).into()).unwrap_err().to_string().contains("too deeply"));
        assert!(check_footer(Bytes::from_static(b"PAR1")).is_err());
        assert!(check_footer(Bytes::from_static(b"\xFF\xFF\xFF\x7FPAR1")).is_err());
        // Row groups: a list that declares 2³¹ elements.
        let mut file = vec![0x49, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0];
        file.extend(8_u32.to_le_bytes());
        file.extend(b"PAR1");
        assert!(check_footer(file.into()).unwrap_err().to_string().contains("more elements"));
    }

    #[test]
    fn an_empty_list_of_another_kind_is_mended() {
        // { 1: 1, 2: [], 4: [] of bytes }, as fastparquet ends a file without rows.
        let mut file = vec![0x15, 2, 0x19, 0x0C, 0x29, 0x03, 0];
        file.extend(7_u32.to_le_bytes());
        file.extend(b"PAR1");
        let mended = check_footer(file.clone().into()).unwrap();
        file[5] = 0x0C;
        assert_eq!(mended, file);
        assert_eq!(check_footer(mended.clone()).unwrap(), mended);
    }

    #[test]
    fn page_headers() {
        // { 1: 0, 2: 100, 3: 50, 5: { 1: 7, 2: 8 } }
        let header =
            PageHeader::read(&[0x15, 0, 0x15, 0xC8, 1, 0x15, 100, 0x2C, 0x15, 14, 0x15, 16, 0, 0]).unwrap();
        assert_eq!((header.header_length, header.uncompressed, header.compressed), (14, 100, 50));
        assert_eq!((header.values, header.encodings), (7, vec![8]));
        assert!(PageHeader::read(&[0x25, 1, 0x15, 2, 0]).is_err(), "a negative size");
        assert!(PageHeader::read(&[0]).is_err());
    }
}
