//! Durations as definitions write them: `90s`, `5m`, `2h`, `7d`.

use std::{fmt, str::FromStr};

/// A length of time in whole microseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write a whole number and a unit: 250ms, 90s, 5m, 2h, 7d")]
pub struct ParseDurationError(pub String);

/// Unit suffixes with their microseconds, longest suffix first so that `ms` is not read as `m` + `s`.
const UNITS: [(&str, i64); 6] = [
    ("ms", 1_000),
    ("us", 1),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

impl Duration {
    pub const ZERO: Duration = Duration(0);

    pub const fn from_millis(millis: u32) -> Duration {
        Duration(millis as i64 * 1_000)
    }

    /// `None` where `micros` is negative.
    pub fn from_micros(micros: i64) -> Option<Duration> {
        (micros >= 0).then_some(Duration(micros))
    }

    pub fn micros(self) -> i64 {
        self.0
    }

    pub fn std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.unsigned_abs())
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseDurationError(text.to_owned());
        let (suffix, unit) = UNITS.iter().find(|(suffix, _)| text.ends_with(suffix)).ok_or_else(wrong)?;
        let digits = &text[..text.len() - suffix.len()];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse::<i64>().ok().and_then(|n| n.checked_mul(*unit)).map(Duration).ok_or_else(wrong)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let (suffix, unit) = UNITS
            .iter()
            .filter(|(_, unit)| self.0 % unit == 0)
            .max_by_key(|(_, unit)| *unit)
            .copied()
            .unwrap_or(("us", 1));
        write!(f, "{}{suffix}", self.0 / unit)
    }
}

crate::text::serde_as_text!(Duration);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_as_it_is_written() {
        for text in ["0s", "1us", "250ms", "90s", "5m", "2h", "7d"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        assert_eq!("24h".parse::<Duration>().unwrap(), "1d".parse().unwrap());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "h", "-2h", "2", "2 h", "1.5h", "99999999999999d", "2w"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
