//! A window that slides over sorted events, and what a function gives at each of many moments.
//!
//! What leaves a window is taken back where that is exact, or was never needed; so each event is added and removed at
//! most once per window, or less: where two moments are so far apart that starting afresh is cheaper, it is done.

use std::ops::Range;

use crate::window::{
    Function, Output, Series, StateKind, Values, Window,
    slide_distinct::SlidingDistinct,
    slide_extreme::SlidingExtreme,
    slide_percentile::SlidingHistogram,
    state::seconds_since,
    sums::{FloatSum, IntSum, Moments},
};

/// What is kept of the events in a window as it slides on. Events are numbers of rows of a series.
pub(super) trait Contents {
    /// Another series comes.
    fn load(&mut self, _series: &Series<'_>) {}
    /// Takes back all that are held.
    fn clear(&mut self, series: &Series<'_>, held: Range<usize>);
    fn add(&mut self, series: &Series<'_>, events: Range<usize>);
    /// Takes back the oldest.
    fn remove(&mut self, series: &Series<'_>, events: Range<usize>);
    /// What `function` gives for `window`, the events added and not removed.
    fn finish(&self, series: &Series<'_>, window: Range<usize>, function: Function, t: i64) -> Output;
}

/// Slides windows over one series after the other, keeping its memory.
pub struct Slider(Sliding);

enum Sliding {
    Positions(Positions),
    IntSum(IntSum),
    FloatSum(FloatSum),
    Moments(Box<Moments>),
    Extreme(SlidingExtreme),
    Distinct(Box<SlidingDistinct>),
    Percentile(SlidingHistogram),
}

impl Slider {
    /// For functions of one kind.
    pub fn new(kind: StateKind) -> Slider {
        Slider(match kind {
            StateKind::Count | StateKind::First(_) | StateKind::Last(_) | StateKind::LastTime => {
                Sliding::Positions(Positions)
            }
            StateKind::SumInt => Sliding::IntSum(IntSum::default()),
            StateKind::SumFloat => Sliding::FloatSum(FloatSum::default()),
            StateKind::Moments => Sliding::Moments(Box::default()),
            StateKind::Min => Sliding::Extreme(SlidingExtreme::new(true)),
            StateKind::Max => Sliding::Extreme(SlidingExtreme::new(false)),
            StateKind::Distinct => Sliding::Distinct(Box::default()),
            StateKind::Percentile => Sliding::Percentile(SlidingHistogram::default()),
        })
    }

    /// Takes a series; windows of it follow.
    pub fn over<'a>(&'a mut self, series: &'a Series<'a>) -> Over<'a> {
        let contents = self.contents();
        contents.load(series);
        Over { contents, series }
    }

    fn contents(&mut self) -> &mut dyn Contents {
        match &mut self.0 {
            Sliding::Positions(contents) => contents,
            Sliding::IntSum(contents) => contents,
            Sliding::FloatSum(contents) => contents,
            Sliding::Moments(contents) => contents.as_mut(),
            Sliding::Extreme(contents) => contents,
            Sliding::Distinct(contents) => contents.as_mut(),
            Sliding::Percentile(contents) => contents,
        }
    }
}

/// A [`Slider`] over one series.
pub struct Over<'a> {
    contents: &'a mut dyn Contents,
    series: &'a Series<'a>,
}

impl Over<'_> {
    /// Gives `out(function, moment, output)` for each of `functions` at each of `moments` (microseconds; fast where
    /// they ascend). Events count from `lag` microseconds after their time on.
    pub fn slide(
        &mut self,
        window: Window,
        lag: i64,
        functions: &[Function],
        moments: &[i64],
        mut out: impl FnMut(usize, usize, Output),
    ) {
        let (series, times) = (self.series, self.series.times);
        let contents = &mut *self.contents;
        let (mut held, mut last) = (0..0, i64::MIN);
        for (moment, &t) in moments.iter().enumerate() {
            if t < last {
                contents.clear(series, held);
                held = 0..0;
            }
            last = t;
            let span = window.span(t).available(t, lag);
            let start = span.start.map_or(0, |start| seek(times, held.start, start));
            let end = seek(times, held.end, span.end).max(start);
            let moved = (start - held.start) + (end - held.end);
            if start >= held.end || moved > end - start {
                contents.clear(series, held.clone());
                contents.add(series, start..end);
            } else {
                contents.add(series, held.end..end);
                contents.remove(series, held.start..start);
            }
            held = start..end;
            for (number, &function) in functions.iter().enumerate() {
                out(number, moment, contents.finish(series, held.clone(), function, t));
            }
        }
        contents.clear(series, held);
    }
}

/// What `function` over `window` gives at each of `moments`: `out(moment, output)`. See [`Over::slide`].
pub fn slide(
    function: Function,
    window: Window,
    lag: i64,
    series: &Series<'_>,
    moments: &[i64],
    mut out: impl FnMut(usize, Output),
) {
    let class = match series.values {
        Values::None => None,
        Values::Int(_) => Some(super::Class::Int),
        Values::Float(_) => Some(super::Class::Float),
        Values::Bytes { .. } => Some(super::Class::Bytes),
    };
    let mut slider = Slider::new(StateKind::of(function, class));
    slider.over(series).slide(window, lag, &[function], moments, |_, moment, output| out(moment, output));
}

/// The first event from `from` on that is not before `bound`; fast where that is close.
fn seek(times: &[i64], from: usize, bound: i64) -> usize {
    let rest = &times[from.min(times.len())..];
    let mut stride = 1;
    while rest.get(stride - 1).is_some_and(|&time| time < bound) {
        stride *= 2;
    }
    let known = stride / 2;
    let end = stride.min(rest.len());
    from + known + rest[known..end].partition_point(|&time| time < bound)
}

/// Of functions that only ask where the window's events begin and end.
struct Positions;

impl Contents for Positions {
    fn clear(&mut self, _: &Series<'_>, _: Range<usize>) {}
    fn add(&mut self, _: &Series<'_>, _: Range<usize>) {}
    fn remove(&mut self, _: &Series<'_>, _: Range<usize>) {}

    fn finish(&self, series: &Series<'_>, window: Range<usize>, function: Function, t: i64) -> Output {
        let value = |row: usize| series.values.get(row).map_or(Output::Null, |value| value.output());
        let list = |rows: Range<usize>| Output::List(rows.map(value).collect());
        match function {
            Function::Count => Output::Int(window.len() as i64),
            _ if window.is_empty() => Output::Null,
            Function::First => value(window.start),
            Function::Last => value(window.end - 1),
            Function::FirstN { n } => list(window.start..window.end.min(window.start + n as usize)),
            Function::LastN { n } => {
                list(window.start.max(window.end.saturating_sub(n as usize))..window.end)
            }
            Function::TimeSinceLast => seconds_since(series.times[window.end - 1], t),
            _ => Output::Null,
        }
    }
}

impl Contents for IntSum {
    fn clear(&mut self, _: &Series<'_>, _: Range<usize>) {
        *self = IntSum::default();
    }

    fn add(&mut self, series: &Series<'_>, events: Range<usize>) {
        if let Values::Int(values) = series.values {
            values[events].iter().for_each(|&n| IntSum::add(self, n));
        }
    }

    fn remove(&mut self, series: &Series<'_>, events: Range<usize>) {
        if let Values::Int(values) = series.values {
            values[events].iter().for_each(|&n| IntSum::remove(self, n));
        }
    }

    fn finish(&self, _: &Series<'_>, _: Range<usize>, function: Function, _: i64) -> Output {
        if function == Function::Mean { self.mean() } else { self.sum() }
    }
}

impl Contents for FloatSum {
    fn clear(&mut self, _: &Series<'_>, _: Range<usize>) {
        FloatSum::clear(self);
    }

    fn add(&mut self, series: &Series<'_>, events: Range<usize>) {
        match series.values {
            Values::Float(values) => values[events].iter().for_each(|&x| FloatSum::add(self, x)),
            Values::Int(values) => values[events].iter().for_each(|&n| self.add_int(n)),
            Values::None | Values::Bytes { .. } => {}
        }
    }

    fn remove(&mut self, series: &Series<'_>, events: Range<usize>) {
        match series.values {
            Values::Float(values) => values[events].iter().for_each(|&x| FloatSum::remove(self, x)),
            Values::Int(values) => values[events].iter().for_each(|&n| self.remove_int(n)),
            Values::None | Values::Bytes { .. } => {}
        }
    }

    fn finish(&self, _: &Series<'_>, _: Range<usize>, function: Function, _: i64) -> Output {
        if function == Function::Mean { self.mean() } else { self.sum() }
    }
}

impl Contents for Moments {
    fn clear(&mut self, _: &Series<'_>, _: Range<usize>) {
        Moments::clear(self);
    }

    fn add(&mut self, series: &Series<'_>, events: Range<usize>) {
        events.filter_map(|row| series.values.get(row)).for_each(|value| Moments::add(self, value));
    }

    fn remove(&mut self, series: &Series<'_>, events: Range<usize>) {
        events.filter_map(|row| series.values.get(row)).for_each(|value| Moments::remove(self, value));
    }

    fn finish(&self, _: &Series<'_>, _: Range<usize>, function: Function, _: i64) -> Output {
        if function == Function::Stddev { self.stddev() } else { self.variance() }
    }
}
