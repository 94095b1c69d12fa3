//! The questions of a point-in-time join, put in order once.

use std::ops::Range;

use crate::KeyIndex;

/// The questions: (key, time) pairs in order of key and time. Of use for any number of histories.
pub struct Spine {
    /// The keys asked for, ascending, end to end; key `k` is `bytes[ends[k - 1]..ends[k]]`.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Slots of key `k` are `starts[k]..starts[k + 1]`.
    starts: Vec<u32>,
    /// Per slot: the time up to which versions count, ascending within a key.
    pub(super) times: Vec<i64>,
    /// Per slot: the row of the spine.
    rows: Vec<u32>,
    spine_rows: usize,
    /// Microseconds by which `times` are before the questions' own.
    pub(super) lag: i64,
}

impl Spine {
    /// Row `i` asks for key `bytes[offsets[i]..offsets[i + 1]]` at `times[i]`; an empty key asks for nothing.
    /// A version counts from `lag` microseconds after its event time on.
    pub fn new(bytes: &[u8], offsets: &[u32], times: &[i64], lag: i64) -> Spine {
        let mut keys = KeyIndex::new();
        let mut asking: Vec<(u32, u32)> = Vec::with_capacity(times.len());
        for (row, ends) in offsets.windows(2).enumerate() {
            let key = &bytes[ends[0] as usize..ends[1] as usize];
            if !key.is_empty() {
                asking.push((keys.insert(key), row as u32));
            }
        }
        let (mut sorted, mut ends, mut ranks) = (Vec::new(), Vec::new(), vec![0; keys.len()]);
        for (rank, id) in keys.sorted().into_iter().enumerate() {
            sorted.extend_from_slice(keys.key(id));
            ends.push(sorted.len());
            ranks[id as usize] = rank;
        }
        let mut starts = vec![0u32; keys.len() + 1];
        asking.iter().for_each(|&(id, _)| starts[ranks[id as usize] + 1] += 1);
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        // Counted, so placed by key at once; what is left to sort are the few of one key.
        let mut next = starts.clone();
        let mut slots = vec![(0i64, 0u32); asking.len()];
        for (id, row) in asking {
            let slot = &mut next[ranks[id as usize]];
            slots[*slot as usize] = (times[row as usize].saturating_sub(lag), row);
            *slot += 1;
        }
        for of_key in starts.windows(2) {
            slots[of_key[0] as usize..of_key[1] as usize].sort_unstable();
        }
        Spine {
            bytes: sorted,
            ends,
            starts,
            times: slots.iter().map(|slot| slot.0).collect(),
            rows: slots.iter().map(|slot| slot.1).collect(),
            spine_rows: times.len(),
            lag,
        }
    }

    /// Rows of the spine, those that ask for nothing included.
    pub fn rows(&self) -> usize {
        self.spine_rows
    }

    /// The questions in their order, each with its row of the spine and its own time.
    pub fn questions(&self) -> impl ExactSizeIterator<Item = (usize, i64)> + Clone {
        let own = |time: i64| time.saturating_add(self.lag);
        self.rows.iter().zip(&self.times).map(move |(&row, &time)| (row as usize, own(time)))
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

        #[test]
        fn questions_come_in_order_of_key_and_time(asked in prop::collection::vec((prop::option::of(0..4u8), -9..9i64), 0..50), lag in 0..3i64) {
            let bytes: Vec<u8> = asked.iter().filter_map(|(key, _)| *key).collect();
            let mut offsets = vec![0];
            offsets.extend(asked.iter().scan(0u32, |end, (key, _)| { *end += u32::from(key.is_some()); Some(*end) }));
            let times: Vec<i64> = asked.iter().map(|(_, time)| *time).collect();
            let spine = Spine::new(&bytes, &offsets, &times, lag);
            let mut naive: Vec<(u8, i64, usize)> =
                asked.iter().enumerate().filter_map(|(row, (key, time))| Some(((*key)?, *time, row))).collect();
            naive.sort_unstable();
            prop_assert_eq!(spine.questions().collect::<Vec<_>>(), naive.iter().map(|(_, time, row)| (*row, *time)).collect::<Vec<_>>());
            prop_assert_eq!(spine.rows(), asked.len());
            for (rank, of_key) in naive.chunk_by(|a, b| a.0 == b.0).enumerate() {
                prop_assert_eq!(spine.key(rank), &[of_key[0].0]);
                prop_assert_eq!(spine.slots(rank as u32).len(), of_key.len());
            }
        }
    }
}
