//! Arrow columns of any type that can hold times, as timestamps in UTC to the microsecond.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{
        DataType as Arrow, Date32Type, Date64Type, Float64Type, Int64Type, TimeUnit as ArrowUnit,
        TimestampMicrosecondType, UInt64Type,
    },
    error::ArrowError,
};

use crate::{plain, plain_type};
use larder_model::{DataType, ParseTimestampError, TimeForm, TimeUnit, Timestamp};

/// Whether a column of type `from` can hold times. Whether it does depends on what is declared: see [`undeclared_time`].
pub(super) fn holds_times(from: &Arrow) -> bool {
    matches!(
        from,
        Arrow::Null
            | Arrow::Timestamp(..)
            | Arrow::Date32
            | Arrow::Date64
            | Arrow::Float32
            | Arrow::Float64
            | Arrow::Utf8
            | Arrow::LargeUtf8
    ) || from.is_integer()
}

/// The declaration that columns of this type need as timestamps, and `times` lacks.
pub fn undeclared(data_type: &Arrow, times: TimeForm) -> Option<&'static str> {
    match plain_type(data_type) {
        Arrow::Timestamp(_, None) | Arrow::Date32 | Arrow::Date64 if times.time_zone.is_none() => {
            Some("its times have no time zone; declare `time_zone` on the view or source, or in the request")
        }
        number if number.is_numeric() && times.time_unit.is_none() => {
            Some("its numbers have no unit; declare `time_unit` on the view or source, or in the request")
        }
        _ => None,
    }
}

/// The first value of a column that is to be timestamps, where its type needs a unit or a zone that `times` lacks, and what is to
/// be said of it. Texts are looked at one by one.
pub fn undeclared_time(
    array: &ArrayRef,
    to: &DataType,
    times: TimeForm,
) -> Result<Option<(usize, ParseTimestampError)>, ArrowError> {
    if *to != DataType::Timestamp {
        return Ok(None);
    }
    let array = &plain(array)?;
    let first = (0..array.len()).find(|row| array.is_valid(*row));
    let (Some(_), Some(row)) = (undeclared(array.data_type(), times), first) else { return Ok(None) };
    let mut found = None;
    timestamps(&array.slice(row, 1), times, |_, error| found = Some((row, error)))?;
    Ok(found)
}

/// The column as microseconds in UTC. A value that is no time under `times` is null, and given to `refuse` with its row.
/// Finer units are rounded down, never towards zero.
pub(super) fn timestamps(
    array: &ArrayRef,
    times: TimeForm,
    refuse: impl FnMut(usize, ParseTimestampError),
) -> Result<ArrayRef, ArrowError> {
    let column = match array.data_type() {
        Arrow::Timestamp(ArrowUnit::Microsecond, Some(_)) if is_in_range(array) => {
            array.as_primitive::<TimestampMicrosecondType>().clone()
        }
        Arrow::Timestamp(unit, zone) => {
            let unit = time_unit(*unit);
            let integers = cast(array, &Arrow::Int64)?;
            let integers = integers.as_primitive::<Int64Type>();
            if zone.is_some() {
                each(array, refuse, |row| Timestamp::from_integer(integers.value(row), unit))
            } else {
                each(array, refuse, |row| {
                    times.local_nanos(i128::from(integers.value(row)) * i128::from(unit.nanos()))
                })
            }
        }
        Arrow::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            each(array, refuse, |row| times.local_days(i64::from(days.value(row))))
        }
        Arrow::Date64 => {
            const DAY: i64 = 86_400_000;
            let millis = array.as_primitive::<Date64Type>();
            each(array, refuse, |row| times.local_days(millis.value(row).div_euclid(DAY)))
        }
        Arrow::UInt64 => {
            let integers = array.as_primitive::<UInt64Type>();
            each(array, refuse, |row| match i64::try_from(integers.value(row)) {
                Ok(value) => times.integer(value),
                Err(_) => times.number(&integers.value(row).to_string()),
            })
        }
        data_type if data_type.is_integer() => {
            let integers = cast(array, &Arrow::Int64)?;
            let integers = integers.as_primitive::<Int64Type>();
            each(array, refuse, |row| times.integer(integers.value(row)))
        }
        Arrow::Float32 | Arrow::Float64 => {
            let floats = cast(array, &Arrow::Float64)?;
            let floats = floats.as_primitive::<Float64Type>();
            each(array, refuse, |row| times.text(&floats.value(row).to_string()))
        }
        _ => {
            let texts = cast(array, &Arrow::Utf8)?;
            let texts = texts.as_string::<i32>();
            each(array, refuse, |row| times.text(texts.value(row)))
        }
    };
    Ok(Arc::new(column.with_timezone("UTC")))
}

fn each(
    array: &ArrayRef,
    mut refuse: impl FnMut(usize, ParseTimestampError),
    read: impl Fn(usize) -> Result<Timestamp, ParseTimestampError>,
) -> TimestampMicrosecondArray {
    let rows = (0..array.len()).map(|row| {
        if array.is_null(row) {
            return None;
        }
        read(row).map_err(|error| refuse(row, error)).ok().map(Timestamp::micros)
    });
    PrimitiveArray::from_iter(rows)
}

fn is_in_range(array: &ArrayRef) -> bool {
    let (least, most) = (Timestamp::MIN.micros(), Timestamp::MAX.micros());
    let column = array.as_primitive::<TimestampMicrosecondType>();
    column.null_count() == 0 && column.values().iter().all(|micros| (least..=most).contains(micros))
}

fn time_unit(unit: ArrowUnit) -> TimeUnit {
    match unit {
        ArrowUnit::Second => TimeUnit::Seconds,
        ArrowUnit::Millisecond => TimeUnit::Millis,
        ArrowUnit::Microsecond => TimeUnit::Micros,
        ArrowUnit::Nanosecond => TimeUnit::Nanos,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Date32Array, Float64Array, Int64Array, StringArray, TimestampNanosecondArray, TimestampSecondArray,
    };
    use proptest::prelude::*;

    fn read(array: ArrayRef, times: TimeForm) -> Vec<Result<i64, String>> {
        let mut refused = std::collections::BTreeMap::new();
        let made =
            timestamps(&array, times, |row, error| _ = refused.insert(row, error.to_string())).unwrap();
        let made = made.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(made.data_type(), &DataType::arrow_timestamp());
        (0..made.len())
            .map(|row| match refused.remove(&row) {
                Some(reason) => Err(reason),
                None => Ok(made.value(row)),
            })
            .collect()
    }

    fn utc() -> TimeForm {
        TimeForm { time_unit: None, time_zone: Some("UTC".parse().unwrap()) }
    }

    #[test]
    fn nanoseconds_before_1970_are_rounded_down() {
        let nanos = TimestampNanosecondArray::from(vec![-1, 0, -1_000, -1_001, 1_999]);
        let expected: Vec<Result<i64, String>> = [-1, 0, -1, -2, 1].into_iter().map(Ok).collect();
        assert_eq!(read(Arc::new(nanos.clone().with_timezone("UTC")), TimeForm::EXPLICIT), expected);
        assert_eq!(read(Arc::new(nanos), utc()), expected);
    }

    #[test]
    fn what_is_not_declared_is_refused_by_its_first_value() {
        let columns: [ArrayRef; 4] = [
            Arc::new(Int64Array::from(vec![None, Some(1_714_564_800_000)])),
            Arc::new(Float64Array::from(vec![None, Some(1_714_564_800.5)])),
            Arc::new(TimestampSecondArray::from(vec![None, Some(1_714_564_800)])),
            Arc::new(Date32Array::from(vec![None, Some(19_844)])),
        ];
        for (column, said) in columns.iter().zip(["in ms", "in s", "2024-05-01 12:00:00", "`2024-05-01`"]) {
            let (row, error) =
                undeclared_time(column, &DataType::Timestamp, TimeForm::EXPLICIT).unwrap().unwrap();
            assert!(row == 1 && error.to_string().contains(said), "{error}");
        }
        let declared = TimeForm { time_unit: Some(TimeUnit::Millis), ..utc() };
        assert!(
            columns
                .iter()
                .all(|column| undeclared_time(column, &DataType::Timestamp, declared).unwrap().is_none())
        );
        assert!(
            undeclared_time(&columns[0].slice(0, 1), &DataType::Timestamp, TimeForm::EXPLICIT)
                .unwrap()
                .is_none(),
            "nulls alone"
        );
    }

    #[test]
    fn texts_are_read_one_by_one() {
        let texts = StringArray::from(vec!["2024-05-01 12:00:00+00", "yesterday"]);
        let read = read(Arc::new(texts), TimeForm::EXPLICIT);
        assert_eq!(read[0], Ok(1_714_564_800_000_000));
        assert!(read[1].as_ref().unwrap_err().contains("yesterday"));
    }

    proptest! {
        #[test]
        fn every_unit_agrees_with_a_reference(value in -62_000_000_000_i64..200_000_000_000, unit in 0..4_usize, zoned: bool) {
            let unit = TimeUnit::ALL[unit];
            let arrow = [ArrowUnit::Second, ArrowUnit::Millisecond, ArrowUnit::Microsecond, ArrowUnit::Nanosecond]
                .into_iter().find(|it| time_unit(*it) == unit).unwrap();
            let zone = zoned.then(|| "Europe/Berlin".into());
            let array = cast(&Int64Array::from(vec![value]), &Arrow::Timestamp(arrow, zone)).unwrap();
            let micros = (i128::from(value) * i128::from(unit.nanos())).div_euclid(1_000);
            prop_assert_eq!(read(array, utc()), vec![Ok(micros as i64)]);
            let declared = TimeForm { time_unit: Some(unit), time_zone: None };
            prop_assert_eq!(read(Arc::new(Int64Array::from(vec![value])), declared), vec![Ok(micros as i64)]);
        }
    }
}
