//! JSON, NDJSON and CSV.

use std::collections::HashSet;

use arrow::array::RecordBatch;

use crate::{
    error::Detail,
    format::{
        CsvError, CsvReader, CsvRecord, FieldSpec, Format, JsonRowsError, RowBuilder, RowError, json_rows,
        ndjson_rows, raw_rows, unknown_column, utf8_text,
    },
    ingest::decode::{DecodeError, DecodeLimits, Decoded, Rejected},
    model::TableSchema,
};

/// Rows between two looks at the size of what is decoded.
const CHECK_EVERY: usize = 64;

pub(super) fn json(
    body: &[u8],
    schema: &TableSchema,
    fields: Vec<FieldSpec>,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let body = utf8(Format::Json, body)?;
    // Around a cell: the document, the list of rows, the row.
    let mut rows = RowBuilder::new(fields, limits.max_json_depth.saturating_sub(3));
    let mut sink = Sink::new(limits, limits.max_json_rows);
    let read = json_rows(body, &mut rows, |rows| sink.end(rows, None, ""));
    stopped(Format::Json, read)?;
    if !sink.rejected.is_empty() {
        // Seldom: so the rows' text is looked up in a second pass, and not kept in the first.
        let raw = raw_rows(body).map_err(|error| malformed(Format::Json, error))?;
        for rejected in &mut sink.rejected {
            let row = usize::try_from(rejected.row).ok().and_then(|row| raw.get(row));
            rejected.raw = row.map(|row| row.get().to_owned()).unwrap_or_default();
        }
    }
    sink.finish(rows, schema)
}

pub(super) fn ndjson(
    body: &[u8],
    schema: &TableSchema,
    fields: Vec<FieldSpec>,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let body = utf8(Format::NdJson, body)?;
    let mut rows = RowBuilder::new(fields, limits.max_json_depth.saturating_sub(1));
    let mut sink = Sink::new(limits, limits.max_json_rows);
    let read = ndjson_rows(body, &mut rows, |rows, line, number| sink.end(rows, Some(number), line));
    stopped(Format::NdJson, read)?;
    sink.finish(rows, schema)
}

pub(super) fn csv(
    body: &[u8],
    schema: &TableSchema,
    fields: Vec<FieldSpec>,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let body = utf8(Format::Csv, body)?;
    let mut rows = RowBuilder::new(fields, limits.max_json_depth);
    let mut reader = CsvReader::new(body.as_bytes());
    let broken = |error: CsvError| malformed(Format::Csv, error);
    let header = reader.header().map_err(broken)?;
    let columns = csv_columns(&header, schema, &rows)?;
    let mut sink = Sink::new(limits, limits.max_json_rows);
    let mut record = CsvRecord::default();
    while reader.read(&mut record).map_err(broken)? {
        rows.begin();
        rows.refuse_record(&record, &header);
        for (column, field) in columns.iter().zip(record.fields().map_err(broken)?) {
            rows.text_cell(*column, field);
        }
        let (begin, end) = reader.span();
        let raw = body.get(begin as usize..end as usize).unwrap_or_default();
        sink.end(&mut rows, Some(record.line()), raw.trim_end_matches(['\r', '\n']))?;
    }
    sink.finish(rows, schema)
}

/// For each field of the header its column.
fn csv_columns(
    header: &[String],
    schema: &TableSchema,
    rows: &RowBuilder,
) -> Result<Vec<usize>, DecodeError> {
    let mut details = Vec::new();
    let mut columns = Vec::with_capacity(header.len());
    let mut seen = HashSet::new();
    let wrong = |name: &str, reason: String| Detail { row: None, field: Some(name.to_owned()), reason };
    for name in header.iter().map(String::as_str) {
        match rows.column(name) {
            Some(_) if !seen.insert(name) => {
                details.push(wrong(name, "the column is given twice".to_owned()))
            }
            Some(column) => columns.push(column),
            None => details.push(wrong(name, unknown(name, schema))),
        }
    }
    for name in required(schema).filter(|name| !seen.contains(name)) {
        details.push(wrong(name, "the column is missing; it is required".to_owned()));
    }
    if details.is_empty() { Ok(columns) } else { Err(DecodeError::Columns(details)) }
}

pub(super) fn unknown(name: &str, schema: &TableSchema) -> String {
    unknown_column(name, schema.arrow().fields().iter().map(|field| field.name().as_str()))
}

/// Names of the columns that a body must have.
pub(super) fn required(schema: &TableSchema) -> impl Iterator<Item = &str> {
    schema.keys.iter().map(|key| key.name.as_str()).chain([schema.event_time.as_str()])
}

fn utf8(format: Format, body: &[u8]) -> Result<&str, DecodeError> {
    utf8_text(body).map_err(|reason| malformed(format, reason))
}

fn malformed(format: Format, reason: impl ToString) -> DecodeError {
    DecodeError::Malformed { format, reason: reason.to_string() }
}

fn stopped(format: Format, read: Result<(), JsonRowsError<DecodeError>>) -> Result<(), DecodeError> {
    read.map_err(|error| match error {
        JsonRowsError::Malformed(reason) => malformed(format, reason),
        JsonRowsError::Stopped(error) => error,
    })
}

/// Ends rows, collects those that are refused, and keeps to the limits.
struct Sink<'a> {
    limits: &'a DecodeLimits,
    max_rows: usize,
    rejected: Vec<Rejected>,
}

impl<'a> Sink<'a> {
    fn new(limits: &'a DecodeLimits, max_rows: usize) -> Self {
        Sink { limits, max_rows, rejected: Vec::new() }
    }

    fn end(&mut self, rows: &mut RowBuilder, line: Option<u64>, raw: &str) -> Result<(), DecodeError> {
        let row = rows.rows() as u64;
        match rows.end() {
            Ok(()) => {}
            Err(RowError::Refused { field, reason }) => {
                let reason = match line {
                    Some(line) => format!("{reason} (line {line})"),
                    None => reason,
                };
                self.rejected.push(Rejected { row, field, reason, raw: raw.to_owned() });
            }
            Err(RowError::TooDeep) => {
                return Err(DecodeError::TooDeep { row, limit: self.limits.max_json_depth });
            }
        }
        if rows.rows() > self.max_rows {
            let what = "the body has too many rows; send them in several requests".to_owned();
            return Err(DecodeError::TooLarge { what, limit: self.max_rows });
        }
        if rows.rows().is_multiple_of(CHECK_EVERY) { self.check_size(rows) } else { Ok(()) }
    }

    fn check_size(&self, rows: &RowBuilder) -> Result<(), DecodeError> {
        let limit = self.limits.max_decoded_bytes;
        if rows.bytes() > limit {
            let what = "the decoded rows take too many bytes; send them in several requests".to_owned();
            return Err(DecodeError::TooLarge { what, limit });
        }
        Ok(())
    }

    fn finish(self, mut rows: RowBuilder, schema: &TableSchema) -> Result<Decoded, DecodeError> {
        self.check_size(&rows)?;
        let total = rows.rows();
        let named = rows.take_named();
        let (columns, row_numbers) = rows.finish()?;
        let batch = RecordBatch::try_new(schema.arrow().clone(), columns)?;
        Ok(Decoded { batch, rows: total, row_numbers, named, rejected: self.rejected })
    }
}
