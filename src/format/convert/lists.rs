//! Lists of a client's types as ours.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeListArray, ListArray},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType as Arrow, Field},
    error::ArrowError,
};

use crate::convert::{BadValue, ValueLimits, convert_column};
use larder_model::DataType;

/// Lists of `item`, of `exact` items each where that is given. What is wrong with an item is wrong with its list.
pub(super) fn list(
    array: &ArrayRef,
    item: &DataType,
    exact: Option<usize>,
    limits: ValueLimits,
    bad: &mut Vec<BadValue>,
) -> Result<ArrayRef, ArrowError> {
    let (offsets, values) = match array.data_type() {
        Arrow::FixedSizeList(..) => {
            let list: &FixedSizeListArray = array.as_fixed_size_list();
            let length = usize::try_from(list.value_length()).unwrap_or(0);
            (OffsetBuffer::from_lengths(std::iter::repeat_n(length, list.len())), list.values().clone())
        }
        Arrow::LargeList(_) => {
            let list = array.as_list::<i64>();
            let narrow = list
                .value_offsets()
                .iter()
                .map(|offset| i32::try_from(*offset))
                .collect::<Result<Vec<_>, _>>();
            let narrow =
                narrow.map_err(|_| ArrowError::ComputeError("a list of more than 2³¹ values".to_owned()))?;
            (OffsetBuffer::new(ScalarBuffer::from(narrow)), list.values().clone())
        }
        _ => {
            let list = array.as_list::<i32>();
            (list.offsets().clone(), list.values().clone())
        }
    };
    let mut bad_items = Vec::new();
    let values = convert_column(&values, item, limits, &mut bad_items)?;
    for BadValue { index, reason } in bad_items {
        // The list that the element is in: the last that begins at or before it.
        let row = offsets.partition_point(|offset| *offset as usize <= index).wrapping_sub(1);
        if row < array.len() && array.is_valid(row) {
            bad.push(BadValue { index: row, reason });
        }
    }
    let width = values.data_type().primitive_width().unwrap_or(1);
    for (index, length) in offsets.lengths().enumerate() {
        if length.saturating_mul(width) > limits.max_array_bytes && array.is_valid(index) {
            let reason =
                format!("an array of more than {} bytes (limits.array_bytes)", limits.max_array_bytes);
            bad.push(BadValue { index, reason });
        }
    }
    if let Some(n) = exact {
        for (index, length) in offsets.lengths().enumerate().filter(|(i, _)| array.is_valid(*i)) {
            let start = offsets[index] as usize;
            if length != n {
                let reason = format!("expected {}, got {length} values", DataType::Vector(n as u32));
                bad.push(BadValue { index, reason });
            } else if values.nulls().is_some_and(|nulls| nulls.slice(start, length).null_count() > 0) {
                bad.push(BadValue { index, reason: "an embedding must not have null elements".to_owned() });
            }
        }
    }
    let field = Arc::new(Field::new("element", item.arrow(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, array.nulls().cloned())?))
}
