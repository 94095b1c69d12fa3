//! Every function as the contract words it, from the events that count, without any of the kernel's code.

use std::collections::HashSet;

use super::*;
use crate::compute::window::Output;

/// How close an answer has to be.
pub enum Expected {
    Bits(Output),
    /// Within this share of the value.
    Close(f64, f64),
}

/// The events that a window covers at `t`, as semantics.md has it; in order of (time, seq).
pub fn covered(rows: &[Row], mode: Mode, w: i64, t: i64, lag: i64) -> Vec<(i64, &Row)> {
    let floor = |t: i64, step: i64| t.div_euclid(step) * step;
    let hop = match w {
        _ if w < 12 * 60 * MINUTE => 5 * MINUTE,
        _ if w < 12 * 24 * 60 * MINUTE => 60 * MINUTE,
        _ => 24 * 60 * MINUTE,
    };
    let (start, end) = match mode {
        Mode::Exact => (t - w, t),
        Mode::Sawtooth => (floor(t - w, hop), t),
        Mode::Tumbling => (floor(t, w) - w, floor(t, w)),
        Mode::Lifetime => (i64::MIN, t),
    };
    let mut covered: Vec<(i64, &Row)> = (0..)
        .zip(rows)
        .filter(|(_, row)| start <= row.time && row.time < end && row.time + lag <= t)
        .collect();
    covered.sort_by_key(|(seq, row)| (row.time, *seq));
    covered
}

pub fn answer(function: Function, class: Class, events: &[(i64, &Row)], t: i64) -> Expected {
    let bits = Expected::Bits;
    let values: Vec<&Value> = events.iter().map(|(_, row)| &row.value).collect();
    let outputs = |values: &[&Value]| Output::List(values.iter().map(|value| output(value)).collect());
    let numbers: Vec<f64> = values.iter().filter_map(|value| number(value)).collect();
    match function {
        Function::Count => bits(Output::Int(values.len() as i64)),
        // Never more than 40 events: counted one by one.
        Function::ApproxCountDistinct => {
            let different: HashSet<Vec<u8>> = values.iter().map(|value| identity(value)).collect();
            bits(Output::Int(different.len() as i64))
        }
        _ if values.is_empty() => bits(Output::Null),
        Function::First => bits(output(values[0])),
        Function::Last => bits(output(values[values.len() - 1])),
        Function::FirstN { n } => bits(outputs(&values[..values.len().min(n as usize)])),
        Function::LastN { n } => bits(outputs(&values[values.len().saturating_sub(n as usize)..])),
        Function::TimeSinceLast => {
            bits(Output::Float((t - events[events.len() - 1].1.time) as f64 / 1_000_000.0))
        }
        Function::Min | Function::Max => {
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| match (a, b) {
                (Value::Int(a), Value::Int(b)) => a.cmp(b),
                (Value::Float(a), Value::Float(b)) => match (a.is_nan(), b.is_nan()) {
                    (false, false) => a.total_cmp(b),
                    (a, b) => a.cmp(&b),
                },
                (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
                _ => panic!("one column has one class"),
            });
            bits(output(sorted[if function == Function::Min { 0 } else { sorted.len() - 1 }]))
        }
        Function::Sum if class == Class::Int => {
            let sum: i128 = values.iter().map(|value| integer(value)).sum();
            bits(i64::try_from(sum).map_or(Output::Null, Output::Int))
        }
        Function::Mean if class == Class::Int => {
            let sum: i128 = values.iter().map(|value| integer(value)).sum();
            bits(Output::Float(sum as f64 / values.len() as f64))
        }
        Function::Sum | Function::Mean if numbers.iter().any(|x| !x.is_finite()) => {
            // Finite ones change nothing beside an infinity; summed up here they could overflow to another.
            bits(output(&Value::Float(numbers.iter().filter(|x| !x.is_finite()).sum())))
        }
        Function::Sum => bits(Output::Float(exact(&numbers))),
        Function::Mean => match exact(&numbers) / numbers.len() as f64 {
            mean if mean.is_finite() => bits(Output::Float(mean)),
            _ => {
                let halves: Vec<f64> = numbers.iter().map(|x| x / 1024.0).collect();
                Expected::Close(exact(&halves) / numbers.len() as f64 * 1024.0, 1e-15)
            }
        },
        Function::Stddev | Function::Variance if values.len() < 2 => bits(Output::Null),
        Function::Stddev | Function::Variance => spread(function, &numbers),
        Function::ApproxPercentile { p } => {
            let mut sorted: Vec<f64> = numbers.into_iter().filter(|x| !x.is_nan()).collect();
            sorted.sort_by(f64::total_cmp);
            match sorted.len() {
                0 => bits(Output::Null),
                count => Expected::Close(sorted[(p * (count - 1) as f64).floor() as usize], 0.01),
            }
        }
    }
}

fn spread(function: Function, numbers: &[f64]) -> Expected {
    if numbers.iter().any(|x| !x.is_finite()) {
        return Expected::Bits(Output::Float(f64::NAN));
    }
    // Scaled so that squares neither overflow nor vanish; the mean is taken twice, the second time of what is left.
    let scale = numbers.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    if scale == 0.0 {
        return Expected::Bits(Output::Float(0.0));
    }
    let scaled: Vec<f64> = numbers.iter().map(|x| x / scale).collect();
    let mean = exact(&scaled) / scaled.len() as f64;
    let rest: Vec<f64> = scaled.iter().map(|x| x - mean).collect();
    let more = exact(&rest) / rest.len() as f64;
    let squares: f64 = rest.iter().map(|x| (x - more).powi(2)).sum();
    let stddev = (squares / (rest.len() - 1) as f64).sqrt() * scale;
    // Where scaling rounds (subnormals), or nearly all cancels, the reference itself is not better than this.
    Expected::Close(if function == Function::Stddev { stddev } else { stddev * stddev }, 1e-7)
}

/// The sum with one rounding: error-free transformations until nothing is left (Shewchuk).
fn exact(numbers: &[f64]) -> f64 {
    let scale = if numbers.iter().any(|x| x.abs() > 1e300) { 2f64.powi(-60) } else { 1.0 };
    let mut partials: Vec<f64> = Vec::new();
    for &x in numbers {
        let mut x = x * scale;
        let mut kept = Vec::new();
        for &y in &partials {
            let (large, small) = if x.abs() < y.abs() { (y, x) } else { (x, y) };
            let high = large + small;
            let low = small - (high - large);
            if low != 0.0 {
                kept.push(low);
            }
            x = high;
        }
        kept.push(x);
        partials = kept;
    }
    // Partials do not overlap and ascend: the first inexact addition from above decides, ties by what is below.
    let mut high = partials.pop().unwrap_or(0.0);
    while let Some(next) = partials.pop() {
        let before = high;
        high = before + next;
        let low = next - (high - before);
        if low != 0.0 {
            let tie = partials.last().is_some_and(|below| (*below < 0.0) == (low < 0.0));
            if tie
                && (before - high + 2.0 * low) + high == high + 2.0 * low
                && high + 2.0 * low - high == 2.0 * low
            {
                high += 2.0 * low;
            }
            break;
        }
    }
    (high / scale) + 0.0
}

fn output(value: &Value) -> Output {
    match value {
        Value::Int(n) => Output::Int(*n),
        Value::Float(x) if x.is_nan() => Output::Float(f64::NAN),
        Value::Float(x) => Output::Float(*x),
        Value::Bytes(bytes) => Output::Bytes(bytes.clone()),
    }
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::Int(n) => i128::from(*n),
        _ => panic!("not an integer"),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(n) => Some(*n as f64),
        Value::Float(x) => Some(*x),
        Value::Bytes(_) => None,
    }
}

/// Equal for values that are one.
fn identity(value: &Value) -> Vec<u8> {
    match value {
        Value::Int(n) => n.to_be_bytes().to_vec(),
        Value::Float(x) if x.is_nan() => vec![1],
        Value::Float(x) => (x + 0.0).to_be_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.clone(),
    }
}
