//! Events as the state keeps them.
//!
//! ```text
//! i64 event time, µs    i64 seq    varint filters passed, one bit each    varint columns that are not null, one bit each
//! then each such column: int and float 8 bytes, bytes varint length and bytes
//! ```
//! Little-endian.

use crate::window::{
    Class, Datum, MalformedState,
    codec::{array, put_varint, take, varint},
};

const SEQ_AT: usize = 8;

/// Appends events to a buffer.
pub struct EventWriter<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> EventWriter<'b> {
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        EventWriter { out }
    }

    /// `values` has one entry per column.
    pub fn push<'v>(
        &mut self,
        time: i64,
        seq: i64,
        filters: u64,
        values: impl Iterator<Item = Option<Datum<'v>>> + Clone,
    ) {
        self.out.extend_from_slice(&time.to_le_bytes());
        self.out.extend_from_slice(&seq.to_le_bytes());
        put_varint(filters, self.out);
        let present = values.clone().enumerate().filter(|(_, value)| value.is_some());
        put_varint(present.fold(0, |bits, (column, _)| bits | 1 << column), self.out);
        for value in values.flatten() {
            match value {
                Datum::Int(n) => self.out.extend_from_slice(&n.to_le_bytes()),
                Datum::Float(x) => self.out.extend_from_slice(&x.to_bits().to_le_bytes()),
                Datum::Bytes(bytes) => {
                    put_varint(bytes.len() as u64, self.out);
                    self.out.extend_from_slice(bytes);
                }
            }
        }
    }
}

/// Gives the event at the start of `event` its number.
pub fn set_seq(event: &mut [u8], seq: i64) {
    if let Some(place) = event.get_mut(SEQ_AT..SEQ_AT + 8) {
        place.copy_from_slice(&seq.to_le_bytes());
    }
}

/// Events, read in place.
#[derive(Debug, Default)]
pub(super) struct Events<'a> {
    events: Vec<StoredEvent<'a>>,
    /// Of all events, one after the other.
    values: Vec<Option<Datum<'a>>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct StoredEvent<'a> {
    pub time: i64,
    pub seq: i64,
    pub filters: u64,
    /// As it was written.
    pub bytes: &'a [u8],
    first_value: usize,
}

impl<'a> Events<'a> {
    /// Reads all events of `bytes`.
    pub fn read_all(&mut self, mut bytes: &'a [u8], classes: &[Class]) -> Result<(), MalformedState> {
        while !bytes.is_empty() {
            self.read(&mut bytes, classes)?;
        }
        Ok(())
    }

    /// Reads one event.
    pub fn read(&mut self, bytes: &mut &'a [u8], classes: &[Class]) -> Result<(), MalformedState> {
        let whole = *bytes;
        let time = i64::from_le_bytes(array(bytes)?);
        let seq = i64::from_le_bytes(array(bytes)?);
        let filters = varint(bytes)?;
        let present = varint(bytes)?;
        let first_value = self.values.len();
        for (column, class) in classes.iter().enumerate() {
            let value = match class {
                _ if present >> column & 1 == 0 => None,
                Class::Int => Some(Datum::Int(i64::from_le_bytes(array(bytes)?))),
                Class::Float => Some(Datum::Float(f64::from_bits(u64::from_le_bytes(array(bytes)?)))),
                Class::Bytes => {
                    let length = varint(bytes)?;
                    Some(Datum::Bytes(take(bytes, length)?))
                }
            };
            self.values.push(value);
        }
        let length = whole.len() - bytes.len();
        self.events.push(StoredEvent { time, seq, filters, bytes: &whole[..length], first_value });
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = &StoredEvent<'a>> {
        self.events.iter()
    }

    pub fn value(&self, event: &StoredEvent<'a>, column: usize) -> Option<Datum<'a>> {
        self.values.get(event.first_value + column).copied().flatten()
    }

    /// Appends their number and then each as it was written.
    pub fn write(events: &[StoredEvent<'_>], out: &mut Vec<u8>) {
        put_varint(events.len() as u64, out);
        for event in events {
            out.extend_from_slice(event.bytes);
        }
    }
}
