//! When a batch feature view is due: at every multiple of a duration, or as a cron expression says; UTC.

use chrono::{DateTime, NaiveDateTime};
use croner::{
    Cron,
    parser::{CronParser, Seconds},
};

use crate::model::{Duration, Timestamp};

#[derive(Debug, Clone)]
pub(in crate::sql) enum Schedule {
    /// Multiples since the epoch.
    Every(Duration),
    Cron(Box<Cron>),
}

/// Runs may not be due more often.
const SHORTEST: i64 = 60_000_000;

impl Schedule {
    pub fn parse(text: &str) -> Result<Schedule, String> {
        if text.trim().contains(' ') {
            let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
            let cron =
                parser.parse(text).map_err(|error| format!("`{text}` is no cron expression: {error}"))?;
            return match cron.find_next_occurrence(&NaiveDateTime::default(), false) {
                Ok(_) => Ok(Schedule::Cron(Box::new(cron))),
                Err(_) => Err(format!("`{text}` never comes")),
            };
        }
        let every: Duration = text.parse().map_err(|_| {
            format!("`{text}` is no schedule; write a duration (\"1h\", \"1d\") or cron (\"0 3 * * *\": minute, hour, day, month, weekday; UTC)")
        })?;
        match every.micros() >= SHORTEST {
            true => Ok(Schedule::Every(every)),
            false => Err(format!("`{text}` is too often; a run may be due every minute at the most")),
        }
    }

    /// The last moment at or before `at` (microseconds).
    pub fn last(&self, at: i64) -> Option<i64> {
        match self {
            Schedule::Every(every) => Some(at.div_euclid(every.micros()) * every.micros()),
            Schedule::Cron(cron) => {
                let at = DateTime::from_timestamp_micros(at)?.naive_utc();
                Some(cron.find_previous_occurrence(&at, true).ok()?.and_utc().timestamp_micros())
            }
        }
    }

    /// The first moment after `at`.
    pub fn next(&self, at: i64) -> Option<i64> {
        match self {
            Schedule::Every(every) => self.last(at)?.checked_add(every.micros()),
            Schedule::Cron(cron) => {
                let at = DateTime::from_timestamp_micros(at)?.naive_utc();
                Some(cron.find_next_occurrence(&at, false).ok()?.and_utc().timestamp_micros())
            }
        }
    }

    /// The moments from `from` to `to`, both inclusive; at most `most` + 1 of them.
    pub fn between(&self, from: Timestamp, to: Timestamp, most: usize) -> Vec<i64> {
        let mut moments = Vec::new();
        let mut at = self.next(from.micros().saturating_sub(1));
        while let Some(moment) = at.filter(|moment| *moment <= to.micros())
            && moments.len() <= most
        {
            moments.push(moment);
            at = self.next(moment);
        }
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        Timestamp::parse(text).unwrap().micros()
    }

    #[track_caller]
    fn check(schedule: &str, now: &str, last: &str, next: &str) {
        let schedule = Schedule::parse(schedule).unwrap();
        assert_eq!(schedule.last(at(now)), Some(at(last)));
        assert_eq!(schedule.next(at(now)), Some(at(next)));
    }

    #[test]
    fn moments_lie_on_the_grid_or_where_cron_says() {
        check("1d", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z");
        check("1h", "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z");
        check("0 3 * * *", "2024-02-29T02:59:59Z", "2024-02-28T03:00:00Z", "2024-02-29T03:00:00Z");
        check("0 3 * * *", "2024-02-29T03:00:00Z", "2024-02-29T03:00:00Z", "2024-03-01T03:00:00Z");
        // Monday is 1, as everywhere but in Quartz.
        check("30 6 * * 1", "2024-05-01T00:00:00Z", "2024-04-29T06:30:00Z", "2024-05-06T06:30:00Z");
    }

    #[test]
    fn a_range_has_its_ends() {
        let schedule = Schedule::parse("1d").unwrap();
        let [from, to] =
            ["2024-05-01T00:00:00Z", "2024-05-03T00:00:00Z"].map(|t| Timestamp::parse(t).unwrap());
        assert_eq!(schedule.between(from, to, 100).len(), 3);
        assert_eq!(schedule.between(from, to, 1).len(), 2);
        assert!(schedule.between(to, from, 100).is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "daily", "1", "0s", "1s", "* * *", "61 * * * *", "0 0 31 2 *", "0 0 3 * * *", "@daily"]
        {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }
}
