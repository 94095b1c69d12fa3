//! IANA time zones, for times that are written without one.

use std::{fmt, str::FromStr};

use chrono::{Days, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone as _};
use chrono_tz::Tz;

/// A zone of the IANA database, such as `UTC` or `Europe/Berlin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeZone(Tz);

/// A name that the IANA database lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time zone; use \"UTC\" or an IANA name such as \"Europe/Berlin\"")]
pub struct ParseTimeZoneError(String);

/// Instants (UTC) of one reading of a local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalInstants {
    One(NaiveDateTime),
    /// The clock was set back and showed this time twice: the earlier and the later instant.
    Two(NaiveDateTime, NaiveDateTime),
    /// The clock was set forward past this time: the instants by the offset before and the one after.
    None(NaiveDateTime, NaiveDateTime),
}

impl TimeZone {
    pub const UTC: TimeZone = TimeZone(Tz::UTC);

    /// The instants at which a clock in this zone shows `local`.
    pub fn instants(self, local: NaiveDateTime) -> LocalInstants {
        if self == TimeZone::UTC {
            return LocalInstants::One(local);
        }
        match self.0.from_local_datetime(&local) {
            MappedLocalTime::Single(time) => LocalInstants::One(time.naive_utc()),
            MappedLocalTime::Ambiguous(earlier, later) => {
                LocalInstants::Two(earlier.naive_utc(), later.naive_utc())
            }
            MappedLocalTime::None => {
                // A clock is not set forward twice within two days.
                let day_before = local.checked_sub_days(Days::new(1)).unwrap_or(local);
                let day_after = local.checked_add_days(Days::new(1)).unwrap_or(local);
                LocalInstants::None(local - self.offset_at(day_before), local - self.offset_at(day_after))
            }
        }
    }

    fn offset_at(self, instant: NaiveDateTime) -> TimeDelta {
        let offset = self.0.offset_from_utc_datetime(&instant).fix();
        TimeDelta::seconds(i64::from(offset.local_minus_utc()))
    }
}

impl FromStr for TimeZone {
    type Err = ParseTimeZoneError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = name.len() <= 64;
        let zone = known.then(|| name.parse().ok()).flatten();
        zone.map(TimeZone).ok_or_else(|| ParseTimeZoneError(name.chars().take(64).collect()))
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}
