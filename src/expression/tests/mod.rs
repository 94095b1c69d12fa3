//! What an expression means, checked against examples and naive references.

mod batches;
mod errors;
mod examples;
mod failures;
mod functions;
mod hostile;
mod reference;
mod rows;

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::{Field, Float32Type, Schema},
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::{Evaluated, Expression, ExpressionError};
use larder_model::{Column, DataType};

pub(super) fn inputs() -> Vec<Column> {
    [
        ("a", "int64"),
        ("b", "int64"),
        ("i", "int32"),
        ("x", "float64"),
        ("y", "float64"),
        ("f", "float32"),
        ("p", "bool"),
        ("q", "bool"),
        ("s", "string"),
        ("u", "string"),
        ("at", "timestamp"),
        ("v", "array<float32, 3>"),
        ("w", "array<float32>"),
        ("j", "json"),
        ("year", "int64"),
    ]
    .map(|(name, data_type)| Column { name: name.to_owned(), data_type: data_type.parse().unwrap() })
    .to_vec()
}

/// Four rows; the last is null throughout, the third has zeros.
pub(super) fn batch() -> RecordBatch {
    let vectors = |rows: [Option<Vec<Option<f32>>>; 4]| -> ArrayRef {
        let list = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
        let (_, offsets, values, nulls) = list.into_parts();
        Arc::new(ListArray::new(
            Arc::new(Field::new("element", arrow::datatypes::DataType::Float32, true)),
            offsets,
            values,
            nulls,
        ))
    };
    // 2013-01-01T05:15:00.25Z, 1969-12-31T23:59:59.999999Z, the epoch
    let times = [Some(1_357_017_300_250_000), Some(-1), Some(0), None];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(7), Some(-2), Some(0), None])),
        Arc::new(Int64Array::from(vec![Some(2), Some(3), Some(0), None])),
        Arc::new(Int32Array::from(vec![Some(5), Some(i32::MAX), Some(0), None])),
        Arc::new(Float64Array::from(vec![Some(1.5), Some(-4.0), Some(0.0), None])),
        Arc::new(Float64Array::from(vec![Some(0.5), Some(2.0), Some(-0.0), None])),
        Arc::new(Float32Array::from(vec![Some(0.1), Some(2.5), Some(0.0), None])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(false), None])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(true), Some(false), None])),
        Arc::new(StringArray::from(vec![Some("Ünit one"), Some("42"), Some(""), None])),
        Arc::new(StringArray::from(vec![Some("one"), Some("4"), Some("x"), None])),
        Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")),
        vectors([
            Some(vec![Some(1.0), Some(2.0), Some(2.0)]),
            Some(vec![Some(1.0), Some(0.0), Some(0.0)]),
            Some(vec![Some(0.0), Some(0.0), Some(0.0)]),
            None,
        ]),
        vectors([
            Some(vec![Some(2.0), Some(4.0), Some(4.0)]),
            Some(vec![Some(1.0), None, Some(0.0)]),
            Some(vec![Some(1.0)]),
            None,
        ]),
        Arc::new(StringArray::from(vec![Some("{}"), Some("[1]"), Some("3"), None])),
        Arc::new(Int64Array::from(vec![Some(2013), Some(1969), Some(0), None])),
    ];
    let inputs = inputs();
    let fields: Vec<Field> =
        inputs.iter().map(|input| Field::new(&input.name, input.data_type.arrow(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

pub(super) fn compile(text: &str) -> Result<Expression, ExpressionError> {
    Expression::compile(text, &inputs(), None)
}

#[track_caller]
pub(super) fn compiled(text: &str) -> Expression {
    compile(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Each row as text; `null` and `failed` as such.
pub(super) fn shown(evaluated: &Evaluated) -> Vec<String> {
    let options = FormatOptions::new().with_null("null");
    let formatter = ArrayFormatter::try_new(evaluated.values.as_ref(), &options).unwrap();
    (0..evaluated.values.len())
        .map(|row| match evaluated.has_failed(row) {
            true => {
                assert!(evaluated.values.is_null(row), "a failed row is null");
                "failed".to_owned()
            }
            false => formatter.value(row).to_string(),
        })
        .collect()
}

/// `text` has type `data_type` and these values over [`batch`].
#[track_caller]
pub(super) fn check(text: &str, data_type: &str, expected: [&str; 4]) {
    let expression = compiled(text);
    assert_eq!(expression.data_type().to_string(), data_type, "{text}");
    let evaluated = expression.evaluate(&batch());
    assert_eq!(*evaluated.values.data_type(), expression.data_type().arrow(), "{text}");
    assert_eq!(shown(&evaluated), expected, "{text}");
}
