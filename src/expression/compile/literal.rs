//! Constants: as they are written, and as they meet the type of something else.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, StringArray, new_null_array,
    },
    compute::kernels::cast_utils::parse_interval_month_day_nano,
    datatypes::{DataType as Arrow, Float32Type, Float64Type, Int32Type, Int64Type},
};
use sqlparser::ast;

use crate::{
    compile::types::{is_number, is_text, widens},
    kernels::{Values, cast},
    node::{Kind, Node},
};
use larder_model::DataType;

pub(super) fn text(text: &str) -> Node {
    constant(Arc::new(StringArray::from(vec![text])), DataType::String)
}

pub(super) fn boolean(value: bool) -> Node {
    constant(Arc::new(BooleanArray::from(vec![value])), DataType::Bool)
}

pub(super) fn null(data_type: &DataType) -> Node {
    constant(new_null_array(&data_type.arrow(), 1), data_type.clone())
}

pub(super) fn constant(array: ArrayRef, data_type: DataType) -> Node {
    Node::new(Kind::Constant(array), data_type)
}

/// A number without a sign, or with `-` in front: an int64 where it has neither point nor exponent.
pub(super) fn number(digits: &str) -> Result<Node, String> {
    if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return match digits.parse::<i64>() {
            Ok(value) => Ok(integer(value)),
            Err(_) => Err(format!("{digits} is beyond int64; write {digits}.0 for a float64")),
        };
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => {
            Ok(constant(Arc::new(Float64Array::from(vec![value])), DataType::Float64))
        }
        _ => Err(format!("`{digits}` is no number that a float64 can hold")),
    }
}

pub(super) fn integer(value: i64) -> Node {
    constant(Arc::new(Int64Array::from(vec![value])), DataType::Int64)
}

/// The same constant in another type: a number where it has exactly that value there (whole ones become a float64 always),
/// text as a timestamp where it says one, null where values of its type would widen.
pub(super) fn adapted(node: &Node, to: &DataType) -> Option<Node> {
    let array = node.constant()?;
    if *to == node.data_type {
        return Some(constant(array.clone(), to.clone()));
    }
    if array.is_null(0) {
        return widens(&node.data_type, to).then(|| null(to));
    }
    let adapted: ArrayRef = match to {
        DataType::Timestamp if is_text(&node.data_type) => {
            let cast = cast(&Values::constant(array.clone()), to, true).ok()?;
            (cast.array.is_valid(0)).then_some(cast.array)?
        }
        _ if is_number(to) && is_number(&node.data_type) => exact(array, to)?,
        _ => return None,
    };
    Some(constant(adapted, to.clone()))
}

/// `number` in type `to`, if that has it exactly or is float64.
fn exact(number: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let whole = match number.data_type() {
        Arrow::Int32 => Some(i64::from(number.as_primitive::<Int32Type>().value(0))),
        Arrow::Int64 => Some(number.as_primitive::<Int64Type>().value(0)),
        _ => None,
    };
    let float = match (number.data_type(), whole) {
        (_, Some(whole)) => Some(whole as f64),
        (Arrow::Float32, _) => Some(number.as_primitive::<Float32Type>().value(0).into()),
        (Arrow::Float64, _) => Some(number.as_primitive::<Float64Type>().value(0)),
        _ => None,
    };
    Some(match to {
        DataType::Int32 => Arc::new(Int32Array::from(vec![i32::try_from(whole?).ok()?])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![whole?])),
        DataType::Float32 => {
            let narrow = float? as f32;
            let same =
                f64::from(narrow) == float? && whole.is_none_or(|whole| narrow as i128 == whole.into());
            same.then(|| Arc::new(Float32Array::from(vec![narrow])))?
        }
        DataType::Float64 => Arc::new(Float64Array::from(vec![float?])),
        _ => return None,
    })
}

/// Days, months and nanoseconds of `INTERVAL '90 minutes'` or `INTERVAL '90' MINUTE`, in an array of one value.
pub(super) fn interval(interval: &ast::Interval) -> Result<ArrayRef, String> {
    let text = match interval.value.as_ref() {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) => text,
        other => return Err(format!("INTERVAL takes text in quotes, not `{other}`")),
    };
    let written = match (&interval.leading_field, &interval.last_field) {
        (None, None) => text.clone(),
        (Some(unit), None) => format!("{text} {unit}"),
        _ => return Err(format!("`{interval}` is not understood; write INTERVAL '90 minutes'")),
    };
    let parsed = parse_interval_month_day_nano(&written)
        .map_err(|_| format!("`{written}` is no interval; write INTERVAL '90 minutes'"))?;
    Ok(Arc::new(IntervalMonthDayNanoArray::from(vec![parsed])))
}
