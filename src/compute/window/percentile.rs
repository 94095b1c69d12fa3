//! Percentiles from a histogram with logarithmic buckets: DDSketch (Masson, Rim, Lee, *DDSketch: a fast and
//! fully-mergeable quantile sketch with relative-error guarantees*, 2019), with 1 % relative error.
//!
//! Each power of two has [`PER_OCTAVE`] buckets, of equal width on a logarithmic scale. A bucket is found by comparing a
//! number's bits with stored edges: no logarithm, so nothing depends on a machine's mathematical library. All
//! of f64's range has 146,862 buckets and only those in use are kept; none is ever joined to another, so the histogram
//! depends on the set of values alone. Zeros have a bucket of their own, and so has each infinity; NaNs are left out.

use crate::window::{
    Datum,
    codec::{MalformedState, put_signed, put_varint, signed, varint},
};

/// 2^(1/35) is γ = 1.0200, so that a bucket's middle is within (γ − 1) / (γ + 1) = 0.99 % of all that is in it.
const PER_OCTAVE: i32 = 35;
const GAMMA: f64 = 1.020_001_609_421_199;

/// The exponent of the least subnormal number.
const LEAST_EXPONENT: i32 = -1074;
/// The infinities' bucket; the numbers' are 1 to here.
const INFINITE: i32 = (1024 - LEAST_EXPONENT) * PER_OCTAVE + 1;
const FRACTION: u64 = (1 << 52) - 1;

/// The lower edges of an octave's buckets as numbers from 1 to 2.
const EDGES: [f64; PER_OCTAVE as usize + 1] = {
    let mut edges = [1.0; PER_OCTAVE as usize + 1];
    let mut i = 1;
    while i < PER_OCTAVE as usize {
        edges[i] = edges[i - 1] * GAMMA;
        i += 1;
    }
    edges[PER_OCTAVE as usize] = 2.0;
    edges
};

/// The bucket of a value; ascending as values do, 0 for zeros. `None` for NaN.
pub(super) fn bucket(value: Datum<'_>) -> Option<i32> {
    let x = match value {
        Datum::Int(n) => n as f64,
        Datum::Float(x) => x,
        Datum::Bytes(_) => return None,
    };
    let bits = x.abs().to_bits();
    let bucket = match (bits >> 52) as i32 {
        0 if bits == 0 => return Some(0),
        0 => {
            let up = bits.leading_zeros() - 11;
            place(-1022 - up as i32, bits << up & FRACTION)
        }
        0x7FF if x.is_nan() => return None,
        0x7FF => INFINITE,
        exponent => place(exponent - 1023, bits & FRACTION),
    };
    Some(if x < 0.0 { -bucket } else { bucket })
}

fn place(exponent: i32, fraction: u64) -> i32 {
    let above = EDGES.partition_point(|edge| edge.to_bits() & FRACTION <= fraction && *edge < 2.0);
    (exponent - LEAST_EXPONENT) * PER_OCTAVE + above as i32
}

/// What stands for all values of a bucket: 2γⁱ / (γ + 1), as far from both edges in relation to them.
pub(super) fn representative(bucket: i32) -> f64 {
    let magnitude = match bucket.unsigned_abs() as i32 {
        0 => return 0.0,
        INFINITE.. => f64::INFINITY,
        number => {
            let exponent = (number - 1) / PER_OCTAVE + LEAST_EXPONENT;
            let within = ((number - 1) % PER_OCTAVE) as usize;
            let (low, high) = (EDGES[within], EDGES[within + 1]);
            2.0 * low * high / (low + high) * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
        }
    };
    if bucket < 0 { -magnitude } else { magnitude }
}

/// Which of `count` values, in ascending order and from 0, is the percentile `p` (0 to 1): the lower rank.
pub(super) fn rank(p: f64, count: u64) -> u64 {
    let last = count.saturating_sub(1);
    ((p.clamp(0.0, 1.0) * last as f64).floor() as u64).min(last)
}

/// How many values each bucket has: buckets ascending, counts above 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram(Vec<(i32, u64)>);

impl Histogram {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, value: Datum<'_>) {
        let Some(bucket) = bucket(value) else { return };
        match self.0.binary_search_by_key(&bucket, |entry| entry.0) {
            Ok(at) => self.0[at].1 += 1,
            Err(at) => self.0.insert(at, (bucket, 1)),
        }
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.merge_ascending(other.0.iter().copied());
    }

    /// Entries of buckets that are all there already take no memory.
    fn merge_ascending(&mut self, entries: impl Iterator<Item = (i32, u64)>) {
        let (mut at, mut new) = (0, Vec::new());
        for (bucket, count) in entries {
            at += self.0[at..].partition_point(|entry| entry.0 < bucket);
            match self.0.get_mut(at) {
                Some(entry) if entry.0 == bucket => entry.1 = entry.1.saturating_add(count),
                _ => new.push((bucket, count)),
            }
        }
        if !new.is_empty() {
            self.0.extend(new);
            // Two ascending runs, which this sort merges.
            self.0.sort();
        }
    }

    /// The representative of the bucket that has the percentile `p`.
    pub fn percentile(&self, p: f64) -> Option<f64> {
        let count = self.0.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.1));
        let rank = rank(p, count);
        let mut up_to = 0u64;
        let found = self.0.iter().find(|entry| {
            up_to = up_to.saturating_add(entry.1);
            up_to > rank
        });
        found.map(|entry| representative(entry.0))
    }

    /// How many buckets; the first, then the distance of each to the one before; each with its count.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.0.len() as u64, out);
        let mut last = None;
        for &(bucket, count) in &self.0 {
            match last {
                None => put_signed(i64::from(bucket), out),
                Some(last) => put_varint(u64::from(bucket.abs_diff(last)), out),
            }
            put_varint(count, out);
            last = Some(bucket);
        }
    }

    pub fn merge_encoded(&mut self, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        let mut checked = *bytes;
        Self::skip_encoded(&mut checked)?;
        // The same bytes again, which are known to be good now.
        let mut entries = Entries::of(bytes)?;
        self.merge_ascending(std::iter::from_fn(|| entries.next().ok().flatten()));
        *bytes = checked;
        Ok(())
    }

    pub fn skip_encoded(bytes: &mut &[u8]) -> Result<(), MalformedState> {
        let mut entries = Entries::of(bytes)?;
        while entries.next()?.is_some() {}
        *bytes = entries.bytes;
        Ok(())
    }
}

/// Encoded buckets, one after the other.
struct Entries<'a> {
    bytes: &'a [u8],
    left: u64,
    last: Option<i64>,
}

impl<'a> Entries<'a> {
    fn of(mut bytes: &'a [u8]) -> Result<Entries<'a>, MalformedState> {
        let left = varint(&mut bytes)?;
        Ok(Entries { bytes, left, last: None })
    }

    fn next(&mut self) -> Result<Option<(i32, u64)>, MalformedState> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let bucket = match self.last {
            None => signed(&mut self.bytes)?,
            Some(last) => match i64::try_from(varint(&mut self.bytes)?) {
                Ok(distance @ 1..) => last.saturating_add(distance),
                _ => return Err(MalformedState("buckets do not ascend")),
            },
        };
        let count = varint(&mut self.bytes)?;
        let Some(in_range) = i32::try_from(bucket).ok().filter(|b| b.abs() <= INFINITE && count > 0) else {
            return Err(MalformedState("a bucket is out of range or empty"));
        };
        self.last = Some(bucket);
        Ok(Some((in_range, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&x| histogram.add(Datum::Float(x)));
        histogram
    }

    fn bucket_of(x: f64) -> i32 {
        bucket(Datum::Float(x)).unwrap()
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(bucket_of(5e-324), 1);
        assert_eq!(bucket_of(f64::MAX), INFINITE - 1);
        assert_eq!((bucket_of(0.0), bucket_of(-0.0)), (0, 0));
        assert_eq!(representative(bucket_of(f64::NEG_INFINITY)), f64::NEG_INFINITY);
        assert!((representative(bucket_of(f64::MAX)) / f64::MAX - 1.0).abs() < 0.01);
        assert_eq!(bucket(Datum::Float(f64::NAN)), None);
        assert_eq!(bucket(Datum::Int(-5)), bucket(Datum::Float(-5.0)));
        assert_eq!(histogram(&[]).percentile(0.5), None);
        assert_eq!((rank(0.5, 4), rank(1.0, 4), rank(0.0, 0), rank(f64::NAN, 3)), (1, 3, 0, 0));
    }

    #[test]
    fn edges_belong_to_the_bucket_above() {
        for (i, &edge) in EDGES[..35].iter().enumerate() {
            let below = f64::from_bits(edge.to_bits() - 1);
            assert_eq!(bucket_of(edge), bucket_of(1.0) + i as i32);
            assert_eq!(bucket_of(below), bucket_of(edge) - 1);
            assert_eq!(bucket_of(edge * 4.0), bucket_of(edge) + 2 * PER_OCTAVE);
        }
    }

    proptest! {
        #[test]
        fn buckets_ascend_and_are_within_one_percent(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            if a < b {
                prop_assert!(bucket_of(a) <= bucket_of(b));
            }
            let stands_for = representative(bucket_of(a));
            prop_assert_eq!(bucket_of(-a), -bucket_of(a));
            if a.is_normal() {
                prop_assert!((stands_for - a).abs() <= 0.01 * a.abs(), "{} for {}", stands_for, a);
                prop_assert_eq!(bucket_of(stands_for), bucket_of(a));
            }
        }

        #[test]
        fn percentiles_are_within_one_percent_of_the_value_at_the_rank(
            mut values in prop::collection::vec(prop_oneof![-1e6..1e6f64, Just(0.0), any::<f64>().prop_filter("normal", |x| x.is_normal())], 1..60),
            p in 0.0..=1.0f64,
        ) {
            let got = histogram(&values).percentile(p).unwrap();
            values.sort_by(f64::total_cmp);
            let exact = values[rank(p, values.len() as u64) as usize];
            prop_assert!((got - exact).abs() <= 0.01 * exact.abs(), "{} for {}", got, exact);
        }

        #[test]
        fn any_grouping_gives_the_same_bytes(values: Vec<f64>, cut in 0..50usize, noise: Vec<u8>) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let whole = histogram(&values);
            let (mut merged, right) = (histogram(left), histogram(right));
            let mut read = merged.clone();
            merged.merge(&right);
            prop_assert_eq!(&merged, &whole);
            let mut out = Vec::new();
            right.encode(&mut out);
            out.push(7);
            let mut bytes = &out[..];
            read.merge_encoded(&mut bytes).unwrap();
            prop_assert_eq!(bytes, &[7]);
            prop_assert_eq!(&read, &whole);
            let before = read.clone();
            if read.merge_encoded(&mut &noise[..]).is_err() {
                prop_assert_eq!(read, before);
            }
        }
    }
}
