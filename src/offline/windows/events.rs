//! Events as plain columns.

use std::ops::Range;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::BooleanBuffer,
    datatypes::{
        DataType as Arrow, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
    error::ArrowError,
};

use crate::{
    compute::window::{Class, Values},
    model::DataType,
};

/// Events, column by column; all columns are equally long but `seqs` and `accepted`, which may be left out.
#[derive(Default)]
pub(super) struct Events {
    /// Numbers of entities.
    pub entities: Vec<u32>,
    pub times: Vec<i64>,
    pub seqs: Vec<i64>,
    /// When each was accepted; left out where nobody asks.
    pub accepted: Vec<i64>,
    pub columns: Vec<EventColumn>,
    /// Per filter and event: whether it counts.
    pub filters: Vec<Vec<bool>>,
}

pub(super) struct EventColumn {
    pub values: ColumnValues,
    /// Per event whether there is a value; empty where all have one.
    pub valid: Vec<bool>,
}

pub(super) enum ColumnValues {
    Int(Vec<i64>),
    Float(Vec<f64>),
    /// Value `i` is `data[offsets[i]..offsets[i + 1]]`.
    Bytes {
        offsets: Vec<u32>,
        data: Vec<u8>,
    },
}

impl ColumnValues {
    pub fn empty(class: Class) -> ColumnValues {
        match class {
            Class::Int => ColumnValues::Int(Vec::new()),
            Class::Float => ColumnValues::Float(Vec::new()),
            Class::Bytes => ColumnValues::Bytes { offsets: vec![0], data: Vec::new() },
        }
    }

    pub fn clear(&mut self) {
        match self {
            ColumnValues::Int(values) => values.clear(),
            ColumnValues::Float(values) => values.clear(),
            ColumnValues::Bytes { offsets, data } => {
                offsets.truncate(1);
                data.clear();
            }
        }
    }

    pub fn class(&self) -> Class {
        match self {
            ColumnValues::Int(_) => Class::Int,
            ColumnValues::Float(_) => Class::Float,
            ColumnValues::Bytes { .. } => Class::Bytes,
        }
    }

    /// Bytes of text in these rows.
    pub fn text(&self, rows: Range<usize>) -> usize {
        match self {
            ColumnValues::Int(_) | ColumnValues::Float(_) => 0,
            ColumnValues::Bytes { offsets, .. } => (offsets[rows.end] - offsets[rows.start]) as usize,
        }
    }

    /// Appends these rows of `from`, which is of the same class.
    pub fn append(&mut self, from: &ColumnValues, rows: Range<usize>) {
        match (self, from) {
            (ColumnValues::Int(to), ColumnValues::Int(from)) => to.extend_from_slice(&from[rows]),
            (ColumnValues::Float(to), ColumnValues::Float(from)) => to.extend_from_slice(&from[rows]),
            (to, from) => to.gather(from, rows),
        }
    }

    /// Appends the rows `rows` of `from`, which is of the same class.
    pub fn gather(&mut self, from: &ColumnValues, rows: impl Iterator<Item = usize>) {
        match (self, from) {
            (ColumnValues::Int(to), ColumnValues::Int(from)) => to.extend(rows.map(|row| from[row])),
            (ColumnValues::Float(to), ColumnValues::Float(from)) => to.extend(rows.map(|row| from[row])),
            (ColumnValues::Bytes { offsets, data }, ColumnValues::Bytes { offsets: starts, data: bytes }) => {
                for row in rows {
                    data.extend_from_slice(&bytes[starts[row] as usize..starts[row + 1] as usize]);
                    offsets.push(data.len() as u32);
                }
            }
            _ => {}
        }
    }

    /// The rows from `start` up to `end`.
    pub fn slice(&self, start: usize, end: usize) -> Values<'_> {
        match self {
            ColumnValues::Int(values) => Values::Int(&values[start..end]),
            ColumnValues::Float(values) => Values::Float(&values[start..end]),
            ColumnValues::Bytes { offsets, data } => Values::Bytes { offsets: &offsets[start..=end], data },
        }
    }

    fn bytes(&self) -> usize {
        match self {
            ColumnValues::Int(values) => values.len() * 8,
            ColumnValues::Float(values) => values.len() * 8,
            ColumnValues::Bytes { offsets, data } => offsets.len() * 4 + data.len(),
        }
    }

    fn truncate(&mut self, length: usize) {
        match self {
            ColumnValues::Int(values) => cut(values, length),
            ColumnValues::Float(values) => cut(values, length),
            ColumnValues::Bytes { offsets, data } => {
                cut(offsets, length + 1);
                cut(data, offsets.last().map_or(0, |end| *end as usize));
            }
        }
    }
}

fn cut<T>(values: &mut Vec<T>, length: usize) {
    values.truncate(length);
    values.shrink_to_fit();
}

impl EventColumn {
    pub fn is_valid(&self, row: usize) -> bool {
        self.valid.get(row).is_none_or(|valid| *valid)
    }
}

impl Events {
    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        let columns = self.columns.iter().map(|column| column.values.bytes() + column.valid.len());
        self.times.len() * (12 + self.filters.len())
            + (self.seqs.len() + self.accepted.len()) * 8
            + columns.sum::<usize>()
    }

    /// Lets go of all but the first `length`.
    pub fn truncate(&mut self, length: usize) {
        cut(&mut self.entities, length);
        cut(&mut self.times, length);
        cut(&mut self.seqs, length);
        cut(&mut self.accepted, length);
        self.filters.iter_mut().for_each(|filter| cut(filter, length));
        for column in &mut self.columns {
            column.values.truncate(length);
            cut(&mut column.valid, length);
        }
    }
}

/// An Arrow column, ready to have rows picked from it.
pub(super) struct Source(ArrayRef);

impl Source {
    pub fn new(array: &ArrayRef, wanted: &DataType) -> Result<Source, ArrowError> {
        wanted.fit(array).map(Source)
    }

    pub fn array(&self) -> &ArrayRef {
        &self.0
    }

    /// Which rows have a value; none: all.
    pub fn validity(&self) -> Option<&BooleanBuffer> {
        self.0.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner())
    }

    pub fn pick(&self, rows: &[u32]) -> EventColumn {
        let rows_of = || rows.iter().map(|&row| row as usize);
        let array = &self.0;
        let ints = |values: &[i64]| ColumnValues::Int(rows_of().map(|row| values[row]).collect());
        let bytes = |starts: &[i32], bytes: &[u8]| {
            let mut offsets = Vec::with_capacity(rows.len() + 1);
            offsets.push(0);
            let length = |row: usize| (starts[row + 1] - starts[row]) as usize;
            let mut data = Vec::with_capacity(rows_of().map(length).sum());
            for row in rows_of() {
                data.extend_from_slice(&bytes[starts[row] as usize..starts[row + 1] as usize]);
                offsets.push(data.len() as u32);
            }
            ColumnValues::Bytes { offsets, data }
        };
        let values = match array.data_type() {
            Arrow::Int64 => ints(array.as_primitive::<Int64Type>().values()),
            Arrow::Timestamp(..) => ints(array.as_primitive::<TimestampMicrosecondType>().values()),
            Arrow::Int32 => {
                let values = array.as_primitive::<Int32Type>().values();
                ColumnValues::Int(rows_of().map(|row| i64::from(values[row])).collect())
            }
            Arrow::Boolean => {
                let values = array.as_boolean().values();
                ColumnValues::Int(rows_of().map(|row| i64::from(values.value(row))).collect())
            }
            Arrow::Float64 => {
                let values = array.as_primitive::<Float64Type>().values();
                ColumnValues::Float(rows_of().map(|row| values[row]).collect())
            }
            Arrow::Float32 => {
                let values = array.as_primitive::<Float32Type>().values();
                ColumnValues::Float(rows_of().map(|row| f64::from(values[row])).collect())
            }
            Arrow::Binary => {
                bytes(array.as_binary::<i32>().value_offsets(), array.as_binary::<i32>().value_data())
            }
            _ => bytes(array.as_string::<i32>().value_offsets(), array.as_string::<i32>().value_data()),
        };
        let valid = match self.validity() {
            Some(valid) => rows_of().map(|row| valid.value(row)).collect(),
            None => Vec::new(),
        };
        EventColumn { values, valid }
    }
}
