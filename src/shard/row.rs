//! The compact row: one version of one (view, entity) as the online store, the cache and the outbox hold it.
//!
//! ```text
//! 0   u32  schema version        4   i64  event time, µs       12  u64  seq        20  u8  flags (1 = tombstone,
//!                                                                                               2 = others follow)
//! 21  null bitmap, one bit a column, 1 = null
//! then one slot a column at a fixed offset: bool 1 byte, int32/float32 4, int64/float64/timestamp 8,
//! everything else (u32 offset from the row's start, u32 length) into the bytes that follow the slots
//! ```
//! All little-endian. A tombstone ends after its flags. Others that follow: see [`super::ahead`]. An array is u32 count, null bitmap, then its items
//! (scalars at their width, others as u32 length + bytes). Stored on disk: a change needs a new format version.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch},
    datatypes::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};

use crate::model::{DataType, TableSchema, Timestamp, Value};

const EVENT_TIME_AT: usize = 4;
const SEQ_AT: usize = 12;
const FLAGS_AT: usize = 20;
/// Bytes before the null bitmap; the whole of a tombstone.
pub const HEADER: usize = 21;
const TOMBSTONE: u8 = 1;
/// Older versions of the same entity follow.
const FOLLOWED: u8 = 2;

/// Where each column of one schema version lies in a row.
#[derive(Debug, Clone)]
pub struct RowLayout {
    version: u32,
    columns: Vec<(DataType, usize)>,
    /// Where the variable-length bytes begin; the length of a row without any.
    fixed: usize,
}

impl RowLayout {
    pub fn of(schema: &TableSchema) -> RowLayout {
        let mut at = HEADER + schema.columns.len().div_ceil(8);
        let mut columns = Vec::with_capacity(schema.columns.len());
        for column in &schema.columns {
            columns.push((column.data_type.clone(), at));
            at += match column.data_type {
                DataType::Bool => 1,
                DataType::Int32 | DataType::Float32 => 4,
                _ => 8,
            };
        }
        RowLayout { version: schema.version, columns, fixed: at }
    }

    pub fn slot(&self, column: usize) -> Slot {
        let (data_type, at) = &self.columns[column];
        Slot { column, at: *at, data_type: data_type.clone() }
    }
}

/// One column's place in the rows of one schema version.
#[derive(Debug, Clone)]
pub struct Slot {
    column: usize,
    at: usize,
    pub data_type: DataType,
}

/// One value, borrowed from its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Timestamp(Timestamp),
    String(&'a str),
    Json(&'a str),
    Bytes(&'a [u8]),
    /// Encoded items; see [`array_items`].
    Array(&'a [u8]),
}

/// A row's bytes, read in place. Every accessor is total: bytes that are no row read as null.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a>(pub &'a [u8]);

impl<'a> Row<'a> {
    pub fn is_null(self, column: usize) -> bool {
        self.0.get(HEADER + column / 8).is_none_or(|byte| byte >> (column % 8) & 1 == 1)
    }

    pub fn schema_version(self) -> u32 {
        u32::from_le_bytes(self.bytes(0).unwrap_or_default())
    }

    pub fn event_time(self) -> Timestamp {
        Timestamp::from_micros(i64::from_le_bytes(self.bytes(EVENT_TIME_AT).unwrap_or_default()))
    }

    pub fn seq(self) -> u64 {
        u64::from_le_bytes(self.bytes(SEQ_AT).unwrap_or_default())
    }

    pub fn is_tombstone(self) -> bool {
        self.0.get(FLAGS_AT).is_some_and(|flags| flags & TOMBSTONE != 0)
    }

    pub(super) fn is_followed(self) -> bool {
        self.0.get(FLAGS_AT).is_some_and(|flags| flags & FOLLOWED != 0)
    }

    pub fn cell(self, slot: &Slot) -> Cell<'a> {
        if self.is_null(slot.column) || self.is_tombstone() {
            return Cell::Null;
        }
        self.read(slot).unwrap_or(Cell::Null)
    }

    fn read(self, slot: &Slot) -> Option<Cell<'a>> {
        let at = slot.at;
        Some(match slot.data_type {
            DataType::Bool => Cell::Bool(*self.0.get(at)? != 0),
            DataType::Int32 => Cell::Int32(i32::from_le_bytes(self.bytes(at)?)),
            DataType::Float32 => Cell::Float32(f32::from_le_bytes(self.bytes(at)?)),
            DataType::Int64 => Cell::Int64(i64::from_le_bytes(self.bytes(at)?)),
            DataType::Float64 => Cell::Float64(f64::from_le_bytes(self.bytes(at)?)),
            DataType::Timestamp => {
                Cell::Timestamp(Timestamp::from_micros(i64::from_le_bytes(self.bytes(at)?)))
            }
            DataType::String | DataType::Uuid => Cell::String(std::str::from_utf8(self.variable(at)?).ok()?),
            DataType::Json => Cell::Json(std::str::from_utf8(self.variable(at)?).ok()?),
            DataType::Bytes => Cell::Bytes(self.variable(at)?),
            DataType::Array(_) | DataType::Vector(_) => Cell::Array(self.variable(at)?),
        })
    }

    fn variable(self, at: usize) -> Option<&'a [u8]> {
        let offset = u32::from_le_bytes(self.bytes(at)?) as usize;
        let length = u32::from_le_bytes(self.bytes(at + 4)?) as usize;
        self.0.get(offset..offset.checked_add(length)?)
    }

    fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }
}

impl<'a> Cell<'a> {
    /// The value as a reader's version of the feature has it. A row that was written when the feature was narrower
    /// is widened; one written when it was wider than a pinned version says is narrowed, to null where it does not
    /// fit.
    pub fn as_type(self, data_type: &DataType) -> Cell<'a> {
        match (self, data_type) {
            (Cell::Int32(n), DataType::Int64) => Cell::Int64(i64::from(n)),
            (Cell::Int32(n), DataType::Float64) => Cell::Float64(f64::from(n)),
            (Cell::Float32(x), DataType::Float64) => Cell::Float64(f64::from(x)),
            (Cell::Int64(n), DataType::Int32) => i32::try_from(n).map_or(Cell::Null, Cell::Int32),
            (Cell::Float64(x), DataType::Int32) if f64::from(x as i32) == x => Cell::Int32(x as i32),
            (Cell::Float64(_), DataType::Int32) => Cell::Null,
            (Cell::Float64(x), DataType::Float32) => Cell::Float32(x as f32),
            (cell, _) => cell,
        }
    }

    /// The owned form; `data_type` says what an array holds.
    pub fn to_value(self, data_type: &DataType) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Bool(b) => Value::Bool(b),
            Cell::Int32(n) => Value::Int32(n),
            Cell::Int64(n) => Value::Int64(n),
            Cell::Float32(x) => Value::Float32(x),
            Cell::Float64(x) => Value::Float64(x),
            Cell::Timestamp(t) => Value::Timestamp(t),
            Cell::String(s) => Value::String(s.to_owned()),
            Cell::Json(s) => Value::Json(s.to_owned()),
            Cell::Bytes(b) => Value::Bytes(b.to_owned()),
            Cell::Array(bytes) => {
                let item = match data_type {
                    DataType::Array(item) => item.as_ref().clone(),
                    _ => DataType::Float32,
                };
                Value::Array(array_items(bytes, &item).map(|cell| cell.to_value(&item)).collect())
            }
        }
    }
}

/// The items of an encoded array, in order.
pub fn array_items<'a>(bytes: &'a [u8], item: &'a DataType) -> impl Iterator<Item = Cell<'a>> + 'a {
    let count = bytes.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    let mut at = 4 + count.div_ceil(8);
    (0..count).map(move |i| {
        let null = bytes.get(4 + i / 8).is_none_or(|byte| byte >> (i % 8) & 1 == 1);
        let width = match item {
            DataType::Bool => 1,
            DataType::Int32 | DataType::Float32 => 4,
            DataType::Int64 | DataType::Float64 | DataType::Timestamp => 8,
            _ => {
                let length =
                    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
                        as usize;
                at += 4;
                length
            }
        };
        let raw = bytes.get(at..at + width).unwrap_or_default();
        at += width;
        if null { Cell::Null } else { scalar(raw, item).unwrap_or(Cell::Null) }
    })
}

fn scalar<'a>(raw: &'a [u8], data_type: &DataType) -> Option<Cell<'a>> {
    Some(match data_type {
        DataType::Bool => Cell::Bool(*raw.first()? != 0),
        DataType::Int32 => Cell::Int32(i32::from_le_bytes(raw.try_into().ok()?)),
        DataType::Float32 => Cell::Float32(f32::from_le_bytes(raw.try_into().ok()?)),
        DataType::Int64 => Cell::Int64(i64::from_le_bytes(raw.try_into().ok()?)),
        DataType::Float64 => Cell::Float64(f64::from_le_bytes(raw.try_into().ok()?)),
        DataType::Timestamp => {
            Cell::Timestamp(Timestamp::from_micros(i64::from_le_bytes(raw.try_into().ok()?)))
        }
        DataType::String | DataType::Uuid => Cell::String(std::str::from_utf8(raw).ok()?),
        DataType::Json => Cell::Json(std::str::from_utf8(raw).ok()?),
        DataType::Bytes => Cell::Bytes(raw),
        DataType::Array(_) | DataType::Vector(_) => return None,
    })
}

/// Writes the rows of one Arrow batch; seq is 0 until [`set_seq`].
pub struct RowEncoder<'a> {
    layout: RowLayout,
    columns: Vec<Source<'a>>,
    event_times: &'a [i64],
}

enum Source<'a> {
    Bool(&'a BooleanArray),
    /// Four little-endian bytes a row.
    Int32(&'a [i32]),
    Float32(&'a [f32]),
    /// int64 and timestamp.
    Int64(&'a [i64]),
    Float64(&'a [f64]),
    Variable(&'a ArrayRef, DataType),
}

impl<'a> RowEncoder<'a> {
    /// `batch` has the shape of `schema.arrow()`.
    pub fn new(schema: &TableSchema, batch: &'a RecordBatch) -> RowEncoder<'a> {
        let event_times =
            batch.column(schema.event_time_index()).as_primitive::<TimestampMicrosecondType>().values();
        let first = schema.first_column_index();
        let columns = schema
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| {
                let array = batch.column(first + i);
                match &column.data_type {
                    DataType::Bool => Source::Bool(array.as_boolean()),
                    DataType::Int32 => Source::Int32(array.as_primitive::<Int32Type>().values()),
                    DataType::Float32 => Source::Float32(array.as_primitive::<Float32Type>().values()),
                    DataType::Int64 => Source::Int64(array.as_primitive::<Int64Type>().values()),
                    DataType::Float64 => Source::Float64(array.as_primitive::<Float64Type>().values()),
                    DataType::Timestamp => {
                        Source::Int64(array.as_primitive::<TimestampMicrosecondType>().values())
                    }
                    other => Source::Variable(array, other.clone()),
                }
            })
            .collect();
        RowEncoder { layout: RowLayout::of(schema), columns, event_times }
    }

    /// Appends row `row` of the batch to `out`. `nulls` answers whether a column of the row is null.
    pub fn encode(&self, row: usize, is_null: impl Fn(usize) -> bool, out: &mut Vec<u8>) {
        let start = out.len();
        push_header(self.layout.version, self.event_times[row], 0, out);
        out.resize(start + self.layout.fixed, 0);
        for (i, (source, (_, at))) in self.columns.iter().zip(&self.layout.columns).enumerate() {
            if is_null(i) {
                out[start + HEADER + i / 8] |= 1 << (i % 8);
                continue;
            }
            let at = start + at;
            match source {
                Source::Bool(array) => out[at] = u8::from(array.value(row)),
                Source::Int32(values) => out[at..at + 4].copy_from_slice(&values[row].to_le_bytes()),
                Source::Float32(values) => out[at..at + 4].copy_from_slice(&values[row].to_le_bytes()),
                Source::Int64(values) => out[at..at + 8].copy_from_slice(&values[row].to_le_bytes()),
                Source::Float64(values) => out[at..at + 8].copy_from_slice(&values[row].to_le_bytes()),
                Source::Variable(array, data_type) => {
                    let offset = out.len() - start;
                    push_variable(array, data_type, row, out);
                    let length = out.len() - start - offset;
                    out[at..at + 4].copy_from_slice(&(offset as u32).to_le_bytes());
                    out[at + 4..at + 8].copy_from_slice(&(length as u32).to_le_bytes());
                }
            }
        }
    }
}

/// Appends a tombstone.
pub fn encode_tombstone(version: u32, event_time: Timestamp, out: &mut Vec<u8>) {
    push_header(version, event_time.micros(), TOMBSTONE, out);
}

/// Appends the row `own` with the columns that it does not name (`named`, ascending) as `base` has them; null without one.
/// `slots`: where the columns of `own`'s layout lie in `base`; none where it lacks one.
pub fn encode_merged(
    layout: &RowLayout,
    own: Row<'_>,
    base: Option<(Row<'_>, &[Option<Slot>])>,
    named: &[u32],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&own.0[..HEADER]);
    out.resize(start + layout.fixed, 0);
    for (column, (data_type, at)) in layout.columns.iter().enumerate() {
        let kept = named.binary_search(&(column as u32)).is_err();
        let cell = match (kept, base) {
            (false, _) => own.cell(&layout.slot(column)),
            (true, Some((base, slots))) => match slots.get(column) {
                Some(Some(slot)) => base.cell(slot).as_type(data_type),
                _ => Cell::Null,
            },
            (true, None) => Cell::Null,
        };
        push_cell(cell, column, (start, *at), out);
    }
}

/// Writes a cell of a row that begins at `start` into its slot `at`.
fn push_cell(cell: Cell<'_>, column: usize, (start, at): (usize, usize), out: &mut Vec<u8>) {
    let slot = start + at;
    let mut fixed = |bytes: &[u8]| out[slot..slot + bytes.len()].copy_from_slice(bytes);
    let variable = match cell {
        Cell::Null => return out[start + HEADER + column / 8] |= 1 << (column % 8),
        Cell::Bool(value) => return fixed(&[u8::from(value)]),
        Cell::Int32(value) => return fixed(&value.to_le_bytes()),
        Cell::Int64(value) => return fixed(&value.to_le_bytes()),
        Cell::Float32(value) => return fixed(&value.to_le_bytes()),
        Cell::Float64(value) => return fixed(&value.to_le_bytes()),
        Cell::Timestamp(value) => return fixed(&value.micros().to_le_bytes()),
        Cell::String(text) | Cell::Json(text) => text.as_bytes(),
        Cell::Bytes(bytes) | Cell::Array(bytes) => bytes,
    };
    let offset = (out.len() - start) as u32;
    out[slot..slot + 4].copy_from_slice(&offset.to_le_bytes());
    out[slot + 4..slot + 8].copy_from_slice(&(variable.len() as u32).to_le_bytes());
    out.extend_from_slice(variable);
}

/// Writes the order of acceptance into an encoded row.
pub fn set_seq(row: &mut [u8], seq: u64) {
    if let Some(slot) = row.get_mut(SEQ_AT..SEQ_AT + 8) {
        slot.copy_from_slice(&seq.to_le_bytes());
    }
}

pub(super) fn set_followed(row: &mut [u8], followed: bool) {
    if let Some(flags) = row.get_mut(FLAGS_AT) {
        *flags = if followed { *flags | FOLLOWED } else { *flags & !FOLLOWED };
    }
}

fn push_header(version: u32, event_time: i64, flags: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&event_time.to_le_bytes());
    out.extend_from_slice(&0u64.to_le_bytes());
    out.push(flags);
}

fn push_variable(array: &ArrayRef, data_type: &DataType, row: usize, out: &mut Vec<u8>) {
    match data_type {
        DataType::String | DataType::Uuid | DataType::Json => {
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes())
        }
        DataType::Bytes => out.extend_from_slice(array.as_binary::<i32>().value(row)),
        DataType::Array(item) => push_list(array.as_list::<i32>(), item, row, out),
        _ => push_list(array.as_list::<i32>(), &DataType::Float32, row, out),
    }
}

fn push_list(list: &ListArray, item: &DataType, row: usize, out: &mut Vec<u8>) {
    let items = list.value(row);
    out.extend_from_slice(&(items.len() as u32).to_le_bytes());
    let bitmap = out.len();
    out.resize(bitmap + items.len().div_ceil(8), 0);
    for i in 0..items.len() {
        if items.is_null(i) {
            out[bitmap + i / 8] |= 1 << (i % 8);
        }
        match item {
            DataType::Bool => out.push(u8::from(items.as_boolean().value(i))),
            DataType::Int32 => {
                out.extend_from_slice(&items.as_primitive::<Int32Type>().value(i).to_le_bytes())
            }
            DataType::Float32 => {
                out.extend_from_slice(&items.as_primitive::<Float32Type>().value(i).to_le_bytes())
            }
            DataType::Int64 => {
                out.extend_from_slice(&items.as_primitive::<Int64Type>().value(i).to_le_bytes())
            }
            DataType::Float64 => {
                out.extend_from_slice(&items.as_primitive::<Float64Type>().value(i).to_le_bytes())
            }
            DataType::Timestamp => {
                out.extend_from_slice(
                    &items.as_primitive::<TimestampMicrosecondType>().value(i).to_le_bytes(),
                );
            }
            other => {
                let at = out.len();
                out.extend_from_slice(&[0; 4]);
                push_variable(&items, other, i, out);
                let length = (out.len() - at - 4) as u32;
                out[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
    }
}
