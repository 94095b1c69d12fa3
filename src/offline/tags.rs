//! Facts of a segment that larder keeps in the tags of its add action: no other reader needs them, and they are there
//! also where the statistics may tell no bounds.

use std::{fmt::Display, str::FromStr};

use serde_json::{Map, Value};

use crate::offline::log_check::hex;

/// The file's CRC-32C, eight hexadecimal digits.
const CRC: &str = "larder.crc32c";
/// The form of the file's statistics, then of how many of the table's columns they tell: `2/17`.
const STATS: &str = "larder.stats";
/// Least and greatest event time in microseconds: `1714561200000000..1714561200000000`.
const EVENT_TIME: &str = "larder.eventTime";
/// Least and greatest `_seq`.
const SEQ: &str = "larder.seq";
/// See [`Tags::horizon`].
const HORIZON: &str = "larder.horizon";

/// The form of statistics that [`super::stats`] writes. The first form was not tagged: it lacked bounds of long strings, and
/// had bounds of columns with NaN.
const FORM: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tags {
    /// None where another writer wrote the file.
    pub crc32c: Option<u32>,
    /// Of how many of the table's columns the statistics tell; none where they are in another form.
    pub stats_columns: Option<usize>,
    pub event_time: Option<(i64, i64)>,
    pub seq: Option<(u64, u64)>,
    /// Versions that were superseded at this time (microseconds) are not in the file.
    pub horizon: Option<i64>,
}

impl Tags {
    /// `tag`: the text of one.
    pub fn read(tag: impl Fn(&str) -> Option<String>) -> Tags {
        let stats = tag(STATS).and_then(|text| {
            let (form, columns) = text.split_once('/')?;
            (form == FORM.to_string()).then(|| columns.parse().ok())?
        });
        Tags {
            crc32c: tag(CRC).and_then(|text| u32::from_str_radix(&text, 16).ok()),
            stats_columns: stats,
            event_time: tag(EVENT_TIME).as_deref().and_then(read_range),
            seq: tag(SEQ).as_deref().and_then(read_range),
            horizon: tag(HORIZON).and_then(|text| text.parse().ok()),
        }
    }

    pub fn to_json(self) -> Value {
        let tags = [
            (CRC, self.crc32c.map(hex)),
            (STATS, self.stats_columns.map(|columns| format!("{FORM}/{columns}"))),
            (EVENT_TIME, self.event_time.map(range)),
            (SEQ, self.seq.map(range)),
            (HORIZON, self.horizon.map(|time| time.to_string())),
        ];
        let given = tags.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?))));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

fn range<T: Display>((low, high): (T, T)) -> String {
    format!("{low}..{high}")
}

fn read_range<T: FromStr>(text: &str) -> Option<(T, T)> {
    let (low, high) = text.split_once("..")?;
    Some((low.parse().ok()?, high.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_back_as_they_were_written() {
        for tags in [
            Tags::default(),
            Tags {
                crc32c: Some(7),
                stats_columns: Some(17),
                event_time: Some((-62_135_596_800_000_000, 5)),
                seq: Some((0, u64::MAX)),
                horizon: Some(-1),
            },
        ] {
            let json = tags.to_json();
            assert_eq!(Tags::read(|name| json.get(name)?.as_str().map(str::to_owned)), tags);
        }
    }

    #[test]
    fn statistics_of_another_form_are_none() {
        let tags = Tags::read(|name| (name == STATS).then(|| "3/17".to_owned()));
        assert_eq!(tags, Tags::default());
    }
}
