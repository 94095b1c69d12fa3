//! Arrow streams and Parquet.

use std::collections::{BTreeMap, HashSet};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array},
    compute::{concat, filter},
    datatypes::SchemaRef,
};
use bytes::Bytes;

use crate::{
    error::Detail,
    format::{FieldSpec, Format, FormatError, LeftOut, ReadOptions, TableReader, decoded_size, row_json},
    ingest::decode::{
        DecodeError, DecodeLimits, Decoded, Rejected,
        cast::{ValueLimits, check_type, convert},
        fields, null_row_bytes,
        text::{required, unknown},
    },
    model::TableSchema,
};

pub(super) fn columnar(
    format: Format,
    body: Bytes,
    schema: &TableSchema,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let options = ReadOptions { max_decoded_bytes: Some(limits.max_decoded_bytes), ..ReadOptions::default() };
    let reader = TableReader::from_bytes(format, body, &options)?;
    let given = reader.schema().clone();
    batches(&given, reader, schema, limits)
}

/// Whether columns can be those of the table.
pub fn check_columns(given: &SchemaRef, schema: &TableSchema) -> Result<(), DecodeError> {
    sources(given, &fields(schema, &DecodeLimits::default()), schema).map(drop)
}

/// The rows of batches with the columns `given`.
pub fn batches(
    given: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, FormatError>>,
    schema: &TableSchema,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let fields = fields(schema, limits);
    let sources = sources(given, &fields, schema)?;
    let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); fields.len()];
    let mut state =
        State { limits, left: limits.max_decoded_bytes, rows: 0, rejected: Vec::new(), good: Vec::new() };
    for batch in batches {
        let batch = batch?;
        for (part, column) in parts.iter_mut().zip(state.convert(&batch, &fields, &sources)?) {
            part.push(column);
        }
    }
    let columns = parts
        .iter()
        .zip(schema.arrow().fields())
        .map(|(part, field)| match part.as_slice() {
            [] => Ok(new_null_array(field.data_type(), 0)),
            [one] => Ok(one.clone()),
            many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let batch = RecordBatch::try_new(schema.arrow().clone(), columns)?;
    let missing = sources.iter().zip(0..).filter(|(source, _)| source.is_none()).map(|(_, column)| column);
    let left_out = LeftOut::same(&missing.collect::<Vec<u32>>(), batch.num_rows());
    let row_numbers = (!state.rejected.is_empty()).then_some(state.good);
    Ok(Decoded { batch, rows: state.rows, row_numbers, left_out, rejected: state.rejected })
}

/// For each of the table's columns its position in the body.
fn sources(
    given: &SchemaRef,
    fields: &[FieldSpec],
    schema: &TableSchema,
) -> Result<Vec<Option<usize>>, DecodeError> {
    let mut details = Vec::new();
    let mut wrong =
        |name: &str, reason| details.push(Detail { row: None, field: Some(name.to_owned()), reason });
    let mut seen = HashSet::new();
    let mut sources = vec![None; fields.len()];
    for (position, column) in given.fields().iter().enumerate() {
        let name = column.name();
        match fields.iter().position(|field| field.name == *name) {
            None => wrong(name, unknown(name, schema)),
            Some(_) if !seen.insert(name.as_str()) => wrong(name, "the column is given twice".to_owned()),
            Some(index) => match check_type(column.data_type(), &fields[index].data_type) {
                Ok(()) => sources[index] = Some(position),
                Err(reason) => wrong(name, reason),
            },
        }
    }
    for name in required(schema).filter(|name| !seen.contains(name)) {
        wrong(name, "the column is missing; it is required".to_owned());
    }
    if details.is_empty() { Ok(sources) } else { Err(DecodeError::Columns(details)) }
}

struct State<'a> {
    limits: &'a DecodeLimits,
    /// Bytes that the batches to come may still take.
    left: usize,
    rows: usize,
    rejected: Vec<Rejected>,
    /// Numbers of the rows that are good.
    good: Vec<u64>,
}

impl State<'_> {
    /// The good rows of one batch, in the table's columns.
    fn convert(
        &mut self,
        batch: &RecordBatch,
        fields: &[FieldSpec],
        sources: &[Option<usize>],
    ) -> Result<Vec<ArrayRef>, DecodeError> {
        self.charge(batch, fields)?;
        let mut wrong: BTreeMap<usize, (String, String)> = BTreeMap::new();
        let mut columns = Vec::with_capacity(fields.len());
        for (field, source) in fields.iter().zip(sources) {
            let limits = ValueLimits { max_bytes: field.max_bytes, max_depth: self.limits.max_json_depth };
            let Some(column) = source.and_then(|position| batch.columns().get(position)) else {
                columns.push(new_null_array(&field.data_type.arrow(), batch.num_rows()));
                continue;
            };
            let mut bad = Vec::new();
            let column = convert(column, &field.data_type, limits, &mut bad)?;
            for bad in bad {
                wrong.entry(bad.index).or_insert_with(|| (field.name.clone(), bad.reason));
            }
            if field.required
                && let Some(nulls) = column.logical_nulls()
            {
                for index in (0..nulls.len()).filter(|&i| nulls.is_null(i)) {
                    wrong.entry(index).or_insert_with(|| (field.name.clone(), "must not be null".to_owned()));
                }
            }
            columns.push(column);
        }
        let first = self.rows as u64;
        self.rows += batch.num_rows();
        self.good.extend((0..batch.num_rows()).filter(|i| !wrong.contains_key(i)).map(|i| first + i as u64));
        if wrong.is_empty() {
            return Ok(columns);
        }
        let keep: BooleanArray = (0..batch.num_rows()).map(|i| Some(!wrong.contains_key(&i))).collect();
        for (index, (field, reason)) in wrong {
            let row = first + index as u64;
            self.rejected.push(Rejected { row, field: Some(field), reason, raw: row_json(batch, index)? });
        }
        Ok(columns.iter().map(|column| filter(column, &keep)).collect::<Result<_, _>>()?)
    }

    /// Refuses a batch before anything is made of it, where what would be made is too large.
    fn charge(&mut self, batch: &RecordBatch, fields: &[FieldSpec]) -> Result<(), DecodeError> {
        let given: usize = batch.columns().iter().map(|column| decoded_size(column)).sum();
        let nulls = batch.num_rows().saturating_mul(null_row_bytes(fields));
        self.left = self.left.checked_sub(given.max(nulls)).ok_or_else(|| DecodeError::TooLarge {
            what: "the decoded rows take too many bytes; send them in several requests".to_owned(),
            limit: self.limits.max_decoded_bytes,
        })?;
        Ok(())
    }
}
