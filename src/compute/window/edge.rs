//! The first and the last few events by (event time, seq).

use std::cmp::Ordering;

use crate::window::{
    Event, Output,
    codec::{MalformedState, array, put_signed, put_varint, signed, varint},
    datum::{Datum, Held},
};

/// Which end of a set of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

/// At most `most` events of one end, ascending.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edge {
    pub end: End,
    pub most: u32,
    kept: Vec<Kept>,
}

#[derive(Debug, Clone, PartialEq)]
struct Kept {
    time: i64,
    seq: i64,
    value: Held,
}

impl Kept {
    fn order(&self, (time, seq, value): (i64, i64, Datum<'_>)) -> Ordering {
        // No two events have one seq; with the value in it the order is total all the same.
        (self.time, self.seq).cmp(&(time, seq)).then_with(|| self.value.datum().order(&value))
    }
}

impl Edge {
    pub fn new(end: End, most: u32) -> Edge {
        Edge { end, most, kept: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub fn add(&mut self, event: Event<'_>) {
        if let Some(value) = event.value {
            self.insert((event.time, event.seq, value));
        }
    }

    fn insert(&mut self, event: (i64, i64, Datum<'_>)) {
        let at = self.kept.partition_point(|kept| kept.order(event).is_lt());
        let full = self.kept.len() >= self.most as usize;
        let kept = || Kept { time: event.0, seq: event.1, value: event.2.into() };
        match self.end {
            _ if self.most == 0 => {}
            End::First if full && at == self.kept.len() => {}
            End::Last if full && at == 0 => {}
            End::First => {
                if full {
                    self.kept.pop();
                }
                self.kept.insert(at, kept());
            }
            End::Last if full => {
                // Those before it move up; the first is dropped.
                self.kept[..at].rotate_left(1);
                self.kept[at - 1] = kept();
            }
            End::Last => self.kept.insert(at, kept()),
        }
    }

    pub fn merge(&mut self, other: &Edge) {
        other.kept.iter().for_each(|kept| self.insert((kept.time, kept.seq, kept.value.datum())));
    }

    pub fn one(&self) -> Output {
        let kept = match self.end {
            End::First => self.kept.first(),
            End::Last => self.kept.last(),
        };
        kept.map_or(Output::Null, |kept| kept.value.datum().output())
    }

    pub fn list(&self) -> Output {
        match self.kept.len() {
            0 => Output::Null,
            _ => Output::List(self.kept.iter().map(|kept| kept.value.datum().output()).collect()),
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.kept.len() as u64, out);
        for kept in &self.kept {
            out.extend_from_slice(&kept.time.to_le_bytes());
            put_signed(kept.seq, out);
            kept.value.datum().encode(out);
        }
    }

    /// On an error some of the events may be in.
    pub fn merge_encoded(&mut self, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        for _ in 0..varint(bytes)? {
            let event = next(bytes)?;
            self.insert(event);
        }
        Ok(())
    }

    pub fn skip_encoded(bytes: &mut &[u8]) -> Result<(), MalformedState> {
        for _ in 0..varint(bytes)? {
            next(bytes)?;
        }
        Ok(())
    }
}

fn next<'a>(bytes: &mut &'a [u8]) -> Result<(i64, i64, Datum<'a>), MalformedState> {
    Ok((i64::from_le_bytes(array(bytes)?), signed(bytes)?, Datum::decode(bytes)?))
}
