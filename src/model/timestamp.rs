//! Times: UTC, microseconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

use crate::{ParseTimestampError, TimeForm, TimeUnit};

/// A moment, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the earliest time that is accepted.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest time that is accepted.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// Any count of microseconds, unchecked: for times that are already known to be in range.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// A number of nanoseconds, checked to be within the years 1 to 9999. Rounds towards −∞: this is the one place where
    /// digits beyond microseconds are dropped.
    pub fn from_nanos(nanos: i128) -> Option<Timestamp> {
        let micros = i64::try_from(nanos.div_euclid(1_000)).ok()?;
        Some(Timestamp(micros)).filter(|time| (Self::MIN..=Self::MAX).contains(time))
    }

    /// An integer in `unit`, checked to be within the years 1 to 9999.
    pub fn from_integer(value: i64, unit: TimeUnit) -> Result<Timestamp, ParseTimestampError> {
        Timestamp::from_nanos(i128::from(value) * i128::from(unit.nanos()))
            .ok_or_else(|| ParseTimestampError::OutOfRange(value.to_string()))
    }

    /// A text that names its zone; see [`TimeForm::text`].
    pub fn parse(text: &str) -> Result<Timestamp, ParseTimestampError> {
        TimeForm::EXPLICIT.text(text)
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
        deserializer.deserialize_any(TimestampVisitor)
    }
}

/// Takes texts, and says of a number what is missing.
struct TimestampVisitor;

impl serde::de::Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2013-01-31T12:00:00Z")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::parse(text).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Timestamp, E> {
        TimeForm::EXPLICIT.integer(number).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Timestamp, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Timestamp, E> {
        self.visit_str(&number.to_string())
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
    fn integers_are_bounded_and_rounded_down() {
        assert!(Timestamp::from_integer(i64::MAX, TimeUnit::Seconds).is_err());
        assert!(Timestamp::from_integer(i64::MAX, TimeUnit::Micros).is_err());
        assert_eq!(Timestamp::from_integer(-1, TimeUnit::Nanos).unwrap().micros(), -1);
        assert_eq!(Timestamp::from_integer(-1_000, TimeUnit::Nanos).unwrap().micros(), -1);
        assert_eq!(Timestamp::from_integer(-1_001, TimeUnit::Nanos).unwrap().micros(), -2);
        assert_eq!(Timestamp::from_integer(1_999, TimeUnit::Nanos).unwrap().micros(), 1);
    }

    #[test]
    fn json_numbers_are_refused_with_what_they_could_mean() {
        let read = |json: &str| serde_json::from_str::<Timestamp>(json).map_err(|error| error.to_string());
        assert_eq!(read("\"2024-05-01T12:00:00Z\"").unwrap().micros(), 1_714_564_800_000_000);
        assert!(read("1714564800000").unwrap_err().contains("2024-05-01T12:00:00Z in ms"));
        assert!(read("18446744073709551615").unwrap_err().contains("time_unit"));
        assert!(read("1714564800.5").unwrap_err().contains("2024-05-01T12:00:00.500Z in s"));
        assert!(read("true").unwrap_err().contains("a time such as"));
    }
}
