//! CSV, NDJSON and JSON as record batches of inferred or declared types.
//!
//! Types are inferred over the whole input, which is read twice; so a column never changes its type midway.

use std::{
    io::{BufRead, Read},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};

use crate::{
    CsvError, CsvReader, CsvRecord, FieldSpec, Format, FormatError, JsonRowsError, ReadOptions, RowBuilder,
    RowError,
    encoding::{TextInput, not_utf8, text_reader, utf8_text},
    infer::Inference,
    json::{self, json_rows, raw_rows},
    json_error,
    reader::{Batches, Input},
};
use larder_model::DataType;

/// How deep JSON may nest within one cell.
const MAX_DEPTH: usize = 64;
/// A batch is cut at this size even if it has few rows.
const BATCH_BYTES: usize = 64 * 1024 * 1024;
/// The longest line of NDJSON.
const MAX_LINE: u64 = 16 * 1024 * 1024;

pub(super) fn csv(input: &Input, options: &ReadOptions) -> Result<(SchemaRef, Batches), FormatError> {
    let open = || -> Result<_, FormatError> { Ok(CsvReader::new(text_reader(input.reader()?)?)) };
    let mut first = open()?;
    let header = first.header().map_err(csv_error)?;
    let mut inference = Inference::default();
    for (position, name) in header.iter().enumerate() {
        if inference.column(name) != position {
            return Err(FormatError::malformed(
                Format::Csv,
                format!("its header names column `{name}` twice"),
            ));
        }
    }
    if !header.iter().all(|name| options.types.contains_key(name)) {
        let mut record = CsvRecord::default();
        while first.read(&mut record).map_err(csv_error)? {
            for (column, field) in record.fields().map_err(csv_error)?.enumerate() {
                inference.see_text(column, field);
            }
        }
    }
    let columns = Columns::new(inference, options);
    let (schema, width) = (columns.schema.clone(), header.len());
    let mut reader = open()?;
    reader.header().map_err(csv_error)?;
    let mut record = CsvRecord::default();
    let batches = columns.batches(Format::Csv, move |rows| {
        if !reader.read(&mut record).map_err(csv_error)? {
            return Ok(None);
        }
        rows.begin();
        rows.refuse_record(&record, &header);
        for (column, field) in record.fields().map_err(csv_error)?.enumerate().take(width) {
            rows.text_cell(column, field);
        }
        Ok(Some(record.line()))
    });
    Ok((schema, batches))
}

pub(super) fn ndjson(input: &Input, options: &ReadOptions) -> Result<(SchemaRef, Batches), FormatError> {
    let mut inference = Inference::default();
    let mut lines = Lines::new(input)?;
    while let Some((line, number)) = lines.next()? {
        see_row(&mut inference, line, Some(number))?;
    }
    let columns = Columns::new(inference, options);
    let schema = columns.schema.clone();
    let mut lines = Lines::new(input)?;
    let batches = columns.batches(Format::NdJson, move |rows| {
        let Some((line, number)) = lines.next()? else { return Ok(None) };
        json::read_line(line, rows).map_err(|error| syntax(Some(number), line, &error))?;
        Ok(Some(number))
    });
    Ok((schema, batches))
}

/// A document is held in memory as a whole; NDJSON is the format for much.
pub(super) fn json(input: &Input, options: &ReadOptions) -> Result<(SchemaRef, Batches), FormatError> {
    let mut body = Vec::new();
    input.reader()?.read_to_end(&mut body)?;
    let body = utf8_text(&body).map_err(|reason| FormatError::malformed(Format::Json, reason))?;
    let mut inference = Inference::default();
    for row in raw_rows(body).map_err(|error| syntax(None, body, &error))? {
        see_row(&mut inference, row.get(), None)?;
    }
    let columns = Columns::new(inference, options);
    let schema = columns.schema.clone();
    let mut rows = columns.builder();
    let mut batches = Vec::new();
    let mut number = 0;
    let read = json_rows(body, &mut rows, |rows| {
        rows.end().map_err(|error| refused(number, None, error))?;
        number += 1;
        if rows.rows() == columns.batch_rows {
            batches.push(columns.batch(std::mem::replace(rows, columns.builder()))?);
        }
        Ok(())
    });
    match read {
        Ok(()) if rows.rows() > 0 => batches.push(columns.batch(rows)?),
        Ok(()) => {}
        Err(JsonRowsError::Malformed(reason)) => return Err(FormatError::malformed(Format::Json, reason)),
        Err(JsonRowsError::Stopped(error)) => return Err(error),
    }
    Ok((schema, Box::new(batches.into_iter().map(Ok))))
}

fn see_row(inference: &mut Inference, row: &str, line: Option<u64>) -> Result<(), FormatError> {
    json::cells(row, |name, raw| inference.see_json(name, raw)).map_err(|error| syntax(line, row, &error))
}

fn syntax(line: Option<u64>, text: &str, error: &serde_json::Error) -> FormatError {
    match line {
        Some(line) => FormatError::malformed(Format::NdJson, json::line_error(line, text, error)),
        None => FormatError::malformed(Format::Json, json_error(text, error)),
    }
}

fn refused(row: u64, line: Option<u64>, error: RowError) -> FormatError {
    match error {
        RowError::Refused { field, reason } => FormatError::Row { row, line, field, reason },
        RowError::TooDeep => FormatError::Row { row, line, field: None, reason: error.to_string() },
    }
}

fn csv_error(error: CsvError) -> FormatError {
    match error {
        CsvError::Io(error) => FormatError::Io(error),
        CsvError::Malformed(reason) => FormatError::malformed(Format::Csv, reason),
    }
}

/// What every batch of a text table is built by.
struct Columns {
    fields: Vec<FieldSpec>,
    schema: SchemaRef,
    batch_rows: usize,
    /// What the decoded rows may take in sum.
    limit: usize,
}

impl Columns {
    fn new(mut inference: Inference, options: &ReadOptions) -> Columns {
        // JSON without rows has no names: its columns are those that are known.
        if inference.is_empty() {
            for name in options.types.keys() {
                inference.column(name);
            }
        }
        let fields: Vec<FieldSpec> = inference
            .finish()
            .into_iter()
            .map(|(name, inferred)| {
                let data_type = options.types.get(&name).cloned().unwrap_or(inferred);
                FieldSpec {
                    name,
                    data_type,
                    required: false,
                    max_bytes: MAX_LINE as usize,
                    max_array_bytes: usize::MAX,
                    times: options.times,
                }
            })
            .collect();
        let arrow = fields.iter().map(|f| Field::new(&f.name, DataType::arrow(&f.data_type), true));
        Columns {
            schema: Arc::new(Schema::new(arrow.collect::<Vec<_>>())),
            fields,
            batch_rows: options.batch_rows.max(1),
            limit: options.max_decoded_bytes.unwrap_or(usize::MAX),
        }
    }

    fn builder(&self) -> RowBuilder {
        RowBuilder::new(self.fields.clone(), MAX_DEPTH)
    }

    fn batch(&self, rows: RowBuilder) -> Result<RecordBatch, FormatError> {
        let (columns, _) = rows.finish().map_err(FormatError::writing)?;
        RecordBatch::try_new(self.schema.clone(), columns).map_err(FormatError::writing)
    }

    /// Batches of rows that `read` begins and fills one by one; it gives the row's line, or `None` at the end.
    fn batches(
        self,
        format: Format,
        mut read: impl FnMut(&mut RowBuilder) -> Result<Option<u64>, FormatError> + Send + 'static,
    ) -> Batches {
        let (mut row, mut left, mut over) = (0_u64, self.limit, false);
        Box::new(std::iter::from_fn(move || {
            if over {
                return None;
            }
            let mut rows = self.builder();
            let mut fill = || -> Result<(), FormatError> {
                while rows.rows() < self.batch_rows
                    && (!rows.rows().is_multiple_of(64) || rows.bytes() < BATCH_BYTES)
                {
                    let Some(line) = read(&mut rows)? else {
                        over = true;
                        break;
                    };
                    rows.end().map_err(|error| refused(row, Some(line), error))?;
                    row += 1;
                }
                left = left.checked_sub(rows.bytes()).ok_or_else(|| FormatError::TooLarge {
                    what: format!("the decoded {format}"),
                    limit: self.limit,
                })?;
                Ok(())
            };
            match fill() {
                Ok(()) if rows.rows() == 0 => None,
                Ok(()) => Some(self.batch(rows)),
                Err(error) => {
                    over = true;
                    Some(Err(error))
                }
            }
        }))
    }
}

/// Lines of NDJSON that are not blank, with their numbers from 1.
pub(super) struct Lines {
    reader: TextInput<'static>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    pub fn new(input: &Input) -> Result<Lines, FormatError> {
        Ok(Lines { reader: text_reader(input.reader()?)?, line: Vec::new(), number: 0 })
    }

    pub fn next(&mut self) -> Result<Option<(&str, u64)>, FormatError> {
        let malformed = |number, reason: String| {
            FormatError::malformed(Format::NdJson, format!("line {number}: {reason}"))
        };
        loop {
            self.line.clear();
            if (&mut self.reader).take(MAX_LINE + 1).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.len() as u64 > MAX_LINE {
                return Err(malformed(self.number, format!("it is longer than {MAX_LINE} bytes")));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(self.line.trim_ascii()) {
            Ok(line) => Ok(Some((line, self.number))),
            Err(error) => {
                let byte = self.line.trim_ascii().get(error.valid_up_to()).copied().unwrap_or_default();
                Err(malformed(self.number, not_utf8(byte)))
            }
        }
    }
}
