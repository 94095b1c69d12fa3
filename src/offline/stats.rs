//! A segment's statistics: from the Parquet footer to the Delta log's JSON, and back.
//!
//! The JSON is for every Delta reader: `numRecords`, and per column `minValues`, `maxValues`, `nullCount`. What is
//! not certain is left out: bounds of long strings, of binary and of nested columns, and bounds that JSON cannot
//! write (infinities).

use arrow::datatypes::{DataType, Schema};
use parquet::file::{metadata::ParquetMetaData, statistics::Statistics};
use serde_json::{Map, Value, json};

use crate::model::{SEQ, Timestamp};

/// Longest string that is written as a bound, in bytes; the protocol has readers expect 32 characters.
const LONGEST_STRING: usize = 32;

/// What larder itself wants to know of a segment before it opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    pub rows: Option<u64>,
    /// Least and greatest event time, microseconds.
    pub event_time: Option<(i64, i64)>,
    /// Least and greatest `_seq`.
    pub seq: Option<(u64, u64)>,
}

/// Delta's statistics of a file, as the JSON text of an add action's `stats`.
pub(super) fn to_json(footer: &ParquetMetaData, schema: &Schema) -> String {
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    let leaves = footer.file_metadata().schema_descr();
    for field in schema.fields() {
        let leaf =
            (0..leaves.num_columns()).find(|&i| leaves.column(i).path().parts() == [field.name().as_str()]);
        let Some(leaf) = leaf else { continue };
        let groups: Option<Vec<&Statistics>> =
            footer.row_groups().iter().map(|group| group.column(leaf).statistics()).collect();
        let Some(groups) = groups else { continue };
        if let Some(count) = groups.iter().map(|stats| stats.null_count_opt()).sum::<Option<u64>>() {
            nulls.insert(field.name().clone(), json!(count));
        }
        if let Some((low, high)) = bounds(&groups, field.data_type()) {
            least.insert(field.name().clone(), low);
            greatest.insert(field.name().clone(), high);
        }
    }
    let rows: i64 = footer.row_groups().iter().map(|group| group.num_rows()).sum();
    json!({ "numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls }).to_string()
}

/// Least and greatest over all row groups; none when any row group with values does not tell.
fn bounds(groups: &[&Statistics], data_type: &DataType) -> Option<(Value, Value)> {
    macro_rules! over {
        ($variant:ident, $less:expr, $json:expr) => {{
            let mut range = None;
            for stats in groups {
                let Statistics::$variant(stats) = stats else { return None };
                let (Some(low), Some(high)) = (stats.min_opt(), stats.max_opt()) else { return None };
                range = Some(match range {
                    None => (low, high),
                    Some((l, h)) => {
                        (if $less(low, l) { low } else { l }, if $less(h, high) { high } else { h })
                    }
                });
            }
            let (low, high) = range?;
            Some(($json(low)?, $json(high)?))
        }};
    }
    let number = |x: f64| serde_json::Number::from_f64(x).map(Value::Number);
    match data_type {
        DataType::Boolean => over!(Boolean, |a, b| a < b, |b: &bool| Some(Value::Bool(*b))),
        DataType::Int32 => over!(Int32, |a, b| a < b, |n: &i32| Some(json!(n))),
        DataType::Int64 => over!(Int64, |a, b| a < b, |n: &i64| Some(json!(n))),
        DataType::Float32 => over!(Float, |a, b| a < b, |x: &f32| number(f64::from(*x))),
        DataType::Float64 => over!(Double, |a, b| a < b, |x: &f64| number(*x)),
        DataType::Timestamp(..) => {
            over!(Int64, |a, b| a < b, |t: &i64| Some(json!(Timestamp::from_micros(*t).to_string())))
        }
        DataType::Utf8 => {
            let text = |bytes: &parquet::data_type::ByteArray| {
                let text = bytes.as_utf8().ok().filter(|text| text.len() <= LONGEST_STRING)?;
                Some(json!(text))
            };
            over!(
                ByteArray,
                |a: &parquet::data_type::ByteArray, b: &parquet::data_type::ByteArray| a.data() < b.data(),
                text
            )
        }
        _ => None,
    }
}

/// Reads back what larder needs. Another writer's statistics (`ours` is false) may lack some of it, and cut the
/// greatest time down to the millisecond.
pub(super) fn read_bounds(stats: &str, event_time: &str, ours: bool) -> Bounds {
    let Ok(stats) = serde_json::from_str::<Value>(stats) else { return Bounds::default() };
    let bound = |side: &str, column: &str| stats.get(side)?.get(column).cloned();
    let time = |side: &str| Some(Timestamp::parse(bound(side, event_time)?.as_str()?).ok()?.micros());
    let seq = |side: &str| bound(side, SEQ)?.as_u64();
    Bounds {
        rows: stats.get("numRecords").and_then(Value::as_u64),
        event_time: time("minValues")
            .zip(time("maxValues").map(|t| if ours { t } else { t.saturating_add(999) })),
        seq: seq("minValues").zip(seq("maxValues")),
    }
}
