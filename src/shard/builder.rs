//! Arrow columns from cells.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::Field;

use crate::{
    model::{DataType, Value},
    shard::row::{Cell, array_items},
};

/// Collects one column.
pub enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    String(StringBuilder),
    Bytes(BinaryBuilder),
    /// Items of the type, one list builder over a boxed column of them.
    List(Box<ListColumn>),
}

/// A list column is collected as offsets over its items' own column.
pub struct ListColumn {
    item: DataType,
    items: ColumnBuilder,
    lengths: Vec<usize>,
    validity: Vec<bool>,
}

impl ColumnBuilder {
    /// For a column of about this many values.
    pub fn with_capacity(data_type: &DataType, rows: usize) -> ColumnBuilder {
        match data_type {
            DataType::Bool => ColumnBuilder::Bool(BooleanBuilder::with_capacity(rows)),
            DataType::Int32 => ColumnBuilder::Int32(Int32Builder::with_capacity(rows)),
            DataType::Int64 => ColumnBuilder::Int64(Int64Builder::with_capacity(rows)),
            DataType::Float32 => ColumnBuilder::Float32(Float32Builder::with_capacity(rows)),
            DataType::Float64 => ColumnBuilder::Float64(Float64Builder::with_capacity(rows)),
            DataType::Timestamp => ColumnBuilder::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            ),
            DataType::String | DataType::Uuid | DataType::Json => {
                ColumnBuilder::String(StringBuilder::with_capacity(rows, 16 * rows))
            }
            DataType::Bytes => ColumnBuilder::Bytes(BinaryBuilder::with_capacity(rows, 16 * rows)),
            DataType::Array(_) | DataType::Vector(_) => ColumnBuilder::new(data_type),
        }
    }

    pub fn new(data_type: &DataType) -> ColumnBuilder {
        match data_type {
            DataType::Bool => ColumnBuilder::Bool(BooleanBuilder::new()),
            DataType::Int32 => ColumnBuilder::Int32(Int32Builder::new()),
            DataType::Int64 => ColumnBuilder::Int64(Int64Builder::new()),
            DataType::Float32 => ColumnBuilder::Float32(Float32Builder::new()),
            DataType::Float64 => ColumnBuilder::Float64(Float64Builder::new()),
            DataType::Timestamp => {
                ColumnBuilder::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            DataType::String | DataType::Uuid | DataType::Json => ColumnBuilder::String(StringBuilder::new()),
            DataType::Bytes => ColumnBuilder::Bytes(BinaryBuilder::new()),
            DataType::Array(item) => ColumnBuilder::list(item),
            DataType::Vector(_) => ColumnBuilder::list(&DataType::Float32),
        }
    }

    fn list(item: &DataType) -> ColumnBuilder {
        ColumnBuilder::List(Box::new(ListColumn {
            item: item.clone(),
            items: ColumnBuilder::new(item),
            lengths: Vec::new(),
            validity: Vec::new(),
        }))
    }

    /// A cell of the column's type; any other becomes null.
    pub fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (ColumnBuilder::Bool(b), Cell::Bool(v)) => b.append_value(v),
            (ColumnBuilder::Int32(b), Cell::Int32(v)) => b.append_value(v),
            (ColumnBuilder::Int64(b), Cell::Int64(v)) => b.append_value(v),
            (ColumnBuilder::Float32(b), Cell::Float32(v)) => b.append_value(v),
            (ColumnBuilder::Float64(b), Cell::Float64(v)) => b.append_value(v),
            (ColumnBuilder::Timestamp(b), Cell::Timestamp(v)) => b.append_value(v.micros()),
            (ColumnBuilder::String(b), Cell::String(v) | Cell::Json(v)) => b.append_value(v),
            (ColumnBuilder::Bytes(b), Cell::Bytes(v)) => b.append_value(v),
            (ColumnBuilder::List(list), Cell::Array(bytes)) => {
                let ListColumn { item, items, lengths, validity } = list.as_mut();
                let mut count = 0;
                for cell in array_items(bytes, item) {
                    items.push(cell);
                    count += 1;
                }
                lengths.push(count);
                validity.push(true);
            }
            (builder, _) => builder.push_null(),
        }
    }

    /// A list of these values.
    pub fn push_values(&mut self, values: &[Value]) {
        match self {
            ColumnBuilder::List(list) => {
                for value in values {
                    list.items.push_value(value);
                }
                list.lengths.push(values.len());
                list.validity.push(true);
            }
            builder => builder.push_null(),
        }
    }

    pub fn push_value(&mut self, value: &Value) {
        match value {
            Value::Null => self.push_null(),
            Value::Bool(v) => self.push(Cell::Bool(*v)),
            Value::Int32(v) => self.push(Cell::Int32(*v)),
            Value::Int64(v) => self.push(Cell::Int64(*v)),
            Value::Float32(v) => self.push(Cell::Float32(*v)),
            Value::Float64(v) => self.push(Cell::Float64(*v)),
            Value::String(v) => self.push(Cell::String(v)),
            Value::Json(v) => self.push(Cell::Json(v)),
            Value::Bytes(v) => self.push(Cell::Bytes(v)),
            Value::Timestamp(v) => self.push(Cell::Timestamp(*v)),
            Value::Array(items) => self.push_values(items),
        }
    }

    pub fn push_null(&mut self) {
        match self {
            ColumnBuilder::Bool(b) => b.append_null(),
            ColumnBuilder::Int32(b) => b.append_null(),
            ColumnBuilder::Int64(b) => b.append_null(),
            ColumnBuilder::Float32(b) => b.append_null(),
            ColumnBuilder::Float64(b) => b.append_null(),
            ColumnBuilder::Timestamp(b) => b.append_null(),
            ColumnBuilder::String(b) => b.append_null(),
            ColumnBuilder::Bytes(b) => b.append_null(),
            ColumnBuilder::List(list) => {
                list.lengths.push(0);
                list.validity.push(false);
            }
        }
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Bool(b) => Arc::new(b.finish()),
            ColumnBuilder::Int32(b) => Arc::new(b.finish()),
            ColumnBuilder::Int64(b) => Arc::new(b.finish()),
            ColumnBuilder::Float32(b) => Arc::new(b.finish()),
            ColumnBuilder::Float64(b) => Arc::new(b.finish()),
            ColumnBuilder::Timestamp(b) => Arc::new(b.finish()),
            ColumnBuilder::String(b) => Arc::new(b.finish()),
            ColumnBuilder::Bytes(b) => Arc::new(b.finish()),
            ColumnBuilder::List(list) => {
                let field = Arc::new(Field::new("element", list.item.arrow(), true));
                let offsets = arrow::buffer::OffsetBuffer::from_lengths(std::mem::take(&mut list.lengths));
                let validity = arrow::buffer::NullBuffer::from(std::mem::take(&mut list.validity));
                Arc::new(arrow::array::ListArray::new(field, offsets, list.items.finish(), Some(validity)))
            }
        }
    }
}
