//! The least or greatest value of a sliding window.

use std::ops::Range;

use crate::window::{Function, Output, Series, Values, slide::Contents};

/// Events that may still become the extreme, in order of time and from best to worst: a monotonic queue. Whatever is
/// no better than a later one never will.
#[derive(Default)]
pub(super) struct SlidingExtreme {
    least: bool,
    queue: Vec<u32>,
    /// Those before it have left the window.
    front: usize,
}

impl SlidingExtreme {
    pub fn new(least: bool) -> SlidingExtreme {
        SlidingExtreme { least, ..SlidingExtreme::default() }
    }

    fn push<K: Ord>(&mut self, events: Range<usize>, key: impl Fn(usize) -> K) {
        for event in events {
            let new = key(event);
            while let [.., last] = self.queue[self.front..]
                && (if self.least { key(last as usize) >= new } else { key(last as usize) <= new })
            {
                self.queue.pop();
            }
            self.queue.push(event as u32);
        }
    }
}

/// Integers in the order of the numbers: −0.0 before 0.0, NaN last (see `Datum::order`).
fn ascending(x: f64) -> i64 {
    let bits = if x.is_nan() { f64::NAN } else { x }.to_bits().cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

impl Contents for SlidingExtreme {
    fn clear(&mut self, _: &Series<'_>, _: Range<usize>) {
        self.queue.clear();
        self.front = 0;
    }

    fn add(&mut self, series: &Series<'_>, events: Range<usize>) {
        match series.values {
            Values::Int(values) => self.push(events, |row| values[row]),
            Values::Float(values) => self.push(events, |row| ascending(values[row])),
            Values::Bytes { offsets, data } => {
                self.push(events, |row| &data[offsets[row] as usize..offsets[row + 1] as usize]);
            }
            Values::None => {}
        }
    }

    fn remove(&mut self, _: &Series<'_>, events: Range<usize>) {
        while self.queue.get(self.front).is_some_and(|&event| (event as usize) < events.end) {
            self.front += 1;
        }
    }

    fn finish(&self, series: &Series<'_>, _: Range<usize>, _: Function, _: i64) -> Output {
        let best = self.queue.get(self.front).and_then(|&event| series.values.get(event as usize));
        best.map_or(Output::Null, |value| value.output())
    }
}
