//! Random Arrow columns of every type there is: nested, encoded, sliced, with nulls and with values out of range.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayData, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, DictionaryArray,
        FixedSizeBinaryArray, FixedSizeListArray, Int32Array, LargeBinaryArray, LargeListArray,
        LargeListViewArray, LargeStringArray, ListArray, ListViewArray, MapArray, NullArray, PrimitiveArray,
        RunArray, StringArray, StringViewArray, StructArray, UnionArray, make_array,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        DataType, Field, FieldRef, Fields, Int8Type, IntervalUnit, TimeUnit, UInt32Type, UnionFields,
    },
};

/// SplitMix64: the same numbers from the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        match self.below(4) {
            0 => None,
            1 => Some(NullBuffer::new_null(rows)),
            _ => Some((0..rows).map(|_| !self.one_in(3)).collect::<Vec<bool>>().into()),
        }
    }

    fn text(&mut self) -> String {
        let long = "a text that is too long for a view to hold it within itself";
        self.pick(&[
            "",
            "a",
            "é\n\"",
            "1.5",
            "null",
            "2024-05-01T00:00:00Z",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            long,
        ])
        .to_owned()
    }

    fn texts(&mut self, rows: usize) -> Vec<Option<String>> {
        (0..rows).map(|_| (!self.one_in(4)).then(|| self.text())).collect()
    }
}

const FIXED: &[DataType] = &[
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float16,
    DataType::Float32,
    DataType::Float64,
    DataType::Date32,
    DataType::Date64,
    DataType::Time32(TimeUnit::Second),
    DataType::Time32(TimeUnit::Millisecond),
    DataType::Time64(TimeUnit::Microsecond),
    DataType::Time64(TimeUnit::Nanosecond),
    DataType::Duration(TimeUnit::Second),
    DataType::Duration(TimeUnit::Nanosecond),
    DataType::Interval(IntervalUnit::YearMonth),
    DataType::Interval(IntervalUnit::DayTime),
    DataType::Interval(IntervalUnit::MonthDayNano),
    DataType::Decimal32(9, 2),
    DataType::Decimal64(18, 0),
    DataType::Decimal128(38, 10),
    DataType::Decimal128(10, -3),
    DataType::Decimal256(76, 38),
];

/// A column of that many rows, of any type; lists and structs nest `depth` deep.
pub fn column(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    // A slice of a longer one: nothing may depend on where buffers begin.
    let (before, after) = if random.one_in(3) { (random.below(9), random.below(3)) } else { (0, 0) };
    let whole = any(random, before + rows + after, depth);
    whole.slice(before, rows)
}

fn any(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    match random.below(if depth == 0 { 3 } else { 10 }) {
        0 => fixed(random, rows),
        1 => times(random, rows),
        2 => plain(random, rows),
        3 => list(random, rows, depth - 1),
        4 => structure(random, rows, depth - 1),
        5 => map(random, rows, depth - 1),
        6 => runs(random, rows, depth - 1),
        7 => union(random, rows, depth - 1),
        _ => dictionary(random, rows, depth - 1),
    }
}

/// Bytes as they come, or small numbers.
fn of_bytes(random: &mut Random, data_type: &DataType, rows: usize) -> ArrayRef {
    let width = data_type.primitive_width().unwrap();
    let small = random.one_in(2);
    let mut bytes = vec![0u8; rows * width];
    for (at, byte) in bytes.iter_mut().enumerate() {
        if !small || at % width == 0 {
            *byte = random.next() as u8;
        }
    }
    let nulls = random.nulls(rows);
    let data =
        ArrayData::builder(data_type.clone()).len(rows).add_buffer(Buffer::from_vec(bytes)).nulls(nulls);
    make_array(data.align_buffers(true).build().unwrap())
}

fn fixed(random: &mut Random, rows: usize) -> ArrayRef {
    let data_type = random.pick(FIXED);
    of_bytes(random, &data_type, rows)
}

fn times(random: &mut Random, rows: usize) -> ArrayRef {
    let unit =
        random.pick(&[TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]);
    let zone = random.pick(&[None, Some("UTC"), Some("+02:00"), Some("Europe/Berlin"), Some("no/where")]);
    of_bytes(random, &DataType::Timestamp(unit, zone.map(Into::into)), rows)
}

fn plain(random: &mut Random, rows: usize) -> ArrayRef {
    let texts = random.texts(rows);
    let bytes: Vec<Option<&[u8]>> =
        texts.iter().map(|text| text.as_ref().map(|text| text.as_bytes())).collect();
    match random.below(9) {
        0 => Arc::new(NullArray::new(rows)),
        1 => Arc::new(BooleanArray::from(
            (0..rows).map(|_| random.pick(&[None, Some(true), Some(false)])).collect::<Vec<_>>(),
        )),
        2 => {
            let width = random.pick(&[0, 1, 16]);
            let nulls = random.nulls(rows);
            let values = (0..rows * width).map(|_| random.next() as u8).collect::<Vec<u8>>();
            let array = FixedSizeBinaryArray::try_new_with_len(width as i32, values.into(), nulls, rows);
            Arc::new(array.unwrap())
        }
        3 => Arc::new(StringArray::from(texts)),
        4 => Arc::new(LargeStringArray::from(texts)),
        5 => Arc::new(texts.iter().collect::<StringViewArray>()),
        6 => Arc::new(BinaryArray::from(bytes)),
        7 => Arc::new(LargeBinaryArray::from(bytes)),
        _ => Arc::new(bytes.into_iter().collect::<BinaryViewArray>()),
    }
}

fn item(values: &ArrayRef) -> FieldRef {
    Arc::new(Field::new("item", values.data_type().clone(), true))
}

fn list(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    let nulls = random.nulls(rows);
    if random.one_in(4) {
        let length = random.below(3);
        let values = column(random, rows * length, depth);
        let list = FixedSizeListArray::try_new_with_length(item(&values), length as i32, values, nulls, rows);
        return Arc::new(list.unwrap());
    }
    let lengths: Vec<usize> = (0..rows).map(|_| random.below(3)).collect();
    let items = lengths.iter().sum::<usize>();
    let values = column(random, items, depth);
    let field = item(&values);
    match random.below(4) {
        0 => Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, nulls)),
        1 => Arc::new(LargeListArray::new(field, OffsetBuffer::from_lengths(lengths), values, nulls)),
        view => {
            let starts = lengths.iter().map(|length| random.below(items - length + 1));
            let starts: Vec<usize> = starts.collect();
            if view == 2 {
                let narrow = |of: &[usize]| of.iter().map(|n| *n as i32).collect::<ScalarBuffer<i32>>();
                Arc::new(ListViewArray::new(field, narrow(&starts), narrow(&lengths), values, nulls))
            } else {
                let wide = |of: &[usize]| of.iter().map(|n| *n as i64).collect::<ScalarBuffer<i64>>();
                Arc::new(LargeListViewArray::new(field, wide(&starts), wide(&lengths), values, nulls))
            }
        }
    }
}

fn structure(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    let columns: Vec<ArrayRef> = (0..random.below(4)).map(|_| column(random, rows, depth)).collect();
    // Names may be the same, and need not be names.
    let name = |random: &mut Random| random.pick(&["a", "b", "", "a.b", "list"]);
    let fields: Fields =
        columns.iter().map(|column| Field::new(name(random), column.data_type().clone(), true)).collect();
    let nulls = random.nulls(rows);
    Arc::new(StructArray::try_new_with_length(fields, columns, nulls, rows).unwrap())
}

fn map(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    let lengths: Vec<usize> = (0..rows).map(|_| random.below(3)).collect();
    let items = lengths.iter().sum();
    let keys: ArrayRef = match random.one_in(2) {
        true => Arc::new(StringArray::from_iter_values((0..items).map(|_| random.text()))),
        false => Arc::new(Int32Array::from_iter_values((0..items).map(|n| n as i32))),
    };
    let values = column(random, items, depth);
    let fields: Fields = vec![
        Field::new("keys", keys.data_type().clone(), false),
        Field::new("values", values.data_type().clone(), true),
    ]
    .into();
    let entries = StructArray::try_new_with_length(fields.clone(), vec![keys, values], None, items).unwrap();
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let nulls = random.nulls(rows);
    Arc::new(MapArray::new(field, OffsetBuffer::from_lengths(lengths), entries, nulls, random.one_in(2)))
}

fn runs(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    let mut ends = Vec::new();
    let mut end = 0;
    while end < rows {
        end = (end + 1 + random.below(4)).min(rows);
        ends.push(end as i32);
    }
    let values = column(random, ends.len(), depth.min(1));
    Arc::new(RunArray::<arrow::datatypes::Int32Type>::try_new(&Int32Array::from(ends), &values).unwrap())
}

fn union(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    let children: Vec<ArrayRef> = (0..1 + random.below(2)).map(|_| column(random, rows, depth)).collect();
    let fields: UnionFields = (0i8..)
        .zip(&children)
        .map(|(id, child)| (id, Arc::new(Field::new(format!("m{id}"), child.data_type().clone(), true))))
        .collect();
    let ids: Vec<i8> = (0..rows).map(|_| random.below(children.len()) as i8).collect();
    let offsets = random.one_in(2).then(|| (0..rows as i32).collect::<ScalarBuffer<i32>>());
    Arc::new(UnionArray::try_new(fields, ids.into(), offsets, children).unwrap())
}

fn dictionary(random: &mut Random, rows: usize, depth: usize) -> ArrayRef {
    let words = 1 + random.below(5);
    let values = column(random, words, depth.min(1));
    let values = match values.data_type() {
        // Of these a dictionary makes no sense to any writer.
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Union(..) => {
            Arc::new(StringViewArray::from(vec!["x"; values.len()]))
        }
        _ => values,
    };
    let wide = random.one_in(2);
    let keys = (0..rows).map(|_| (!random.one_in(4)).then(|| random.below(values.len())));
    match wide {
        true => {
            let keys: PrimitiveArray<UInt32Type> = keys.map(|key| key.map(|key| key as u32)).collect();
            Arc::new(DictionaryArray::new(keys, values))
        }
        false => {
            let keys: PrimitiveArray<Int8Type> = keys.map(|key| key.map(|key| key as i8)).collect();
            Arc::new(DictionaryArray::new(keys, values))
        }
    }
}
