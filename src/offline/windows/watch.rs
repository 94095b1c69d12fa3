//! A closer look at the events behind an answer: which they are, and when they were accepted.
//!
//! The kernel slides over events that are all there from their time on. Here each event begins for a question only once it
//! was accepted: questions that see the same events are taken together, so that where events came in time, which is
//! nearly always, the kernel slides as it does without.

use std::ops::Range;

use crate::{
    compute::window::{Function, Output, Series, Slider, Span, Values, Window},
    offline::windows::events::ColumnValues,
};

/// Is shown every window that is answered.
pub trait Watch: Sync {
    /// The answer of these aggregations of a grouping at one moment. May be called from any thread, in any order.
    fn window(&self, grouping: usize, aggregations: &[usize], window: &Watched<'_>);
}

/// A window over the events of an entity.
pub struct Watched<'a> {
    pub t: i64,
    pub span: Span,
    /// All events of the entity that some window can see, by (time, seq).
    pub series: Series<'a>,
    /// When each of them was accepted.
    pub accepted: &'a [i64],
    /// Those that are in the window.
    pub within: Range<usize>,
    /// Those that would be, had the source no lag.
    pub held_back: Range<usize>,
}

/// One entity's events in one window.
pub(super) struct Closely<'a> {
    pub series: &'a Series<'a>,
    pub accepted: &'a [i64],
    pub window: Window,
    pub lag: i64,
}

impl Closely<'_> {
    /// The span at `t`, the events in it, and those that the lag holds back.
    fn at(&self, t: i64) -> (Span, Range<usize>, Range<usize>) {
        let whole = self.window.span(t);
        let span = whole.available(t, self.lag);
        let before = |time: i64| self.series.times.partition_point(|&at| at < time);
        let start = span.start.map_or(0, before);
        let end = before(span.end).max(start);
        (span, start..end, end..before(whole.end).max(end))
    }

    pub fn show(&self, watch: &dyn Watch, grouping: usize, aggregations: &[usize], moments: &[i64]) {
        for &t in moments {
            let (span, within, held_back) = self.at(t);
            let (series, accepted) = (*self.series, self.accepted);
            watch.window(grouping, aggregations, &Watched { t, span, series, accepted, within, held_back });
        }
    }

    /// Gives `out(function, output)` for each moment, moments in their order, of the events accepted by then.
    pub fn slide(
        &self,
        slider: &mut Slider,
        functions: &[Function],
        moments: &[i64],
        mut out: impl FnMut(usize, Output),
    ) {
        let mut sorted = self.accepted.to_vec();
        sorted.sort_unstable();
        // None: the window's events had all been accepted. Else how many of all events had.
        let known = |t: i64| {
            let (_, within, _) = self.at(t);
            let late = self.accepted[within].iter().any(|&at| at > t);
            late.then(|| sorted.partition_point(|&at| at <= t))
        };
        let mut from = 0;
        while from < moments.len() {
            let events = known(moments[from]);
            let rest = &moments[from + 1..];
            let run = 1 + rest.iter().take_while(|&&t| known(t) == events).count();
            let asked = &moments[from..from + run];
            match events {
                None => {
                    let mut over = slider.over(self.series);
                    over.slide(self.window, self.lag, functions, asked, |function, _, output| {
                        out(function, output)
                    });
                }
                Some(_) => {
                    let (first, last) = (asked[0], asked[asked.len() - 1]);
                    // Moments ascend, and with them the window's edges.
                    let seen = self.at(first).1.start..self.at(last).1.end;
                    let there = Accepted::of(self.series, seen.filter(|&row| self.accepted[row] <= first));
                    let series = there.series();
                    let mut over = slider.over(&series);
                    over.slide(self.window, self.lag, functions, asked, |function, _, output| {
                        out(function, output)
                    });
                }
            }
            from += run;
        }
    }
}

/// Some of the events of a series.
struct Accepted {
    times: Vec<i64>,
    seqs: Vec<i64>,
    values: Option<ColumnValues>,
}

impl Accepted {
    fn of(series: &Series<'_>, rows: impl Iterator<Item = usize>) -> Accepted {
        let rows: Vec<usize> = rows.collect();
        let pick = |values: &[i64]| rows.iter().map(|&row| values[row]).collect();
        Accepted {
            times: pick(series.times),
            seqs: if series.seqs.is_empty() { Vec::new() } else { pick(series.seqs) },
            values: match series.values {
                Values::None => None,
                Values::Int(values) => Some(ColumnValues::Int(pick(values))),
                Values::Float(values) => {
                    Some(ColumnValues::Float(rows.iter().map(|&row| values[row]).collect()))
                }
                Values::Bytes { offsets, data } => {
                    let mut picked = ColumnValues::Bytes { offsets: vec![0], data: Vec::new() };
                    if let ColumnValues::Bytes { offsets: ends, data: to } = &mut picked {
                        for &row in &rows {
                            to.extend_from_slice(&data[offsets[row] as usize..offsets[row + 1] as usize]);
                            ends.push(to.len() as u32);
                        }
                    }
                    Some(picked)
                }
            },
        }
    }

    fn series(&self) -> Series<'_> {
        let values = self.values.as_ref().map_or(Values::None, |values| values.slice(0, self.times.len()));
        Series { times: &self.times, seqs: &self.seqs, values }
    }
}
