//! The questions of a point-in-time join, put in order once.

use std::ops::Range;

use crate::compute::KeyIndex;

/// The questions: (key, time) pairs in order of key and time.
pub struct Spine {
    /// The keys asked for, ascending, end to end; key `k` is `bytes[ends[k - 1]..ends[k]]`.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Slots of key `k` are `starts[k]..starts[k + 1]`.
    starts: Vec<u32>,
    /// Per slot: the time up to which versions count, ascending within a key.
    pub(super) times: Vec<i64>,
    /// Per slot: the row of the spine.
    pub(super) rows: Vec<u32>,
    pub(super) spine_rows: usize,
    /// Microseconds by which `times` are before the questions' own.
    pub(super) lag: i64,
}

impl Spine {
    /// Row `i` asks for key `bytes[offsets[i]..offsets[i + 1]]` at `times[i]`; an empty key asks for nothing.
    /// A version counts from `lag` microseconds after its event time on.
    pub fn new(bytes: &[u8], offsets: &[u32], times: &[i64], lag: i64) -> Spine {
        let mut keys = KeyIndex::new();
        let mut slots: Vec<(u32, i64, u32)> = Vec::with_capacity(times.len());
        for (row, (ends, &time)) in offsets.windows(2).zip(times).enumerate() {
            let key = &bytes[ends[0] as usize..ends[1] as usize];
            if !key.is_empty() {
                slots.push((keys.insert(key), time.saturating_sub(lag), row as u32));
            }
        }
        let (mut sorted, mut ends, mut ranks) = (Vec::new(), Vec::new(), vec![0; keys.len()]);
        for (rank, id) in keys.sorted().into_iter().enumerate() {
            sorted.extend_from_slice(keys.key(id));
            ends.push(sorted.len());
            ranks[id as usize] = rank as u32;
        }
        for slot in &mut slots {
            slot.0 = ranks[slot.0 as usize];
        }
        slots.sort_unstable();
        let mut starts = vec![0u32; keys.len() + 1];
        for &(key, ..) in &slots {
            starts[key as usize + 1] += 1;
        }
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        Spine {
            bytes: sorted,
            ends,
            starts,
            times: slots.iter().map(|slot| slot.1).collect(),
            rows: slots.iter().map(|slot| slot.2).collect(),
            spine_rows: times.len(),
            lag,
        }
    }

    /// No version with a later event time is wanted; `None` when nothing is.
    pub fn latest(&self) -> Option<i64> {
        self.times.iter().copied().max()
    }

    /// Whether some row asks for a key in `low..=high`; bounds may be a leading part of the keys only.
    pub fn asks_within(&self, low: &[u8], high: &[u8]) -> bool {
        let first = self.first_not_below(low, 0);
        first < self.ends.len() && {
            let key = self.key(first);
            key <= high || key.starts_with(high)
        }
    }

    /// How many different keys are asked for.
    pub(super) fn keys(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn key(&self, rank: usize) -> &[u8] {
        let start = if rank == 0 { 0 } else { self.ends[rank - 1] };
        &self.bytes[start..self.ends[rank]]
    }

    /// The rank of the first key that is not below `key`; fast when that is close above `near`.
    pub(super) fn first_not_below(&self, key: &[u8], near: usize) -> usize {
        let count = self.ends.len();
        let below = |rank: usize| self.key(rank) < key;
        let (mut low, mut high) = (0, near.min(count));
        if high == 0 || below(high - 1) {
            let mut stride = 1;
            low = high;
            while low + stride <= count && below(low + stride - 1) {
                low += stride;
                stride *= 2;
            }
            high = (low + stride).min(count);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if below(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    pub(super) fn slots(&self, key: u32) -> Range<usize> {
        self.starts[key as usize] as usize..self.starts[key as usize + 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_without_questions_is_recognised(keys: Vec<[u8; 2]>, low: [u8; 2], high: [u8; 2]) {
            let offsets: Vec<u32> = (0..=keys.len() as u32).map(|i| i * 2).collect();
            let spine = Spine::new(&keys.concat(), &offsets, &vec![0; keys.len()], 0);
            let asked = |low: &[u8], high: &[u8]| keys.iter().any(|k| &k[..] >= low && (&k[..] <= high || k.starts_with(high)));
            prop_assert_eq!(spine.asks_within(&low, &high), asked(&low, &high));
            prop_assert_eq!(spine.asks_within(&low[..1], &high[..1]), asked(&low[..1], &high[..1]));
        }
    }
}
