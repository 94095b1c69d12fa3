//! Result tables on their way out.

use std::io::Write;

use arrow::{array::RecordBatch, compute::BatchCoalescer, datatypes::SchemaRef, ipc::writer::StreamWriter};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use crate::{
    Format, FormatError,
    cell::{CellWriter, json_keys, write_row},
    csv_reader::write_field,
    forms::{written, written_schema},
};

/// Rows of an Arrow record batch that is written; Parquet row groups are a multiple of it.
const BATCH_ROWS: usize = 8_192;
const ROW_GROUP_ROWS: usize = 16 * BATCH_ROWS;
/// CSV goes to the sink in pieces of about this many bytes.
const CSV_BYTES: usize = 64 * 1024;

/// Writes record batches in one of the formats. The bytes depend on the schema and the rows alone: not on the time,
/// nor on how the rows were cut into batches.
///
/// In text formats integers are exact, timestamps RFC 3339 in UTC, bytes base64. JSON has null for NaN and the
/// infinities. CSV writes null as nothing, the empty string as `""`, and lists as JSON text.
pub struct TableWriter<W: Write + Send> {
    /// Of the batches that come.
    schema: SchemaRef,
    /// Of the table that is written: without the encodings that the format lacks.
    written: SchemaRef,
    kind: Kind<W>,
}

enum Kind<W: Write + Send> {
    Parquet(Box<ArrowWriter<W>>, BatchCoalescer),
    Arrow(Box<StreamWriter<W>>, BatchCoalescer),
    Csv(W),
    Json { out: W, keys: Vec<Vec<u8>>, document: bool, rows: u64 },
}

impl<W: Write + Send> TableWriter<W> {
    /// Writes what comes before the first row. An error where the format has no type for a column's values.
    pub fn new(format: Format, mut out: W, given: SchemaRef) -> Result<TableWriter<W>, FormatError> {
        let schema = written_schema(format, &given)?;
        let coalescer = || BatchCoalescer::new(schema.clone(), BATCH_ROWS);
        let kind = match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .set_created_by("larder".to_owned())
                    .build();
                let writer =
                    ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(parquet_error)?;
                Kind::Parquet(Box::new(writer), coalescer())
            }
            Format::ArrowStream => {
                let writer = StreamWriter::try_new(out, &schema).map_err(FormatError::writing)?;
                Kind::Arrow(Box::new(writer), coalescer())
            }
            Format::Csv => {
                let mut line = Vec::new();
                for (n, field) in schema.fields().iter().enumerate() {
                    next_field(n, &mut line);
                    write_field(Some(field.name().as_bytes()), &mut line);
                }
                line.push(b'\n');
                out.write_all(&line)?;
                Kind::Csv(out)
            }
            Format::Json | Format::NdJson => {
                let document = format == Format::Json;
                if document {
                    out.write_all(b"{\"rows\":[")?;
                }
                let keys = json_keys(schema.fields().iter().map(|f| f.name().as_str()));
                Kind::Json { out, keys, document, rows: 0 }
            }
        };
        Ok(TableWriter { schema: given, written: schema, kind })
    }

    /// Writes the rows of one batch, which has the writer's schema. Some may be held back until the next call.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        if batch.schema_ref().fields() != self.schema.fields() {
            return Err(FormatError::Arrow(format!(
                "a batch of {} was given to a writer of {}",
                batch.schema_ref(),
                self.schema
            )));
        }
        let batch = &written(batch, &self.written)?;
        match &mut self.kind {
            Kind::Parquet(writer, coalescer) => {
                coalescer.push_batch(batch.clone()).map_err(FormatError::writing)?;
                while let Some(batch) = coalescer.next_completed_batch() {
                    writer.write(&batch).map_err(parquet_error)?;
                }
            }
            Kind::Arrow(writer, coalescer) => {
                coalescer.push_batch(batch.clone()).map_err(FormatError::writing)?;
                while let Some(batch) = coalescer.next_completed_batch() {
                    writer.write(&batch).map_err(FormatError::writing)?;
                }
            }
            Kind::Csv(out) => write_csv(out, batch)?,
            Kind::Json { out, keys, document, rows } => write_json(out, keys, *document, rows, batch)?,
        }
        Ok(())
    }

    /// Writes what is held back and what comes after the last row, flushes, and gives the sink back.
    pub fn finish(self) -> Result<W, FormatError> {
        match self.kind {
            Kind::Parquet(mut writer, mut coalescer) => {
                coalescer.finish_buffered_batch().map_err(FormatError::writing)?;
                while let Some(batch) = coalescer.next_completed_batch() {
                    writer.write(&batch).map_err(parquet_error)?;
                }
                // First: `into_inner` keeps of an error of the sink only its text.
                writer.flush().map_err(parquet_error)?;
                writer.sync()?;
                let mut out = writer.into_inner().map_err(parquet_error)?;
                out.flush()?;
                Ok(out)
            }
            Kind::Arrow(mut writer, mut coalescer) => {
                coalescer.finish_buffered_batch().map_err(FormatError::writing)?;
                while let Some(batch) = coalescer.next_completed_batch() {
                    writer.write(&batch).map_err(FormatError::writing)?;
                }
                let mut out = writer.into_inner().map_err(FormatError::writing)?;
                out.flush()?;
                Ok(out)
            }
            Kind::Csv(mut out) => {
                out.flush()?;
                Ok(out)
            }
            Kind::Json { mut out, document, .. } => {
                if document {
                    out.write_all(b"]}\n")?;
                }
                out.flush()?;
                Ok(out)
            }
        }
    }
}

fn write_csv<W: Write>(out: &mut W, batch: &RecordBatch) -> Result<(), FormatError> {
    let cells = cells(batch)?;
    let (mut lines, mut text) = (Vec::with_capacity(CSV_BYTES), Vec::new());
    for row in 0..batch.num_rows() {
        for (n, cell) in cells.iter().enumerate() {
            next_field(n, &mut lines);
            text.clear();
            cell.text(row, &mut text)?;
            write_field((!cell.is_null(row)).then_some(text.as_slice()), &mut lines);
        }
        lines.push(b'\n');
        if lines.len() >= CSV_BYTES {
            out.write_all(&lines)?;
            lines.clear();
        }
    }
    out.write_all(&lines)?;
    Ok(())
}

fn next_field(n: usize, line: &mut Vec<u8>) {
    if n > 0 {
        line.push(b',');
    }
}

fn write_json<W: Write>(
    out: &mut W,
    keys: &[Vec<u8>],
    document: bool,
    rows: &mut u64,
    batch: &RecordBatch,
) -> Result<(), FormatError> {
    let cells = cells(batch)?;
    let mut line = Vec::new();
    for row in 0..batch.num_rows() {
        line.clear();
        if document && *rows > 0 {
            line.push(b',');
        }
        write_row(keys, &cells, row, &mut line)?;
        if !document {
            line.push(b'\n');
        }
        out.write_all(&line)?;
        *rows += 1;
    }
    Ok(())
}

fn cells(batch: &RecordBatch) -> Result<Vec<CellWriter<'_>>, FormatError> {
    batch.columns().iter().map(CellWriter::new).collect::<Result<_, _>>().map_err(FormatError::writing)
}

fn parquet_error(error: ParquetError) -> FormatError {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => FormatError::Io(*error),
            Err(other) => FormatError::Arrow(other.to_string()),
        },
        other => FormatError::Arrow(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::{
        array::{
            ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, StringArray,
            TimestampMicrosecondArray,
        },
        datatypes::Int32Type,
    };

    fn table() -> RecordBatch {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![9_007_199_254_740_993, i64::MIN])) as ArrayRef),
            ("x", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN)]))),
            ("name", Arc::new(StringArray::from(vec![Some("a,\"b\""), None]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, -1]).with_timezone("UTC"))),
            ("raw", Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice(), b""]))),
            ("list", Arc::new(lists)),
        ])
        .unwrap()
    }

    fn written(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
        let mut writer = TableWriter::new(format, Vec::new(), table().schema()).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn text_formats_are_exact() {
        let rows = [
            r#"{"id":9007199254740993,"x":0.1,"name":"a,\"b\"","at":"1970-01-01T00:00:00Z","raw":"AP8=","list":[1,null]}"#,
            r#"{"id":-9223372036854775808,"x":null,"name":null,"at":"1969-12-31T23:59:59.999999Z","raw":"","list":null}"#,
        ];
        let text = |format| String::from_utf8(written(format, &[table()])).unwrap();
        assert_eq!(text(Format::NdJson), format!("{}\n{}\n", rows[0], rows[1]));
        assert_eq!(text(Format::Json), format!("{{\"rows\":[{},{}]}}\n", rows[0], rows[1]));
        assert_eq!(
            text(Format::Csv),
            "id,x,name,at,raw,list\n\
             9007199254740993,0.1,\"a,\"\"b\"\"\",1970-01-01T00:00:00Z,AP8=,\"[1,null]\"\n\
             -9223372036854775808,NaN,,1969-12-31T23:59:59.999999Z,\"\",\n"
        );
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_the_rows_are_cut() {
        let table = table();
        for format in Format::ALL {
            let whole = written(format, std::slice::from_ref(&table));
            let cut = written(format, &[table.slice(0, 1), table.slice(1, 0), table.slice(1, 1)]);
            assert_eq!(whole, cut, "{format}");
        }
    }

    #[test]
    fn an_empty_table_and_a_foreign_batch() {
        assert_eq!(written(Format::Json, &[]), b"{\"rows\":[]}\n");
        let mut writer = TableWriter::new(Format::NdJson, Vec::new(), table().schema()).unwrap();
        assert!(writer.write(&table().project(&[0]).unwrap()).is_err());
    }
}
