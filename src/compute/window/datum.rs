//! Values as the kernel sees them, on their way in and out.

use std::cmp::Ordering;

use crate::window::codec::{MalformedState, array, put_signed, put_varint, signed, take, varint};
use larder_model::DataType;

/// One value of a column. Integers, timestamps (µs) and booleans (0, 1) are `Int`; strings, JSON and bytes `Bytes`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Datum<'a> {
    Int(i64),
    Float(f64),
    Bytes(&'a [u8]),
}

/// Which of [`Datum`]'s forms a column's values take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Int,
    Float,
    Bytes,
}

impl Class {
    /// `None` for arrays, of which nothing is computed.
    pub fn of(data_type: &DataType) -> Option<Class> {
        match data_type {
            DataType::Bool | DataType::Int32 | DataType::Int64 | DataType::Timestamp => Some(Class::Int),
            DataType::Float32 | DataType::Float64 => Some(Class::Float),
            DataType::String | DataType::Uuid | DataType::Bytes | DataType::Json => Some(Class::Bytes),
            DataType::Array(_) | DataType::Vector(_) => None,
        }
    }
}

/// What a function gives. Floats are equal when their bits are.
#[derive(Debug, Clone)]
pub enum Output {
    Null,
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
    List(Vec<Output>),
}

impl PartialEq for Output {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Output::Null, Output::Null) => true,
            (Output::Int(a), Output::Int(b)) => a == b,
            (Output::Float(a), Output::Float(b)) => a.to_bits() == b.to_bits(),
            (Output::Bytes(a), Output::Bytes(b)) => a == b,
            (Output::List(a), Output::List(b)) => a == b,
            _ => false,
        }
    }
}

impl<'a> Datum<'a> {
    /// A total order: −0.0 before 0.0, NaN after all numbers, bytes as they compare.
    pub(super) fn order(&self, other: &Datum<'_>) -> Ordering {
        match (self.canonical(), other.canonical()) {
            (Datum::Int(a), Datum::Int(b)) => a.cmp(&b),
            (Datum::Float(a), Datum::Float(b)) => a.total_cmp(&b),
            (Datum::Bytes(a), Datum::Bytes(b)) => a.cmp(b),
            (a, b) => a.tag().cmp(&b.tag()),
        }
    }

    /// With one NaN only.
    pub(super) fn canonical(self) -> Datum<'a> {
        match self {
            Datum::Float(x) if x.is_nan() => Datum::Float(f64::NAN),
            other => other,
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Datum::Int(_) => 0,
            Datum::Float(_) => 1,
            Datum::Bytes(_) => 2,
        }
    }

    /// As a result.
    pub fn output(self) -> Output {
        match self.canonical() {
            Datum::Int(n) => Output::Int(n),
            Datum::Float(x) => Output::Float(x),
            Datum::Bytes(bytes) => Output::Bytes(bytes.to_vec()),
        }
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.push(self.tag());
        match self.canonical() {
            Datum::Int(n) => put_signed(n, out),
            Datum::Float(x) => out.extend_from_slice(&x.to_bits().to_le_bytes()),
            Datum::Bytes(bytes) => {
                put_varint(bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
        }
    }

    pub(super) fn decode(bytes: &mut &'a [u8]) -> Result<Datum<'a>, MalformedState> {
        match array(bytes)? {
            [0] => Ok(Datum::Int(signed(bytes)?)),
            [1] => Ok(Datum::Float(f64::from_bits(u64::from_le_bytes(array(bytes)?))).canonical()),
            [2] => {
                let length = varint(bytes)?;
                Ok(Datum::Bytes(take(bytes, length)?))
            }
            _ => Err(MalformedState("a value is of no known class")),
        }
    }
}

/// A [`Datum`] that is kept.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Int(i64),
    Float(f64),
    Bytes(Box<[u8]>),
}

impl Held {
    pub fn datum(&self) -> Datum<'_> {
        match self {
            Held::Int(n) => Datum::Int(*n),
            Held::Float(x) => Datum::Float(*x),
            Held::Bytes(bytes) => Datum::Bytes(bytes),
        }
    }
}

impl From<Datum<'_>> for Held {
    fn from(datum: Datum<'_>) -> Held {
        match datum.canonical() {
            Datum::Int(n) => Held::Int(n),
            Datum::Float(x) => Held::Float(x),
            Datum::Bytes(bytes) => Held::Bytes(bytes.into()),
        }
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.datum().order(&other.datum()).is_eq()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_total_and_nan_is_the_greatest() {
        let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
        let ascending = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, 5e-324, 1.0, f64::INFINITY, negative_nan];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(Datum::Float(*a).order(&Datum::Float(*b)), i.cmp(&j), "{a} {b}");
            }
        }
        assert!(Datum::Bytes(b"ab").order(&Datum::Bytes(b"b")).is_lt());
        assert_eq!(Held::from(Datum::Float(negative_nan)), Held::Float(f64::NAN));
    }

    #[test]
    fn values_come_back_from_their_bytes() {
        for datum in [Datum::Int(-7), Datum::Float(-0.0), Datum::Bytes(b"x\0y"), Datum::Bytes(b"")] {
            let mut out = Vec::new();
            datum.encode(&mut out);
            let mut bytes = &out[..];
            assert!(Datum::decode(&mut bytes).unwrap().order(&datum).is_eq() && bytes.is_empty());
            assert!(Datum::decode(&mut &out[..out.len() - 1]).is_err());
        }
        assert!(Datum::decode(&mut &[9u8, 0][..]).is_err());
        assert!(Datum::decode(&mut &[2u8, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..]).is_err());
    }
}
