//! Sums and what is made of them: of integers, of floating-point numbers, and of squares.

use crate::window::{
    Datum, Output,
    codec::{MalformedState, array, put_varint, take, varint},
    exact_sum::ExactSum,
};

/// Of integers: exact in 128 bits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct IntSum {
    pub count: u64,
    sum: i128,
}

/// Of numbers of any kind. What is not finite is counted apart, so that it can be taken back.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FloatSum {
    pub count: u64,
    nan: u64,
    positive: u64,
    negative: u64,
    finite: ExactSum,
}

/// Sums of the values and of their squares.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Moments {
    sum: FloatSum,
    squares: ExactSum,
}

impl IntSum {
    pub fn add(&mut self, n: i64) {
        self.count += 1;
        self.sum += i128::from(n);
    }

    pub fn remove(&mut self, n: i64) {
        self.count -= 1;
        self.sum -= i128::from(n);
    }

    pub fn merge(&mut self, other: &IntSum) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Null where it is not an int64.
    pub fn sum(&self) -> Output {
        match i64::try_from(self.sum) {
            Ok(sum) if self.count > 0 => Output::Int(sum),
            _ => Output::Null,
        }
    }

    /// The sum rounded to an f64, divided by the count.
    pub fn mean(&self) -> Output {
        match self.count {
            0 => Output::Null,
            count => Output::Float(self.sum as f64 / count as f64),
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.count, out);
        if self.count > 0 {
            let bytes = self.sum.to_le_bytes();
            // Leading bytes that only repeat the sign are left out.
            let fill = if self.sum < 0 { 0xFF } else { 0 };
            let mut length = bytes.len();
            while length > 1 && bytes[length - 1] == fill && (bytes[length - 2] ^ fill) < 0x80 {
                length -= 1;
            }
            out.push(length as u8);
            out.extend_from_slice(&bytes[..length]);
        }
    }

    pub fn decode(bytes: &mut &[u8]) -> Result<IntSum, MalformedState> {
        let count = varint(bytes)?;
        if count == 0 {
            return Ok(IntSum::default());
        }
        let [length] = array(bytes)?;
        let stored = take(bytes, u64::from(length))?;
        let Some(&last) = stored.last().filter(|_| stored.len() <= 16) else {
            return Err(MalformedState("an integer sum has no length from 1 to 16"));
        };
        let mut whole = [if last >= 0x80 { 0xFF } else { 0 }; 16];
        whole[..stored.len()].copy_from_slice(stored);
        Ok(IntSum { count, sum: i128::from_le_bytes(whole) })
    }
}

impl FloatSum {
    pub fn add(&mut self, x: f64) {
        self.count += 1;
        match self.apart(x) {
            Some(counter) => *counter += 1,
            None => self.finite.add(x),
        }
    }

    pub fn remove(&mut self, x: f64) {
        self.count -= 1;
        match self.apart(x) {
            Some(counter) => *counter -= 1,
            None => self.finite.subtract(x),
        }
    }

    pub fn add_int(&mut self, n: i64) {
        self.count += 1;
        self.finite.add_scaled(u128::from(n.unsigned_abs()), 0, n < 0);
    }

    pub fn remove_int(&mut self, n: i64) {
        self.count -= 1;
        self.finite.add_scaled(u128::from(n.unsigned_abs()), 0, n >= 0);
    }

    /// Where a number that is not finite is counted.
    fn apart(&mut self, x: f64) -> Option<&mut u64> {
        if x.is_finite() {
            None
        } else if x.is_nan() {
            Some(&mut self.nan)
        } else if x > 0.0 {
            Some(&mut self.positive)
        } else {
            Some(&mut self.negative)
        }
    }

    pub fn clear(&mut self) {
        (self.count, self.nan, self.positive, self.negative) = (0, 0, 0, 0);
        self.finite.clear();
    }

    pub fn merge(&mut self, other: &FloatSum) {
        self.count = self.count.saturating_add(other.count);
        self.nan = self.nan.saturating_add(other.nan);
        self.positive = self.positive.saturating_add(other.positive);
        self.negative = self.negative.saturating_add(other.negative);
        self.finite.merge(&other.finite);
    }

    /// The sum that values which are not finite make, as IEEE 754 has it.
    fn not_finite(&self) -> Option<f64> {
        match (self.nan, self.positive, self.negative) {
            (0, 0, 0) => None,
            (0, _, 0) => Some(f64::INFINITY),
            (0, 0, _) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// The exact sum, rounded once.
    pub fn sum(&self) -> Output {
        match self.count {
            0 => Output::Null,
            _ => Output::Float(self.not_finite().unwrap_or_else(|| self.finite.digits().round(0))),
        }
    }

    /// The rounded sum divided by the count. A sum beyond the greatest f64 does not make the mean infinite.
    pub fn mean(&self) -> Output {
        if self.count == 0 {
            return Output::Null;
        }
        let count = self.count as f64;
        let mean = self.not_finite().unwrap_or_else(|| {
            let digits = self.finite.digits();
            match digits.round(0) {
                sum if sum.is_finite() => sum / count,
                _ => digits.round(-64) / count * 2f64.powi(64),
            }
        });
        Output::Float(mean)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.count, out);
        if self.count > 0 {
            let apart = self.not_finite().is_some();
            out.push(u8::from(apart));
            if apart {
                [self.nan, self.positive, self.negative].into_iter().for_each(|n| put_varint(n, out));
            }
            self.finite.encode(out);
        }
    }

    pub fn merge_encoded(&mut self, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        let Some((count, apart)) = Self::head(bytes)? else { return Ok(()) };
        self.finite.merge_encoded(bytes)?;
        self.count = self.count.saturating_add(count);
        for (mine, theirs) in [&mut self.nan, &mut self.positive, &mut self.negative].into_iter().zip(apart) {
            *mine = mine.saturating_add(theirs);
        }
        Ok(())
    }

    pub fn skip_encoded(bytes: &mut &[u8]) -> Result<(), MalformedState> {
        if Self::head(bytes)?.is_some() {
            ExactSum::skip_encoded(bytes)?;
        }
        Ok(())
    }

    /// The counts; `None` where there are no values.
    fn head(bytes: &mut &[u8]) -> Result<Option<(u64, [u64; 3])>, MalformedState> {
        let count = varint(bytes)?;
        if count == 0 {
            return Ok(None);
        }
        match array(bytes)? {
            [0] => Ok(Some((count, [0; 3]))),
            [1] => Ok(Some((count, [varint(bytes)?, varint(bytes)?, varint(bytes)?]))),
            _ => Err(MalformedState("a sum has an unknown flag")),
        }
    }
}

impl Moments {
    pub fn count(&self) -> u64 {
        self.sum.count
    }

    pub fn add(&mut self, value: Datum<'_>) {
        match value {
            Datum::Int(n) => {
                self.sum.add_int(n);
                self.squares.add_scaled(u128::from(n.unsigned_abs()).pow(2), 0, false);
            }
            Datum::Float(x) => {
                self.sum.add(x);
                if x.is_finite() {
                    self.squares.add_square(x);
                }
            }
            Datum::Bytes(_) => {}
        }
    }

    pub fn remove(&mut self, value: Datum<'_>) {
        match value {
            Datum::Int(n) => {
                self.sum.remove_int(n);
                self.squares.add_scaled(u128::from(n.unsigned_abs()).pow(2), 0, true);
            }
            Datum::Float(x) => {
                self.sum.remove(x);
                if x.is_finite() {
                    self.squares.subtract_square(x);
                }
            }
            Datum::Bytes(_) => {}
        }
    }

    pub fn clear(&mut self) {
        self.sum.clear();
        self.squares.clear();
    }

    pub fn merge(&mut self, other: &Moments) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// (n·Σx² − (Σx)²) / (n·(n − 1)), the dividend exact and rounded once.
    pub fn variance(&self) -> Output {
        self.spread(|dividend, divisor| {
            let digits = dividend.digits();
            match digits.round(0) {
                rounded if rounded.is_finite() => rounded / divisor,
                _ => digits.round(-128) / divisor * 2f64.powi(128),
            }
        })
    }

    /// The root of the variance, which itself may be too large or too small for an f64.
    pub fn stddev(&self) -> Output {
        self.spread(|dividend, divisor| {
            let digits = dividend.digits();
            let half = digits.top().map_or(0, |top| top.div_euclid(2));
            let root = (digits.round(-2 * half) / divisor).sqrt();
            root * 2f64.powi(half / 2) * 2f64.powi(half - half / 2)
        })
    }

    fn spread(&self, finish: impl FnOnce(&ExactSum, f64) -> f64) -> Output {
        let count = self.sum.count;
        if count < 2 {
            return Output::Null;
        }
        if self.sum.not_finite().is_some() {
            return Output::Float(f64::NAN);
        }
        let mut dividend = ExactSum::default();
        dividend.add_digits(&self.squares.digits(), count, false);
        dividend.subtract_square_of(&self.sum.finite.digits());
        let divisor = u128::from(count) * u128::from(count - 1);
        Output::Float(finish(&dividend, divisor as f64))
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.sum.encode(out);
        if self.sum.count > 0 {
            self.squares.encode(out);
        }
    }

    pub fn merge_encoded(&mut self, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        let any = bytes.first() != Some(&0);
        self.sum.merge_encoded(bytes)?;
        if any { self.squares.merge_encoded(bytes) } else { Ok(()) }
    }

    pub fn skip_encoded(bytes: &mut &[u8]) -> Result<(), MalformedState> {
        let any = bytes.first() != Some(&0);
        FloatSum::skip_encoded(bytes)?;
        if any { ExactSum::skip_encoded(bytes) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn floats(values: &[f64]) -> FloatSum {
        let mut sum = FloatSum::default();
        values.iter().for_each(|&x| sum.add(x));
        sum
    }

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|&x| moments.add(Datum::Float(x)));
        moments
    }

    #[test]
    fn what_is_not_finite_gives_what_ieee_754_says_and_can_be_taken_back() {
        use Output::Float;
        let mut sum = floats(&[1.0, f64::INFINITY]);
        assert_eq!((sum.sum(), sum.mean()), (Float(f64::INFINITY), Float(f64::INFINITY)));
        sum.add(f64::NEG_INFINITY);
        assert_eq!(sum.sum(), Float(f64::NAN));
        sum.remove(f64::INFINITY);
        assert_eq!(sum.sum(), Float(f64::NEG_INFINITY));
        sum.remove(f64::NEG_INFINITY);
        assert_eq!((sum.sum(), sum.count), (Float(1.0), 1));
        assert_eq!(moments(&[1.0, 2.0, f64::INFINITY]).variance(), Float(f64::NAN));
    }

    #[test]
    fn large_sums_do_not_spoil_means_and_spreads() {
        use Output::{Float, Int, Null};
        assert_eq!(floats(&[f64::MAX; 3]).sum(), Float(f64::INFINITY));
        assert_eq!(floats(&[f64::MAX; 3]).mean(), Float(f64::MAX));
        assert_eq!(moments(&[1e200, 3e200]).variance(), Float(f64::INFINITY));
        for scale in [1.0, 1e200, 1e-200] {
            let Float(stddev) = moments(&[scale, 2.0 * scale, 3.0 * scale]).stddev() else { panic!() };
            assert!((stddev / scale - 1.0).abs() < 1e-15, "{stddev}");
        }
        let mut ints = IntSum::default();
        ints.add(i64::MAX);
        assert_eq!(ints.sum(), Int(i64::MAX));
        ints.add(1);
        assert_eq!((ints.sum(), ints.mean()), (Null, Float(2f64.powi(62))));
    }

    #[test]
    fn nothing_in_gives_nothing_out() {
        let null = [IntSum::default().sum(), IntSum::default().mean(), floats(&[]).sum(), floats(&[]).mean()];
        assert_eq!(null, [const { Output::Null }; 4]);
        assert_eq!([moments(&[1.0]).variance(), moments(&[]).stddev()], [Output::Null, Output::Null]);
        assert_eq!(moments(&[5.5; 7]).stddev(), Output::Float(0.0));
    }

    proptest! {
        #[test]
        fn variance_agrees_with_the_textbook_far_from_zero(
            values in prop::collection::vec(-1e3..1e3f64, 2..30),
            offset in prop::sample::select(vec![0.0, 1e6, 1e9]),
        ) {
            // What is far from zero is rounded first, so that both see the same numbers.
            let values: Vec<f64> = values.iter().map(|x| x + offset).collect();
            let near: Vec<f64> = values.iter().map(|x| x - offset).collect();
            let mean = near.iter().sum::<f64>() / near.len() as f64;
            let expected = near.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (near.len() - 1) as f64;
            let Output::Float(got) = moments(&values).variance() else { panic!() };
            prop_assert!((got - expected).abs() <= 1e-12 * expected.abs(), "{} {}", got, expected);
            let Output::Float(stddev) = moments(&values).stddev() else { panic!() };
            prop_assert!((stddev - got.sqrt()).abs() <= 1e-15 * stddev);
        }

        #[test]
        fn integers_are_what_128_bits_say(values: Vec<i64>, noise: Vec<u8>) {
            let mut sum = IntSum::default();
            values.iter().for_each(|&n| sum.add(n));
            let mut out = Vec::new();
            sum.encode(&mut out);
            let mut bytes = &out[..];
            prop_assert_eq!(IntSum::decode(&mut bytes).unwrap(), sum.clone());
            prop_assert!(bytes.is_empty() && out.len() <= 12);
            let _ = IntSum::decode(&mut &noise[..]);
            let expected: i128 = values.iter().map(|&n| i128::from(n)).sum();
            prop_assert_eq!(sum.sum() == Output::Null, values.is_empty() || i64::try_from(expected).is_err());
            values.iter().for_each(|&n| sum.remove(n));
            prop_assert_eq!(sum, IntSum::default());
        }
    }
}
