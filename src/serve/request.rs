//! What a request brings for on-demand features: columns of values, one for each entity.

use arrow::array::ArrayRef;
use serde_json::{Map, Value as Json};

use crate::{
    error::Detail,
    model::{Column, DataType, Value},
    registry::RequestColumn,
    serve::{Plan, ServeError, entities::note},
    shard::ColumnBuilder,
};

/// A column for each of the plan's request columns: of rows (`[{"distance": 500}, …]`), of columns
/// (`{"distance": [500, …]}`) or of one row for all entities (`{"distance": 500}`). Nulls are values; what is missing,
/// unknown or of another type is an error that names row and column.
pub fn request_columns(
    plan: &Plan,
    given: Option<Json>,
    entities: usize,
) -> Result<Vec<ArrayRef>, ServeError> {
    let wanted = plan.request();
    let mut details = Vec::new();
    let columns = match given {
        None | Some(Json::Null) if wanted.is_empty() => return Ok(Vec::new()),
        // Without entities there is nothing to bring.
        None | Some(Json::Null) if entities == 0 => from_rows(wanted, &[], &mut details),
        None | Some(Json::Null) => {
            for asked in wanted {
                note(&mut details, None, &asked.column.name, missing(asked));
            }
            Vec::new()
        }
        Some(Json::Array(rows)) if rows.len() != entities => {
            let reason = format!("has {} rows for {entities} entities; each needs its own", rows.len());
            note(&mut details, None, FIELD, reason);
            Vec::new()
        }
        Some(Json::Array(rows)) => from_rows(wanted, &rows, &mut details),
        Some(Json::Object(columns)) if is_columnar(wanted, &columns) => {
            from_columns(wanted, &columns, entities, &mut details)
        }
        Some(Json::Object(row)) => from_one(wanted, row, entities, &mut details),
        Some(_) => {
            let reason = "a list of objects, an object of lists, or one object for all entities".to_owned();
            note(&mut details, None, FIELD, reason);
            Vec::new()
        }
    };
    if details.is_empty() { Ok(columns) } else { Err(ServeError::Request(details)) }
}

const FIELD: &str = "request";

fn from_rows(wanted: &[RequestColumn], rows: &[Json], details: &mut Vec<Detail>) -> Vec<ArrayRef> {
    let mut builders = builders(wanted, rows.len());
    for (at, row) in rows.iter().enumerate() {
        let Json::Object(row) = row else {
            note(details, Some(at), FIELD, "each row is an object of the request's columns".to_owned());
            continue;
        };
        unknown(wanted, row, Some(at), details);
        for (asked, builder) in wanted.iter().zip(&mut builders) {
            match row.get(&asked.column.name) {
                Some(json) => builder.push_value(&read(&asked.column, json, Some(at), details)),
                None => note(details, Some(at), &asked.column.name, missing(asked)),
            }
        }
    }
    finish(builders)
}

fn from_columns(
    wanted: &[RequestColumn],
    columns: &Map<String, Json>,
    entities: usize,
    details: &mut Vec<Detail>,
) -> Vec<ArrayRef> {
    unknown(wanted, columns, None, details);
    let mut builders = builders(wanted, entities);
    for (asked, builder) in wanted.iter().zip(&mut builders) {
        match columns.get(&asked.column.name) {
            Some(Json::Array(values)) if values.len() != entities => {
                let reason = format!("has {} values for {entities} entities", values.len());
                note(details, None, &asked.column.name, reason);
            }
            Some(Json::Array(values)) => {
                for (at, json) in values.iter().enumerate() {
                    builder.push_value(&read(&asked.column, json, Some(at), details));
                }
            }
            _ => note(details, None, &asked.column.name, missing(asked)),
        }
    }
    finish(builders)
}

fn from_one(
    wanted: &[RequestColumn],
    row: Map<String, Json>,
    entities: usize,
    details: &mut Vec<Detail>,
) -> Vec<ArrayRef> {
    unknown(wanted, &row, None, details);
    let mut builders = builders(wanted, entities);
    for (asked, builder) in wanted.iter().zip(&mut builders) {
        match row.get(&asked.column.name) {
            Some(json) => {
                let value = read(&asked.column, json, None, details);
                (0..entities).for_each(|_| builder.push_value(&value));
            }
            None => note(details, None, &asked.column.name, missing(asked)),
        }
    }
    finish(builders)
}

/// Whether the object holds lists of values. A list may be one value of an array's column: there it has to hold lists.
fn is_columnar(wanted: &[RequestColumn], given: &Map<String, Json>) -> bool {
    let mut known = wanted.iter().filter_map(|asked| Some((&asked.column, given.get(&asked.column.name)?)));
    known.all(|(column, json)| match (&column.data_type, json) {
        (DataType::Array(_) | DataType::Vector(_), Json::Array(items)) => {
            items.iter().all(|item| matches!(item, Json::Array(_) | Json::Null))
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

fn read(column: &Column, json: &Json, row: Option<usize>, details: &mut Vec<Detail>) -> Value {
    Value::from_json(json, &column.data_type).unwrap_or_else(|reason| {
        note(details, row, &column.name, reason);
        Value::Null
    })
}

fn unknown(
    wanted: &[RequestColumn],
    given: &Map<String, Json>,
    row: Option<usize>,
    details: &mut Vec<Detail>,
) {
    for name in given.keys().filter(|name| !wanted.iter().any(|asked| asked.column.name == **name)) {
        let known: Vec<&str> = wanted.iter().map(|asked| asked.column.name.as_str()).collect();
        let reason = match known.is_empty() {
            true => "none of the features asked for takes columns of the request".to_owned(),
            false => format!("no feature asked for takes this column; known: {}", known.join(", ")),
        };
        note(details, row, name, reason);
    }
}

fn missing(asked: &RequestColumn) -> String {
    let Column { name, data_type } = &asked.column;
    format!("the request's column `{name}` ({data_type}) is missing; `{}` is computed from it", asked.view)
}
