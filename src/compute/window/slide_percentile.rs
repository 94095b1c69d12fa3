//! Percentiles of a sliding window, from the buckets of `percentile.rs`.

use std::ops::Range;

use crate::window::{
    Function, Output, Series,
    percentile::{bucket, rank, representative},
    slide::Contents,
};

const NAN: u32 = u32::MAX;

/// How many of the window's values each bucket has, as a Fenwick tree over the buckets that the series uses: a count
/// is changed, and a rank found, in logarithmic time.
#[derive(Default)]
pub(super) struct SlidingHistogram {
    /// Buckets that the series uses, ascending.
    buckets: Vec<i32>,
    /// Per event the place of its bucket.
    places: Vec<u32>,
    /// `tree[i]` has the counts of as many buckets up to `i` as the lowest set bit of `i + 1` says.
    tree: Vec<u32>,
    total: u64,
}

impl SlidingHistogram {
    fn change(&mut self, events: Range<usize>, by: i32) {
        for &place in &self.places[events] {
            if place != NAN {
                self.total = self.total.saturating_add_signed(i64::from(by));
                let mut at = place as usize;
                while let Some(count) = self.tree.get_mut(at) {
                    *count = count.saturating_add_signed(by);
                    at |= at + 1;
                }
            }
        }
    }

    /// The bucket of the value at `rank`, which is below the total.
    fn select(&self, mut rank: u64) -> Option<i32> {
        let mut at = 0;
        let mut step = self.tree.len().checked_ilog2().map_or(0, |log| 1 << log);
        while step > 0 {
            if let Some(&count) = self.tree.get(at + step - 1)
                && u64::from(count) <= rank
            {
                rank -= u64::from(count);
                at += step;
            }
            step /= 2;
        }
        self.buckets.get(at).copied()
    }
}

impl Contents for SlidingHistogram {
    fn load(&mut self, series: &Series<'_>) {
        let found = (0..series.times.len()).map(|row| series.values.get(row).and_then(bucket));
        self.buckets.clear();
        self.buckets.extend(found.clone().flatten());
        self.buckets.sort_unstable();
        self.buckets.dedup();
        self.places.clear();
        let place = |bucket: i32| self.buckets.binary_search(&bucket).map_or(NAN, |place| place as u32);
        self.places.extend(found.map(|bucket| bucket.map_or(NAN, place)));
        self.tree.clear();
        self.total = 0;
        self.tree.resize(self.buckets.len(), 0);
    }

    fn clear(&mut self, _: &Series<'_>, held: Range<usize>) {
        if held.len() < self.tree.len() {
            self.change(held, -1);
        } else {
            self.tree.fill(0);
            self.total = 0;
        }
    }

    fn add(&mut self, _: &Series<'_>, events: Range<usize>) {
        self.change(events, 1);
    }

    fn remove(&mut self, _: &Series<'_>, events: Range<usize>) {
        self.change(events, -1);
    }

    fn finish(&self, _: &Series<'_>, _: Range<usize>, function: Function, _: i64) -> Output {
        let Function::ApproxPercentile { p } = function else { return Output::Null };
        match self.total {
            0 => Output::Null,
            total => self.select(rank(p, total)).map_or(Output::Null, |it| Output::Float(representative(it))),
        }
    }
}
