//! Some of a segment's rows, each with its place among them: a bit for each row, and counts of bits on the way.

use std::ops::Range;

use arrow::buffer::{BooleanBuffer, Buffer};

/// Bits between two counts: eight words, a line of the processor's cache.
const BLOCK: usize = 512;
const WORD: usize = 64;

/// Rows are put in, then counted, then asked for.
#[derive(Default)]
pub(super) struct Picked {
    rows: usize,
    words: Vec<u64>,
    /// Rows that were put in before each block.
    before: Vec<u32>,
    len: usize,
}

impl Picked {
    /// Of a segment of so many rows. Takes no memory until the first row is put in.
    pub fn of(rows: usize) -> Picked {
        Picked { rows, ..Picked::default() }
    }

    /// False where the segment has no such row.
    #[must_use]
    pub fn put(&mut self, row: u32) -> bool {
        if row as usize >= self.rows {
            return false;
        }
        if self.words.is_empty() {
            self.words = vec![0; self.rows.div_ceil(WORD)];
        }
        self.words[row as usize / WORD] |= 1 << (row as usize % WORD);
        true
    }

    pub fn count(&mut self) {
        self.before.clear();
        self.len = 0;
        for block in self.words.chunks(BLOCK / WORD) {
            self.before.push(self.len as u32);
            self.len += block.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// How many rows that were put in come before `row`, which was put in.
    pub fn place(&self, row: u32) -> usize {
        let row = row as usize;
        let first = row / BLOCK * (BLOCK / WORD);
        let whole: u32 = self.words[first..row / WORD].iter().map(|word| word.count_ones()).sum();
        let part = self.words[row / WORD] & ((1 << (row % WORD)) - 1);
        self.before[row / BLOCK] as usize + (whole + part.count_ones()) as usize
    }

    /// Runs of blocks that have a row that was put in, ascending: what has to be read.
    pub fn stretches(&self) -> Vec<Range<usize>> {
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for (block, _) in self.blocks() {
            let (begin, end) = (block * BLOCK, self.rows.min((block + 1) * BLOCK));
            match stretches.last_mut() {
                Some(last) if last.end == begin => last.end = end,
                _ => stretches.push(begin..end),
            }
        }
        stretches
    }

    /// For each row of the stretches, end to end, whether it was put in.
    pub fn bits(&self) -> BooleanBuffer {
        let words: Vec<u64> = self.blocks().flat_map(|(_, words)| words).map(|word| word.to_le()).collect();
        BooleanBuffer::new(Buffer::from_vec(words), 0, self.stretches().iter().map(Range::len).sum())
    }

    /// Blocks that have a row that was put in.
    fn blocks(&self) -> impl Iterator<Item = (usize, &[u64])> {
        let blocks = self.words.chunks(BLOCK / WORD).enumerate();
        blocks.filter(|(_, words)| words.iter().any(|word| *word != 0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_a_sorted_set(rows in 1_usize..3000, put in proptest::collection::vec(any::<prop::sample::Index>(), 0..400)) {
            let naive: BTreeSet<usize> = put.iter().map(|index| index.index(rows)).collect();
            let mut picked = Picked::of(rows);
            prop_assert!(!picked.put(rows as u32));
            prop_assert!(put.iter().all(|index| picked.put(index.index(rows) as u32)));
            picked.count();
            prop_assert_eq!(picked.len(), naive.len());
            prop_assert_eq!(picked.is_empty(), naive.is_empty());
            for (place, &row) in naive.iter().enumerate() {
                prop_assert_eq!(picked.place(row as u32), place);
            }
            let stretches = picked.stretches();
            prop_assert!(stretches.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(stretches.iter().all(|stretch| naive.range(stretch.clone()).next().is_some()));
            let read: Vec<usize> = stretches.into_iter().flatten().collect();
            prop_assert!(read.iter().all(|row| *row < rows));
            prop_assert_eq!(picked.bits().len(), read.len());
            prop_assert!(picked.bits().set_indices().map(|at| read[at]).eq(naive));
        }
    }
}
