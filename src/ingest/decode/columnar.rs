//! Arrow streams and Parquet.

use std::collections::{BTreeMap, HashSet};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array},
    compute::{concat, filter},
    datatypes::{DataType as Arrow, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;

use crate::{
    error::Detail,
    format::{
        FieldSpec, Format, FormatError, NamedColumns, ReadOptions, TableReader, TypeFit, ValueLimits,
        convert_column, decoded_size, row_json, type_fit, type_words, undeclared, undeclared_time,
        value_text,
    },
    ingest::decode::{
        DecodeError, DecodeLimits, Decoded, Rejected, fields, null_row_bytes,
        text::{required, unknown},
    },
    model::{DataType, TableSchema, TimeForm},
};

/// Rows that are converted at once.
const STRETCH: usize = 1 << 16;
/// Wrong rows that are named where there are too many.
const TOLD: usize = 100;

pub(super) fn columnar(
    format: Format,
    body: Bytes,
    schema: &TableSchema,
    fields: Vec<FieldSpec>,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let options = ReadOptions { max_decoded_bytes: Some(limits.max_decoded_bytes), ..ReadOptions::default() };
    let reader = TableReader::from_bytes(format, body, &options)?;
    let given = reader.schema().clone();
    decoded(&given, reader, schema, &fields, limits)
}

/// Whether columns can be those of the table, whatever their values are.
pub fn check_columns(given: &SchemaRef, schema: &TableSchema) -> Result<(), DecodeError> {
    let fields = fields(schema, &DecodeLimits::default(), TimeForm::EXPLICIT);
    let sources = sources(given, &fields, schema)?;
    let misfits = fields.iter().zip(&sources).filter_map(|(field, source)| {
        let source = source.as_ref()?;
        let given = given.field(source.position);
        let reason = match &source.fit {
            // Times that are computed say what they mean by their type.
            TypeFit::Values if is_unclear(given.data_type(), &field.data_type) => {
                format!("expected {}, got {}", field.data_type, type_words(given.data_type()))
            }
            TypeFit::Values => return None,
            TypeFit::WholeValues => {
                format!("expected {}, got {}", field.data_type, type_words(given.data_type()))
            }
            TypeFit::Nulls(reason) => reason.clone(),
        };
        Some(Detail { row: None, field: Some(field.name.clone()), reason })
    });
    let misfits: Vec<Detail> = misfits.collect();
    if misfits.is_empty() { Ok(()) } else { Err(DecodeError::Columns(misfits)) }
}

/// The rows of batches with the columns `given`, whose times say themselves what they mean.
pub fn batches(
    given: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, FormatError>>,
    schema: &TableSchema,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    decoded(given, batches, schema, &fields(schema, limits, TimeForm::EXPLICIT), limits)
}

fn decoded(
    given: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, FormatError>>,
    schema: &TableSchema,
    fields: &[FieldSpec],
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let sources = sources(given, fields, schema)?;
    let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); fields.len()];
    let mut state =
        State { limits, left: limits.max_decoded_bytes, rows: 0, rejected: Vec::new(), good: Vec::new() };
    for batch in batches {
        let batch = batch?;
        // An Arrow stream has batches of any size; what is said of wrong values takes memory for each.
        let stretches = (0..batch.num_rows())
            .step_by(STRETCH)
            .map(|start| batch.slice(start, STRETCH.min(batch.num_rows() - start)));
        for stretch in stretches {
            for (part, column) in parts.iter_mut().zip(state.convert(&stretch, fields, &sources)?) {
                part.push(column);
            }
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
    let named = sources.iter().zip(0..).filter(|(source, _)| source.is_some()).map(|(_, column)| column);
    let named = match named.collect::<Vec<u32>>() {
        named if named.len() < fields.len() => NamedColumns::same(&named, batch.num_rows()),
        _ => NamedColumns::default(),
    };
    let row_numbers = (!state.rejected.is_empty()).then_some(state.good);
    Ok(Decoded { batch, rows: state.rows, row_numbers, named, rejected: state.rejected })
}

/// A column of the body that is one of the table's.
struct Source {
    position: usize,
    fit: TypeFit,
}

/// For each of the table's columns the body's.
fn sources(
    given: &SchemaRef,
    fields: &[FieldSpec],
    schema: &TableSchema,
) -> Result<Vec<Option<Source>>, DecodeError> {
    let mut details = Vec::new();
    let mut wrong =
        |name: &str, reason| details.push(Detail { row: None, field: Some(name.to_owned()), reason });
    let mut seen = HashSet::new();
    let mut sources: Vec<Option<Source>> = fields.iter().map(|_| None).collect();
    for (position, column) in given.fields().iter().enumerate() {
        let name = column.name();
        match fields.iter().position(|field| field.name == *name) {
            None => wrong(name, unknown(name, schema)),
            Some(_) if !seen.insert(name.as_str()) => wrong(name, "the column is given twice".to_owned()),
            Some(index) => {
                let fit = type_fit(column, &fields[index].data_type);
                sources[index] = Some(Source { position, fit });
            }
        }
    }
    for name in required(schema).filter(|name| !seen.contains(name)) {
        wrong(name, "the column is missing; it is required".to_owned());
    }
    if details.is_empty() {
        return Ok(sources);
    }
    // What is wrong is told at once; of these columns the values are not looked at any more.
    details.extend(fields.iter().zip(&sources).filter_map(|(field, source)| match source {
        Some(Source { fit: TypeFit::Nulls(reason), .. }) => {
            Some(Detail { row: None, field: Some(field.name.clone()), reason: reason.clone() })
        }
        Some(Source { position, .. }) if field.data_type == DataType::Timestamp => {
            let reason = undeclared(given.field(*position).data_type(), field.times)?;
            Some(Detail { row: None, field: Some(field.name.clone()), reason: reason.to_owned() })
        }
        _ => None,
    }));
    Err(DecodeError::Columns(details))
}

/// Whether a column holds times whose meaning has to be declared.
fn is_unclear(given: &Arrow, to: &DataType) -> bool {
    *to == DataType::Timestamp && !matches!(given, Arrow::Timestamp(_, Some(_)) | Arrow::Null)
}

/// Columns of a type that does not fit, or of times that are not declared, each with its first value; one without values is as
/// good as any.
fn misfits(
    batch: &RecordBatch,
    fields: &[FieldSpec],
    sources: &[Option<Source>],
    first_row: u64,
) -> Result<Vec<Detail>, ArrowError> {
    let misfit = |(field, source): (&FieldSpec, &Option<Source>)| {
        let Source { position, fit } = source.as_ref()?;
        let column = batch.column(*position);
        let TypeFit::Nulls(reason) = fit else {
            return match undeclared_time(column, &field.data_type, field.times) {
                Ok(None) => None,
                Ok(Some((index, error))) => {
                    let row = Some(first_row + index as u64);
                    Some(Ok(Detail { row, field: Some(field.name.clone()), reason: error.to_string() }))
                }
                Err(error) => Some(Err(error)),
            };
        };
        let nulls = column.logical_nulls();
        let index = (0..column.len()).find(|&i| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i)))?;
        let reason = match value_text(column, index) {
            Some(value) => format!("{reason}: {value}"),
            None => reason.clone(),
        };
        Some(Ok(Detail { row: Some(first_row + index as u64), field: Some(field.name.clone()), reason }))
    };
    fields.iter().zip(sources).filter_map(misfit).collect()
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
        sources: &[Option<Source>],
    ) -> Result<Vec<ArrayRef>, DecodeError> {
        self.charge(batch, fields)?;
        let first = self.rows as u64;
        let misfits = misfits(batch, fields, sources, first)?;
        if !misfits.is_empty() {
            return Err(DecodeError::Columns(misfits));
        }
        let mut wrong: BTreeMap<usize, (String, String)> = BTreeMap::new();
        let mut columns = Vec::with_capacity(fields.len());
        for (field, source) in fields.iter().zip(sources) {
            let limits = ValueLimits {
                max_bytes: field.max_bytes,
                max_depth: self.limits.max_json_depth,
                max_array_bytes: field.max_array_bytes,
                times: field.times,
            };
            let mut bad = Vec::new();
            let column = match source {
                Some(Source { position, fit: TypeFit::Values | TypeFit::WholeValues }) => {
                    convert_column(batch.column(*position), &field.data_type, limits, &mut bad)?
                }
                _ => new_null_array(&field.data_type.arrow(), batch.num_rows()),
            };
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
        self.rows += batch.num_rows();
        self.good.extend((0..batch.num_rows()).filter(|i| !wrong.contains_key(i)).map(|i| first + i as u64));
        if wrong.is_empty() {
            return Ok(columns);
        }
        let limit = self.limits.max_json_rows;
        if self.rejected.len() + wrong.len() > limit {
            let detail = |(index, (field, reason)): (usize, (String, String))| Detail {
                row: Some(first + index as u64),
                field: Some(field),
                reason,
            };
            let told = self.rejected.iter().map(Rejected::detail).chain(wrong.into_iter().map(detail));
            return Err(DecodeError::TooManyWrong { details: told.take(TOLD).collect(), limit });
        }
        let keep: BooleanArray = (0..batch.num_rows()).map(|i| Some(!wrong.contains_key(&i))).collect();
        for (index, (field, reason)) in wrong {
            let row = first + index as u64;
            let raw = row_json(batch, index);
            let raw = raw.unwrap_or_else(|error| format!("this row cannot be shown: {error}"));
            self.rejected.push(Rejected { row, field: Some(field), reason, raw });
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
