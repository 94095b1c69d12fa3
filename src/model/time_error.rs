//! Why something is not a time, and what would be right.

use std::fmt::Write as _;

use crate::{TimeUnit, TimeZone, Timestamp, time_form::is_date, time_text::decimal};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimestampError {
    #[error(
        "`{0}` has no time zone; write it by RFC 3339, as 2013-01-31T12:00:00Z or with an offset as +02:00, or declare `time_zone` (\"UTC\" or an \
         IANA name) on the view or source, or in the request"
    )]
    NoZone(String),
    #[error(
        "`{number}` is a number without a unit{meanings}; declare `time_unit` (\"s\", \"ms\", \"us\" or \"ns\") on the view or \
         source, or in the request"
    )]
    NoUnit {
        number: String,
        /// Begins with `: ` where the number means something plausible in any unit.
        meanings: String,
    },
    #[error(
        "`{text}` was shown twice by clocks in {zone}, which were set back: it is {earlier} or {later}; write the one that is meant"
    )]
    Ambiguous { text: String, zone: TimeZone, earlier: Timestamp, later: Timestamp },
    #[error(
        "`{text}` was skipped by clocks in {zone}, which were set forward: it is {before} by the offset before, {after} by the one \
         after; write the one that is meant"
    )]
    Skipped { text: String, zone: TimeZone, before: Timestamp, after: Timestamp },
    #[error(
        "`{0}` has a suffix in brackets, which is not read; leave it out and keep the offset, as in 2013-01-31T12:00:00+01:00"
    )]
    Bracketed(String),
    #[error("`{0}` is not an RFC 3339 time such as 2013-01-31T12:00:00Z")]
    Malformed(String),
    #[error("{0} is outside the years 0001 to 9999")]
    OutOfRange(String),
}

/// Meanings between 1900 and 2200 count as plausible.
const PLAUSIBLE: (Timestamp, Timestamp) =
    (Timestamp::from_micros(-2_208_988_800_000_000), Timestamp::from_micros(7_258_118_400_000_000));

/// `: it would be 2024-05-01T12:00:00Z in ms, 1970-01-20T… in us`, with what else digits may be meant as; or nothing.
pub(super) fn meanings(number: &str) -> String {
    let mut text = String::new();
    for unit in TimeUnit::ALL {
        let Some(time) = decimal(number, unit) else { continue };
        if (PLAUSIBLE.0..PLAUSIBLE.1).contains(&time) {
            let before = if text.is_empty() { ": it would be " } else { ", " };
            let _ = write!(text, "{before}{time} in {unit}");
        }
    }
    let part = |range: std::ops::Range<usize>| number.get(range).and_then(|part| part.parse::<u32>().ok());
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let date = match (digits, number.len()) {
        (true, 8) => part(0..4).zip(part(4..6)).zip(part(6..8)),
        (true, 4) => part(0..4).map(|year| ((year, 1), 1)),
        _ => None,
    };
    if let Some(((year, month), day)) = date
        && is_date(year as i32, month, day)
    {
        let what = if number.len() == 8 { "date" } else { "year" };
        let before = if text.is_empty() { ": " } else { "; " };
        let _ = write!(text, "{before}if it is a {what}, write {year:04}-{month:02}-{day:02}T00:00:00Z");
    }
    text
}
