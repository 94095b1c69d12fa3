//! The one NaN. There are 2⁵³ of them, and what compares floats by their bits takes them for different values: the one
//! that x86 makes of 0/0 has its sign set, so that it is less than all numbers.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    datatypes::{DataType as Arrow, Float32Type, Float64Type},
};

/// The float, or the one NaN.
pub fn one_nan(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// The column with every NaN as [`f64::NAN`] has it; columns of other types as they are.
pub fn canonical_nans(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        Arrow::Float32 => canonical::<Float32Type>(column, f32::NAN, f32::is_nan, |value| {
            value.to_bits() != f32::NAN.to_bits()
        }),
        Arrow::Float64 => canonical::<Float64Type>(column, f64::NAN, f64::is_nan, |value| {
            value.to_bits() != f64::NAN.to_bits()
        }),
        _ => column,
    }
}

fn canonical<T: ArrowPrimitiveType>(
    column: ArrayRef,
    nan: T::Native,
    is_nan: impl Fn(T::Native) -> bool,
    is_other: impl Fn(T::Native) -> bool,
) -> ArrayRef {
    let floats = column.as_primitive::<T>();
    // Without a way out, so that a column without any costs one look at its memory.
    let any = floats.values().iter().fold(false, |any, value| any | is_nan(*value));
    if !any || !floats.values().iter().any(|value| is_nan(*value) && is_other(*value)) {
        return column;
    }
    let values = floats.values().iter().map(|value| if is_nan(*value) { nan } else { *value }).collect();
    Arc::new(PrimitiveArray::<T>::new(values, floats.nulls().cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float32Array, Float64Array, Int64Array};

    #[test]
    fn every_nan_becomes_the_one_and_nothing_else_changes() {
        let of_x86 = f64::from_bits(0xFFF8_0000_0000_0000);
        let signalling = f64::from_bits(0x7FF0_0000_0000_0001);
        let column: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(of_x86), None, Some(-0.0), Some(signalling)]));
        let made = canonical_nans(column);
        let made = made.as_primitive::<Float64Type>();
        let bits = |row: usize| made.value(row).to_bits();
        assert_eq!((bits(0), bits(3)), (f64::NAN.to_bits(), f64::NAN.to_bits()));
        assert!(made.is_null(1) && bits(2) == (-0.0_f64).to_bits());
        let column: ArrayRef = Arc::new(Float32Array::from(vec![-f32::NAN, f32::INFINITY]));
        let made = canonical_nans(column);
        let made = made.as_primitive::<Float32Type>();
        assert_eq!((made.value(0).to_bits(), made.value(1)), (f32::NAN.to_bits(), f32::INFINITY));
        let others: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(Arc::ptr_eq(&canonical_nans(others.clone()), &others));
    }
}
