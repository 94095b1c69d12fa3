//! How times are written where the text, or the column's type, does not say: nothing is guessed.
//!
//! A number is a time only with a unit, a local time only with a zone. A view or a source declares them, or a request does.

use chrono::{NaiveDate, NaiveDateTime};

use crate::{
    ParseTimestampError, TimeUnit, TimeZone, Timestamp,
    time_error::meanings,
    time_text::{TextTime, decimal, read},
    time_zone::LocalInstants,
};

/// The unit of numbers and the zone of local times; each may be undeclared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TimeForm {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    pub time_unit: Option<TimeUnit>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_text")]
    pub time_zone: Option<TimeZone>,
}

impl TimeForm {
    /// Nothing is declared: numbers and local times are refused.
    pub const EXPLICIT: TimeForm = TimeForm { time_unit: None, time_zone: None };

    /// What this one leaves undeclared is as `other` says.
    pub fn or(self, other: TimeForm) -> TimeForm {
        TimeForm {
            time_unit: self.time_unit.or(other.time_unit),
            time_zone: self.time_zone.or(other.time_zone),
        }
    }

    /// Whether nothing is declared.
    pub fn is_explicit(&self) -> bool {
        *self == TimeForm::EXPLICIT
    }

    /// A time as text: a date and a time of day with a zone (`2024-05-01T12:00:00Z`, `2024-05-01 14:00:00.5 +02`), the
    /// same without a zone or a date alone where a zone is declared, a number where a unit is.
    pub fn text(&self, text: &str) -> Result<Timestamp, ParseTimestampError> {
        match read(text)? {
            TextTime::Instant(nanos) => {
                Timestamp::from_nanos(nanos).ok_or_else(|| ParseTimestampError::OutOfRange(shortened(text)))
            }
            TextTime::Local(local) => self.local(local, || shortened(text)),
            TextTime::Number => self.number(text),
        }
    }

    /// A number as decimal text: `1714564800.5`, `1.7145648E12`. Digits beyond the microsecond are dropped, downwards.
    pub fn number(&self, text: &str) -> Result<Timestamp, ParseTimestampError> {
        let Some(unit) = self.time_unit else {
            return Err(ParseTimestampError::NoUnit { number: shortened(text), meanings: meanings(text) });
        };
        decimal(text, unit).ok_or_else(|| ParseTimestampError::OutOfRange(shortened(text)))
    }

    /// An integer of a column or of JSON.
    pub fn integer(&self, number: i64) -> Result<Timestamp, ParseTimestampError> {
        match self.time_unit {
            Some(unit) => Timestamp::from_integer(number, unit),
            None => self.number(&number.to_string()),
        }
    }

    /// Nanoseconds on a local clock since its 1970-01-01T00:00:00, as Arrow has them without a zone.
    pub fn local_nanos(&self, nanos: i128) -> Result<Timestamp, ParseTimestampError> {
        let out_of_range = || ParseTimestampError::OutOfRange(format!("{nanos} ns"));
        let wall = Timestamp::from_nanos(nanos).ok_or_else(out_of_range)?;
        if self.time_zone == Some(TimeZone::UTC) {
            return Ok(wall);
        }
        let local = chrono::DateTime::from_timestamp_micros(wall.micros()).ok_or_else(out_of_range)?;
        self.local(local.naive_utc(), || local.naive_utc().to_string())
    }

    /// Days on a local clock since 1970-01-01: the date's midnight.
    pub fn local_days(&self, days: i64) -> Result<Timestamp, ParseTimestampError> {
        const DAY: i128 = 86_400_000_000_000;
        self.local_nanos(i128::from(days) * DAY).map_err(|error| match error {
            ParseTimestampError::NoZone(text) => {
                ParseTimestampError::NoZone(text.trim_end_matches(" 00:00:00").to_owned())
            }
            other => other,
        })
    }

    fn local(
        &self,
        local: NaiveDateTime,
        text: impl Fn() -> String,
    ) -> Result<Timestamp, ParseTimestampError> {
        let Some(zone) = self.time_zone else { return Err(ParseTimestampError::NoZone(text())) };
        let instant = |time: NaiveDateTime| Timestamp::from_micros(time.and_utc().timestamp_micros());
        match zone.instants(local) {
            LocalInstants::One(time) => Some(instant(time))
                .filter(|time| (Timestamp::MIN..=Timestamp::MAX).contains(time))
                .ok_or_else(|| ParseTimestampError::OutOfRange(text())),
            LocalInstants::Two(earlier, later) => Err(ParseTimestampError::Ambiguous {
                text: text(),
                zone,
                earlier: instant(earlier),
                later: instant(later),
            }),
            LocalInstants::None(before, after) => Err(ParseTimestampError::Skipped {
                text: text(),
                zone,
                before: instant(before),
                after: instant(after),
            }),
        }
    }
}

/// Whether a date exists; for texts of eight digits.
pub(super) fn is_date(year: i32, month: u32, day: u32) -> bool {
    (1900..2200).contains(&year) && NaiveDate::from_ymd_opt(year, month, day).is_some()
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Serde by way of `Display` and `FromStr`.
mod as_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
