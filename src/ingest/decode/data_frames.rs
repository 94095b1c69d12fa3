//! Columns as data frames write them: other types and encodings of the same values.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, Decimal128Array, Decimal256Array,
        DictionaryArray, FixedSizeBinaryArray, Float64Array, Int32Array, LargeListArray, LargeStringArray,
        ListArray, ListViewArray, NullArray, PrimitiveArray, RecordBatch, RunArray, StringArray,
        StringViewArray, TimestampMicrosecondArray, new_null_array,
    },
    buffer::OffsetBuffer,
    datatypes::{
        DataType as Arrow, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, UInt32Type, i256,
    },
};

use super::{
    tests::{columnar_bodies, encoded, reasons, schema},
    *,
};
use crate::{error::Coded, model::TableId};

const ID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const BYTES: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

/// The column `x` of type `to`, from this column in Arrow and in Parquet, and what was rejected: (row, reason).
fn read(to: &str, column: ArrayRef) -> Vec<(ArrayRef, Vec<(u64, String)>)> {
    let table = schema(&[("x", to)]);
    let bodies = columnar_bodies(vec![("x", column)]).into_iter();
    bodies
        .map(|(format, body)| {
            let decoded = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
            let rejected = reasons(&decoded).into_iter().map(|(row, _, why)| (row, why.to_owned()));
            (decoded.batch.column_by_name("x").unwrap().clone(), rejected.collect())
        })
        .collect()
}

fn read_whole(to: &str, column: ArrayRef) -> Vec<ArrayRef> {
    let read = read(to, column).into_iter();
    read.map(|(column, rejected)| {
        assert!(rejected.is_empty(), "{to}: {rejected:?}");
        column
    })
    .collect()
}

#[test]
fn a_column_of_nulls_has_any_type() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(2)),
        new_null_array(&Arrow::Float64, 2),
        new_null_array(&Arrow::Utf8, 2),
        new_null_array(&Arrow::Boolean, 2),
        new_null_array(&Arrow::Date32, 2),
        new_null_array(&Arrow::List(Arc::new(Field::new("item", Arrow::Null, true))), 2),
    ];
    for to in [
        "bool",
        "int32",
        "float32",
        "string",
        "bytes",
        "timestamp",
        "json",
        "array<string>",
        "array<float32, 2>",
    ] {
        for column in &columns {
            for read in read_whole(to, column.clone()) {
                assert_eq!((read.len(), read.null_count()), (2, 2), "{to} of {}", column.data_type());
            }
        }
    }
    // Of a key it is a row without its key.
    let table = schema(&[]);
    for (format, body) in columnar_bodies(vec![("origin", new_null_array(&Arrow::Float64, 1))]) {
        let decoded = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
        assert_eq!(reasons(&decoded), [(0, "origin", "must not be null")]);
    }
}

#[test]
fn a_value_of_another_type_is_named_with_its_row() {
    let table = schema(&[("x", "float64"), ("y", "int64")]);
    for (format, body) in columnar_bodies(vec![
        ("x", Arc::new(StringArray::from(vec![None, None, Some("12")]))),
        ("y", Arc::new(TimestampMicrosecondArray::from(vec![None, Some(0), None]).with_timezone("UTC"))),
    ]) {
        let error = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap_err();
        let details: Vec<_> =
            error.details().into_iter().map(|d| (d.row, d.field.unwrap(), d.reason)).collect();
        let expected = [
            (Some(2), "x", "expected float64, got string: \"12\""),
            (Some(1), "y", "expected int64, got timestamp with zone UTC: \"1970-01-01T00:00:00Z\""),
        ];
        let expected = expected.map(|(row, field, why)| (row, field.to_owned(), why.to_owned()));
        assert_eq!(details, expected, "{format}");
    }
}

#[test]
fn whole_floats_are_integers_and_others_are_refused_with_their_row() {
    let floats =
        vec![Some(180.0), Some(180.5), None, Some(-0.0), Some(1e19), Some(f64::NAN), Some(2f64.powi(62))];
    for (read, rejected) in read("int64", Arc::new(Float64Array::from(floats))) {
        let values: Vec<_> = read.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(values, [Some(180), None, Some(0), Some(1 << 62)]);
        let expected = [
            (1, "expected int64, a whole number, got 180.5"),
            (4, "int64 overflow: 1e19 is out of its range"),
            (5, "expected int64, a whole number, got NaN"),
        ];
        assert_eq!(rejected, expected.map(|(row, why)| (row, why.to_owned())));
    }
    let edge = vec![2_147_483_647.0, 2_147_483_648.0, -2_147_483_648.0, -2_147_483_649.0];
    for (read, rejected) in read("int32", Arc::new(Float64Array::from(edge))) {
        assert_eq!(read.as_primitive::<Int32Type>().values(), &[i32::MAX, i32::MIN]);
        assert_eq!(rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 3]);
    }
}

#[test]
fn floats_are_rounded_once_and_overflow_is_refused() {
    let floats = vec![Some(0.1), None, Some(1e39), Some(f64::INFINITY), Some(1.0 + 2f64.powi(-24))];
    for (read, rejected) in read("float32", Arc::new(Float64Array::from(floats))) {
        let values: Vec<_> = read.as_primitive::<Float32Type>().iter().collect();
        assert_eq!(values, [Some(0.1), None, Some(f32::INFINITY), Some(1.0)]);
        assert_eq!(rejected, [(2, "float32 overflow: 1e39 is out of its range".to_owned())]);
    }
    let lists = LargeListArray::from_iter_primitive::<Float64Type, _, _>([
        Some(vec![Some(0.1), Some(2.0)]),
        None,
        Some(vec![Some(1.0), Some(-1e300)]),
    ]);
    for (read, rejected) in read("array<float32, 2>", Arc::new(lists)) {
        let first = read.as_list::<i32>().value(0);
        assert_eq!(first.as_primitive::<Float32Type>().values(), &[0.1, 2.0]);
        assert_eq!(rejected, [(2, "float32 overflow: -1e300 is out of its range".to_owned())]);
    }
}

#[test]
fn decimals_are_floats_and_where_exact_integers() {
    let cents = Decimal128Array::from(vec![Some(1050), None, Some(200), Some(-7)]);
    let cents = cents.with_precision_and_scale(10, 2).unwrap();
    for read in read_whole("float64", Arc::new(cents.clone())) {
        let values: Vec<_> = read.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(values, [Some(10.5), None, Some(2.0), Some(-0.07)]);
    }
    for (read, rejected) in read("int64", Arc::new(cents)) {
        assert_eq!(read.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, Some(2)]);
        assert_eq!(rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 3]);
        assert!(rejected[0].1.contains("a whole number") && rejected[0].1.contains("10.50"), "{rejected:?}");
    }
    // Rounded once: by way of a float64, this would become 1.0.
    let digits = i256::from_string("100000005960464477539062500000000001").unwrap();
    let near = Decimal256Array::from(vec![digits]).with_precision_and_scale(50, 35).unwrap();
    for read in read_whole("float32", Arc::new(near)) {
        assert_eq!(read.as_primitive::<Float32Type>().value(0), 1.0 + f32::EPSILON);
    }
}

/// The body of rows of a view whose key is a `uuid`, with its key as this column.
fn keyed(column: ArrayRef, metadata: &[(&str, &str)]) -> [(Format, Bytes); 2] {
    let zone = DataType::arrow_timestamp();
    let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let fields = vec![
        Field::new("u", column.data_type().clone(), true).with_metadata(metadata.collect::<HashMap<_, _>>()),
        Field::new("event_time", zone, true),
    ];
    let times = Arc::new(TimestampMicrosecondArray::from(vec![0; column.len()]).with_timezone("UTC"));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![column, times]).unwrap();
    [Format::ArrowStream, Format::Parquet].map(|format| (format, encoded(format, &batch)))
}

#[test]
fn uuids_are_the_same_in_every_spelling_and_type() {
    let key = |data_type: &str| Column { name: "u".into(), data_type: data_type.parse().unwrap() };
    let table = TableSchema::feature_view(TableId(1), "t", 1, vec![key("uuid")], Vec::new());
    let upper = ID.to_uppercase();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![upper.as_str(), "{6ba7b8109dad11d180b400c04fd430c8}"])),
        Arc::new(StringViewArray::from(vec![ID, upper.as_str()])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([BYTES, BYTES].into_iter()).unwrap()),
        Arc::new(BinaryArray::from(vec![BYTES.as_slice(), &BYTES])),
        Arc::new(BinaryViewArray::from(vec![BYTES.as_slice(), &BYTES])),
        Arc::new(vec![Some(upper.as_str()), Some(ID)].into_iter().collect::<DictionaryArray<UInt32Type>>()),
    ];
    for column in columns {
        for (format, body) in keyed(column.clone(), &[]) {
            let decoded = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
            assert!(decoded.rejected.is_empty(), "{format} {}: {:?}", column.data_type(), decoded.rejected);
            assert_eq!(
                decoded.batch.column(0).as_string::<i32>(),
                &StringArray::from(vec![ID, ID]),
                "{format}"
            );
        }
    }
    let wrong: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(StringArray::from(vec!["banana"])), "expected a UUID"),
        (Arc::new(BinaryArray::from(vec![b"banana".as_slice()])), "the 16 bytes of a UUID, got 6"),
    ];
    for (column, says) in wrong {
        for (format, body) in keyed(column.clone(), &[]) {
            let decoded = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
            let (row, field, reason) = reasons(&decoded)[0];
            assert!((row, field) == (0, "u") && reason.contains(says), "{format} {reason}");
        }
    }
    // A string key takes 16 bytes only where they are said to be a UUID.
    let table = TableSchema::feature_view(TableId(1), "t", 1, vec![key("string")], Vec::new());
    let bytes: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([BYTES].into_iter()).unwrap());
    let [(format, marked), _] = keyed(bytes.clone(), &[("ARROW:extension:name", "arrow.uuid")]);
    let decoded = decode(format, marked, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
    assert_eq!(decoded.batch.column(0).as_string::<i32>().value(0), ID);
    for (format, body) in keyed(bytes, &[]) {
        assert!(
            decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).is_err(),
            "{format}"
        );
    }
}

#[test]
fn every_encoding_of_strings_and_lists_is_read() {
    let words = Arc::new(StringViewArray::from(vec!["b", "a string that is not inlined in its view"]));
    let keys = PrimitiveArray::<UInt32Type>::from(vec![Some(1), None, Some(0)]);
    let long = "a string that is not inlined in its view";
    let runs = RunArray::<Int32Type>::try_new(
        &Int32Array::from(vec![1, 2, 3]),
        &LargeStringArray::from(vec![Some(long), None, Some("b")]),
    );
    let expected = StringArray::from(vec![Some(long), None, Some("b")]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(DictionaryArray::new(keys.clone(), words)),
        Arc::new(LargeStringArray::from(vec![Some(long), None, Some("b")])),
        Arc::new(runs.unwrap()),
    ];
    for column in columns {
        for read in read_whole("string", column.clone()) {
            assert_eq!(read.as_string::<i32>(), &expected, "{}", column.data_type());
        }
    }
    let blobs = Arc::new(BinaryViewArray::from(vec![b"\x00".as_slice(), b"\xff"]));
    for read in read_whole("bytes", Arc::new(DictionaryArray::new(keys, blobs))) {
        let expected = BinaryArray::from(vec![Some(b"\xff".as_slice()), None, Some(b"\x00")]);
        assert_eq!(read.as_binary::<i32>(), &expected);
    }
    let categories: DictionaryArray<Int32Type> = vec![Some("a"), Some("b")].into_iter().collect();
    let item = |data_type: &Arrow| Arc::new(Field::new("item", data_type.clone(), true));
    let of_categories = ListArray::new(
        item(categories.data_type()),
        OffsetBuffer::from_lengths([2, 0]),
        Arc::new(categories),
        None,
    );
    let words: ArrayRef = Arc::new(StringArray::from(vec!["x", "a", "b"]));
    let view = ListViewArray::new(item(&Arrow::Utf8), vec![1, 0].into(), vec![2, 0].into(), words, None);
    for column in [Arc::new(of_categories) as ArrayRef, Arc::new(view)] {
        for read in read_whole("array<string>", column) {
            let lists = read.as_list::<i32>();
            assert_eq!(lists.value(0).as_string::<i32>(), &StringArray::from(vec!["a", "b"]));
            assert!(lists.value(1).is_empty());
        }
    }
}

#[test]
fn there_is_one_nan_whoever_made_it() {
    let of_x86 = f64::from_bits(0xFFF8_0000_0000_0000);
    let column: ArrayRef = Arc::new(Float64Array::from(vec![of_x86, 1.0]));
    for read in read_whole("float64", column.clone()) {
        assert_eq!(read.as_primitive::<Float64Type>().value(0).to_bits(), f64::NAN.to_bits());
    }
    for read in read_whole("float32", column.clone()) {
        assert_eq!(read.as_primitive::<Float32Type>().value(0).to_bits(), f32::NAN.to_bits());
    }
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(of_x86)])]);
    for read in read_whole("array<float64>", Arc::new(lists)) {
        let items = read.as_list::<i32>().value(0);
        assert_eq!(items.as_primitive::<Float64Type>().value(0).to_bits(), f64::NAN.to_bits());
    }
    let csv = "origin,event_time,x\na,2024-05-01T00:00:00Z,-nan\n";
    let decoded = decode(
        Format::Csv,
        csv.into(),
        &schema(&[("x", "float64")]),
        &DecodeLimits::default(),
        TimeForm::EXPLICIT,
    );
    let decoded = decoded.unwrap();
    let x = decoded.batch.column_by_name("x").unwrap();
    assert_eq!(x.as_primitive::<Float64Type>().value(0).to_bits(), f64::NAN.to_bits());
}

#[test]
fn an_arrow_file_is_read_as_the_stream_within_it() {
    let [(_, stream), _] = columnar_bodies(vec![("x", Arc::new(Float64Array::from(vec![1.5])))]);
    let table = schema(&[("x", "float64")]);
    let stream =
        decode(Format::ArrowStream, stream, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
    for rows in [0, 1] {
        let batch = stream.batch.slice(0, rows);
        let mut writer = arrow::ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let file = Bytes::from(writer.into_inner().unwrap());
        let decoded =
            decode(Format::ArrowStream, file.clone(), &table, &DecodeLimits::default(), TimeForm::EXPLICIT)
                .unwrap();
        assert_eq!(decoded.batch, batch);
        for length in [6, 7, 8, 20, file.len() / 2] {
            let cut = decode(
                Format::ArrowStream,
                file.slice(..length),
                &table,
                &DecodeLimits::default(),
                TimeForm::EXPLICIT,
            );
            assert!(matches!(cut, Err(DecodeError::Malformed { .. })), "{length}: {cut:?}");
        }
    }
    let feather = Bytes::from_static(b"FEA1\0\0\0\0");
    let error = decode(Format::ArrowStream, feather, &table, &DecodeLimits::default(), TimeForm::EXPLICIT)
        .unwrap_err();
    assert!(error.to_string().contains("Feather file of version 1"), "{error}");
}
