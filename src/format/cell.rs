//! Cells of Arrow arrays as JSON and CSV text.

use std::io::{self, Write};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array,
        Int64Array, ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{
        DataType as Arrow, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    },
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::{forms::as_text, text};
use larder_model::Timestamp;

/// Writes the cells of one array. Integers are exact, floats the shortest text that reads back the same, timestamps
/// RFC 3339 in UTC, bytes base64. JSON has no NaN and no infinities: they are written as null.
///
/// Floats are written by ryu and not, as in answers, by the faster zmij: that writes `1e+16` for `1e16`, and a training set
/// that is kept is verified byte for byte.
pub(super) struct CellWriter<'a> {
    array: &'a dyn Array,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Bool(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Timestamp(&'a TimestampMicrosecondArray),
    List(&'a ListArray, Box<CellWriter<'a>>),
    Struct(&'a StructArray, Vec<CellWriter<'a>>),
    /// A type that larder's tables do not have but a spine's further columns may.
    Other {
        formatter: ArrayFormatter<'a>,
        quoted: bool,
    },
}

impl<'a> CellWriter<'a> {
    pub fn new(array: &'a ArrayRef) -> Result<CellWriter<'a>, ArrowError> {
        let kind = match array.data_type() {
            Arrow::Boolean => Kind::Bool(array.as_boolean()),
            Arrow::Int32 => Kind::Int32(array.as_primitive::<Int32Type>()),
            Arrow::Int64 => Kind::Int64(array.as_primitive::<Int64Type>()),
            Arrow::Float32 => Kind::Float32(array.as_primitive::<Float32Type>()),
            Arrow::Float64 => Kind::Float64(array.as_primitive::<Float64Type>()),
            Arrow::Utf8 => Kind::Text(array.as_string::<i32>()),
            Arrow::Binary => Kind::Bytes(array.as_binary::<i32>()),
            Arrow::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                Kind::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            Arrow::List(_) => {
                let list = array.as_list::<i32>();
                Kind::List(list, Box::new(CellWriter::new(list.values())?))
            }
            Arrow::Struct(_) => {
                let members = array.as_struct();
                let writers = members.columns().iter().map(CellWriter::new).collect::<Result<_, _>>()?;
                Kind::Struct(members, writers)
            }
            other => Kind::Other {
                formatter: ArrayFormatter::try_new(array.as_ref(), &FormatOptions::new().with_null(""))?,
                quoted: !other.is_integer(),
            },
        };
        Ok(CellWriter { array: array.as_ref(), kind })
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    pub fn json(&self, row: usize, out: &mut Vec<u8>) -> io::Result<()> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Float32(array) if !array.value(row).is_finite() => out.extend_from_slice(b"null"),
            Kind::Float64(array) if !array.value(row).is_finite() => out.extend_from_slice(b"null"),
            Kind::Bool(_) | Kind::Int32(_) | Kind::Int64(_) | Kind::Float32(_) | Kind::Float64(_) => {
                self.text(row, out)?;
            }
            Kind::Text(array) => serde_json::to_writer(&mut *out, array.value(row))?,
            Kind::Bytes(_) | Kind::Timestamp(_) => {
                out.push(b'"');
                self.text(row, out)?;
                out.push(b'"');
            }
            Kind::List(array, items) => {
                out.push(b'[');
                let offsets = array.value_offsets();
                for (n, item) in (offsets[row]..offsets[row + 1]).enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    items.json(item as usize, out)?;
                }
                out.push(b']');
            }
            Kind::Struct(array, members) => {
                out.push(b'{');
                for (n, (name, member)) in array.column_names().iter().zip(members).enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    serde_json::to_writer(&mut *out, name)?;
                    out.push(b':');
                    member.json(row, out)?;
                }
                out.push(b'}');
            }
            Kind::Other { formatter, quoted: true } => {
                serde_json::to_writer(&mut *out, &self.formatted(formatter, row)?)?;
            }
            Kind::Other { quoted: false, .. } => self.text(row, out)?,
        }
        Ok(())
    }

    /// The text of a CSV field; null is empty.
    pub fn text(&self, row: usize, out: &mut Vec<u8>) -> io::Result<()> {
        if self.is_null(row) {
            return Ok(());
        }
        match &self.kind {
            Kind::Bool(array) => write!(out, "{}", array.value(row)),
            Kind::Int32(array) => out.write_all(itoa::Buffer::new().format(array.value(row)).as_bytes()),
            Kind::Int64(array) => out.write_all(itoa::Buffer::new().format(array.value(row)).as_bytes()),
            Kind::Float32(array) => out.write_all(ryu::Buffer::new().format(array.value(row)).as_bytes()),
            Kind::Float64(array) => out.write_all(ryu::Buffer::new().format(array.value(row)).as_bytes()),
            Kind::Text(array) => out.write_all(array.value(row).as_bytes()),
            Kind::Bytes(array) => out.write_all(text::to_base64(array.value(row)).as_bytes()),
            Kind::Timestamp(array) => write!(out, "{}", Timestamp::from_micros(array.value(row))),
            Kind::List(..) | Kind::Struct(..) => self.json(row, out),
            Kind::Other { formatter, .. } => out.write_all(self.formatted(formatter, row)?.as_bytes()),
        }
    }

    /// Arrow's own text; of a time that no calendar has, the bare number.
    fn formatted(&self, formatter: &ArrayFormatter<'_>, row: usize) -> io::Result<String> {
        if let Ok(text) = formatter.value(row).try_to_string() {
            return Ok(text);
        }
        let number = cast(&self.array.slice(row, 1), &Arrow::Int64).map_err(io::Error::other)?;
        Ok(number.as_primitive::<Int64Type>().value(0).to_string())
    }
}

/// Appends one row as a JSON object.
pub(super) fn write_row(
    names: &[Vec<u8>],
    cells: &[CellWriter<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    for (n, (name, cell)) in names.iter().zip(cells).enumerate() {
        out.push(if n == 0 { b'{' } else { b',' });
        out.extend_from_slice(name);
        cell.json(row, out)?;
    }
    if names.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

/// Each column's name as a JSON key with its colon.
pub(super) fn json_keys<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Vec<u8>> {
    names
        .map(|name| {
            let mut key = serde_json::Value::from(name).to_string().into_bytes();
            key.push(b':');
            key
        })
        .collect()
}

/// One value of a column, as text of at most 80 characters for messages; `None` where it cannot be written.
pub fn value_text(column: &ArrayRef, row: usize) -> Option<String> {
    let column = as_text(&column.slice(row, 1)).ok()?;
    let mut out = Vec::new();
    CellWriter::new(&column).ok()?.json(0, &mut out).ok()?;
    Some(text::shorten(&String::from_utf8_lossy(&out)).into_owned())
}

/// One row of `batch` as a JSON object, for people and for the quarantine.
pub fn row_json(batch: &RecordBatch, row: usize) -> Result<String, ArrowError> {
    let columns: Vec<ArrayRef> =
        batch.columns().iter().map(|column| as_text(&column.slice(row, 1))).collect::<Result<_, _>>()?;
    let cells = columns.iter().map(CellWriter::new).collect::<Result<Vec<_>, _>>()?;
    let names = json_keys(batch.schema_ref().fields().iter().map(|f| f.name().as_str()));
    let mut out = Vec::new();
    write_row(&names, &cells, 0, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}
