//! Arrow columns as the window kernel reads them.

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray},
    datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};

use crate::compute::window::Datum;

/// One column of a batch.
pub enum DatumColumn<'a> {
    /// No values: the batch lacks the column.
    Null,
    Bool(&'a BooleanArray),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
}

impl<'a> DatumColumn<'a> {
    /// Arrays of other types than a column's class has are read as nulls.
    pub fn new(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Boolean => DatumColumn::Bool(array.as_boolean()),
            DataType::Int32 => DatumColumn::Int32(array.as_primitive()),
            DataType::Int64 => DatumColumn::Int64(array.as_primitive()),
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
                DatumColumn::Timestamp(array.as_primitive())
            }
            DataType::Float32 => DatumColumn::Float32(array.as_primitive()),
            DataType::Float64 => DatumColumn::Float64(array.as_primitive()),
            DataType::Utf8 => DatumColumn::Text(array.as_string()),
            DataType::Binary => DatumColumn::Bytes(array.as_binary()),
            _ => DatumColumn::Null,
        }
    }

    /// `None` where it is null.
    pub fn value(&self, row: usize) -> Option<Datum<'a>> {
        let valid = |array: &dyn Array| array.is_valid(row);
        match self {
            DatumColumn::Null => None,
            DatumColumn::Bool(a) => valid(a).then(|| Datum::Int(i64::from(a.value(row)))),
            DatumColumn::Int32(a) => valid(a).then(|| Datum::Int(i64::from(a.value(row)))),
            DatumColumn::Int64(a) => valid(a).then(|| Datum::Int(a.value(row))),
            DatumColumn::Timestamp(a) => valid(a).then(|| Datum::Int(a.value(row))),
            DatumColumn::Float32(a) => valid(a).then(|| Datum::Float(f64::from(a.value(row)))),
            DatumColumn::Float64(a) => valid(a).then(|| Datum::Float(a.value(row))),
            DatumColumn::Text(a) => valid(a).then(|| Datum::Bytes(a.value(row).as_bytes())),
            DatumColumn::Bytes(a) => valid(a).then(|| Datum::Bytes(a.value(row))),
        }
    }
}
