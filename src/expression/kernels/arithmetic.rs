//! `+ - * / %` of numbers: checked, one row at a time.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrowNativeTypeOp, AsArray, PrimitiveArray},
    buffer::NullBuffer,
    datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int32Type, Int64Type},
    error::ArrowError,
};

use crate::kernels::values::{Values, either, rows_set};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
        }
    }
}

/// Both sides have the same numeric type, which is the result's.
pub(crate) fn arithmetic(
    operator: Operator,
    left: &Values,
    right: &Values,
    rows: usize,
) -> Result<Values, ArrowError> {
    match left.array.data_type() {
        DataType::Int32 => dispatch::<Int32Type>(operator, left, right, rows, |_| true),
        DataType::Int64 => dispatch::<Int64Type>(operator, left, right, rows, |_| true),
        DataType::Float32 => dispatch::<Float32Type>(operator, left, right, rows, f32::is_finite),
        DataType::Float64 => dispatch::<Float64Type>(operator, left, right, rows, f64::is_finite),
        other => Err(ArrowError::NotYetImplemented(format!("arithmetic of {other}"))),
    }
}

/// A closure for each operator, so that each has a loop of its own.
fn dispatch<T: ArrowPrimitiveType>(
    operator: Operator,
    left: &Values,
    right: &Values,
    rows: usize,
    finite: impl Fn(T::Native) -> bool,
) -> Result<Values, ArrowError> {
    // An infinity made of finite numbers fails; one that came in is carried on.
    let sound = |a, b, made| finite(made) || !(finite(a) && finite(b));
    let (l, r) = (left, right);
    match operator {
        Operator::Add => {
            each::<T>(l, r, rows, |a, b| a.add_checked(b).ok().filter(|made| sound(a, b, *made)))
        }
        Operator::Subtract => {
            each::<T>(l, r, rows, |a, b| a.sub_checked(b).ok().filter(|made| sound(a, b, *made)))
        }
        Operator::Multiply => {
            each::<T>(l, r, rows, |a, b| a.mul_checked(b).ok().filter(|made| sound(a, b, *made)))
        }
        Operator::Divide => {
            each::<T>(l, r, rows, |a, b| a.div_checked(b).ok().filter(|made| sound(a, b, *made)))
        }
        // Wrapping: the remainder of the least integer by -1 is 0, although its quotient overflows.
        Operator::Remainder => each::<T>(l, r, rows, |a, b| {
            (!b.is_zero()).then(|| a.mod_wrapping(b)).filter(|made| sound(a, b, *made))
        }),
    }
}

fn each<T: ArrowPrimitiveType>(
    left: &Values,
    right: &Values,
    rows: usize,
    operation: impl Fn(T::Native, T::Native) -> Option<T::Native>,
) -> Result<Values, ArrowError> {
    let nulls = NullBuffer::union(left.nulls(rows).as_ref(), right.nulls(rows).as_ref());
    let (l, r) = (left.array.as_primitive::<T>().values(), right.array.as_primitive::<T>().values());
    let (l_step, r_step) = (left.step(), right.step());
    let mut made = Vec::with_capacity(rows);
    let mut failed = Vec::new();
    for row in 0..rows {
        match operation(l[row * l_step], r[row * r_step]) {
            Some(value) => made.push(value),
            None => {
                made.push(T::Native::default());
                // What lies below a null is no operand.
                if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                    failed.push(row);
                }
            }
        }
    }
    let before = either(left.failed.as_ref(), right.failed.as_ref());
    let failed = either(before.as_ref(), rows_set(rows, &failed).as_ref());
    Values::masked(Arc::new(PrimitiveArray::<T>::new(made.into(), nulls)), failed)
}
