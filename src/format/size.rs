//! How large an array is once it is written out in full.

use arrow::{
    array::{Array, AsArray},
    datatypes::DataType as Arrow,
};

/// Bytes of the array's values when each is stored by itself: what dictionaries and views share counts every time.
pub fn decoded_size(array: &dyn Array) -> usize {
    let rows = array.len();
    match array.data_type() {
        Arrow::Boolean => rows / 8,
        Arrow::Null => 0,
        Arrow::Utf8 => span(array.as_string::<i32>().value_offsets()) + rows * 4,
        Arrow::LargeUtf8 => span(array.as_string::<i64>().value_offsets()) + rows * 8,
        Arrow::Binary => span(array.as_binary::<i32>().value_offsets()) + rows * 4,
        Arrow::LargeBinary => span(array.as_binary::<i64>().value_offsets()) + rows * 8,
        // The low half of a view is the value's length.
        Arrow::Utf8View => lengths(array.as_string_view().views()) + rows * 4,
        Arrow::BinaryView => lengths(array.as_binary_view().views()) + rows * 4,
        Arrow::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let start = offsets.first().map_or(0, |first| *first as usize);
            decoded_size(&list.values().slice(start, span(offsets))) + rows * 4
        }
        Arrow::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.value_offsets();
            let start = offsets.first().map_or(0, |first| *first as usize);
            decoded_size(&list.values().slice(start, span(offsets))) + rows * 8
        }
        Arrow::FixedSizeList(..) => decoded_size(array.as_fixed_size_list().values()) + rows * 4,
        Arrow::Struct(_) => array.as_struct().columns().iter().map(|column| decoded_size(column)).sum(),
        Arrow::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = dictionary.values();
            if values.is_empty() {
                return rows * 4;
            }
            let sizes: Vec<usize> = (0..values.len()).map(|i| decoded_size(&values.slice(i, 1))).collect();
            dictionary
                .normalized_keys()
                .into_iter()
                .map(|key| sizes.get(key).copied().unwrap_or_default())
                .sum()
        }
        other => other.primitive_width().map_or_else(|| array.get_array_memory_size(), |width| rows * width),
    }
}

fn lengths(views: &[u128]) -> usize {
    views.iter().map(|view| *view as u32 as usize).sum()
}

fn span<O: Copy + Into<i64>>(offsets: &[O]) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => usize::try_from((*last).into() - (*first).into()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{DictionaryArray, StringArray, StringViewArray},
        datatypes::Int8Type,
    };

    #[test]
    fn what_is_shared_counts_every_time() {
        let long = "x".repeat(1000);
        let words = vec![long.as_str(); 50];
        let plain = decoded_size(&StringArray::from(words.clone()));
        assert_eq!(plain, 50 * 1004);
        assert_eq!(decoded_size(&StringViewArray::from(words.clone())), plain);
        let dictionary: DictionaryArray<Int8Type> = words.into_iter().collect();
        assert_eq!(decoded_size(&dictionary), plain);
        assert_eq!(decoded_size(&StringArray::from(vec!["ab", "cde", "f"]).slice(1, 1)), 3 + 4);
    }
}
