//! What the state of an entity is made of, given the aggregates that are asked of it.

use crate::window::{Class, Function, Mode, StateKind, Window};

/// One aggregate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    pub function: Function,
    pub input: Option<Input>,
    /// Which of the filters an event must pass.
    pub filter: Option<usize>,
    pub window: Window,
}

/// A column of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Its place among the columns that an event keeps.
    pub column: usize,
    pub class: Class,
}

/// What is accumulated; functions share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partial {
    pub kind: StateKind,
    pub column: Option<usize>,
    pub filter: Option<usize>,
}

/// Tiles of one width of one partial.
#[derive(Debug)]
pub(super) struct Series {
    pub partial: usize,
    /// Microseconds; `None`: one tile for all time.
    pub width: Option<i64>,
    pub windows: Vec<Window>,
}

/// One partial over one window; several measures may ask it.
#[derive(Debug)]
pub(super) struct Question {
    pub partial: usize,
    pub window: Window,
    /// `None`: from the events themselves.
    pub series: Option<usize>,
}

/// Immutable; the same measures give the same layout, so stored states can be read for ever by what defined them.
#[derive(Debug)]
pub struct Layout {
    /// Of each column that an event keeps.
    pub(super) classes: Vec<Class>,
    pub(super) partials: Vec<Partial>,
    pub(super) series: Vec<Series>,
    pub(super) questions: Vec<Question>,
    /// Per measure: its function and its question.
    pub(super) measures: Vec<(Function, usize)>,
    /// The longest exact window, µs; 0 where there is none.
    pub(super) exact: i64,
}

impl Layout {
    /// Columns and filters that an event can name.
    pub const MAX_SLOTS: usize = 64;

    /// `classes` are those of the columns that an event keeps; measures name them by place. At most
    /// [`Layout::MAX_SLOTS`] of them, and of filters.
    pub fn new(classes: Vec<Class>, measures: &[Measure]) -> Layout {
        let mut layout = Layout {
            classes,
            partials: Vec::new(),
            series: Vec::new(),
            questions: Vec::new(),
            measures: Vec::new(),
            exact: 0,
        };
        for measure in measures {
            let question = layout.question(measure);
            layout.measures.push((measure.function, question));
        }
        layout
    }

    /// How many aggregates are asked.
    pub fn measures(&self) -> usize {
        self.measures.len()
    }

    /// Events before this time (µs) count for nothing that is asked at `now` or later; `None` where all count.
    pub fn oldest(&self, now: i64) -> Option<i64> {
        self.questions.iter().map(|question| question.window.span(now).start).min().flatten()
    }

    fn question(&mut self, measure: &Measure) -> usize {
        let partial = Partial {
            kind: StateKind::of(measure.function, measure.input.map(|input| input.class)),
            column: measure.input.map(|input| input.column),
            filter: measure.filter,
        };
        let partial = position_or_push(&mut self.partials, |known| *known == partial, || partial);
        let window = measure.window;
        let series = match window.mode() {
            Mode::Exact => {
                self.exact = self.exact.max(window.length().map_or(0, |length| length.micros()));
                None
            }
            _ => {
                let width = window.tile();
                let new = || Series { partial, width, windows: Vec::new() };
                let at =
                    position_or_push(&mut self.series, |s| (s.partial, s.width) == (partial, width), new);
                if !self.series[at].windows.contains(&window) {
                    self.series[at].windows.push(window);
                }
                Some(at)
            }
        };
        let new = || Question { partial, window, series };
        position_or_push(&mut self.questions, |q| (q.partial, q.window) == (partial, window), new)
    }
}

impl Series {
    /// The tile that an event belongs to.
    pub fn tile(&self, time: i64) -> i64 {
        self.width.map_or(0, |width| time.div_euclid(width))
    }

    /// The first moment of a tile.
    pub fn start(&self, tile: i64) -> i64 {
        self.width.map_or(i64::MIN, |width| tile.saturating_mul(width))
    }

    /// The first tile that some window still reaches, at `now` or later.
    pub fn oldest(&self, now: i64) -> i64 {
        let starts = self.windows.iter().map(|window| window.span(now).start);
        match (self.width, starts.min().flatten()) {
            (Some(width), Some(start)) => start.div_euclid(width),
            _ => i64::MIN,
        }
    }
}

fn position_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    match items.iter().position(is) {
        Some(position) => position,
        None => {
            items.push(new());
            items.len() - 1
        }
    }
}
