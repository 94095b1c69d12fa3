//! What the kernel gives, as an Arrow column.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder,
        ListArray, NullBufferBuilder, StringBuilder, TimestampMicrosecondBuilder,
    },
    buffer::OffsetBuffer,
    datatypes::Field,
    error::ArrowError,
};

use crate::{
    compute::window::Output,
    model::{DataType, one_nan},
};

/// A column of results that grows.
pub(super) enum OutputColumn {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    List { item: DataType, values: Box<OutputColumn>, ends: Vec<i32>, valid: NullBufferBuilder, length: i32 },
}

impl OutputColumn {
    pub fn new(data_type: &DataType, capacity: usize) -> OutputColumn {
        match data_type {
            DataType::Bool => OutputColumn::Bool(BooleanBuilder::with_capacity(capacity)),
            DataType::Int32 => OutputColumn::Int32(Int32Builder::with_capacity(capacity)),
            DataType::Int64 => OutputColumn::Int64(Int64Builder::with_capacity(capacity)),
            DataType::Float32 => OutputColumn::Float32(Float32Builder::with_capacity(capacity)),
            DataType::Float64 => OutputColumn::Float64(Float64Builder::with_capacity(capacity)),
            DataType::Timestamp => {
                let builder = TimestampMicrosecondBuilder::with_capacity(capacity);
                OutputColumn::Timestamp(builder.with_data_type(DataType::arrow_timestamp()))
            }
            DataType::String | DataType::Uuid | DataType::Json => OutputColumn::Text(StringBuilder::new()),
            DataType::Bytes => OutputColumn::Bytes(BinaryBuilder::new()),
            DataType::Array(item) => Self::list(item),
            DataType::Vector(_) => Self::list(&DataType::Float32),
        }
    }

    fn list(item: &DataType) -> OutputColumn {
        OutputColumn::List {
            item: item.clone(),
            values: Box::new(OutputColumn::new(item, 0)),
            ends: vec![0],
            valid: NullBufferBuilder::new(0),
            length: 0,
        }
    }

    /// Whatever is no value of the column's type becomes null.
    pub fn push(&mut self, output: Output) {
        let int = |output: &Output| match output {
            Output::Int(n) => Some(*n),
            _ => None,
        };
        let float = |output: &Output| match output {
            Output::Float(x) => Some(one_nan(*x)),
            _ => None,
        };
        let bytes = |output: Output| match output {
            Output::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        match self {
            OutputColumn::Bool(builder) => builder.append_option(int(&output).map(|n| n != 0)),
            OutputColumn::Int32(builder) => {
                builder.append_option(int(&output).and_then(|n| i32::try_from(n).ok()));
            }
            OutputColumn::Int64(builder) => builder.append_option(int(&output)),
            OutputColumn::Float32(builder) => builder.append_option(float(&output).map(|x| x as f32)),
            OutputColumn::Float64(builder) => builder.append_option(float(&output)),
            OutputColumn::Timestamp(builder) => builder.append_option(int(&output)),
            OutputColumn::Text(builder) => {
                builder.append_option(bytes(output).and_then(|bytes| String::from_utf8(bytes).ok()));
            }
            OutputColumn::Bytes(builder) => builder.append_option(bytes(output)),
            OutputColumn::List { values, ends, valid, length, .. } => {
                valid.append(matches!(output, Output::List(_)));
                if let Output::List(items) = output {
                    *length += items.len() as i32;
                    items.into_iter().for_each(|item| values.push(item));
                }
                ends.push(*length);
            }
        }
    }

    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            OutputColumn::Bool(mut builder) => Arc::new(builder.finish()),
            OutputColumn::Int32(mut builder) => Arc::new(builder.finish()),
            OutputColumn::Int64(mut builder) => Arc::new(builder.finish()),
            OutputColumn::Float32(mut builder) => Arc::new(builder.finish()),
            OutputColumn::Float64(mut builder) => Arc::new(builder.finish()),
            OutputColumn::Timestamp(mut builder) => Arc::new(builder.finish()),
            OutputColumn::Text(mut builder) => Arc::new(builder.finish()),
            OutputColumn::Bytes(mut builder) => Arc::new(builder.finish()),
            OutputColumn::List { item, values, ends, mut valid, .. } => {
                let field = Arc::new(Field::new("element", item.arrow(), true));
                let ends = OffsetBuffer::new(ends.into());
                Arc::new(ListArray::try_new(field, ends, values.finish()?, valid.finish())?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn every_type_takes_its_values_and_nulls() {
        let scalars = [
            (DataType::Bool, Output::Int(1)),
            (DataType::Int32, Output::Int(-5)),
            (DataType::Int64, Output::Int(i64::MIN)),
            (DataType::Float32, Output::Float(1.5)),
            (DataType::Float64, Output::Float(-0.0)),
            (DataType::Timestamp, Output::Int(7)),
            (DataType::String, Output::Bytes("é".into())),
            (DataType::Json, Output::Bytes("{}".into())),
            (DataType::Bytes, Output::Bytes(vec![0xFF])),
        ];
        for (item, value) in scalars {
            let list = DataType::Array(Box::new(item.clone()));
            let lists = Output::List(vec![value.clone(), value.clone()]);
            for (data_type, value) in [(item, value), (list, lists)] {
                let mut column = OutputColumn::new(&data_type, 3);
                [value, Output::Null, Output::List(vec![])]
                    .into_iter()
                    .for_each(|output| column.push(output));
                let array = column.finish().unwrap();
                assert_eq!(*array.data_type(), data_type.arrow());
                assert_eq!((array.len(), array.is_valid(0), array.is_valid(1)), (3, true, false));
                if let Some(lists) = array.as_list_opt::<i32>() {
                    assert_eq!((lists.value(0).len(), lists.value(2).len()), (2, 0));
                }
            }
        }
        let mut narrow = OutputColumn::new(&DataType::Int32, 1);
        narrow.push(Output::Int(1 << 40));
        assert_eq!(narrow.finish().unwrap().null_count(), 1);
    }
}
