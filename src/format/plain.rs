//! Columns without their encodings: what dictionaries, views, run ends and list views stand for, value by value.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, GenericListViewArray, MapArray,
        OffsetSizeTrait, RecordBatch, RunArray, StructArray, UInt64Array,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    compute::{cast, take},
    datatypes::{
        DataType as Arrow, Field, FieldRef, Int16Type, Int32Type, Int64Type, RunEndIndexType, Schema,
    },
    error::ArrowError,
};

/// The type of what [`plain`] makes of a column: the same values, none of them shared.
pub fn plain_type(data_type: &Arrow) -> Arrow {
    match data_type {
        Arrow::Dictionary(_, values) => plain_type(values),
        Arrow::RunEndEncoded(_, values) => plain_type(values.data_type()),
        Arrow::Utf8View => Arrow::Utf8,
        Arrow::BinaryView => Arrow::Binary,
        Arrow::List(item) | Arrow::ListView(item) => Arrow::List(plain_field(item)),
        Arrow::LargeList(item) | Arrow::LargeListView(item) => Arrow::LargeList(plain_field(item)),
        Arrow::FixedSizeList(item, length) => Arrow::FixedSizeList(plain_field(item), *length),
        Arrow::Struct(members) => Arrow::Struct(members.iter().map(plain_field).collect()),
        Arrow::Map(entries, ordered) => Arrow::Map(plain_field(entries), *ordered),
        other => other.clone(),
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let made = plain_type(field.data_type());
    if made == *field.data_type() {
        field.clone()
    } else {
        Arc::new(field.as_ref().clone().with_data_type(made))
    }
}

/// The schema of what [`plain_batch`] makes.
pub fn plain_schema(schema: &Schema) -> Schema {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

pub fn plain_batch(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(plain).collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::new(plain_schema(batch.schema_ref())), columns)
}

/// The column in its [`plain_type`].
pub fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if plain_type(column.data_type()) == *column.data_type() {
        return Ok(column.clone());
    }
    Ok(match column.data_type() {
        Arrow::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            take(&plain(dictionary.values())?, dictionary.keys(), None)?
        }
        Arrow::RunEndEncoded(ends, _) => match ends.data_type() {
            Arrow::Int16 => of_runs::<Int16Type>(column)?,
            Arrow::Int32 => of_runs::<Int32Type>(column)?,
            _ => of_runs::<Int64Type>(column)?,
        },
        Arrow::Utf8View => cast(column, &Arrow::Utf8)?,
        Arrow::BinaryView => cast(column, &Arrow::Binary)?,
        Arrow::List(item) => of_list::<i32>(column.as_list(), item)?,
        Arrow::LargeList(item) => of_list::<i64>(column.as_list(), item)?,
        Arrow::ListView(item) => of_views::<i32>(column.as_list_view(), item)?,
        Arrow::LargeListView(item) => of_views::<i64>(column.as_list_view(), item)?,
        Arrow::FixedSizeList(item, length) => {
            let list = column.as_fixed_size_list();
            let (field, values, nulls) = (plain_field(item), plain(list.values())?, list.nulls().cloned());
            Arc::new(FixedSizeListArray::try_new_with_length(field, *length, values, nulls, list.len())?)
        }
        Arrow::Struct(_) => of_struct(column.as_struct())?,
        Arrow::Map(entries, ordered) => {
            let map = column.as_map();
            let made = of_struct(map.entries())?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let made = made.as_struct().clone();
            Arc::new(MapArray::try_new(plain_field(entries), offsets, made, nulls, *ordered)?)
        }
        _ => column.clone(),
    })
}

fn of_runs<R: RunEndIndexType>(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(runs) = column.as_any().downcast_ref::<RunArray<R>>() else {
        return Err(ArrowError::CastError("runs without ends".to_owned()));
    };
    let rows: UInt64Array = (0..runs.len()).map(|row| Some(runs.get_physical_index(row) as u64)).collect();
    take(&plain(runs.values())?, &rows, None)
}

fn of_list<O: OffsetSizeTrait>(list: &GenericListArray<O>, item: &Field) -> Result<ArrayRef, ArrowError> {
    let field = plain_field(&Arc::new(item.clone()));
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListArray::<O>::try_new(field, offsets, plain(list.values())?, nulls)?))
}

/// Views may overlap, leave gaps and be in any order: their items are gathered one by one.
fn of_views<O: OffsetSizeTrait>(
    list: &GenericListViewArray<O>,
    item: &Field,
) -> Result<ArrayRef, ArrowError> {
    let mut items = Vec::new();
    let mut ends = vec![O::usize_as(0)];
    for row in 0..list.len() {
        if list.is_valid(row) {
            let start = list.value_offset(row).as_usize() as u64;
            items.extend(start..start + list.value_size(row).as_usize() as u64);
        }
        let end = O::from_usize(items.len());
        ends.push(end.ok_or_else(|| ArrowError::CastError("lists of too many items".to_owned()))?);
    }
    let values = take(&plain(list.values())?, &UInt64Array::from(items), None)?;
    let field = plain_field(&Arc::new(item.clone()));
    let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
    Ok(Arc::new(GenericListArray::<O>::try_new(field, ends, values, list.nulls().cloned())?))
}

fn of_struct(members: &StructArray) -> Result<ArrayRef, ArrowError> {
    let columns = members.columns().iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let fields = members.fields().iter().map(plain_field).collect();
    Ok(Arc::new(StructArray::try_new_with_length(fields, columns, members.nulls().cloned(), members.len())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{
            BinaryViewArray, DictionaryArray, Int32Array, ListArray, ListViewArray, StringArray,
            StringViewArray,
        },
        datatypes::UInt32Type,
    };

    fn made(column: impl Array + 'static) -> ArrayRef {
        plain(&(Arc::new(column) as ArrayRef)).unwrap()
    }

    #[test]
    fn encodings_are_replaced_by_their_values_also_of_slices() {
        let words =
            Arc::new(StringViewArray::from(vec![Some("a long word that is not inlined"), None, Some("b")]));
        let keys = arrow::array::PrimitiveArray::<UInt32Type>::from(vec![Some(2), None, Some(0), Some(1)]);
        let categories = DictionaryArray::new(keys, words);
        let expected =
            StringArray::from(vec![Some("b"), None, Some("a long word that is not inlined"), None]);
        assert_eq!(made(categories.clone()).as_string::<i32>(), &expected);
        assert_eq!(made(categories.slice(1, 2)).as_string::<i32>(), &expected.slice(1, 2));

        let runs = RunArray::<Int32Type>::try_new(
            &Int32Array::from(vec![2, 3, 6]),
            &StringArray::from(vec![Some("x"), None, Some("y")]),
        )
        .unwrap();
        let expected = StringArray::from(vec![Some("x"), Some("x"), None, Some("y"), Some("y"), Some("y")]);
        assert_eq!(made(runs.clone()).as_string::<i32>(), &expected);
        assert_eq!(made(runs.slice(1, 3)).as_string::<i32>(), &expected.slice(1, 3));
        assert_eq!(made(BinaryViewArray::from(vec![b"\x00".as_slice()])).data_type(), &Arrow::Binary);
    }

    #[test]
    fn nested_encodings_are_found() {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        let categories: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
        let lists = ListArray::new(
            item(categories.data_type().clone()),
            OffsetBuffer::from_lengths([2, 0, 1]),
            Arc::new(categories),
            Some(vec![true, false, true].into()),
        );
        let lists = made(lists.slice(1, 2));
        assert_eq!(lists.data_type(), &Arrow::List(item(Arrow::Utf8)));
        assert!(lists.is_null(0) && lists.as_list::<i32>().value(1).as_string::<i32>().value(0) == "b");

        // The second list begins before the first, and they share an item.
        let views = ListViewArray::new(
            item(Arrow::Int32),
            vec![1, 0, 0].into(),
            vec![2, 2, 3].into(),
            Arc::new(Int32Array::from(vec![10, 20, 30])),
            Some(vec![true, true, false].into()),
        );
        let lists = made(views);
        let expected = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(20), Some(30)]),
            Some(vec![Some(10), Some(20)]),
            None,
        ]);
        assert_eq!(lists.as_list::<i32>(), &expected);
    }
}
