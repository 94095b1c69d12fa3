//! How large an array is once it is written out in full.

use arrow::{
    array::{Array, AsArray, GenericListViewArray, OffsetSizeTrait, RunArray},
    datatypes::{ArrowNativeType, DataType as Arrow, Int16Type, Int32Type, Int64Type, RunEndIndexType},
};

/// Bytes of the array's values when each is stored by itself: what dictionaries and views share counts every time.
pub fn decoded_size(array: &dyn Array) -> usize {
    let rows = array.len();
    match array.data_type() {
        Arrow::Boolean => rows / 8,
        // What is made of a null takes a value's place.
        Arrow::Null => rows * 8,
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
        Arrow::ListView(_) => viewed(array.as_list_view::<i32>()),
        Arrow::LargeListView(_) => viewed(array.as_list_view::<i64>()),
        Arrow::Map(..) => {
            let map = array.as_map();
            let start = map.value_offsets().first().map_or(0, |first| *first as usize);
            decoded_size(&map.entries().slice(start, span(map.value_offsets()))) + rows * 4
        }
        Arrow::RunEndEncoded(ends, _) => match ends.data_type() {
            Arrow::Int16 => runs(array.as_run_opt::<Int16Type>()),
            Arrow::Int32 => runs(array.as_run_opt::<Int32Type>()),
            _ => runs(array.as_run_opt::<Int64Type>()),
        },
        Arrow::Union(fields, _) => {
            let union = array.as_union();
            rows + fields.iter().map(|(id, _)| decoded_size(union.child(id))).sum::<usize>()
        }
        Arrow::Struct(_) => array.as_struct().columns().iter().map(|column| decoded_size(column)).sum(),
        Arrow::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = dictionary.values();
            if values.is_empty() {
                return rows * 4;
            }
            let sizes = sizes(values);
            dictionary
                .normalized_keys()
                .into_iter()
                .map(|key| sizes.get(key).copied().unwrap_or_default())
                .sum()
        }
        other => other.primitive_width().map_or_else(|| array.get_array_memory_size(), |width| rows * width),
    }
}

/// Of each value by itself.
fn sizes(values: &dyn Array) -> Vec<usize> {
    (0..values.len()).map(|at| decoded_size(&values.slice(at, 1))).collect()
}

/// A run of any length has one value in memory.
fn runs<R: RunEndIndexType>(array: Option<&RunArray<R>>) -> usize {
    let Some(array) = array.filter(|array| !array.is_empty()) else { return 0 };
    let (first, last) = (array.get_physical_index(0), array.get_physical_index(array.len() - 1));
    let mut before = array.offset();
    let mut size = 0_usize;
    for run in first..=last {
        let end = array.run_ends().values()[run].as_usize().min(array.offset() + array.len());
        let value = decoded_size(&array.values().slice(run, 1)).max(1);
        size = size.saturating_add(value.saturating_mul(end - before));
        before = end;
    }
    size
}

/// Views of the same items may be many.
fn viewed<O: OffsetSizeTrait>(array: &GenericListViewArray<O>) -> usize {
    let mut sums = vec![0_usize];
    for size in sizes(array.values()) {
        sums.push(sums.last().map_or(size, |sum| sum + size));
    }
    let ends = |row: usize| (array.value_offset(row).as_usize(), array.value_size(row).as_usize());
    let items = (0..array.len()).filter(|row| array.is_valid(*row)).map(|row| {
        let (start, length) = ends(row);
        let sum = |at: usize| sums.get(at).copied().unwrap_or_default();
        sum(start + length).saturating_sub(sum(start))
    });
    items.fold(array.len() * 8, usize::saturating_add)
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
    use std::sync::Arc;

    use arrow::{
        array::{DictionaryArray, Int32Array, Int64Array, ListViewArray, StringArray, StringViewArray},
        datatypes::{Field, Int8Type},
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

    #[test]
    fn runs_and_views_count_as_often_as_they_stand() {
        let ends = Int32Array::from(vec![1_000_000, 2_000_000_000]);
        let runs = RunArray::<Int32Type>::try_new(&ends, &StringArray::from(vec!["abcd", "ef"])).unwrap();
        assert_eq!(decoded_size(&runs), 1_000_000 * 8 + 1_999_000_000 * 6);
        assert_eq!(decoded_size(&runs.slice(999_999, 3)), 8 + 2 * 6);
        let item = Arc::new(Field::new("item", Arrow::Int64, true));
        let values = Arc::new(Int64Array::from(vec![0; 1000]));
        let (offsets, lengths) = (vec![0; 500].into(), vec![1000; 500].into());
        let views = ListViewArray::new(item, offsets, lengths, values, None);
        assert_eq!(decoded_size(&views), 500 * 8 + 500 * 8000);
    }
}
