//! Which events a window covers at a moment.

use std::fmt;

use larder_model::{Duration, ParseDurationError};

/// How a window's edges lie (semantics: Windows).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `[t - w, t)`, to the microsecond. Raw events are kept for the window's length.
    Exact,
    /// `[floor(t - w, hop), t)`: the start is rounded down to the hop.
    #[default]
    Sawtooth,
    /// `[floor(t, w) - w, floor(t, w))`: the last window that is complete.
    Tumbling,
    /// All events before `t`.
    Lifetime,
}

/// A window: its mode and its length, which is none for [`Mode::Lifetime`] only.
///
/// Written `{"window": "7d", "mode": "sawtooth"}` or `{"window": "lifetime"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "WindowForm", into = "WindowForm")]
pub struct Window {
    mode: Mode,
    /// Microseconds, above 0; 0 for a lifetime.
    length: i64,
}

/// The events with `start <= event_time < end` (microseconds); without a start all before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: Option<i64>,
    pub end: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("{0}; or \"lifetime\" for all events")]
    Length(#[from] ParseDurationError),
    #[error("a window must be longer than zero")]
    Zero,
    #[error("a window of {0} is too long; the longest is 3653d; write \"lifetime\" for all events")]
    TooLong(Duration),
    #[error("a lifetime has no other mode; leave `mode` out, or give the window a length")]
    Lifetime,
    #[error("lifetime is no mode of a window that has a length; write window = \"lifetime\"")]
    LifetimeMode,
}

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Ten years. Keeps the tiles of the longest sawtooth below 4,000.
const MAX_LENGTH: i64 = 3_653 * DAY;
const LIFETIME: &str = "lifetime";

impl Window {
    pub const LIFETIME: Window = Window { mode: Mode::Lifetime, length: 0 };

    /// `None` for a length of zero, or a lifetime with a length.
    pub fn new(mode: Mode, length: Duration) -> Option<Window> {
        (mode != Mode::Lifetime && length > Duration::ZERO)
            .then_some(Window { mode, length: length.micros() })
    }

    /// Reads `length`, a duration or `lifetime`; of the default mode where none is given.
    pub fn parse(length: &str, mode: Option<Mode>) -> Result<Window, WindowError> {
        if length == LIFETIME {
            return match mode {
                None | Some(Mode::Lifetime) => Ok(Window::LIFETIME),
                Some(_) => Err(WindowError::Lifetime),
            };
        }
        let (length, mode): (Duration, Mode) = (length.parse()?, mode.unwrap_or_default());
        match Window::new(mode, length) {
            _ if length.micros() > MAX_LENGTH => Err(WindowError::TooLong(length)),
            Some(window) => Ok(window),
            None if mode == Mode::Lifetime => Err(WindowError::LifetimeMode),
            None => Err(WindowError::Zero),
        }
    }

    pub fn mode(self) -> Mode {
        self.mode
    }

    /// `None` for a lifetime.
    pub fn length(self) -> Option<Duration> {
        (self.length > 0).then(|| Duration::from_micros(self.length)).flatten()
    }

    /// Width of the tiles that the window is put together from, microseconds: the hop of a sawtooth, the length of a
    /// tumbling window. `None` where it has no tiles (exact) or only one (lifetime).
    pub fn tile(self) -> Option<i64> {
        match self.mode {
            Mode::Exact | Mode::Lifetime => None,
            Mode::Tumbling => Some(self.length),
            Mode::Sawtooth if self.length < 12 * HOUR => Some(5 * MINUTE),
            Mode::Sawtooth if self.length < 12 * DAY => Some(HOUR),
            Mode::Sawtooth => Some(DAY),
        }
    }

    /// What the window covers at `t`. Both edges never move back as `t` moves on.
    pub fn span(self, t: i64) -> Span {
        let start = t.saturating_sub(self.length);
        match (self.mode, self.tile()) {
            (Mode::Lifetime, _) => Span { start: None, end: t },
            (Mode::Tumbling, _) => {
                let end = floor(t, self.length);
                Span { start: Some(end.saturating_sub(self.length)), end }
            }
            (Mode::Sawtooth, Some(hop)) => Span { start: Some(floor(start, hop)), end: t },
            (Mode::Exact | Mode::Sawtooth, _) => Span { start: Some(start), end: t },
        }
    }
}

impl fmt::Display for Window {
    /// `7d sawtooth`, `lifetime`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length() {
            Some(length) => write!(f, "{length} {}", self.mode),
            None => f.write_str(LIFETIME),
        }
    }
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Exact => "exact",
            Mode::Sawtooth => "sawtooth",
            Mode::Tumbling => "tumbling",
            Mode::Lifetime => LIFETIME,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The written form.
#[derive(serde::Serialize, serde::Deserialize)]
struct WindowForm {
    window: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
}

impl From<Window> for WindowForm {
    fn from(window: Window) -> Self {
        match window.length() {
            Some(length) => WindowForm { window: length.to_string(), mode: Some(window.mode) },
            None => WindowForm { window: LIFETIME.to_owned(), mode: None },
        }
    }
}

impl TryFrom<WindowForm> for Window {
    type Error = WindowError;

    fn try_from(form: WindowForm) -> Result<Self, WindowError> {
        Window::parse(&form.window, form.mode)
    }
}

impl Span {
    pub fn contains(self, event_time: i64) -> bool {
        event_time < self.end && self.start.is_none_or(|start| start <= event_time)
    }

    /// The span without events that were not known yet at `t` when they take `lag` microseconds to become so.
    pub fn available(self, t: i64, lag: i64) -> Span {
        match lag {
            0 => self,
            _ => Span { end: self.end.min(t.saturating_sub(lag).saturating_add(1)), ..self },
        }
    }
}

/// `t` rounded down (towards −∞) to a multiple of `step`.
pub(super) fn floor(t: i64, step: i64) -> i64 {
    t.saturating_sub(t.rem_euclid(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(mode: Mode, text: &str) -> Window {
        Window::new(mode, text.parse().unwrap()).unwrap()
    }

    #[test]
    fn edges_are_those_of_the_contract() {
        let t = 10 * DAY + 7 * HOUR + 13 * MINUTE + 1;
        let span = |mode, text| window(mode, text).span(t);
        assert_eq!(span(Mode::Exact, "1h"), Span { start: Some(t - HOUR), end: t });
        let five = 10 * DAY + 6 * HOUR + 10 * MINUTE;
        assert_eq!(span(Mode::Sawtooth, "1h"), Span { start: Some(five), end: t });
        assert_eq!(span(Mode::Sawtooth, "12h"), Span { start: Some(9 * DAY + 19 * HOUR), end: t });
        assert_eq!(span(Mode::Sawtooth, "12d"), Span { start: Some(-2 * DAY), end: t });
        assert_eq!(span(Mode::Tumbling, "1d"), Span { start: Some(9 * DAY), end: 10 * DAY });
        assert_eq!(window(Mode::Tumbling, "1d").span(-1), Span { start: Some(-2 * DAY), end: -DAY });
        assert_eq!(Window::LIFETIME.span(t), Span { start: None, end: t });
        assert_eq!(Window::new(Mode::Lifetime, "1h".parse().unwrap()), None);
        assert_eq!(Window::new(Mode::Exact, Duration::ZERO), None);
    }

    #[test]
    fn the_written_form_reads_back() {
        for (text, display) in [
            (r#"{"window":"7d","mode":"sawtooth"}"#, "7d sawtooth"),
            (r#"{"window":"90s","mode":"exact"}"#, "90s exact"),
            (r#"{"window":"1h","mode":"tumbling"}"#, "1h tumbling"),
            (r#"{"window":"lifetime"}"#, "lifetime"),
        ] {
            let window: Window = serde_json::from_str(text).unwrap();
            assert_eq!(
                (serde_json::to_string(&window).unwrap(), window.to_string()),
                (text.into(), display.into())
            );
        }
        assert_eq!(Window::parse("24h", None), Ok(window(Mode::Sawtooth, "1d")));
        assert_eq!(Window::parse("0s", None), Err(WindowError::Zero));
        assert_eq!(Window::parse("1h", Some(Mode::Lifetime)), Err(WindowError::LifetimeMode));
        assert_eq!(Window::parse("lifetime", Some(Mode::Exact)), Err(WindowError::Lifetime));
        assert!(matches!(Window::parse("a day", None), Err(WindowError::Length(_))));
        assert!(matches!(Window::parse("3654d", None), Err(WindowError::TooLong(_))));
        assert!(serde_json::from_str::<Window>(r#"{"window":"0s","mode":"exact"}"#).is_err());
    }

    #[test]
    fn the_longest_sawtooth_has_few_tiles() {
        let longest = window(Mode::Sawtooth, "3653d");
        assert_eq!(longest.length, MAX_LENGTH);
        assert!(longest.length / longest.tile().unwrap() < 4_000);
    }

    #[test]
    fn what_was_not_available_is_cut_off() {
        let span = window(Mode::Exact, "1h").span(HOUR);
        assert_eq!(span.available(HOUR, 0), span);
        // Event time + lag <= t counts.
        assert_eq!(span.available(HOUR, MINUTE).end, HOUR - MINUTE + 1);
    }

    proptest! {
        #[test]
        fn edges_never_move_back(a: i32, b: i32, hours in 1..400i64, mode in 0..3usize) {
            let mode = [Mode::Exact, Mode::Sawtooth, Mode::Tumbling][mode];
            let window = Window::new(mode, Duration::from_micros(hours * HOUR).unwrap()).unwrap();
            let (early, late) = (i64::from(a.min(b)) * MINUTE, i64::from(a.max(b)) * MINUTE);
            let (first, second) = (window.span(early), window.span(late));
            prop_assert!(first.start <= second.start && first.end <= second.end);
            prop_assert!(first.end <= early && first.start.unwrap() <= early - window.length);
        }
    }
}
