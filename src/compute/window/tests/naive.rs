//! Every function as the contract words it, from the events that count, without any of the kernel's code.

use std::collections::HashSet;

use super::*;
use crate::window::Output;

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

/// The sum with one rounding, to nearest, ties to even: how often each power of two is in it, carried on, cut after 53 bits.
/// Nothing overflows or vanishes on the way, as it would in sums of floating-point numbers.
fn exact(numbers: &[f64]) -> f64 {
    // From 2^-1074 on, and 2^64 numbers of the greatest have room.
    let mut counts = [0_i64; 2046 + 53 + 64];
    for x in numbers {
        let (field, fraction) = ((x.to_bits() >> 52) as usize & 0x7FF, x.to_bits() & ((1 << 52) - 1));
        let magnitude = if field == 0 { fraction } else { fraction | 1 << 52 };
        for bit in (0..53).filter(|bit| magnitude >> bit & 1 == 1) {
            counts[field.saturating_sub(1) + bit] += if x.is_sign_negative() { -1 } else { 1 };
        }
    }
    match carried(&counts) {
        Some(bits) => rounded(&bits),
        None => -carried(&counts.map(|count| -count)).map_or(0.0, |bits| rounded(&bits)),
    }
}

/// Each power of two once at most; `None` below zero.
fn carried(counts: &[i64]) -> Option<Vec<bool>> {
    let mut carry = 0;
    let bits = counts.iter().map(|count| {
        carry += count;
        let odd = carry.rem_euclid(2) == 1;
        carry = carry.div_euclid(2);
        odd
    });
    let bits = bits.collect();
    (carry == 0).then_some(bits)
}

fn rounded(bits: &[bool]) -> f64 {
    let Some(top) = bits.iter().rposition(|&bit| bit) else { return 0.0 };
    let lowest = top.saturating_sub(52);
    let mut kept = bits[lowest..=top].iter().rev().fold(0_u64, |kept, &bit| kept << 1 | u64::from(bit));
    if let Some((true, below)) = bits[..lowest].split_last() {
        kept += u64::from(kept & 1 == 1 || below.contains(&true));
    }
    // The leading bit counts the exponent up by one, as does a carry into it.
    let pattern = ((lowest as u64) << 52) + kept;
    f64::from_bits(pattern.min(f64::INFINITY.to_bits()))
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
