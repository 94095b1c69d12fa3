//! Bytes of a request → rows in the table's canonical Arrow form, with the rows that are wrong named one by one.
//!
//! Two kinds of failure. A *row* that is wrong is left out and reported ([`Rejected`]); the caller decides whether
//! that fails the request or goes to the quarantine. A *body* that is wrong as a whole is a [`DecodeError`].
//! Everything here is bounded by [`DecodeLimits`], takes bytes from anyone, and does not panic.

mod columnar;
mod decompress;
mod error;
mod text;

#[cfg(test)]
mod data_frames;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;

use arrow::{array::RecordBatch, error::ArrowError};
use bytes::Bytes;

use crate::{
    error::Detail,
    format::{FieldSpec, Format, NamedColumns, row_json},
    ingest::validate::{Violation, retain},
    model::{Column, DataType, TableSchema, TimeForm},
};

pub use columnar::{batches, check_columns};
pub use decompress::decompress;
pub use error::DecodeError;

/// What a body may be. [`Default`] is the contract's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Rows of a JSON, NDJSON or CSV body, and rows of any body that may be wrong.
    pub max_json_rows: usize,
    /// Nesting of a JSON body, the document's own brackets included.
    pub max_json_depth: usize,
    /// Bytes of a string, a bytes value or a JSON document.
    pub max_string: usize,
    /// Bytes of the items of one array.
    pub max_array: usize,
    /// Bytes of a string that is a join key.
    pub max_key: usize,
    /// Bytes that the rows take as Arrow. A small number is 8 bytes there and may be 2 in CSV.
    pub max_decoded_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits {
            max_json_rows: 10_000,
            max_json_depth: 64,
            max_string: 64 * 1024,
            max_array: 256 * 1024,
            max_key: 1024,
            max_decoded_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A body's rows, the good apart from the bad.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The good rows in the body's order; [`TableSchema::arrow`].
    pub batch: RecordBatch,
    /// Rows in the body, good and bad.
    pub rows: usize,
    /// For each row of `batch` its number in the body, from 0; `None`: they are the same.
    pub row_numbers: Option<Vec<u64>>,
    /// For each row of `batch` the columns that it names, by their positions there: of a JSON object its own, of any other format
    /// those that the body has.
    pub named: NamedColumns,
    /// By row.
    pub rejected: Vec<Rejected>,
}

/// A row that was not accepted, and the first thing that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Row of the body, from 0.
    pub row: u64,
    pub field: Option<String>,
    pub reason: String,
    /// The row as it came: its JSON text or its line of CSV; of Arrow and Parquet, and of rows that were read and
    /// then broke a rule, the row as JSON.
    pub raw: String,
}

impl Rejected {
    pub fn detail(&self) -> Detail {
        Detail { row: Some(self.row), field: self.field.clone(), reason: self.reason.clone() }
    }
}

impl Decoded {
    /// The body's number of a row of `batch`.
    pub fn body_row(&self, index: usize) -> u64 {
        match &self.row_numbers {
            Some(numbers) => numbers.get(index).copied().unwrap_or(index as u64),
            None => index as u64,
        }
    }

    /// Moves rows that break a rule from `batch` to `rejected`.
    pub fn reject(&mut self, violations: Vec<Violation>) -> Result<(), DecodeError> {
        if violations.is_empty() {
            return Ok(());
        }
        let mut bad = Vec::with_capacity(violations.len());
        for violation in violations {
            self.rejected.push(Rejected {
                row: self.body_row(violation.index),
                field: Some(violation.field),
                reason: violation.reason,
                raw: row_json(&self.as_named(violation.index)?, 0)?,
            });
            bad.push(violation.index);
        }
        self.rejected.sort_by_key(|rejected| rejected.row);
        let numbers = (0..self.batch.num_rows()).filter(|index| bad.binary_search(index).is_err());
        self.row_numbers = Some(numbers.map(|index| self.body_row(index)).collect());
        self.named.retain(|index| bad.binary_search(&index).is_err());
        self.batch = retain(&self.batch, &bad)?;
        Ok(())
    }

    /// A row with the columns that it names.
    fn as_named(&self, index: usize) -> Result<RecordBatch, ArrowError> {
        let columns = 0..self.batch.num_columns();
        let named = columns.filter(|column| self.named.has(index, *column));
        self.batch.slice(index, 1).project(&named.collect::<Vec<_>>())
    }
}

/// Decodes a body. Columns are found by name, in any order; one that is missing is null, where it may be.
///
/// JSON is exact (see `format::ColumnBuilder`). CSV has a header line; an empty field is null, `""` the empty string.
/// Arrow and Parquet columns have their column's type or one whose values it holds: whole floats for
/// integers, decimals, other widths and encodings; what would be lost is refused by row. A column of nulls has any type.
/// Times are written as the request's `times` declare, and where these do not, as the table's do.
pub fn decode(
    format: Format,
    body: Bytes,
    schema: &TableSchema,
    limits: &DecodeLimits,
    times: TimeForm,
) -> Result<Decoded, DecodeError> {
    let fields = fields(schema, limits, times.or(schema.times));
    match format {
        Format::Json => text::json(&body, schema, fields, limits),
        Format::NdJson => text::ndjson(&body, schema, fields, limits),
        Format::Csv => text::csv(&body, schema, fields, limits),
        Format::ArrowStream | Format::Parquet => columnar::columnar(format, body, schema, fields, limits),
    }
}

/// The table's columns in the order of [`TableSchema::arrow`], with what their values may be.
fn fields(schema: &TableSchema, limits: &DecodeLimits, times: TimeForm) -> Vec<FieldSpec> {
    let field = |column: &Column, required, max_bytes| FieldSpec {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        required,
        max_bytes,
        max_array_bytes: limits.max_array,
        times,
    };
    let time = Column { name: schema.event_time.clone(), data_type: DataType::Timestamp };
    let keys = schema.keys.iter().map(|key| field(key, true, limits.max_key.min(limits.max_string)));
    let columns = schema.columns.iter().map(|column| field(column, false, limits.max_string));
    keys.chain([field(&time, true, limits.max_string)]).chain(columns).collect()
}

/// Bytes that a row takes in Arrow even if all of it is null.
fn null_row_bytes(fields: &[FieldSpec]) -> usize {
    let width = |data_type: &DataType| match data_type {
        DataType::Int64 | DataType::Float64 | DataType::Timestamp => 8,
        DataType::Bool => 1,
        _ => 4,
    };
    fields.iter().map(|field| width(&field.data_type)).sum()
}
