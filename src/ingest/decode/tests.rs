use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array,
        Int32Array, Int64Array, LargeStringArray, ListArray, NullArray, StringArray, StringViewArray,
        TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    },
    datatypes::{Field, Float32Type, Float64Type, Int8Type, Int64Type},
    record_batch::RecordBatch,
};
use bytes::Bytes;

use super::*;
use crate::{
    error::{Code, Coded},
    format::TableWriter,
    model::{TableId, TimeUnit},
};

pub(super) fn schema(columns: &[(&str, &str)]) -> TableSchema {
    let column = |(name, data_type): &(&str, &str)| Column {
        name: (*name).to_owned(),
        data_type: data_type.parse().unwrap(),
    };
    let key = column(&("origin", "string"));
    TableSchema::feature_view(TableId(1), "weather", 1, vec![key], columns.iter().map(column).collect())
}

fn weather() -> TableSchema {
    schema(&[("temp", "float64"), ("seats", "int64"), ("tags", "array<string>"), ("extra", "json")])
}

/// Numbers in these tests count microseconds.
pub(super) const MICROS: TimeForm = TimeForm { time_unit: Some(TimeUnit::Micros), time_zone: None };

fn decode_as(format: Format, body: impl AsRef<[u8]>) -> Result<Decoded, DecodeError> {
    decode(format, Bytes::copy_from_slice(body.as_ref()), &weather(), &DecodeLimits::default(), MICROS)
}

pub(super) fn encoded(format: Format, batch: &RecordBatch) -> Bytes {
    let mut writer = TableWriter::new(format, Vec::new(), batch.schema()).unwrap();
    writer.write(batch).unwrap();
    Bytes::from(writer.finish().unwrap())
}

/// A body of `origin`, `event_time` and these columns, as Arrow and as Parquet.
pub(super) fn columnar_bodies(columns: Vec<(&str, ArrayRef)>) -> [(Format, Bytes); 2] {
    let rows = columns.first().map_or(1, |(_, column)| column.len());
    let mut all: Vec<(&str, ArrayRef)> = vec![
        ("event_time", Arc::new(TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC"))),
        ("origin", Arc::new(StringArray::from(vec!["JFK"; rows]))),
    ];
    for (name, column) in columns {
        all.retain(|(other, _)| *other != name);
        all.push((name, column));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(all.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    [Format::ArrowStream, Format::Parquet].map(|format| (format, encoded(format, &batch)))
}

pub(super) fn reasons(decoded: &Decoded) -> Vec<(u64, &str, &str)> {
    decoded.rejected.iter().map(|r| (r.row, r.field.as_deref().unwrap_or(""), r.reason.as_str())).collect()
}

const GOOD: &str = r#"{"origin":"JFK","event_time":"2013-01-01T00:00:00Z","temp":39.5,"seats":2,"tags":["a"],"extra":{"b": [1]}}"#;

#[test]
fn json_and_ndjson_give_the_tables_columns() {
    let other_order = r#"{"temp":null,"event_time":0,"origin":"\u00e9"}"#;
    for decoded in [
        decode_as(Format::Json, format!("{{\"rows\" : [{GOOD},{other_order},{GOOD}]}}")).unwrap(),
        decode_as(Format::NdJson, format!("{GOOD}\n\r\n  {other_order}\r\n{GOOD}")).unwrap(),
    ] {
        assert_eq!((decoded.rows, &decoded.row_numbers, decoded.rejected.len()), (3, &None, 0));
        assert_eq!(decoded.batch.schema_ref(), weather().arrow());
        let column = |name| decoded.batch.column_by_name(name).unwrap();
        assert_eq!(column("origin").as_string::<i32>().value(1), "é");
        assert_eq!(
            column("temp").as_primitive::<Float64Type>().iter().collect::<Vec<_>>(),
            [Some(39.5), None, Some(39.5)]
        );
        assert_eq!(column("seats").as_primitive::<Int64Type>().value(2), 2);
        assert!(column("tags").is_null(1));
        assert_eq!(column("extra").as_string::<i32>().value(0), r#"{"b":[1]}"#);
    }
    assert_eq!(decode_as(Format::Json, r#"{"rows":[]}"#).unwrap().batch.num_rows(), 0);
}

#[test]
fn each_bad_row_is_named_and_the_others_stay() {
    let bad = [
        (r#"{"origin":"JFK","event_time":0,"seats":1.5}"#, "seats", "whole number"),
        (r#"{"origin":"JFK","event_time":0,"seats":9223372036854775808}"#, "seats", "int64 overflow"),
        (r#"{"origin":"JFK","event_time":0,"temp":1e400}"#, "temp", "float64 overflow"),
        (r#"{"origin":"JFK","event_time":"2013-01-01T00:00:00"}"#, "event_time", "no time zone"),
        (r#"{"origin":"JFK"}"#, "event_time", "missing"),
        (r#"{"origin":null,"event_time":0}"#, "origin", "must not be null"),
        (r#"{"origin":"JFK","event_time":0,"tmep":1}"#, "tmep", "did you mean `temp`"),
        (r#"{"origin":"JFK","event_time":0,"temp":1,"temp":2}"#, "temp", "twice"),
        (r#"[1,2]"#, "", "expected a row as an object"),
        ("7", "", "got 7"),
    ];
    let rows: Vec<&str> = [GOOD].into_iter().chain(bad.iter().map(|(row, ..)| *row)).chain([GOOD]).collect();
    for (format, body) in
        [(Format::Json, format!("{{\"rows\":[{}]}}", rows.join(","))), (Format::NdJson, rows.join("\n"))]
    {
        let decoded = decode_as(format, body).unwrap();
        assert_eq!((decoded.rows, decoded.batch.num_rows()), (bad.len() + 2, 2));
        assert_eq!(decoded.row_numbers, Some(vec![0, bad.len() as u64 + 1]));
        assert_eq!((decoded.body_row(0), decoded.body_row(1)), (0, bad.len() as u64 + 1));
        for (n, ((row, field, reason), (raw, expected_field, says))) in
            reasons(&decoded).into_iter().zip(bad).enumerate()
        {
            assert_eq!((row, field), (n as u64 + 1, expected_field));
            assert!(reason.contains(says), "{reason}");
            assert_eq!(decoded.rejected[n].raw, raw);
        }
    }
}

#[test]
fn bodies_that_are_not_json() {
    for body in [
        "",
        "{",
        r#"{"rows":[{"#,
        r#"{"rows":[]} x"#,
        r#"{"rows":[],"rows":[]}"#,
        r#"{"row":[]}"#,
        "{}",
        "[]",
        r#"{"rows":{}}"#,
        r#"{"rows":[{"a":1,}]}"#,
    ] {
        let error = decode_as(Format::Json, body).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { .. }), "{body}: {error}");
        assert_eq!(error.code(), Code::Invalid);
    }
    let error = decode_as(Format::NdJson, format!("{GOOD}\n{{\"origin\":")).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    let error = decode_as(Format::Csv, b"origin,event_time\nJFK\xff,0").unwrap_err();
    assert!(error.to_string().contains("line 2, byte 4: byte 0xFF"), "{error}");
}

#[test]
fn depth_is_bounded_wherever_it_is() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for row in [
        format!(r#"{{"origin":"JFK","event_time":0,"extra":{deep}}}"#),
        format!(r#"{{"origin":"JFK","event_time":0,"unknown":{deep}}}"#),
        format!(r#"{{"origin":"JFK","event_time":0,"temp":{deep}}}"#),
        format!(r#"{{"origin":"JFK","event_time":0,"tags":{deep}}}"#),
        format!(r#"{{"origin":"JFK","event_time":0,"temp":1,"temp":{deep}}}"#),
        deep.clone(),
    ] {
        let error = decode_as(Format::Json, format!("{{\"rows\":[{row}]}}")).unwrap_err();
        assert!(matches!(error, DecodeError::TooDeep { row: 0, limit: 64 }), "{error}");
        assert!(matches!(decode_as(Format::NdJson, row), Err(DecodeError::TooDeep { .. })));
    }
    let nested = |n: usize| {
        format!(r#"{{"rows":[{{"origin":"J","event_time":0,"extra":{}{}}}]}}"#, "[".repeat(n), "]".repeat(n))
    };
    assert_eq!(decode_as(Format::Json, nested(61)).unwrap().batch.num_rows(), 1);
    assert!(decode_as(Format::Json, nested(62)).is_err());
    assert!(decode_as(Format::Json, &deep).is_err());
}

#[test]
fn limits_of_rows_strings_and_bytes() {
    let body = format!("{{\"rows\":[{}]}}", vec![GOOD; 10_001].join(","));
    let error = decode_as(Format::Json, &body).unwrap_err();
    assert_eq!(error.code(), Code::TooLarge);
    assert!(decode_as(Format::NdJson, [GOOD; 10_001].join("\n")).is_err());
    let long = format!(r#"{{"origin":"{}","event_time":0}}"#, "x".repeat(1025));
    assert!(reasons(&decode_as(Format::NdJson, long).unwrap())[0].2.contains("at most 1024"));
    let few = DecodeLimits { max_decoded_bytes: 10_000, ..DecodeLimits::default() };
    let csv = format!("origin,event_time\n{}", "J,0\n".repeat(1000));
    assert!(matches!(
        decode(Format::Csv, csv.into(), &weather(), &few, MICROS),
        Err(DecodeError::TooLarge { .. })
    ));
}

#[test]
fn csv() {
    let body = "\u{feff}event_time,origin,temp,tags,extra\n\
        2013-01-01T00:00:00Z,JFK,39.5,\"[\"\"a\"\"]\",\"{\"\"b\"\": 1}\"\n\
        0,\"L,\nA\",,,\n\
        \r\n0,LGA\n\
        0,LGA,x,,\n\
        0,,1,,\n";
    let decoded = decode_as(Format::Csv, body).unwrap();
    assert_eq!((decoded.rows, decoded.batch.num_rows()), (5, 2));
    assert_eq!(decoded.batch.column(0).as_string::<i32>().value(1), "L,\nA");
    assert!(decoded.batch.column_by_name("temp").unwrap().is_null(1));
    let reasons = reasons(&decoded);
    assert!(reasons[0].2.contains("the header has 5 fields, this row has 2 (line 6)"), "{reasons:?}");
    assert!(reasons[1].1 == "temp" && reasons[1].2.contains("expected float64, got x"), "{reasons:?}");
    assert_eq!((reasons[2].0, reasons[2].1), (4, "origin"));
    assert_eq!(decoded.rejected[0].raw, "0,LGA");
    assert_eq!(decode_as(Format::Csv, "origin,event_time\n").unwrap().rows, 0);
}

#[test]
fn csv_that_does_not_fit() {
    assert!(matches!(decode_as(Format::Csv, ""), Err(DecodeError::Malformed { .. })));
    let cut = "origin,event_time,temp\nJFK,0,1\n\"LGA,0,1\nEWR,0,2\n";
    assert!(decode_as(Format::Csv, cut).unwrap_err().to_string().contains("not closed"));
    let error = decode_as(Format::Csv, "temp,temp,tmep\n").unwrap_err();
    let fields: Vec<_> = error.details().into_iter().map(|d| d.field.unwrap()).collect();
    assert_eq!(fields, ["temp", "tmep", "origin", "event_time"]);
    assert_eq!(error.code(), Code::Invalid);
}

#[test]
fn columns_that_fit_exactly_are_cast() {
    let strings: DictionaryArray<Int8Type> = [Some("a"), None, Some("b")].into_iter().collect();
    let bodies = columnar_bodies(vec![
        ("temp", Arc::new(Float32Array::from(vec![Some(0.5), None, Some(1.5)]))),
        ("seats", Arc::new(Int8Array::from(vec![1, 2, 3]))),
        ("event_time", Arc::new(TimestampNanosecondArray::from(vec![-1, 0, 1999]).with_timezone("+02:00"))),
        ("origin", Arc::new(LargeStringArray::from(vec!["a", "b", "c"]))),
        ("extra", Arc::new(StringArray::from(vec![Some("[ 1 ]"), None, Some("null")]))),
    ]);
    for (format, body) in bodies {
        let decoded = decode_as(format, body).unwrap();
        assert!(decoded.rejected.is_empty(), "{format}: {:?}", decoded.rejected);
        let column = |name| decoded.batch.column_by_name(name).unwrap();
        assert_eq!(column("temp").as_primitive::<Float64Type>().value(2), 1.5);
        assert_eq!(column("seats").as_primitive::<Int64Type>().values(), &[1, 2, 3]);
        let time = arrow::compute::cast(column("event_time"), &arrow::datatypes::DataType::Int64).unwrap();
        assert_eq!(time.as_primitive::<Int64Type>().values(), &[-1, 0, 1], "towards −∞");
        assert_eq!(column("extra").as_string::<i32>().iter().collect::<Vec<_>>(), [Some("[1]"), None, None]);
        assert_eq!(column("tags").null_count(), 3);
    }
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["x"; 3]));
    for column in [Arc::new(strings.clone()) as ArrayRef, views] {
        let table = schema(&[("name", "string")]);
        for (format, body) in columnar_bodies(vec![("name", column.clone())]) {
            let decoded = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
            assert_eq!(decoded.batch.column(2).null_count(), column.logical_null_count());
        }
    }
    // A column of the null type is as good as none.
    let (format, body) =
        columnar_bodies(vec![("temp", Arc::new(NullArray::new(2)))]).into_iter().next().unwrap();
    assert_eq!(decode_as(format, body).unwrap().batch.num_rows(), 2);
}

#[test]
fn values_that_do_not_fit_reject_their_row() {
    let table =
        schema(&[("n", "int32"), ("x", "float64"), ("v", "array<float32, 2>"), ("list", "array<int32>")]);
    let item = || Arc::new(Field::new("item", arrow::datatypes::DataType::Float32, true));
    let halves =
        Arc::new(Float32Array::from(vec![Some(1.0), Some(2.0), None, Some(4.0), Some(5.0), Some(6.0)]));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), None]),
        Some(vec![]),
        Some(vec![Some(2), Some(1 << 40)]),
    ]);
    let cases: Vec<(&str, ArrayRef, usize, &str)> = vec![
        ("n", Arc::new(Int64Array::from(vec![1, 1 << 40, -5])), 1, "int32 overflow: 1099511627776"),
        ("n", Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1])), 0, "int32 overflow: 18446744073709551615"),
        ("x", Arc::new(Int64Array::from(vec![0, 1, (1 << 53) + 1])), 2, "not exactly a float64"),
        ("x", Arc::new(Int32Array::from(vec![0, 1, i32::MAX])), 9, ""),
        ("v", Arc::new(FixedSizeListArray::new(item(), 2, halves, None)), 1, "null elements"),
        ("list", Arc::new(lists), 2, "int32 overflow"),
        ("origin", Arc::new(StringArray::from(vec![Some("a"), None, Some("b")])), 1, "must not be null"),
        (
            "origin",
            Arc::new(StringArray::from(vec!["x".repeat(1025), "a".into(), "b".into()])),
            0,
            "at most 1024",
        ),
        (
            "event_time",
            Arc::new(TimestampSecondArray::from(vec![0, 1, i64::MAX]).with_timezone("UTC")),
            2,
            "years",
        ),
    ];
    for (name, column, bad, says) in cases {
        for (format, body) in columnar_bodies(vec![(name, column.clone())]) {
            // Parquet has no seconds: its writer makes milliseconds of them, which overflows.
            if format == Format::Parquet && says == "years" {
                continue;
            }
            let decoded = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
            let expected: Vec<u64> = (0..3).filter(|row| *row != bad as u64).collect();
            assert_eq!(
                decoded.row_numbers.clone().unwrap_or(vec![0, 1, 2]),
                expected,
                "{format} {name} {says}"
            );
            assert_eq!(decoded.batch.num_rows(), expected.len());
            if bad < 3 {
                let (row, field, reason) = reasons(&decoded)[0];
                assert_eq!((row, field), (bad as u64, name));
                assert!(reason.contains(says), "{format} {name}: {reason}");
                assert!(decoded.rejected[0].raw.contains("\"event_time\""));
            }
        }
    }
}

#[test]
fn embeddings_of_another_length() {
    let table = schema(&[("v", "array<float32, 2>")]);
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>([
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(1.0)]),
        None,
    ]);
    for (format, body) in columnar_bodies(vec![("v", Arc::new(lists.clone()))]) {
        let decoded = decode(format, body, &table, &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap();
        assert_eq!(decoded.row_numbers, Some(vec![0, 2]));
        assert!(reasons(&decoded)[0].2.contains("got 1 values"));
    }
}

#[test]
fn columns_of_a_wrong_type_are_named_all_at_once() {
    let bodies = columnar_bodies(vec![
        ("event_time", Arc::new(TimestampMicrosecondArray::from(vec![0]))),
        ("temp", Arc::new(StringArray::from(vec!["1"]))),
        ("seats", Arc::new(StringArray::from(vec!["1"]))),
        ("seat", Arc::new(Int64Array::from(vec![1]))),
    ]);
    for (format, body) in bodies {
        let error = decode_as(format, body).unwrap_err();
        let details = error.details();
        let reason =
            |field: &str| &details.iter().find(|d| d.field.as_deref() == Some(field)).unwrap().reason;
        assert_eq!(details.len(), 4);
        assert!(reason("event_time").contains("no time zone"));
        assert!(reason("temp").contains("expected float64"));
        assert!(reason("seats").contains("expected int64"));
        assert!(reason("seat").contains("did you mean `seats`"));
    }
    let nothing =
        RecordBatch::try_from_iter([("temp", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
    let error = decode_as(Format::Parquet, encoded(Format::Parquet, &nothing)).unwrap_err();
    assert!(error.to_string().contains("`origin`: the column is missing"), "{error}");
}

#[test]
fn damaged_arrow_and_parquet() {
    for (format, body) in columnar_bodies(vec![("temp", Arc::new(Float64Array::from(vec![1.0; 100])))]) {
        for length in [0, 3, 8, body.len() / 2, body.len() - 9] {
            let error = decode_as(format, &body[..length]).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed { .. }), "{format} {length}: {error}");
        }
    }
}

#[test]
fn small_bodies_that_stand_for_large_tables_are_refused() {
    let many: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 1_000_000]));
    let long = "x".repeat(60_000);
    let repeated: DictionaryArray<Int8Type> = std::iter::repeat_n(Some(long.as_str()), 10_000).collect();
    let repeated: ArrayRef = Arc::new(repeated);
    let few = DecodeLimits { max_decoded_bytes: 4 << 20, ..DecodeLimits::default() };
    let table = schema(&[("temp", "float64"), ("name", "string")]);
    for (name, column, limits) in
        [("temp", many, &few), ("name", repeated.clone(), &few), ("name", repeated, &DecodeLimits::default())]
    {
        for (format, body) in columnar_bodies(vec![(name, column.clone())]) {
            if format == Format::Parquet {
                assert!(body.len() < 200_000, "{}", body.len());
            }
            let error = decode(format, body, &table, limits, TimeForm::EXPLICIT).unwrap_err();
            assert_eq!(error.code(), Code::TooLarge, "{format} {name}: {error}");
        }
    }
    // Rows that cost nothing as sent cost their nulls in the table.
    let wide: Vec<(String, String)> = (0..500).map(|n| (format!("f{n}"), "float64".to_owned())).collect();
    let wide: Vec<(&str, &str)> = wide.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    for (format, body) in columnar_bodies(vec![("f1", Arc::new(Float64Array::from(vec![1.0; 20_000])))]) {
        let error =
            decode(format, body, &schema(&wide), &DecodeLimits::default(), TimeForm::EXPLICIT).unwrap_err();
        assert_eq!(error.code(), Code::TooLarge, "{format}: {error}");
    }
}

#[test]
fn rows_that_break_a_rule_move_to_the_rejected() {
    let bad = r#"{"origin":"JFK","event_time":0,"seats":1.5}"#;
    let mut decoded = decode_as(Format::NdJson, [GOOD, bad, GOOD, GOOD].join("\n")).unwrap();
    let broken = Violation { index: 1, field: "temp".into(), reason: "too warm".into() };
    decoded.reject(vec![broken]).unwrap();
    assert_eq!(decoded.row_numbers, Some(vec![0, 3]));
    assert_eq!(decoded.batch.num_rows(), 2);
    assert_eq!(decoded.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [1, 2]);
    assert!(
        decoded.rejected[1]
            .raw
            .starts_with(r#"{"origin":"JFK","event_time":"2013-01-01T00:00:00Z","temp":39.5"#)
    );
}
