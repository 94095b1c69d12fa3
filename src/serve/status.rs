//! Statuses: what a value of an answer means.

use crate::{
    model::{DataType, Value},
    serve::Served,
    shard::{Cell, array_items},
};

/// The meaning of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Present,
    NullValue,
    NotFound,
    OutsideMaxAge,
    Defaulted,
    /// The aggregate is new, and the events from before it are still being counted.
    Backfilling,
    /// The expression of an on-demand feature failed for this entity.
    Error,
    /// Not there by the request's deadline.
    TimedOut,
    /// In JSON alone, which has null for it: the value is NaN, or a list with a NaN.
    NotANumber,
    /// In JSON alone, which has null for it: the value is an infinity, or a list with one.
    Infinite,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Present => "PRESENT",
            Status::NullValue => "NULL_VALUE",
            Status::NotFound => "NOT_FOUND",
            Status::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            Status::Defaulted => "DEFAULTED",
            Status::Backfilling => "BACKFILLING",
            Status::Error => "ERROR",
            Status::TimedOut => "TIMED_OUT",
            Status::NotANumber => "NOT_A_NUMBER",
            Status::Infinite => "INFINITE",
        }
    }

    /// Whether there will be a value, but not yet: what is computed from it is not there either.
    pub(super) fn is_missing(self) -> bool {
        matches!(self, Status::Backfilling | Status::TimedOut)
    }

    /// The status of a value that is written as JSON. A null there that stands for NaN or an infinity would pass for a null
    /// that was stored.
    pub(super) fn in_json(self, value: &Served<'_>, data_type: &DataType) -> Status {
        match self {
            Status::Present => not_in_json(value, data_type).unwrap_or(Status::Present),
            other => other,
        }
    }

    pub const ALL: [Status; 10] = [
        Status::Present,
        Status::NullValue,
        Status::NotFound,
        Status::OutsideMaxAge,
        Status::Defaulted,
        Status::Backfilling,
        Status::Error,
        Status::TimedOut,
        Status::NotANumber,
        Status::Infinite,
    ];
}

/// NaN comes before an infinity where a list has both.
fn not_in_json(value: &Served<'_>, data_type: &DataType) -> Option<Status> {
    let mut found = None;
    let mut look = |number: f64| match number {
        _ if number.is_nan() => found = Some(Status::NotANumber),
        _ if number.is_infinite() => found = found.or(Some(Status::Infinite)),
        _ => {}
    };
    match value {
        Served::Cell(Cell::Array(bytes)) => {
            let item = match data_type {
                DataType::Array(item) => item.as_ref(),
                _ => &DataType::Float32,
            };
            if matches!(item, DataType::Float32 | DataType::Float64) {
                array_items(bytes, item).for_each(|cell| of_cell(cell, &mut look));
            }
        }
        Served::Cell(cell) => of_cell(*cell, &mut look),
        Served::Value(Value::Array(items)) => items.iter().for_each(|item| of_value(item, &mut look)),
        Served::Value(value) => of_value(value, &mut look),
    }
    found
}

fn of_cell(cell: Cell<'_>, look: &mut impl FnMut(f64)) {
    match cell {
        Cell::Float32(number) => look(number.into()),
        Cell::Float64(number) => look(number),
        _ => {}
    }
}

fn of_value(value: &Value, look: &mut impl FnMut(f64)) {
    match value {
        Value::Float32(number) => look((*number).into()),
        Value::Float64(number) => look(*number),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_that_stands_for_no_number_says_so() {
        let list = DataType::Array(Box::new(DataType::Float64));
        let of =
            |value: Value, data_type: &DataType| Status::Present.in_json(&Served::Value(&value), data_type);
        assert_eq!(of(Value::Float64(f64::NAN), &DataType::Float64), Status::NotANumber);
        assert_eq!(of(Value::Float32(-f32::NAN), &DataType::Float32), Status::NotANumber);
        assert_eq!(of(Value::Float64(f64::NEG_INFINITY), &DataType::Float64), Status::Infinite);
        assert_eq!(of(Value::Float64(f64::MAX), &DataType::Float64), Status::Present);
        let items = |items: &[f64]| Value::Array(items.iter().map(|item| Value::Float64(*item)).collect());
        assert_eq!(of(items(&[1.0, f64::NAN, f64::INFINITY]), &list), Status::NotANumber);
        assert_eq!(of(items(&[f64::INFINITY, f64::NAN]), &list), Status::NotANumber);
        assert_eq!(of(items(&[1.0, f64::INFINITY]), &list), Status::Infinite);
        assert_eq!(of(items(&[1.0]), &list), Status::Present);
        let cell = Served::Cell(Cell::Float32(f32::NAN));
        assert_eq!(Status::Present.in_json(&cell, &DataType::Float32), Status::NotANumber);
        assert_eq!(Status::Error.in_json(&cell, &DataType::Float32), Status::Error);
    }
}
