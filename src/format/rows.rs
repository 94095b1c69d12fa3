//! Typed columns built row by row; a row with anything wrong leaves no trace in them.

use std::{borrow::Cow, collections::HashMap};

use arrow::{
    array::{ArrayRef, BooleanArray, BooleanBufferBuilder},
    compute::filter,
    error::ArrowError,
};

use crate::{
    NamedColumns,
    column::{CellError, ColumnBuilder},
    csv_reader::{CsvField, CsvRecord, STRAY},
    suggest::did_you_mean,
    text,
};
use larder_model::{DataType, TimeForm};

/// One column to be built.
#[derive(Debug, Clone)]
pub struct FieldSpec {
    pub name: String,
    pub data_type: DataType,
    /// Must be there and not be null.
    pub required: bool,
    /// Longest string, bytes value or JSON document, in bytes.
    pub max_bytes: usize,
    /// Bytes of an array's items.
    pub max_array_bytes: usize,
    /// How its times are written.
    pub times: TimeForm,
}

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The row is left out; the rows around it are not concerned.
    #[error("{reason}")]
    Refused { field: Option<String>, reason: String },
    #[error("JSON is nested too deeply")]
    TooDeep,
}

/// Builds columns from rows of JSON objects or CSV records.
///
/// A row is begun with [`RowBuilder::begin`], filled with cells, and ended with [`RowBuilder::end`], which tells the
/// first thing that was wrong with it.
pub struct RowBuilder {
    fields: Vec<FieldSpec>,
    columns: Vec<ColumnBuilder>,
    lookup: HashMap<String, usize>,
    max_depth: usize,
    /// Columns in the order of the previous row's keys: most senders repeat it.
    order: Vec<usize>,
    position: usize,
    rows: usize,
    keep: BooleanBufferBuilder,
    kept: usize,
    failed: Option<RowError>,
    /// Of the rows that are kept.
    named: NamedColumns,
    /// Columns that the row under way names, where it leaves some out.
    scratch: Vec<u32>,
    /// Suggestions that may still be made for unknown columns: each looks at every known name.
    hints: u32,
}

/// Unknown columns of a body for which a known one is suggested.
const HINTS: u32 = 16;

impl RowBuilder {
    /// `max_depth`: how deep the arrays and objects of one cell may nest.
    pub fn new(fields: Vec<FieldSpec>, max_depth: usize) -> RowBuilder {
        RowBuilder {
            columns: fields
                .iter()
                .map(|f| {
                    ColumnBuilder::new(&f.data_type, f.max_bytes, max_depth)
                        .with_times(f.times)
                        .with_array_bytes(f.max_array_bytes)
                })
                .collect(),
            lookup: fields.iter().enumerate().map(|(i, f)| (f.name.clone(), i)).collect(),
            max_depth,
            order: Vec::with_capacity(fields.len()),
            position: 0,
            rows: 0,
            keep: BooleanBufferBuilder::new(1024),
            kept: 0,
            failed: None,
            named: NamedColumns::default(),
            scratch: Vec::new(),
            hints: HINTS,
            fields,
        }
    }

    /// Rows begun so far, refused ones included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the columns so far.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(ColumnBuilder::bytes).sum()
    }

    /// Position of a column by its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.lookup.get(name).copied()
    }

    pub fn begin(&mut self) {
        self.position = 0;
        self.failed = None;
    }

    /// Refuses the row that is being built, whatever its cells are.
    pub fn refuse(&mut self, field: Option<&str>, reason: impl Into<String>) {
        self.failed.get_or_insert_with(|| RowError::Refused {
            field: field.map(str::to_owned),
            reason: reason.into(),
        });
    }

    /// Refuses a CSV record that has not as many fields as the header, or one with text behind a closing quote.
    pub fn refuse_record(&mut self, record: &CsvRecord, header: &[String]) {
        if record.field_count() != header.len() {
            self.refuse(
                None,
                format!("the header has {} fields, this row has {}", header.len(), record.field_count()),
            );
        } else if let Some(field) = record.stray_quote() {
            self.refuse(header.get(field).map(String::as_str), STRAY);
        }
    }

    /// A row tells of its first fault only, so further unknown names cost nothing.
    fn refuse_unknown(&mut self, name: &str) {
        if self.failed.is_some() {
            return;
        }
        let reason = match self.hints.checked_sub(1) {
            Some(left) => {
                self.hints = left;
                unknown_column(name, self.fields.iter().map(|f| f.name.as_str()))
            }
            None => "unknown column".to_owned(),
        };
        self.refuse(Some(text::shorten(name).as_ref()), reason);
    }

    /// Looks into a JSON value that is not kept: nesting too deep refuses the whole body.
    pub(super) fn check_depth(&mut self, raw: &str) {
        if !text::nests_within(raw, self.max_depth) {
            self.failed = Some(RowError::TooDeep);
        }
    }

    /// One member of the row's JSON object; `raw` is the value's well-formed text.
    pub fn json_cell(&mut self, name: &str, raw: &str) {
        let index = match self.order.get(self.position) {
            Some(&index) if self.fields[index].name == name => index,
            _ => match self.column(name) {
                Some(index) => {
                    self.order.truncate(self.position);
                    self.order.push(index);
                    index
                }
                None => {
                    self.refuse_unknown(name);
                    return self.check_depth(raw);
                }
            },
        };
        self.position += 1;
        if self.failed == Some(RowError::TooDeep) {
            return;
        }
        if self.columns[index].len() > self.rows {
            self.refuse(Some(name), "the column is given twice in this row");
            return self.check_depth(raw);
        }
        let pushed = self.columns[index].push_json(raw);
        self.settle(index, raw == "null", pushed);
    }

    /// The cell of column `index` of a CSV record: nothing is null, `""` the empty string. Of types without an empty value
    /// `""` is null, too: writers that quote everything mean that.
    pub fn text_cell(&mut self, index: usize, field: CsvField<'_>) {
        if self.failed.is_some() {
            return;
        }
        let has_empty = matches!(self.fields[index].data_type, DataType::String | DataType::Bytes);
        let null = if has_empty { field.is_null() } else { field.text.is_empty() };
        let pushed = if null {
            self.columns[index].push_null();
            Ok(())
        } else {
            self.columns[index].push_text(field.text)
        };
        self.settle(index, null, pushed);
    }

    fn settle(&mut self, index: usize, null: bool, pushed: Result<(), CellError>) {
        let field = &self.fields[index];
        match pushed {
            Ok(()) if null && field.required => {
                let name = field.name.clone();
                self.refuse(Some(&name), "must not be null");
            }
            Ok(()) => {}
            Err(CellError::Value(reason)) => {
                let name = field.name.clone();
                self.refuse(Some(&name), reason);
            }
            Err(CellError::TooDeep) => self.failed = Some(RowError::TooDeep),
        }
    }

    /// Ends the row: columns that it does not have are null.
    pub fn end(&mut self) -> Result<(), RowError> {
        let mut left_out = false;
        for (index, (column, field)) in self.columns.iter_mut().zip(&self.fields).enumerate() {
            if column.len() == self.rows {
                column.push_null();
                if !left_out {
                    left_out = true;
                    self.scratch.clear();
                    self.scratch.extend(0..index as u32);
                }
                if field.required && self.failed.is_none() {
                    self.failed = Some(RowError::Refused {
                        field: Some(field.name.clone()),
                        reason: "is missing; it is required".to_owned(),
                    });
                }
            } else if left_out {
                self.scratch.push(index as u32);
            }
        }
        self.rows += 1;
        let outcome = self.failed.take().map_or(Ok(()), Err);
        self.keep.append(outcome.is_ok());
        if left_out && outcome.is_ok() {
            self.named.push(self.kept, &self.scratch);
        }
        self.kept += usize::from(outcome.is_ok());
        outcome
    }

    /// The columns that the rows name, by their numbers among those that were not refused.
    pub fn take_named(&mut self) -> NamedColumns {
        std::mem::take(&mut self.named)
    }

    /// The columns with the rows that were not refused, and for each of those its position among all rows (`None`:
    /// none was refused).
    pub fn finish(mut self) -> Result<(Vec<ArrayRef>, Option<Vec<u64>>), ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.into_iter().map(ColumnBuilder::finish).collect();
        if self.kept == self.rows {
            return Ok((columns, None));
        }
        let keep = BooleanArray::new(self.keep.finish(), None);
        let numbers = keep.values().set_indices().map(|i| i as u64).collect();
        let columns = columns.iter().map(|column| filter(column, &keep)).collect::<Result<_, _>>()?;
        Ok((columns, Some(numbers)))
    }
}

/// The reason that names an unknown column's nearest known one.
pub fn unknown_column<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let hint: Cow<'_, str> = match did_you_mean(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?").into(),
        None => format!("known: {}", text::shorten(&known.collect::<Vec<_>>().join(", "))).into(),
    };
    format!("unknown column; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{array::AsArray, datatypes::Int64Type};

    fn spec(name: &str, data_type: DataType, required: bool) -> FieldSpec {
        FieldSpec {
            name: name.into(),
            data_type,
            required,
            max_bytes: 100,
            max_array_bytes: 100,
            times: TimeForm::EXPLICIT,
        }
    }

    #[test]
    fn refused_rows_leave_no_trace_and_the_rest_keep_their_numbers() {
        let mut rows =
            RowBuilder::new(vec![spec("k", DataType::String, true), spec("n", DataType::Int64, false)], 4);
        let mut push = |cells: &[(&str, &str)]| {
            rows.begin();
            for (name, raw) in cells {
                rows.json_cell(name, raw);
            }
            rows.end().map_err(|e| e.to_string())
        };
        assert_eq!(push(&[("k", "\"a\""), ("n", "1")]), Ok(()));
        assert!(push(&[("k", "\"b\""), ("n", "1.5")]).unwrap_err().contains("whole number"));
        assert!(push(&[("n", "2")]).unwrap_err().contains("missing"));
        assert!(push(&[("k", "null")]).unwrap_err().contains("must not be null"));
        assert!(push(&[("k", "\"c\""), ("k", "\"d\"")]).unwrap_err().contains("twice"));
        assert!(push(&[("k", "\"c\""), ("m", "1")]).unwrap_err().contains("known: k, n"));
        assert_eq!(push(&[("n", "3"), ("k", "\"e\"")]), Ok(()));
        assert_eq!(push(&[("k", "\"f\"")]), Ok(()));
        let named = rows.take_named();
        assert_eq!((named.of(0), named.of(1), named.of(2)), (None, None, Some(&[0u32][..])));
        let (columns, numbers) = rows.finish().unwrap();
        assert_eq!(numbers, Some(vec![0, 6, 7]));
        assert_eq!(columns[0].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "e", "f"]);
        let n: Vec<_> = columns[1].as_primitive::<Int64Type>().iter().collect();
        assert_eq!(n, [Some(1), Some(3), None]);
    }
}
