//! How many different values: exact for few, HyperLogLog for many.
//!
//! Up to [`FEW`] different values are kept as 40-bit hashes and counted exactly (within collisions: one in 10⁷ sets).
//! Beyond that only the 4,096 registers that the hashes fill are kept (Flajolet et al., *HyperLogLog*, 2007), standard
//! error 1.6 %; the estimate is Ertl's improved one (*New cardinality estimation algorithms for HyperLogLog sketches*,
//! 2017, algorithm 6), which needs no thresholds. Which of the forms a set has depends on the set alone, and so does
//! what is in it.

use xxhash_rust::xxh3::xxh3_64;

use crate::window::{
    Datum,
    codec::{MalformedState, put_varint, take, varint},
};

/// The most values that are kept one by one: as many hashes as fit the bytes of all registers.
pub(super) const FEW: usize = 512;

const REGISTERS: usize = 1 << 12;
/// Bits of a hash beyond the register's number.
const TAIL: u32 = 28;
/// Ranks are 0 (nothing seen) to `TAIL` + 1.
pub(super) const RANKS: usize = TAIL as usize + 2;

/// 40 bits. −0.0 is 0.0, all NaNs are one.
pub(super) fn hash(value: Datum<'_>) -> u64 {
    let hash = match value.canonical() {
        Datum::Int(n) => xxh3_64(&n.to_le_bytes()),
        Datum::Float(x) => xxh3_64(&(x + 0.0).to_bits().to_le_bytes()),
        Datum::Bytes(bytes) => xxh3_64(bytes),
    };
    hash >> 24
}

/// The register that a hash belongs to, and its rank there, from 1.
pub(super) fn place(hash: u64) -> (usize, u8) {
    let tail = hash as u32 & ((1 << TAIL) - 1);
    ((hash >> TAIL) as usize % REGISTERS, (tail.leading_zeros() - (32 - TAIL) + 1) as u8)
}

/// A set of values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Distinct {
    /// Hashes, ascending; none once there are registers.
    few: Vec<u64>,
    many: Option<Registers>,
}

/// Per register the greatest rank seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Self {
        Registers(Box::new([0; REGISTERS]))
    }
}

impl Registers {
    fn raise(&mut self, register: usize, rank: u8) {
        if let Some(held) = self.0.get_mut(register) {
            *held = rank.max(*held);
        }
    }

    fn insert(&mut self, hash: u64) {
        let (register, rank) = place(hash);
        self.raise(register, rank);
    }

    fn estimate(&self) -> u64 {
        let mut ranks = [0; RANKS];
        self.0.iter().for_each(|&rank| ranks[usize::from(rank)] += 1);
        estimate(&ranks)
    }
}

impl Distinct {
    pub fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_none()
    }

    pub fn add(&mut self, value: Datum<'_>) {
        self.insert(hash(value));
    }

    fn insert(&mut self, hash: u64) {
        if let Some(registers) = &mut self.many {
            registers.insert(hash);
        } else if let Err(at) = self.few.binary_search(&hash) {
            self.few.insert(at, hash);
            if self.few.len() > FEW {
                self.many();
            }
        }
    }

    /// Registers from here on.
    fn many(&mut self) -> &mut Registers {
        let few = &mut self.few;
        self.many.get_or_insert_with(|| {
            let mut registers = Registers::default();
            std::mem::take(few).into_iter().for_each(|hash| registers.insert(hash));
            registers
        })
    }

    pub fn merge(&mut self, other: &Distinct) {
        other.few.iter().for_each(|&hash| self.insert(hash));
        if let Some(theirs) = &other.many {
            let mine = self.many();
            theirs.0.iter().enumerate().for_each(|(register, &rank)| mine.raise(register, rank));
        }
    }

    pub fn count(&self) -> u64 {
        self.many.as_ref().map_or(self.few.len() as u64, Registers::estimate)
    }

    /// The number of hashes and 5 bytes each; or `FEW` + 1 and 5 bits for each register.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(registers) = &self.many {
            put_varint(FEW as u64 + 1, out);
            for eight in registers.0.chunks_exact(8) {
                let bits = eight.iter().rev().fold(0u64, |bits, &rank| bits << 5 | u64::from(rank));
                out.extend_from_slice(&bits.to_le_bytes()[..5]);
            }
        } else {
            put_varint(self.few.len() as u64, out);
            self.few.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()[..5]));
        }
    }

    pub fn merge_encoded(&mut self, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        let (count, stored) = split(bytes)?;
        let fives = stored
            .chunks_exact(5)
            .map(|five| five.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte)));
        if count <= FEW as u64 {
            if !fives.clone().is_sorted_by(|a, b| a < b) {
                return Err(MalformedState("hashes of different values do not ascend"));
            }
            fives.for_each(|hash| self.insert(hash));
            return Ok(());
        }
        let ranks = fives.flat_map(|bits| (0..8).map(move |i| (bits >> (5 * i)) as u8 & 31));
        if ranks.clone().any(|rank| usize::from(rank) >= RANKS) {
            return Err(MalformedState("a register's rank is too high"));
        }
        let mine = self.many();
        ranks.enumerate().for_each(|(register, rank)| mine.raise(register, rank));
        Ok(())
    }

    pub fn skip_encoded(bytes: &mut &[u8]) -> Result<(), MalformedState> {
        split(bytes).map(|_| ())
    }
}

/// The number of hashes, or more than [`FEW`], and the bytes that follow it.
fn split<'a>(bytes: &mut &'a [u8]) -> Result<(u64, &'a [u8]), MalformedState> {
    let count = varint(bytes)?;
    let length = match count {
        0..=512 => count * 5,
        513 => REGISTERS as u64 * 5 / 8,
        _ => return Err(MalformedState("too many hashes of different values")),
    };
    Ok((count, take(bytes, length)?))
}

/// The number of values, from how many registers have each rank.
pub(super) fn estimate(ranks: &[u32; RANKS]) -> u64 {
    let all = REGISTERS as f64;
    let mut z = all * tau(1.0 - f64::from(ranks[RANKS - 1]) / all);
    for &count in ranks[1..RANKS - 1].iter().rev() {
        z = 0.5 * (z + f64::from(count));
    }
    z += all * sigma(f64::from(ranks[0]) / all);
    (all * all / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
}

/// Σ over empty registers: x + Σ 2^(k−1) · x^(2^k).
fn sigma(mut x: f64) -> f64 {
    let (mut y, mut z) = (1.0, x);
    while x < 1.0 {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
    f64::INFINITY
}

/// The same for full registers.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(values: impl IntoIterator<Item = i64>) -> Distinct {
        let mut set = Distinct::default();
        values.into_iter().for_each(|n| set.add(Datum::Int(n)));
        set
    }

    #[test]
    fn few_are_exact_and_many_within_the_error() {
        for n in [0, 1, 2, 50, 500, 512] {
            assert_eq!(set((0..n).chain(0..n)).count(), n as u64);
        }
        // Three standard errors; the hashes are always the same, so this never fails by chance.
        for n in [513, 1000, 5000, 20_000, 100_000, 1_000_000] {
            for seed in 0..3i64 {
                let got = set((0..n).map(|i| i + (seed << 40))).count() as f64;
                assert!((got / n as f64 - 1.0).abs() < 0.049, "{got} for {n}");
            }
        }
    }

    #[test]
    fn equal_values_are_one() {
        let mut distinct = Distinct::default();
        let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
        for x in [0.0, -0.0, f64::NAN, negative_nan, 1.0] {
            distinct.add(Datum::Float(x));
        }
        assert_eq!(distinct.count(), 3);
        for text in [&b"a"[..], b"", b"a"] {
            distinct.add(Datum::Bytes(text));
        }
        assert_eq!(distinct.count(), 5);
    }

    #[test]
    fn full_registers_give_a_number() {
        let mut ranks = [0; RANKS];
        ranks[RANKS - 1] = REGISTERS as u32;
        assert!(estimate(&ranks) > 1 << 40);
        ranks = [0; RANKS];
        ranks[0] = REGISTERS as u32;
        assert_eq!(estimate(&ranks), 0);
        ranks[RANKS - 1] = 1;
        ranks[0] -= 1;
        assert_eq!(estimate(&ranks), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_set_has_one_form_however_it_came_together(
            counts in prop::collection::vec(0..400i64, 1..5),
            steps in prop::collection::vec(1..9i64, 5),
            noise: Vec<u8>,
        ) {
            let parts: Vec<Distinct> = counts.iter().zip(&steps).map(|(n, step)| set((0..*n).map(|i| i * step))).collect();
            let whole = set(counts.iter().zip(&steps).flat_map(|(n, step)| (0..*n).map(move |i| i * step)));
            let (mut merged, mut read) = (Distinct::default(), Distinct::default());
            for part in parts.iter().rev() {
                merged.merge(part);
                let mut out = Vec::new();
                part.encode(&mut out);
                let mut bytes = &out[..];
                read.merge_encoded(&mut bytes).unwrap();
                prop_assert!(bytes.is_empty());
                let mut bytes = &out[..];
                Distinct::skip_encoded(&mut bytes).unwrap();
                prop_assert!(bytes.is_empty() && read.merge_encoded(&mut &out[..out.len() - 1]).is_err());
            }
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(&read, &whole);
            let _ = read.merge_encoded(&mut &noise[..]);
        }
    }
}
