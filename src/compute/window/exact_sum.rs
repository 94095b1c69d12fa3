//! Exact sums of floating-point numbers: the same in whatever order the numbers come, and with a way back.
//!
//! A superaccumulator: one long fixed-point number that holds every finite f64, and every product of two, without
//! rounding (Kulisch, *Computer Arithmetic and Validity*, 2008; in this form Neal, *Fast exact summation using small
//! and large superaccumulators*, 2015). Digits to the base 2³² sit in 64 bits each, so that carries need to be moved on
//! only once in a billion additions, and only the digits between the least and the greatest in use are there.

use crate::window::codec::{MalformedState, put_signed, put_varint, signed, take, varint};

/// The lowest digit that is ever used: half of the least subnormal's square is 2⁻²¹⁴⁸.
const LEAST: i32 = -68;
/// No digit at or above it is used: 2²⁰⁴⁸ times 2⁶⁴ values.
const MOST: i32 = 72;
/// Digits of a number in its canonical form: all that there are, and two for a carry.
const DIGITS: usize = (MOST - LEAST) as usize + 8;
/// So many additions fit a digit before carries are moved on.
const LAZY: u32 = 1 << 30;

/// A sum of finite numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct ExactSum {
    /// The sum is Σ `limbs[i]` · 2^(32 · (`low` + i)).
    limbs: Vec<i64>,
    low: i32,
    /// Additions since carries were last moved on.
    lazy: u32,
}

/// A sum's sign and magnitude, without leading or trailing zero digits.
pub(super) struct Digits {
    pub negative: bool,
    /// The position of the first digit.
    pub low: i32,
    first: usize,
    end: usize,
    limbs: [u32; DIGITS],
}

/// A finite number as ± magnitude · 2^exponent.
fn parts(x: f64) -> (bool, u64, i32) {
    let bits = x.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match (bits >> 52) as i32 & 0x7FF {
        0 => (x.is_sign_negative(), fraction, -1074),
        exponent => (x.is_sign_negative(), fraction | 1 << 52, exponent - 1075),
    }
}

impl ExactSum {
    /// `x` is finite.
    pub fn add(&mut self, x: f64) {
        let (negative, magnitude, exponent) = parts(x);
        self.add_short(magnitude, exponent, negative);
    }

    /// Takes back what was added.
    pub fn subtract(&mut self, x: f64) {
        let (negative, magnitude, exponent) = parts(x);
        self.add_short(magnitude, exponent, !negative);
    }

    /// `x` is finite.
    pub fn add_square(&mut self, x: f64) {
        let (_, magnitude, exponent) = parts(x);
        self.add_scaled(u128::from(magnitude).pow(2), 2 * exponent, false);
    }

    pub fn subtract_square(&mut self, x: f64) {
        let (_, magnitude, exponent) = parts(x);
        self.add_scaled(u128::from(magnitude).pow(2), 2 * exponent, true);
    }

    /// Adds ± `magnitude` · 2^`exponent`; magnitude below 2⁶⁴, as most are.
    fn add_short(&mut self, magnitude: u64, exponent: i32, negative: bool) {
        let shifted = u128::from(magnitude) << (exponent & 31);
        let at = self.reserve(exponent >> 5, 3);
        let sign = if negative { -1 } else { 1 };
        if let Some([a, b, c]) = self.limbs.get_mut(at..at + 3) {
            *a += sign * i64::from(shifted as u32);
            *b += sign * i64::from((shifted >> 32) as u32);
            *c += sign * i64::from((shifted >> 64) as u32);
        }
        self.added();
    }

    /// Adds ± `magnitude` · 2^`exponent`, which is within the range of products.
    pub fn add_scaled(&mut self, magnitude: u128, exponent: i32, negative: bool) {
        if let Ok(short) = u64::try_from(magnitude) {
            return self.add_short(short, exponent, negative);
        }
        let shift = exponent & 31;
        let (mut rest, over) = (magnitude << shift, (magnitude >> 1) >> (127 - shift));
        let at = self.reserve(exponent >> 5, 5);
        let sign = if negative { -1 } else { 1 };
        for limb in &mut self.limbs[at..at + 4] {
            *limb += sign * i64::from(rest as u32);
            rest >>= 32;
        }
        self.limbs[at + 4] += sign * over as i64;
        self.added();
    }

    pub fn merge(&mut self, other: &ExactSum) {
        self.add_digits(&other.digits(), 1, false);
    }

    /// Adds ± `digits` · `factor`.
    pub fn add_digits(&mut self, digits: &Digits, factor: u64, negative: bool) {
        for (&digit, at) in digits.limbs().iter().zip(digits.low..) {
            self.add_scaled(u128::from(digit) * u128::from(factor), 32 * at, digits.negative != negative);
        }
    }

    /// Subtracts the square of `digits`.
    pub fn subtract_square_of(&mut self, digits: &Digits) {
        for (&a, i) in digits.limbs().iter().zip(digits.low..) {
            for (&b, j) in digits.limbs().iter().zip(digits.low..) {
                self.add_short(u64::from(a) * u64::from(b), 32 * (i + j), true);
            }
        }
    }

    pub fn clear(&mut self) {
        // Those of one series lie close together mostly; a long range is not dragged along.
        match self.limbs.len() {
            0..=8 => self.limbs.fill(0),
            _ => self.limbs.clear(),
        }
        self.lazy = 0;
    }

    /// Makes room for `count` digits from position `from` on; returns where they start.
    fn reserve(&mut self, from: i32, count: i32) -> usize {
        let end = self.low + self.limbs.len() as i32;
        if from < self.low || from + count > end {
            self.grow(from, count);
        }
        (from - self.low) as usize
    }

    #[cold]
    fn grow(&mut self, from: i32, count: i32) {
        if self.limbs.is_empty() {
            self.low = from;
        }
        if from < self.low {
            let missing = (self.low - from) as usize;
            self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
            self.low = from;
        }
        let length = (from + count - self.low) as usize;
        if length > self.limbs.len() {
            self.limbs.resize(length, 0);
        }
    }

    fn added(&mut self) {
        self.lazy += 1;
        if self.lazy == LAZY {
            let digits = self.digits();
            self.clear();
            self.add_digits(&digits, 1, false);
        }
    }

    /// The canonical form.
    pub fn digits(&self) -> Digits {
        let mut limbs = [0; DIGITS];
        let mut carry = 0i64;
        for (digit, limb) in limbs.iter_mut().zip(&self.limbs) {
            carry += limb;
            *digit = carry as u32;
            carry >>= 32;
        }
        let mut end = self.limbs.len().min(DIGITS - 2);
        limbs[end] = carry as u32;
        limbs[end + 1] = (carry >> 32) as u32;
        end += 2;
        let negative = carry < 0;
        if negative {
            let mut add = true;
            for digit in &mut limbs[..end] {
                (*digit, add) = (!*digit).overflowing_add(u32::from(add));
            }
        }
        while end > 0 && limbs[end - 1] == 0 {
            end -= 1;
        }
        let first = limbs[..end].iter().position(|&digit| digit != 0).unwrap_or(end);
        let low = if first == end { 0 } else { self.low + first as i32 };
        Digits { negative, low, first, end, limbs }
    }

    /// Sign and length, exponent, magnitude: bytes without leading or trailing zeros.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let digits = self.digits();
        let mut bytes = [0; 4 * DIGITS];
        for (chunk, digit) in bytes.chunks_exact_mut(4).zip(digits.limbs()) {
            chunk.copy_from_slice(&digit.to_le_bytes());
        }
        let bytes = &bytes[..4 * digits.limbs().len()];
        let first = bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        put_varint((end - first) as u64 * 2 + u64::from(digits.negative), out);
        if end > first {
            put_signed(i64::from(digits.low) * 4 + first as i64, out);
            out.extend_from_slice(&bytes[first..end]);
        }
    }

    /// Adds what [`ExactSum::encode`] wrote.
    pub fn merge_encoded(&mut self, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        let Some(Stored { negative, first, magnitude }) = stored(bytes)? else { return Ok(()) };
        let digit = |byte: i64| byte.div_euclid(4) as i32;
        let last = first + magnitude.len() as i64 - 1;
        let at = self.reserve(digit(first), digit(last) - digit(first) + 1);
        for (&byte, place) in magnitude.iter().zip(first.rem_euclid(4) as usize..) {
            let part = i64::from(byte) << (8 * (place % 4));
            self.limbs[at + place / 4] += if negative { -part } else { part };
        }
        self.added();
        Ok(())
    }

    pub fn skip_encoded(bytes: &mut &[u8]) -> Result<(), MalformedState> {
        stored(bytes).map(|_| ())
    }
}

/// What [`ExactSum::encode`] wrote.
struct Stored<'a> {
    negative: bool,
    /// The position of the first byte: its weight is 256^`first`.
    first: i64,
    magnitude: &'a [u8],
}

/// `None` for zero.
fn stored<'a>(bytes: &mut &'a [u8]) -> Result<Option<Stored<'a>>, MalformedState> {
    let head = varint(bytes)?;
    if head >> 1 == 0 {
        return Ok(None);
    }
    let first = signed(bytes)?;
    let magnitude = take(bytes, head >> 1)?;
    let range = i64::from(LEAST) * 4..i64::from(MOST - 2) * 4;
    if !range.contains(&first) || !range.contains(&first.saturating_add(magnitude.len() as i64 - 1)) {
        return Err(MalformedState("a sum is out of range"));
    }
    Ok(Some(Stored { negative: head & 1 == 1, first, magnitude }))
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.digits(), other.digits());
        (a.negative, a.low, a.limbs()) == (b.negative, b.low, b.limbs())
    }
}

impl Digits {
    fn limbs(&self) -> &[u32] {
        &self.limbs[self.first..self.end]
    }

    /// The exponent of the greatest bit; `None` for zero.
    pub fn top(&self) -> Option<i32> {
        let last = self.limbs().last()?;
        Some(32 * (self.low + self.limbs().len() as i32) - 1 - last.leading_zeros() as i32)
    }

    /// The number times 2^`scale`, rounded once, to nearest, ties to even; infinite beyond the greatest f64, never −0.
    pub fn round(&self, scale: i32) -> f64 {
        let limbs = self.limbs();
        let Some(top) = self.top() else { return 0.0 };
        // The three top digits have at least 65 bits; all below them can only tip the scales.
        let leading = limbs.len().min(3);
        let (rest, leading) = limbs.split_at(limbs.len() - leading);
        let mut bits = leading.iter().rev().fold(0u128, |bits, &digit| bits << 32 | u128::from(digit));
        bits |= u128::from(rest.iter().any(|&digit| digit != 0));
        let exponent = 32 * (self.low + rest.len() as i32) + scale;
        let magnitude = if top + scale >= -1022 {
            let rounded = bits as f64;
            match (rounded.to_bits() >> 52) as i32 + exponent {
                2047.. => f64::INFINITY,
                field => f64::from_bits(rounded.to_bits() & ((1 << 52) - 1) | (field as u64) << 52),
            }
        } else {
            subnormal(bits, -1074 - exponent)
        };
        if self.negative { -magnitude } else { magnitude }
    }
}

/// `bits` · 2^(−1074 − `drop`), below the least normal number.
fn subnormal(bits: u128, drop: i32) -> f64 {
    let kept = match drop {
        ..=0 => bits << -drop,
        1..=127 => {
            let (kept, lost, half) = (bits >> drop, bits & ((1 << drop) - 1), 1 << (drop - 1));
            kept + u128::from(lost > half || (lost == half && kept & 1 == 1))
        }
        _ => 0,
    };
    // A carry into the exponent makes the least normal number, which is right.
    f64::from_bits(kept as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|&x| sum.add(x));
        sum
    }

    fn bytes(sum: &ExactSum) -> Vec<u8> {
        let mut out = Vec::new();
        sum.encode(&mut out);
        out
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
            (-1000..1000i64).prop_map(|n| n as f64 / 7.0),
            Just(f64::MAX),
            Just(-5e-324),
        ]
    }

    /// Two numbers: their sum as the hardware has it, which rounds once.
    #[test]
    fn known_sums() {
        assert_eq!(sum(&[1e308, 1.0, -1e308]).digits().round(0), 1.0);
        assert_eq!(sum(&[0.1; 10]).digits().round(0), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).digits().round(0), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).digits().round(-1), f64::MAX);
        assert_eq!(sum(&[-0.0, -0.0]).digits().round(0).to_bits(), 0);
        assert_eq!(sum(&[1.0, 2f64.powi(-53)]).digits().round(0), 1.0);
        assert_eq!(sum(&[1.0, 2f64.powi(-53), 5e-324]).digits().round(0), 1.0 + f64::EPSILON);
        // Between two numbers but for the least of them.
        assert_eq!(sum(&[f64::MIN, -2.16, f64::MAX, 2.2e-308, 2.93, -4.82]).digits().round(0), -4.05);
        assert_eq!(sum(&[f64::MIN, -2.16, f64::MAX, 2.93, -4.82]).digits().round(0), -4.050000000000001);
        let mut tiny = ExactSum::default();
        tiny.add_square(2f64.powi(-537));
        assert_eq!(tiny.digits().round(0), 5e-324);
        tiny.clear();
        tiny.add_square(2f64.powi(-538));
        assert_eq!(tiny.digits().round(0), 0.0);
        tiny.add_square(5e-324);
        assert_eq!(tiny.digits().round(0), 0.0);
        tiny.add_square(2f64.powi(-538));
        assert_eq!(tiny.digits().round(0), 5e-324);
    }

    proptest! {
        #[test]
        fn two_numbers_as_the_hardware_adds_them(a in finite(), b in finite()) {
            prop_assert_eq!(sum(&[a, b]).digits().round(0), a + b);
        }

        #[test]
        fn a_square_as_the_hardware_rounds_it(a in finite()) {
            let mut square = ExactSum::default();
            square.add_square(a);
            prop_assert_eq!(square.digits().round(0), a * a);
        }

        #[test]
        fn any_order_and_grouping_gives_the_same_bytes(values in prop::collection::vec(finite(), 0..40), cut in 0..40usize) {
            let whole = sum(&values);
            let reversed: Vec<f64> = values.iter().rev().copied().collect();
            prop_assert_eq!(bytes(&sum(&reversed)), bytes(&whole));
            let (left, right) = values.split_at(cut.min(values.len()));
            let (mut merged, right) = (sum(left), sum(right));
            let mut read = merged.clone();
            merged.merge(&right);
            prop_assert_eq!(&merged, &whole);
            let encoded = bytes(&right);
            let mut rest = &encoded[..];
            read.merge_encoded(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(bytes(&read), bytes(&whole));
            for &x in left {
                merged.subtract(x);
            }
            prop_assert_eq!(merged, right);
        }

        #[test]
        fn integers_agree_with_128_bits(values: Vec<i64>) {
            let exact: i128 = values.iter().map(|&n| i128::from(n)).sum();
            let squares = values.iter().map(|&n| u128::from(n.unsigned_abs()).pow(2)).try_fold(0u128, u128::checked_add);
            let (mut sum, mut square) = (ExactSum::default(), ExactSum::default());
            for n in &values {
                sum.add_scaled(u128::from(n.unsigned_abs()), 0, *n < 0);
                square.add_scaled(u128::from(n.unsigned_abs()).pow(2), 0, false);
            }
            prop_assert_eq!(sum.digits().round(0), exact as f64);
            if let Some(squares) = squares {
                prop_assert_eq!(square.digits().round(0), squares as f64);
            }
        }

        #[test]
        fn hostile_bytes_are_errors_or_sums(noise: Vec<u8>) {
            let mut sum = ExactSum::default();
            let _ = sum.merge_encoded(&mut &noise[..]);
            prop_assert!(sum.limbs.len() <= DIGITS);
            let _ = sum.digits().round(0);
        }
    }

    #[test]
    fn carries_are_moved_on_in_time() {
        let mut sum = ExactSum { lazy: LAZY - 2, ..ExactSum::default() };
        for _ in 0..4 {
            sum.add(f64::MAX);
        }
        assert_eq!((sum.lazy < 10, sum.digits().round(-2)), (true, f64::MAX));
    }
}
