//! What a request brings for on-demand features: columns of values, one for each entity.

use arrow::array::ArrayRef;
use serde_json::{Map, Value as Json};

use crate::{
    error::Detail,
    format::{MOST_JSON, json_weight, repeated_key},
    model::{Column, DataType, TimeForm, Value},
    registry::RequestColumn,
    serve::{Plan, ReadLimits, ServeError, entities::note},
    shard::ColumnBuilder,
};

/// Bytes that a request's values may come to for all entities, where one object stands for each of them.
const MOST_BYTES: usize = 64 << 20;

/// A column for each of the plan's request columns: of rows (`[{"distance": 500}, …]`), of columns
/// (`{"distance": [500, …]}`) or of one row for all entities (`{"distance": 500}`). Nulls are values; what is missing,
/// unknown, too long or of another type is an error that names row and column.
pub fn request_columns(
    plan: &Plan,
    given: Option<Json>,
    entities: usize,
    limits: &ReadLimits,
    times: TimeForm,
) -> Result<Vec<ArrayRef>, ServeError> {
    limits.check_entities(entities)?;
    let wanted = plan.request();
    let mut reading = Reading { longest: limits.value_bytes, times, bytes: 0, details: Vec::new() };
    let columns = match given {
        None | Some(Json::Null) if wanted.is_empty() => return Ok(Vec::new()),
        // Without entities there is nothing to bring.
        None | Some(Json::Null) if entities == 0 => from_rows(wanted, &[], &mut reading),
        None | Some(Json::Null) => {
            for asked in wanted {
                reading.note(None, &asked.column.name, missing(asked));
            }
            Vec::new()
        }
        Some(Json::Array(rows)) if rows.len() != entities => {
            let reason = format!("has {} rows for {entities} entities; each needs its own", rows.len());
            reading.note(None, FIELD, reason);
            Vec::new()
        }
        Some(Json::Array(rows)) => from_rows(wanted, &rows, &mut reading),
        Some(Json::Object(columns)) if is_columnar(wanted, &columns, entities) => {
            from_columns(wanted, &columns, entities, &mut reading)
        }
        Some(Json::Object(row)) => from_one(wanted, row, entities, &mut reading),
        Some(_) => {
            let reason = "a list of objects, an object of lists, or one object for all entities".to_owned();
            reading.note(None, FIELD, reason);
            Vec::new()
        }
    };
    if !reading.details.is_empty() {
        return Err(ServeError::Request(reading.details));
    }
    match reading.bytes > MOST_BYTES {
        true => Err(ServeError::TooMany {
            what: "bytes of the request's values for all entities",
            given: reading.bytes,
            limit: MOST_BYTES,
        }),
        false => Ok(columns),
    }
}

const FIELD: &str = "request";

/// What a request brings, from its JSON text.
pub fn request_json(text: &str) -> Result<Json, ServeError> {
    let weight = json_weight(text);
    if weight > MOST_JSON {
        let what = "bytes of memory for the request's values";
        return Err(ServeError::TooMany { what, given: weight, limit: MOST_JSON });
    }
    let wrong =
        |reason| ServeError::Request(vec![Detail { row: None, field: Some(FIELD.to_owned()), reason }]);
    match repeated_key(text) {
        Some(repeated) => Err(wrong(repeated)),
        None => serde_json::from_str(text).map_err(|error| wrong(error.to_string())),
    }
}

/// What was read so far, and what is wrong with it.
struct Reading {
    /// Bytes that one value may have.
    longest: usize,
    /// How its times are written.
    times: TimeForm,
    /// Of all values, each as often as it is copied.
    bytes: usize,
    details: Vec<Detail>,
}

impl Reading {
    /// The value, which goes into `copies` rows; null where it is wrong, or where all come to too much.
    fn read(&mut self, column: &Column, json: &Json, row: Option<usize>, copies: usize) -> Value {
        let value = match Value::from_json_as(json, &column.data_type, self.times) {
            Ok(value) => value,
            Err(reason) => {
                self.note(row, &column.name, reason);
                return Value::Null;
            }
        };
        let bytes = value.bytes();
        let any_length =
            matches!(value, Value::String(_) | Value::Json(_) | Value::Bytes(_) | Value::Array(_));
        if any_length && bytes > self.longest {
            let reason =
                format!("has {bytes} bytes, at most {} are allowed (limits.string_bytes)", self.longest);
            self.note(row, &column.name, reason);
            return Value::Null;
        }
        self.bytes = self.bytes.saturating_add(bytes.saturating_mul(copies));
        if self.bytes > MOST_BYTES { Value::Null } else { value }
    }

    fn note(&mut self, row: Option<usize>, field: &str, reason: String) {
        note(&mut self.details, row, field, reason);
    }
}

fn from_rows(wanted: &[RequestColumn], rows: &[Json], reading: &mut Reading) -> Vec<ArrayRef> {
    let mut builders = builders(wanted, rows.len());
    for (at, row) in rows.iter().enumerate() {
        let Json::Object(row) = row else {
            reading.note(Some(at), FIELD, "each row is an object of the request's columns".to_owned());
            continue;
        };
        unknown(wanted, row, Some(at), reading);
        for (asked, builder) in wanted.iter().zip(&mut builders) {
            match row.get(&asked.column.name) {
                Some(json) => builder.push_value(&reading.read(&asked.column, json, Some(at), 1)),
                None => reading.note(Some(at), &asked.column.name, missing(asked)),
            }
        }
    }
    finish(builders)
}

fn from_columns(
    wanted: &[RequestColumn],
    columns: &Map<String, Json>,
    entities: usize,
    reading: &mut Reading,
) -> Vec<ArrayRef> {
    unknown(wanted, columns, None, reading);
    let mut builders = builders(wanted, entities);
    for (asked, builder) in wanted.iter().zip(&mut builders) {
        match columns.get(&asked.column.name) {
            Some(Json::Array(values)) if values.len() != entities => {
                let reason = format!("has {} values for {entities} entities", values.len());
                reading.note(None, &asked.column.name, reason);
            }
            Some(Json::Array(values)) => {
                for (at, json) in values.iter().enumerate() {
                    builder.push_value(&reading.read(&asked.column, json, Some(at), 1));
                }
            }
            _ => reading.note(None, &asked.column.name, missing(asked)),
        }
    }
    finish(builders)
}

fn from_one(
    wanted: &[RequestColumn],
    row: Map<String, Json>,
    entities: usize,
    reading: &mut Reading,
) -> Vec<ArrayRef> {
    unknown(wanted, &row, None, reading);
    let mut builders = builders(wanted, entities);
    for (asked, builder) in wanted.iter().zip(&mut builders) {
        match row.get(&asked.column.name) {
            Some(json) => {
                let value = reading.read(&asked.column, json, None, entities);
                (0..entities).for_each(|_| builder.push_value(&value));
            }
            None => reading.note(None, &asked.column.name, missing(asked)),
        }
    }
    finish(builders)
}

/// Whether the object holds lists of values. A list may be one value of an array's column: there it has to hold lists, or as many
/// nulls as there are entities.
fn is_columnar(wanted: &[RequestColumn], given: &Map<String, Json>, entities: usize) -> bool {
    let mut known = wanted.iter().filter_map(|asked| Some((&asked.column, given.get(&asked.column.name)?)));
    known.all(|(column, json)| match (&column.data_type, json) {
        (DataType::Array(_) | DataType::Vector(_), Json::Array(items)) => {
            let lists = items.iter().filter(|item| item.is_array()).count();
            let nulls = items.iter().filter(|item| item.is_null()).count();
            lists + nulls == items.len() && (lists > 0 || nulls == entities)
        }
        (_, json) => json.is_array(),
    })
}

fn builders(wanted: &[RequestColumn], rows: usize) -> Vec<ColumnBuilder> {
    wanted.iter().map(|asked| ColumnBuilder::with_capacity(&asked.column.data_type, rows)).collect()
}

fn finish(mut builders: Vec<ColumnBuilder>) -> Vec<ArrayRef> {
    builders.iter_mut().map(ColumnBuilder::finish).collect()
}

fn unknown(wanted: &[RequestColumn], given: &Map<String, Json>, row: Option<usize>, reading: &mut Reading) {
    for name in given.keys().filter(|name| !wanted.iter().any(|asked| asked.column.name == **name)) {
        let known: Vec<&str> = wanted.iter().map(|asked| asked.column.name.as_str()).collect();
        let reason = match known.is_empty() {
            true => "none of the features asked for takes columns of the request".to_owned(),
            false => format!("no feature asked for takes this column; known: {}", known.join(", ")),
        };
        reading.note(row, name, reason);
    }
}

fn missing(asked: &RequestColumn) -> String {
    let Column { name, data_type } = &asked.column;
    format!("the request's column `{name}` ({data_type}) is missing; `{}` is computed from it", asked.view)
}
