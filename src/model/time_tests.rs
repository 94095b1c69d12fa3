//! Times as other writers make them, against values taken from their own documentation and a naive reference.

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

use crate::{ParseTimestampError, TimeForm, TimeUnit, TimeZone, Timestamp};

fn form(unit: Option<&str>, zone: Option<&str>) -> TimeForm {
    TimeForm {
        time_unit: unit.map(|unit| unit.parse().unwrap()),
        time_zone: zone.map(|zone| zone.parse().unwrap()),
    }
}

fn read(text: &str) -> Result<String, String> {
    Timestamp::parse(text).map(|time| time.to_string()).map_err(|error| error.to_string())
}

#[test]
fn zones_as_other_writers_write_them() {
    for text in [
        "2024-05-01T12:00:00Z",
        "2024-05-01t12:00:00z",
        "2024-05-01 12:00:00Z",
        "2024-05-01 12:00:00+00:00",
        "2024-05-01 12:00:00 +00",
        "2024-05-01 12:00:00+00",
        "2024-05-01T12:00:00+0000",
        "2024-05-01T12:00:00.000000000Z",
        "2024-05-01 12:00:00 UTC",
        "2024-05-01T12:00Z",
        "2024-05-01 14:00:00.0+02",
        "2024-05-01T06:30:00-0530",
        "2024-05-01T12:00:00-00:00",
    ] {
        assert_eq!(read(text).as_deref(), Ok("2024-05-01T12:00:00Z"), "{text}");
    }
}

#[test]
fn fractions_are_rounded_down_whatever_their_sign() {
    assert_eq!(read("2024-05-01T12:00:00.123456789Z").unwrap(), "2024-05-01T12:00:00.123456Z");
    assert_eq!(read("1969-12-31T23:59:59.9999999Z").unwrap(), "1969-12-31T23:59:59.999999Z");
    assert_eq!(read("2024-05-01T12:00:00.9999999999999Z").unwrap(), "2024-05-01T12:00:00.999999Z");
    let seconds = form(Some("s"), None);
    assert_eq!(seconds.text("-0.0000001").unwrap().micros(), -1);
    assert_eq!(seconds.text("1714564800.1234567").unwrap().micros(), 1_714_564_800_123_456);
    assert_eq!(form(Some("ms"), None).text("1.7145648E12").unwrap().to_string(), "2024-05-01T12:00:00Z");
    assert_eq!(form(Some("ns"), None).integer(-1).unwrap().micros(), -1);
}

#[test]
fn malformed_texts_are_refused() {
    for text in [
        "",
        "yesterday",
        "2024-13-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T12:60:00Z",
        "2024-05-01T12:00:61Z",
        "2024-05-01T12:00:00.Z",
        "2024-05-01T12:00:00+24:00",
        "2024-05-01T12:00:00+01:60",
        "2024-05-01T12:00:00Zulu",
        "0000-01-01T00:00:00Z",
        "24-05-01T12:00:00Z",
        "2024-5-1T12:00:00Z",
        "12024-05-01T12:00:00Z",
        "2024-05-01T12:00:00 Europe/Berlin",
        "NaT",
        "nan",
        "-",
        "1e",
        "2024-05-01T1２:00:00Z",
    ] {
        assert!(Timestamp::parse(text).is_err(), "{text}");
    }
    assert!(matches!(
        Timestamp::parse("2024-05-01T12:00:00+02:00[Europe/Berlin]"),
        Err(ParseTimestampError::Bracketed(_))
    ));
    assert_eq!(read("2016-12-31T23:59:60Z").unwrap(), "2017-01-01T00:00:00Z", "a leap second");
    assert!(matches!(Timestamp::parse("9999-12-31T23:59:59-01:00"), Err(ParseTimestampError::OutOfRange(_))));
}

#[test]
fn numbers_are_never_guessed() {
    let said = read("1714564800000").unwrap_err();
    assert!(
        said.contains("2024-05-01T12:00:00Z in ms") && said.contains("1970-01-20T20:16:04.800Z in us"),
        "{said}"
    );
    assert!(!said.contains(" in s,"), "the year 56302 is not plausible: {said}");
    assert!(read("20240501").unwrap_err().contains("if it is a date, write 2024-05-01T00:00:00Z"));
    assert!(read("2024").unwrap_err().contains("if it is a year, write 2024-01-01T00:00:00Z"));
    assert!(read("99999999999999999999999").unwrap_err().contains("time_unit"));
    assert_eq!(form(Some("s"), None).text("1714564800").unwrap().to_string(), "2024-05-01T12:00:00Z");
    assert!(form(None, Some("UTC")).text("1714564800").is_err());
}

#[test]
fn times_without_a_zone_are_never_guessed() {
    assert!(read("2024-05-01 12:00:00").unwrap_err().contains("time_zone"));
    assert!(read("2024-05-01").unwrap_err().contains("time_zone"));
    let berlin = form(None, Some("Europe/Berlin"));
    assert_eq!(berlin.text("2024-05-01 14:00:00").unwrap().to_string(), "2024-05-01T12:00:00Z");
    assert_eq!(berlin.text("2024-05-01").unwrap().to_string(), "2024-04-30T22:00:00Z");
    assert_eq!(
        berlin.text("2024-05-01T12:00:00Z").unwrap().to_string(),
        "2024-05-01T12:00:00Z",
        "a zone wins"
    );
    assert_eq!(berlin.local_days(19_844).unwrap().to_string(), "2024-04-30T22:00:00Z");
    assert_eq!(form(None, Some("UTC")).local_nanos(-1).unwrap().micros(), -1);
    assert!(TimeForm::EXPLICIT.local_days(0).unwrap_err().to_string().contains("`1970-01-01`"));
}

#[test]
fn ambiguous_and_skipped_times_are_refused_with_both_candidates() {
    let berlin = form(None, Some("Europe/Berlin"));
    let said = berlin.text("2023-10-29 02:30:00").unwrap_err().to_string();
    assert!(said.contains("2023-10-29T00:30:00Z") && said.contains("2023-10-29T01:30:00Z"), "{said}");
    let said = berlin.text("2024-03-31 02:30:00").unwrap_err().to_string();
    assert!(said.contains("2024-03-31T01:30:00Z") && said.contains("2024-03-31T00:30:00Z"), "{said}");
    assert!(berlin.text("2024-03-31 03:00:00").is_ok());
}

#[test]
fn names_of_units_and_zones() {
    assert!("weeks".parse::<TimeUnit>().unwrap_err().to_string().contains("\"ms\""));
    assert!("Mars/Base".parse::<TimeZone>().unwrap_err().to_string().contains("Europe/Berlin"));
    let form = form(Some("ms"), Some("Europe/Berlin"));
    let json = serde_json::to_string(&form).unwrap();
    assert_eq!(json, r#"{"time_unit":"ms","time_zone":"Europe/Berlin"}"#);
    assert_eq!(serde_json::from_str::<TimeForm>(&json).unwrap(), form);
    assert_eq!(serde_json::from_str::<TimeForm>("{}").unwrap(), TimeForm::EXPLICIT);
    assert_eq!(TimeForm::EXPLICIT.or(form), form);
}

proptest! {
    /// Written by chrono with any number of digits and any offset, it is read as what it was, rounded down.
    #[test]
    fn texts_agree_with_a_reference(
        seconds in -62_000_000_000_i64..253_000_000_000, nanos in 0..1_000_000_000_u32, digits in 0..10_usize,
        offset in -1439..1440_i32, space: bool, colon: bool,
    ) {
        let zone = chrono::FixedOffset::east_opt(offset * 60).unwrap();
        let time = DateTime::from_timestamp(seconds, nanos).unwrap().with_timezone(&zone);
        let fraction = if digits == 0 { String::new() } else { format!(".{}", &format!("{nanos:09}")[..digits]) };
        let separator = if space { ' ' } else { 'T' };
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
        let between = if colon { ":" } else { "" };
        let text = format!("{}{separator}{}{fraction}{sign}{hours:02}{between}{minutes:02}", time.format("%Y-%m-%d"), time.format("%H:%M:%S"));
        let kept = i64::from(nanos) / 10_i64.pow(9 - digits as u32) * 10_i64.pow(9 - digits as u32);
        prop_assert_eq!(Timestamp::parse(&text).unwrap().micros(), seconds * 1_000_000 + kept.div_euclid(1_000), "{}", text);
    }

    /// Numbers in all units, as integers and as text, are floors of their nanoseconds.
    #[test]
    fn numbers_agree_with_a_reference(number in -60_000_000_000_i64..250_000_000_000, unit in 0..4_usize) {
        let unit = TimeUnit::ALL[unit];
        let form = TimeForm { time_unit: Some(unit), time_zone: None };
        let micros = (i128::from(number) * i128::from(unit.nanos())).div_euclid(1_000);
        prop_assert_eq!(i128::from(form.integer(number).unwrap().micros()), micros);
        prop_assert_eq!(form.text(&number.to_string()).unwrap(), form.integer(number).unwrap());
        prop_assert_eq!(form.text(&format!("{number}.0")).unwrap(), form.integer(number).unwrap());
    }

    /// Each hour of some years in zones with and without summer time: what a clock shows is read back, or refused as ambiguous.
    #[test]
    fn local_times_agree_with_a_reference(hours in 0..100_000_i64, zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])) {
        let tz: chrono_tz::Tz = zone.parse().unwrap();
        let instant = NaiveDate::from_ymd_opt(2015, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc() + chrono::TimeDelta::hours(hours);
        let shown = instant.with_timezone(&tz).format("%Y-%m-%d %H:%M:%S").to_string();
        match form(None, Some(zone)).text(&shown) {
            Ok(time) => prop_assert_eq!(time.micros(), instant.timestamp_micros()),
            Err(ParseTimestampError::Ambiguous { earlier, later, .. }) => {
                prop_assert!([earlier.micros(), later.micros()].contains(&instant.timestamp_micros()));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// Any text is a time or an error, never a panic.
    #[test]
    fn any_text_is_answered(text in "[0-9TZz:+. eE\\-\\[\\]]{0,40}|\\PC{0,40}") {
        let _ = form(Some("s"), Some("Europe/Berlin")).text(&text);
    }
}
