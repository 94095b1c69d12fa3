//! The features' validation rules, checked column by column.

use std::collections::{BTreeMap, HashSet};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{
        DataType as Arrow, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
    error::ArrowError,
};
use regex::Regex;

use crate::{
    format::shorten,
    model::{Timestamp, Value},
    registry::{FeatureView, Validation},
};

/// A row that breaks a rule: the first rule that it breaks, in the order of the view's features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Row of the batch.
    pub index: usize,
    pub field: String,
    pub reason: String,
}

/// The rows of `batch` ([`crate::model::TableSchema::arrow`] of this view) that break a rule, in order.
///
/// Of an array `not_null` and `max_length` look at the array, the other rules at each of its elements. NaN is never
/// within a range. `counts`: whether the rules hold for a row's value in a column of the batch.
pub fn validate(
    view: &FeatureView,
    batch: &RecordBatch,
    counts: impl Fn(usize, usize) -> bool,
) -> Vec<Violation> {
    let mut broken: BTreeMap<usize, Violation> = BTreeMap::new();
    for feature in &view.features {
        let Some((position, _)) = batch.schema_ref().fields().find(&feature.name) else { continue };
        let column = batch.column(position);
        check(&feature.validate, column, &mut |index, reason| {
            if !counts(index, position) {
                return;
            }
            broken.entry(index).or_insert_with(|| Violation { index, field: feature.name.clone(), reason });
        });
    }
    broken.into_values().collect()
}

/// The batch without the rows `bad`, which are in ascending order.
pub fn retain(batch: &RecordBatch, bad: &[usize]) -> Result<RecordBatch, ArrowError> {
    let keep: BooleanArray =
        (0..batch.num_rows()).map(|index| Some(bad.binary_search(&index).is_err())).collect();
    filter_record_batch(batch, &keep)
}

type Report<'r> = &'r mut dyn FnMut(usize, String);

fn check(rules: &Validation, column: &ArrayRef, report: Report<'_>) {
    if rules.not_null {
        for index in (0..column.len()).filter(|&index| column.is_null(index)) {
            report(index, "must not be null".to_owned());
        }
    }
    let Some(list) = column.as_list_opt::<i32>() else { return check_values(rules, column, true, report) };
    let offsets = list.offsets();
    if let Some(max) = rules.max_length {
        for (index, length) in offsets.lengths().enumerate().filter(|(index, _)| list.is_valid(*index)) {
            if length > max {
                report(index, format!("has {length} elements; at most {max} are allowed"));
            }
        }
    }
    check_values(rules, list.values(), false, &mut |element, reason| {
        let index = offsets.partition_point(|offset| *offset as usize <= element).wrapping_sub(1);
        if index < list.len() && list.is_valid(index) {
            report(index, format!("element {}: {reason}", element - offsets[index] as usize));
        }
    });
}

/// The rules on single values, nulls left out.
fn check_values(rules: &Validation, column: &ArrayRef, with_length: bool, report: Report<'_>) {
    check_range(rules, column, report);
    if let Some(allowed) = &rules.allowed {
        check_allowed(allowed, column, report);
    }
    match column.data_type() {
        Arrow::Utf8 => {
            let texts = column.as_string::<i32>();
            let whole = rules.regex.as_ref().map(Whole::new);
            for (index, text) in texts.iter().enumerate() {
                let Some(text) = text else { continue };
                if let Some(max) = rules.max_length.filter(|max| with_length && text.len() > *max) {
                    report(index, format!("has {} bytes; at most {max} are allowed", text.len()));
                }
                if let Some(pattern) = whole.as_ref().filter(|pattern| !pattern.matches(text)) {
                    let pattern = pattern.regex.as_str();
                    report(index, format!("{:?} does not match the pattern {pattern}", shorten(text)));
                }
            }
        }
        Arrow::Binary => {
            let Some(max) = rules.max_length.filter(|_| with_length) else { return };
            for (index, bytes) in column.as_binary::<i32>().iter().enumerate() {
                if let Some(bytes) = bytes.filter(|bytes| bytes.len() > max) {
                    report(index, format!("has {} bytes; at most {max} are allowed", bytes.len()));
                }
            }
        }
        _ => {}
    }
}

fn check_range(rules: &Validation, column: &ArrayRef, report: Report<'_>) {
    if rules.min.is_none() && rules.max.is_none() {
        return;
    }
    let (min, max) = (rules.min.unwrap_or(f64::NEG_INFINITY), rules.max.unwrap_or(f64::INFINITY));
    let outside = |shown: String| match (rules.min, rules.max) {
        (Some(min), Some(max)) => format!("{shown} is outside of {min} to {max}"),
        (Some(min), None) => format!("{shown} is less than {min}"),
        (_, max) => format!("{shown} is more than {}", max.unwrap_or(f64::INFINITY)),
    };
    // The least and the greatest integer within the range: comparing them as floats would round near 2⁵³.
    let (least, greatest) = (min.ceil() as i64, max.floor() as i64);
    let integer = |n: i64| n >= least && n <= greatest;
    let float = |x: f64| x >= min && x <= max;
    match column.data_type() {
        Arrow::Int32 => each(
            column.as_primitive::<Int32Type>().iter(),
            |n| integer(i64::from(n)),
            |index, n| {
                report(index, outside(n.to_string()));
            },
        ),
        Arrow::Int64 => each(column.as_primitive::<Int64Type>().iter(), integer, |index, n| {
            report(index, outside(n.to_string()));
        }),
        Arrow::Timestamp(..) => {
            each(column.as_primitive::<TimestampMicrosecondType>().iter(), integer, |index, n| {
                report(index, outside(format!("{} ({n} µs)", Timestamp::from_micros(n))));
            });
        }
        Arrow::Float32 => {
            each(
                column.as_primitive::<Float32Type>().iter(),
                |x| float(f64::from(x)),
                |index, x| {
                    report(index, outside(x.to_string()));
                },
            );
        }
        Arrow::Float64 => each(column.as_primitive::<Float64Type>().iter(), float, |index, x| {
            report(index, outside(x.to_string()));
        }),
        _ => {}
    }
}

fn check_allowed(allowed: &[Value], column: &ArrayRef, report: Report<'_>) {
    let mut refuse =
        |index, shown: &str| report(index, format!("{} is not an allowed value", shorten(shown)));
    match column.data_type() {
        Arrow::Utf8 => {
            let known: HashSet<&str> = allowed
                .iter()
                .filter_map(|value| match value {
                    Value::String(text) | Value::Json(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            each(
                column.as_string::<i32>().iter(),
                |text| known.contains(text),
                |index, text| {
                    refuse(index, &format!("{text:?}"));
                },
            );
        }
        Arrow::Binary => {
            let known =
                |bytes: &[u8]| allowed.iter().any(|value| matches!(value, Value::Bytes(b) if b == bytes));
            each(column.as_binary::<i32>().iter(), known, |index, _| refuse(index, "this"));
        }
        Arrow::Boolean => {
            let known = |b: bool| allowed.contains(&Value::Bool(b));
            each(column.as_boolean().iter(), known, |index, b| refuse(index, &b.to_string()));
        }
        Arrow::Int32 => {
            let known = integers(allowed);
            each(
                column.as_primitive::<Int32Type>().iter(),
                |n| known.contains(&i64::from(n)),
                |index, n| {
                    refuse(index, &n.to_string());
                },
            );
        }
        Arrow::Int64 => {
            let known = integers(allowed);
            each(
                column.as_primitive::<Int64Type>().iter(),
                |n| known.contains(&n),
                |index, n| {
                    refuse(index, &n.to_string());
                },
            );
        }
        Arrow::Timestamp(..) => {
            let known = integers(allowed);
            each(
                column.as_primitive::<TimestampMicrosecondType>().iter(),
                |n| known.contains(&n),
                |index, n| {
                    refuse(index, &Timestamp::from_micros(n).to_string());
                },
            );
        }
        Arrow::Float32 => {
            let known = |x: f32| allowed.iter().any(|value| matches!(value, Value::Float32(a) if *a == x));
            each(column.as_primitive::<Float32Type>().iter(), known, |index, x| {
                refuse(index, &x.to_string())
            });
        }
        Arrow::Float64 => {
            let known = |x: f64| allowed.iter().any(|value| matches!(value, Value::Float64(a) if *a == x));
            each(column.as_primitive::<Float64Type>().iter(), known, |index, x| {
                refuse(index, &x.to_string())
            });
        }
        _ => {}
    }
}

fn integers(allowed: &[Value]) -> HashSet<i64> {
    allowed
        .iter()
        .filter_map(|value| match value {
            Value::Int32(n) => Some(i64::from(*n)),
            Value::Int64(n) => Some(*n),
            Value::Timestamp(time) => Some(time.micros()),
            _ => None,
        })
        .collect()
}

/// Tells `refuse` of each value, nulls left out, that does not `pass`.
fn each<T: Copy>(
    values: impl Iterator<Item = Option<T>>,
    pass: impl Fn(T) -> bool,
    mut refuse: impl FnMut(usize, T),
) {
    for (index, value) in values.enumerate() {
        if let Some(value) = value.filter(|value| !pass(*value)) {
            refuse(index, value);
        }
    }
}

/// A pattern that has to match the whole text.
struct Whole<'r> {
    regex: &'r Regex,
    anchored: Option<Regex>,
}

impl<'r> Whole<'r> {
    fn new(regex: &'r Regex) -> Self {
        // `a|ab` finds the `a` of "ab", though as a whole it matches: only an anchored pattern can tell.
        Whole { regex, anchored: Regex::new(&format!(r"\A(?:{})\z", regex.as_str())).ok() }
    }

    fn matches(&self, text: &str) -> bool {
        match &self.anchored {
            Some(anchored) => anchored.is_match(text),
            // A pattern in verbose mode may end in a comment, which swallows the anchor.
            None => self.regex.find(text).is_some_and(|found| found.len() == text.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::{
        array::{BinaryArray, Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray},
        datatypes::Int32Type,
    };

    fn broken(rules: &Validation, column: impl Array + 'static) -> Vec<(usize, String)> {
        let mut told = Vec::new();
        check(rules, &(Arc::new(column) as ArrayRef), &mut |index, reason| told.push((index, reason)));
        told
    }

    fn rows(rules: &Validation, column: impl Array + 'static) -> Vec<usize> {
        broken(rules, column).into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn ranges_are_inclusive_and_exact() {
        let rules = Validation { min: Some(-1.5), max: Some(2.0), ..Validation::default() };
        let floats = vec![Some(-1.5), Some(2.0), None, Some(2.1), Some(-1.6), Some(f64::NAN)];
        assert_eq!(rows(&rules, Float64Array::from(floats)), [3, 4, 5]);
        assert_eq!(rows(&rules, Int64Array::from(vec![-2, -1, 2, 3])), [0, 3]);
        let rules = Validation { max: Some(9_007_199_254_740_992.0), ..Validation::default() };
        assert_eq!(rows(&rules, Int64Array::from(vec![1 << 53, (1 << 53) + 1, i64::MIN])), [1]);
        let times = TimestampMicrosecondArray::from(vec![0, 3]).with_timezone("UTC");
        let rules = Validation { max: Some(2.0), ..Validation::default() };
        assert_eq!(
            broken(&rules, times),
            [(1, "1970-01-01T00:00:00.000003Z (3 µs) is more than 2".to_owned())]
        );
    }

    #[test]
    fn nulls_break_only_not_null() {
        let rules = Validation {
            min: Some(0.0),
            allowed: Some(vec![Value::Int64(1)]),
            not_null: false,
            ..Validation::default()
        };
        assert_eq!(rows(&rules, Int64Array::from(vec![None, Some(1), Some(2)])), [2]);
        let rules = Validation { not_null: true, ..Validation::default() };
        assert_eq!(rows(&rules, Int64Array::from(vec![None, Some(1), None])), [0, 2]);
    }

    #[test]
    fn the_whole_text_has_to_match() {
        let rules = Validation { regex: Some(Regex::new("a|ab").unwrap()), ..Validation::default() };
        assert_eq!(rows(&rules, StringArray::from(vec!["a", "ab", "abc", "", "xa"])), [2, 3, 4]);
        let verbose =
            Validation { regex: Some(Regex::new("(?x) a b # both").unwrap()), ..Validation::default() };
        assert_eq!(rows(&verbose, StringArray::from(vec!["ab", "abab"])), [1]);
    }

    #[test]
    fn lengths_and_allowed_values() {
        let rules = Validation { max_length: Some(2), ..Validation::default() };
        assert_eq!(rows(&rules, StringArray::from(vec!["ab", "é", "abc", "éé"])), [2, 3]);
        assert_eq!(rows(&rules, BinaryArray::from(vec![b"ab".as_slice(), b"abc"])), [1]);
        let allowed = Some(vec![Value::String("x".into()), Value::String("y".into())]);
        let rules = Validation { allowed, ..Validation::default() };
        let told = broken(&rules, StringArray::from(vec!["x", "z", "y"]));
        assert_eq!(told, [(1, "\"z\" is not an allowed value".to_owned())]);
    }

    #[test]
    fn rules_look_at_the_elements_of_arrays() {
        let rules = Validation { max: Some(9.0), max_length: Some(2), ..Validation::default() };
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), None]),
            Some(vec![]),
            Some(vec![Some(1), Some(10)]),
            None,
            Some(vec![Some(1); 3]),
        ]);
        let told = broken(&rules, lists.clone());
        assert_eq!(told.len(), 2);
        assert!(told.contains(&(2, "element 1: 10 is more than 9".to_owned())), "{told:?}");
        assert_eq!(rows(&rules, lists.slice(2, 1)), [0]);
    }

    #[test]
    fn retain_leaves_out_the_bad() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let kept = retain(&batch, &[0, 2]).unwrap();
        assert_eq!(kept.column(0).as_primitive::<Int64Type>().values(), &[1, 3]);
    }
}
