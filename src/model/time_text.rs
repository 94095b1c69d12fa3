//! The grammar of times as text: RFC 3339, and the forms that other writers make of it.
//!
//! Beside RFC 3339: a space for the `T`, a space before the zone, offsets without a colon or without minutes, `UTC` for `Z`, no
//! seconds (java.time), 0 to any digits of fraction, a missing zone, a date alone, a number.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::{ParseTimestampError, TimeUnit, Timestamp, time_form::shortened};

/// A text that has the form of a time.
pub(super) enum TextTime {
    /// Nanoseconds since 1970-01-01T00:00:00Z, rounded down.
    Instant(i128),
    /// Without a zone, rounded down to the microsecond.
    Local(NaiveDateTime),
    Number,
}

/// Longer texts are not times.
const LONGEST: usize = 128;

pub(super) fn read(text: &str) -> Result<TextTime, ParseTimestampError> {
    let trimmed = text.trim_ascii();
    if trimmed.len() > LONGEST {
        return Err(ParseTimestampError::Malformed(shortened(text)));
    }
    if is_number(trimmed) {
        return Ok(TextTime::Number);
    }
    if trimmed.ends_with(']') && trimmed.contains('[') {
        return Err(ParseTimestampError::Bracketed(shortened(text)));
    }
    Scanner { bytes: trimmed.as_bytes(), at: 0 }
        .time()
        .ok_or_else(|| ParseTimestampError::Malformed(shortened(text)))
}

/// Digits, perhaps with a sign, a fraction, an exponent.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
        // 2024-05-01 has its signs between digits.
        && !unsigned.bytes().zip(unsigned.bytes().skip(1)).any(|(a, b)| a.is_ascii_digit() && matches!(b, b'+' | b'-'))
}

/// A decimal number of `unit`s, exactly, rounded down to the microsecond; none where it is no number or out of range.
pub(super) fn decimal(text: &str, unit: TimeUnit) -> Option<Timestamp> {
    let text = text.trim_ascii();
    if text.len() > 64 {
        return None;
    }
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits.clone().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut number: i128 = 0;
    let significant = digits.skip_while(|byte| *byte == b'0');
    for (count, byte) in significant.enumerate() {
        // Beyond 27 digits the product with the unit could leave the range of i128; no time has as many.
        if count >= 27 {
            return None;
        }
        number = number * 10 + i128::from(byte - b'0');
    }
    if negative {
        number = -number;
    }
    let scaled = number.checked_mul(i128::from(unit.nanos()))?;
    let power = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let nanos = match power {
        0.. => scaled.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?,
        _ => match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => scaled.div_euclid(divisor),
            None => return None,
        },
    };
    Timestamp::from_nanos(nanos)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn time(mut self) -> Option<TextTime> {
        let (year, _, month, _, day) =
            (self.number(4)?, self.take(b'-')?, self.number(2)?, self.take(b'-')?, self.number(2)?);
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        if year == 0 {
            return None;
        }
        if self.is_done() {
            return Some(TextTime::Local(date.and_time(NaiveTime::MIN)));
        }
        if !matches!(self.next()?, b'T' | b't' | b' ') {
            return None;
        }
        let (hour, _, minute) = (self.number(2)?, self.take(b':')?, self.number(2)?);
        let (mut second, mut nanos) = (0, 0);
        if self.peek() == Some(b':') {
            self.at += 1;
            second = self.number(2)?;
            if matches!(self.peek(), Some(b'.' | b',')) {
                self.at += 1;
                nanos = self.fraction()?;
            }
        }
        // RFC 3339 knows the 61st second of a minute; it is the first of the next.
        let leap = u32::from(second == 60);
        let time = NaiveTime::from_hms_micro_opt(hour, minute, second - leap, nanos / 1_000)?;
        let local = date.and_time(time).checked_add_signed(chrono::TimeDelta::seconds(i64::from(leap)))?;
        if self.is_done() {
            return Some(TextTime::Local(local));
        }
        let offset = self.zone()?;
        let micros = i128::from(local.and_utc().timestamp_micros()) - i128::from(offset) * 1_000_000;
        self.is_done().then_some(TextTime::Instant(micros * 1_000 + i128::from(nanos % 1_000)))
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Option<i32> {
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        let east = match self.next()? {
            b'Z' | b'z' => return Some(0),
            b'U' => return (self.take(b'T').is_some() && self.take(b'C').is_some()).then_some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        if self.peek() == Some(b':') {
            self.at += 1;
        }
        let minutes = if self.is_done() { 0 } else { self.number(2)? };
        (hours < 24 && minutes < 60).then(|| east * (hours * 3_600 + minutes * 60) as i32)
    }

    /// Nanoseconds; further digits are dropped.
    fn fraction(&mut self) -> Option<u32> {
        let start = self.at;
        let mut nanos = 0;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            if self.at - start < 9 {
                nanos = nanos * 10 + u32::from(digit - b'0');
            }
            self.at += 1;
        }
        let digits = u32::try_from(self.at - start).ok()?;
        (digits > 0).then(|| nanos * 10_u32.pow(9 - digits.min(9)))
    }

    /// Exactly `digits` digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let text = self.bytes.get(self.at..self.at + digits)?;
        self.at += digits;
        text.iter()
            .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }
}
