//! Bounds of float columns, taken while rows are written. Parquet's own leave NaN out, and a reader that orders NaN above
//! all numbers would pass over it: segments carry none for floats, and the Delta log's are made of these.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::{max, min},
    datatypes::{DataType, Float32Type, Float64Type, Schema},
};
use hashbrown::HashMap;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FloatRange {
    /// Least and greatest, NaN at the ends; none where all are null.
    range: Option<(f64, f64)>,
    pub nulls: u64,
}

impl FloatRange {
    /// The JSON of least and greatest; none where there is a NaN.
    pub fn bounds(&self) -> Option<Option<(Value, Value)>> {
        let Some((low, high)) = self.range else { return Some(None) };
        // -0.0 and 0.0 are equal to most readers: a bound is the one that is farther out.
        let low = if low == 0.0 { -0.0 } else { low };
        let high = if high == 0.0 { 0.0 } else { high };
        (!self.has_nan()).then(|| Some((number(low), number(high))))
    }

    pub fn has_nan(&self) -> bool {
        self.range.is_some_and(|(low, high)| low.is_nan() || high.is_nan())
    }

    /// In the order in which NaN is above infinity, and one with its sign set below.
    fn take(&mut self, low: Option<f64>, high: Option<f64>, nulls: usize) {
        self.nulls += nulls as u64;
        if let (Some(low), Some(high)) = (low, high) {
            let least = |a: f64, b: f64| if a.total_cmp(&b).is_le() { a } else { b };
            let greatest = |a: f64, b: f64| if a.total_cmp(&b).is_ge() { a } else { b };
            let (l, h) = self.range.unwrap_or((low, high));
            self.range = Some((least(l, low), greatest(h, high)));
        }
    }
}

/// Infinities are written as Spark writes them: JSON has no number for them.
fn number(x: f64) -> Value {
    match x {
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        x => json!(x),
    }
}

/// The float columns of the rows of one file, by name.
#[derive(Debug, Default)]
pub(super) struct FloatRanges(HashMap<String, FloatRange>);

impl FloatRanges {
    pub fn get(&self, column: &str) -> Option<&FloatRange> {
        self.0.get(column)
    }

    pub fn has_nan(&self) -> bool {
        self.0.values().any(FloatRange::has_nan)
    }

    pub fn take(&mut self, batch: &RecordBatch) {
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let (low, high) = match array.data_type() {
                DataType::Float32 => {
                    let floats = array.as_primitive::<Float32Type>();
                    (min(floats).map(f64::from), max(floats).map(f64::from))
                }
                DataType::Float64 => {
                    let floats = array.as_primitive::<Float64Type>();
                    (min(floats), max(floats))
                }
                _ => continue,
            };
            self.0.entry_ref(field.name().as_str()).or_default().take(low, high, array.null_count());
        }
    }
}

/// Names of the float columns.
pub(super) fn float_columns(schema: &Schema) -> impl Iterator<Item = &str> {
    let is_float = |data_type: &DataType| matches!(data_type, DataType::Float32 | DataType::Float64);
    schema.fields().iter().filter(move |field| is_float(field.data_type())).map(|field| field.name().as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float32Array, Float64Array};

    use super::*;

    fn bounds(batches: &[ArrayRef]) -> Option<Option<(Value, Value)>> {
        let mut ranges = FloatRanges::default();
        for array in batches {
            ranges.take(&RecordBatch::try_from_iter([("f", Arc::clone(array))]).unwrap());
        }
        ranges.get("f").unwrap().bounds()
    }

    fn doubles(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
        Arc::new(Float64Array::from_iter(values))
    }

    #[test]
    fn a_column_with_a_nan_has_no_bounds_whatever_its_sign() {
        let nan = f64::NAN;
        for nan in [nan, -nan, f64::from_bits(0xfff0_0000_0000_0001)] {
            assert_eq!(bounds(&[doubles([Some(1.0)]), doubles([Some(nan), None])]), None);
        }
        assert_eq!(bounds(&[Arc::new(Float32Array::from(vec![f32::NAN]))]), None);
    }

    #[test]
    fn zeros_and_infinities_are_within_their_bounds() {
        let zeros = bounds(&[doubles([Some(0.0), Some(-0.0)])]).unwrap().unwrap();
        assert_eq!((zeros.0.to_string(), zeros.1.to_string()), ("-0.0".to_owned(), "0.0".to_owned()));
        let wide =
            bounds(&[doubles([Some(f64::INFINITY)]), doubles([None]), doubles([Some(f64::NEG_INFINITY)])]);
        assert_eq!(wide, Some(Some((json!("-Infinity"), json!("Infinity")))));
        assert_eq!(bounds(&[doubles([None, None])]), Some(None));
        assert_eq!(
            bounds(&[Arc::new(Float32Array::from(vec![0.1]))]),
            Some(Some((json!(0.1_f32 as f64), json!(0.1_f32 as f64))))
        );
    }
}
