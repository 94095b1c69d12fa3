//! A segment's statistics: from the Parquet footer to the Delta log's JSON, and back.
//!
//! The JSON is for every Delta reader: `numRecords`, and per column `minValues`, `maxValues`, `nullCount`. Bounds hold for
//! all values in the order that the reader compares by; long strings have shortened ones ([`super::stats_text`]).
//!
//! Where one column's bounds cannot be told (NaN, which is above all numbers to some readers and beside them to others; a
//! string of which no short one is above), the file has none at all: delta-rs takes a bound that is missing beside
//! others for null, and its dataset filters then find nothing in the file. Columns of bytes, arrays and nulls need none.

use arrow::datatypes::{DataType, Field, Schema};
use parquet::{
    data_type::ByteArray,
    file::{metadata::ParquetMetaData, statistics::Statistics},
};
use serde_json::{Map, Value, json};

use crate::{
    model::{SEQ, Timestamp},
    offline::{
        stats_float::FloatRanges,
        stats_text::{greatest, least},
        tags::Tags,
    },
};

/// What larder itself wants to know of a segment before it opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    pub rows: Option<u64>,
    /// Least and greatest event time, microseconds.
    pub event_time: Option<(i64, i64)>,
    /// Least and greatest `_seq`.
    pub seq: Option<(u64, u64)>,
}

/// A column's values in one file.
enum Range {
    Of(Value, Value),
    /// There are none, or none that readers want bounds of.
    Nothing,
    Unknown,
}

/// Delta's statistics of a file, as the JSON text of an add action's `stats`, with what larder reads of them. `schema` is the
/// table's; a column that the file lacks is null in all its rows.
pub(super) fn describe(
    footer: &ParquetMetaData,
    schema: &Schema,
    floats: &FloatRanges,
    event_time: &str,
) -> (String, Bounds) {
    let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
    let mut all_known = true;
    let rows = footer.row_groups().iter().map(|group| group.num_rows().unsigned_abs()).sum::<u64>();
    for field in schema.fields() {
        if let Some(count) = null_count(footer, field, floats, rows) {
            nulls.insert(field.name().clone(), json!(count));
        }
        match range(footer, field, floats) {
            Range::Of(least, greatest) => {
                low.insert(field.name().clone(), least);
                high.insert(field.name().clone(), greatest);
            }
            Range::Nothing => {}
            Range::Unknown => all_known = false,
        }
    }
    let mut stats = json!({ "numRecords": rows, "minValues": low, "maxValues": high, "nullCount": nulls });
    let bounds = bounds_of(&stats, event_time, true);
    if !all_known && let Some(stats) = stats.as_object_mut() {
        stats.remove("minValues");
        stats.remove("maxValues");
    }
    (stats.to_string(), bounds)
}

/// The statistics of a file that has `rows` rows and lacks these columns, which the table got later.
pub(super) fn with_columns<'a>(
    stats: &str,
    names: impl Iterator<Item = &'a str>,
    rows: u64,
) -> Option<String> {
    let mut stats: Value = serde_json::from_str(stats).ok()?;
    let nulls = stats.get_mut("nullCount")?.as_object_mut()?;
    nulls.extend(names.map(|name| (name.to_owned(), json!(rows))));
    Some(stats.to_string())
}

/// None where it is not known, and where NaN, which some readers count as null, is among the values.
fn null_count(footer: &ParquetMetaData, field: &Field, floats: &FloatRanges, rows: u64) -> Option<u64> {
    if let Some(range) = floats.get(field.name()) {
        return (!range.has_nan()).then_some(range.nulls);
    }
    if !has_column(footer, field.name()) {
        return Some(rows);
    }
    groups(footer, field.name())?.iter().map(|stats| stats.null_count_opt()).sum()
}

fn has_column(footer: &ParquetMetaData, name: &str) -> bool {
    let root = footer.file_metadata().schema_descr().root_schema();
    root.get_fields().iter().any(|field| field.name() == name)
}

/// The statistics of each row group of a column that is not nested.
fn groups<'a>(footer: &'a ParquetMetaData, name: &str) -> Option<Vec<&'a Statistics>> {
    let leaves = footer.file_metadata().schema_descr();
    let leaf = (0..leaves.num_columns()).find(|&i| leaves.column(i).path().parts() == [name])?;
    footer.row_groups().iter().map(|group| group.column(leaf).statistics()).collect()
}

fn range(footer: &ParquetMetaData, field: &Field, floats: &FloatRanges) -> Range {
    macro_rules! over {
        ($groups:expr, $variant:ident, $less:expr, $json:expr) => {{
            let mut range = None;
            for (stats, rows) in $groups {
                let Statistics::$variant(stats) = stats else { return Range::Unknown };
                match (stats.min_opt(), stats.max_opt()) {
                    (Some(low), Some(high)) => {
                        range = Some(match range {
                            None => (low, high),
                            Some((l, h)) => {
                                (if $less(low, l) { low } else { l }, if $less(h, high) { high } else { h })
                            }
                        });
                    }
                    // Nulls only.
                    _ if stats.null_count_opt() == Some(rows) => {}
                    _ => return Range::Unknown,
                }
            }
            let Some((low, high)) = range else { return Range::Nothing };
            match $json(low, high) {
                Some((low, high)) => Range::Of(low, high),
                None => Range::Unknown,
            }
        }};
    }
    if !has_column(footer, field.name()) {
        return Range::Nothing;
    }
    let groups = || {
        let rows = footer.row_groups().iter().map(|group| group.num_rows().unsigned_abs());
        Some(groups(footer, field.name())?.into_iter().zip(rows))
    };
    macro_rules! numbers {
        ($variant:ident, $json:expr) => {
            match groups() {
                Some(groups) => {
                    over!(groups, $variant, |a, b| a < b, |low, high| $json(low).zip($json(high)))
                }
                None => Range::Unknown,
            }
        };
    }
    match field.data_type() {
        DataType::Boolean => numbers!(Boolean, |b: &bool| Some(json!(b))),
        DataType::Int32 => numbers!(Int32, |n: &i32| Some(json!(n))),
        DataType::Int64 => numbers!(Int64, |n: &i64| Some(json!(n))),
        DataType::Timestamp(..) => numbers!(Int64, |micros: &i64| {
            let time = Timestamp::from_micros(*micros);
            (Timestamp::MIN..=Timestamp::MAX).contains(&time).then(|| json!(time.to_string()))
        }),
        DataType::Float32 | DataType::Float64 => match floats.get(field.name()).map(|range| range.bounds()) {
            Some(Some(Some((low, high)))) => Range::Of(low, high),
            Some(Some(None)) => Range::Nothing,
            Some(None) | None => Range::Unknown,
        },
        DataType::Utf8 => match groups() {
            Some(groups) => {
                over!(groups, ByteArray, |a: &ByteArray, b: &ByteArray| a.data() < b.data(), texts)
            }
            None => Range::Unknown,
        },
        _ => Range::Nothing,
    }
}

fn texts(low: &ByteArray, high: &ByteArray) -> Option<(Value, Value)> {
    Some((json!(least(low.as_utf8().ok()?)), json!(greatest(high.as_utf8().ok()?)?)))
}

/// Reads back what larder needs of a file: of its tags, else of its statistics. Another writer's statistics may lack some of
/// it, and cut the greatest time down to the millisecond.
pub(super) fn read_bounds(stats: &str, tags: &Tags, event_time: &str) -> Bounds {
    let Ok(stats) = serde_json::from_str::<Value>(stats) else { return Bounds::default() };
    let told = bounds_of(&stats, event_time, tags.crc32c.is_some());
    Bounds { event_time: tags.event_time.or(told.event_time), seq: tags.seq.or(told.seq), ..told }
}

fn bounds_of(stats: &Value, event_time: &str, ours: bool) -> Bounds {
    let bound = |side: &str, column: &str| stats.get(side)?.get(column);
    let time = |side: &str| Some(Timestamp::parse(bound(side, event_time)?.as_str()?).ok()?.micros());
    let seq = |side: &str| bound(side, SEQ)?.as_u64();
    Bounds {
        rows: stats.get("numRecords").and_then(Value::as_u64),
        event_time: time("minValues")
            .zip(time("maxValues").map(|t| if ours { t } else { t.saturating_add(999) })),
        seq: seq("minValues").zip(seq("maxValues")),
    }
}
