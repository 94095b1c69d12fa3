//! Times: UTC, microseconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

/// A moment, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// How an integer timestamp is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimeUnit {
    Seconds,
    Millis,
    #[default]
    Micros,
    Nanos,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimestampError {
    #[error("`{0}` has no time zone; write UTC as 2013-01-31T12:00:00Z, or an offset as +02:00")]
    NoZone(String),
    #[error("`{0}` is not an RFC 3339 time such as 2013-01-31T12:00:00Z")]
    Malformed(String),
    #[error("{0} is outside the years 0001 to 9999")]
    OutOfRange(String),
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the earliest time that is accepted.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest time that is accepted.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// Any count of microseconds, unchecked: for times that are already known to be in range.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// An integer in `unit`, checked to be within the years 1 to 9999. Nanoseconds round towards −∞.
    pub fn from_integer(value: i64, unit: TimeUnit) -> Result<Timestamp, ParseTimestampError> {
        let micros = match unit {
            TimeUnit::Seconds => value.checked_mul(1_000_000),
            TimeUnit::Millis => value.checked_mul(1_000),
            TimeUnit::Micros => Some(value),
            TimeUnit::Nanos => Some(value.div_euclid(1_000)),
        };
        micros
            .map(Timestamp)
            .filter(|t| (Self::MIN..=Self::MAX).contains(t))
            .ok_or_else(|| ParseTimestampError::OutOfRange(value.to_string()))
    }

    /// An RFC 3339 string; a zone is required.
    pub fn parse(text: &str) -> Result<Timestamp, ParseTimestampError> {
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Self::from_integer(time.timestamp_micros(), TimeUnit::Micros)
                .map_err(|_| ParseTimestampError::OutOfRange(text.to_owned())),
            Err(_) if DateTime::parse_from_rfc3339(&format!("{text}Z")).is_ok() => {
                Err(ParseTimestampError::NoZone(text.to_owned()))
            }
            Err(_) => Err(ParseTimestampError::Malformed(text.to_owned())),
        }
    }

    pub const fn micros(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with as many digits of the second as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Timestamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_in_and_out() {
        let time = Timestamp::parse("2013-01-01T02:00:00.5+02:00").unwrap();
        assert_eq!(time.micros(), 1_356_998_400_500_000);
        assert_eq!(time.to_string(), "2013-01-01T00:00:00.500Z");
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59.999999Z").unwrap().micros(), -1);
    }

    #[test]
    fn a_time_without_a_zone_is_refused_and_named_so() {
        assert!(matches!(Timestamp::parse("2013-01-01T00:00:00"), Err(ParseTimestampError::NoZone(_))));
        assert!(matches!(Timestamp::parse("yesterday"), Err(ParseTimestampError::Malformed(_))));
    }

    #[test]
    fn integers_are_bounded() {
        assert!(Timestamp::from_integer(i64::MAX, TimeUnit::Seconds).is_err());
        assert!(Timestamp::from_integer(i64::MAX, TimeUnit::Micros).is_err());
        assert_eq!(Timestamp::from_integer(-1, TimeUnit::Nanos).unwrap().micros(), -1);
    }
}
