//! An online answer as JSON, written straight from the rows' bytes. NaN and the infinities are null, and their statuses say so.

use crate::{
    compute::window::Span,
    http::online::Include,
    model::{DataType, Timestamp, Value},
    serve::{Answer, ColumnReader, ReadLimits, ServeError, Served, Tally},
    shard::{Cell, array_items},
};

/// The answer's text; its values are counted in `tally`.
pub fn encode(
    answer: &Answer,
    include: &[Include],
    tally: &mut Tally,
    limits: &ReadLimits,
) -> Result<Vec<u8>, ServeError> {
    let columns = answer.plan.columns.len();
    let names = &answer.plan.names_json;
    let per_value = 20 + 16 * include.len();
    let mut out = Vec::with_capacity(64 + names.len() + answer.entities * (columns * per_value + 4));
    out.extend_from_slice(b"{\"feature_names\":");
    out.extend_from_slice(names.as_bytes());
    out.extend_from_slice(b",\"values\":");
    let mut readers: Vec<ColumnReader<'_>> = (0..columns).map(|column| answer.reader(column)).collect();
    matrix(answer, &mut out, limits, |entity, column, out| match readers[column].value(entity, tally).0 {
        Served::Cell(value) => cell(value, &answer.plan.columns[column].data_type, out),
        Served::Value(value) => json(value, out),
    })?;
    if include.contains(&Include::Status) {
        out.extend_from_slice(b",\"status\":");
        matrix(answer, &mut out, limits, |entity, column, out| {
            out.push(b'"');
            out.extend_from_slice(answer.json_status(entity, column).as_str().as_bytes());
            out.push(b'"');
        })?;
    }
    if include.contains(&Include::EventTime) {
        out.extend_from_slice(b",\"event_time\":");
        matrix(answer, &mut out, limits, |entity, column, out| match answer.event_time(entity, column) {
            Some(time) => timestamp(time, out),
            None => out.extend_from_slice(b"null"),
        })?;
    }
    if include.contains(&Include::AgeMs) {
        out.extend_from_slice(b",\"age_ms\":");
        matrix(answer, &mut out, limits, |entity, column, out| match answer.age(entity, column) {
            Some(micros) => integer(micros / 1000, out),
            None => out.extend_from_slice(b"null"),
        })?;
    }
    if include.contains(&Include::Window) {
        out.extend_from_slice(b",\"window\":");
        matrix(answer, &mut out, limits, |_, column, out| match answer.window(column) {
            Some(span) => window(span, out),
            None => out.extend_from_slice(b"null"),
        })?;
    }
    if answer.partial {
        out.extend_from_slice(b",\"partial\":true");
    }
    out.extend_from_slice(b",\"registry_version\":");
    integer(answer.plan.registry_version.cast_signed(), &mut out);
    out.push(b'}');
    Ok(out)
}

/// `[[…],…]`: one inner list per entity. Stops where the answer becomes too large.
fn matrix(
    answer: &Answer,
    out: &mut Vec<u8>,
    limits: &ReadLimits,
    mut write: impl FnMut(usize, usize, &mut Vec<u8>),
) -> Result<(), ServeError> {
    out.push(b'[');
    for entity in 0..answer.entities {
        comma(entity, out);
        out.push(b'[');
        for column in 0..answer.plan.columns.len() {
            comma(column, out);
            write(entity, column, out);
        }
        out.push(b']');
        limits.check_answer(out.len())?;
    }
    out.push(b']');
    Ok(())
}

fn comma(i: usize, out: &mut Vec<u8>) {
    if i > 0 {
        out.push(b',');
    }
}

fn cell(cell: Cell<'_>, data_type: &DataType, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
        Cell::Int32(n) => integer(i64::from(n), out),
        Cell::Int64(n) => integer(n, out),
        // JSON has no NaN and no infinity.
        Cell::Float32(x) if !x.is_finite() => out.extend_from_slice(b"null"),
        Cell::Float64(x) if !x.is_finite() => out.extend_from_slice(b"null"),
        Cell::Float32(x) => out.extend_from_slice(zmij::Buffer::new().format_finite(x).as_bytes()),
        Cell::Float64(x) => out.extend_from_slice(zmij::Buffer::new().format_finite(x).as_bytes()),
        Cell::Timestamp(t) => timestamp(t, out),
        Cell::String(s) => string(s, out),
        // Checked to be one JSON value when it was accepted.
        Cell::Json(s) => out.extend_from_slice(s.as_bytes()),
        Cell::Bytes(b) => json(&Value::Bytes(b.to_owned()), out),
        Cell::Array(bytes) => {
            let item = match data_type {
                DataType::Array(item) => item.as_ref(),
                _ => &DataType::Float32,
            };
            out.push(b'[');
            for (i, value) in array_items(bytes, item).enumerate() {
                comma(i, out);
                self::cell(value, item, out);
            }
            out.push(b']');
        }
    }
}

fn window(span: Span, out: &mut Vec<u8>) {
    out.push(b'[');
    match span.start {
        Some(start) => timestamp(Timestamp::from_micros(start), out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b',');
    timestamp(Timestamp::from_micros(span.end), out);
    out.push(b']');
}

fn integer(n: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

fn timestamp(time: Timestamp, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(time.to_string().as_bytes());
    out.push(b'"');
}

fn string(text: &str, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn json(value: &Value, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, &value.to_json());
}
