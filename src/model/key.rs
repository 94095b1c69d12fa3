//! Entity keys as bytes whose order is the order of the values: the online key and the segments' sort order.
//!
//! Integers are big-endian with the sign bit flipped. A string is its UTF-8 bytes with `00` escaped as `00 FF`,
//! ended by `00 00`, so that no key is a prefix of another and (a, bc) differs from (ab, c). The encoding is
//! stored on disk and never changes.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType as Arrow, Int32Type, Int64Type},
};

use crate::{DataType, Value};

/// The encoded join keys of one entity.
pub type EntityKey = Box<[u8]>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("join key `{0}` is null")]
    Null(String),
    #[error("join key `{name}` is {length} bytes long, at most {limit} are allowed")]
    TooLong { name: String, length: usize, limit: usize },
    #[error("join key `{name}` must be {expected}")]
    Type { name: String, expected: DataType },
}

/// The longest string that may be (part of) a key, in bytes.
pub const MAX_KEY_STRING: usize = 1024;

/// Appends one join key's value to `out`.
pub fn encode_key_part(
    name: &str,
    data_type: &DataType,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), KeyError> {
    match (data_type, value) {
        (_, Value::Null) => return Err(KeyError::Null(name.to_owned())),
        (DataType::String | DataType::Uuid, Value::String(text)) => push_str(name, text, out)?,
        (DataType::Int64, Value::Int64(n)) => push_i64(*n, out),
        (DataType::Int64, Value::Int32(n)) => push_i64(i64::from(*n), out),
        (DataType::Int32, Value::Int32(n)) => push_i32(*n, out),
        (DataType::Bool, Value::Bool(b)) => out.push(u8::from(*b)),
        _ => return Err(KeyError::Type { name: name.to_owned(), expected: data_type.clone() }),
    }
    Ok(())
}

fn push_i64(n: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(n.cast_unsigned() ^ (1 << 63)).to_be_bytes());
}

fn push_i32(n: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&(n.cast_unsigned() ^ (1 << 31)).to_be_bytes());
}

fn push_str(name: &str, text: &str, out: &mut Vec<u8>) -> Result<(), KeyError> {
    if text.len() > MAX_KEY_STRING {
        return Err(KeyError::TooLong { name: name.to_owned(), length: text.len(), limit: MAX_KEY_STRING });
    }
    if text.as_bytes().contains(&0) {
        for byte in text.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(0xFF);
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&[0, 0]);
    Ok(())
}

/// Encodes the key of every row, end to end in one buffer: row `i` is `bytes[offsets[i]..offsets[i + 1]]`.
///
/// `columns` are positions in `batch` of the join keys, in the entity's order. `on_error(row, error)` is told of
/// each row whose key is null or too long; such a row's slice is empty.
pub fn encode_keys(
    batch: &RecordBatch,
    columns: &[usize],
    mut on_error: impl FnMut(usize, KeyError),
) -> (Vec<u8>, Vec<u32>) {
    let mut bytes = Vec::with_capacity(batch.num_rows() * 12 * columns.len());
    let mut offsets = Vec::with_capacity(batch.num_rows() + 1);
    offsets.push(0);
    for row in 0..batch.num_rows() {
        let start = bytes.len();
        if let Err(error) = row_keys(batch, columns, row, &mut bytes) {
            bytes.truncate(start);
            on_error(row, error);
        }
        offsets.push(bytes.len() as u32);
    }
    (bytes, offsets)
}

/// Appends the key of one row of `batch` to `out`.
pub fn row_keys(
    batch: &RecordBatch,
    columns: &[usize],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), KeyError> {
    for &index in columns {
        let array = batch.column(index);
        let schema = batch.schema_ref();
        let name = schema.field(index).name();
        if array.is_null(row) {
            return Err(KeyError::Null(name.clone()));
        }
        match array.data_type() {
            Arrow::Utf8 => push_str(name, array.as_string::<i32>().value(row), out)?,
            Arrow::Int64 => push_i64(array.as_primitive::<Int64Type>().value(row), out),
            Arrow::Int32 => push_i32(array.as_primitive::<Int32Type>().value(row), out),
            Arrow::Boolean => out.push(u8::from(array.as_boolean().value(row))),
            _ => return Err(KeyError::Type { name: name.clone(), expected: DataType::String }),
        }
    }
    Ok(())
}

/// The items in the order of their keys; `key` gives an item's, behind what comes before all keys in that order.
pub fn in_key_order<'k, T: Copy, G: Ord + Copy>(
    items: impl Iterator<Item = T>,
    key: impl Fn(T) -> (G, &'k [u8]),
) -> Vec<T> {
    // Nearly all are told apart by how their keys begin, without another look at the keys, which lie all over memory.
    let begins = |item| {
        let (group, key) = key(item);
        (group, key_beginning(key), item)
    };
    let mut begun: Vec<(G, u64, T)> = items.map(begins).collect();
    begun.sort_unstable_by(|&(group, begin, item), &(other_group, other_begin, other)| {
        (group, begin).cmp(&(other_group, other_begin)).then_with(|| key(item).1.cmp(key(other).1))
    });
    begun.into_iter().map(|(.., item)| item).collect()
}

/// A key's first eight bytes as a number: keys are in the order of their beginnings, as far as these differ.
fn key_beginning(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(parts: &[(DataType, Value)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (data_type, value) in parts {
            encode_key_part("k", data_type, value, &mut out).unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn bytes_order_as_the_values_do(a: (String, i64), b: (String, i64)) {
            let key = |(s, n): &(String, i64)| {
                encode(&[(DataType::String, Value::String(s.clone())), (DataType::Int64, Value::Int64(*n))])
            };
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn items_come_in_the_order_of_groups_and_keys(
            keys in prop::collection::vec((0..3_u32, prop::collection::vec(0..3_u8, 0..12)), 0..40)
        ) {
            let sorted = in_key_order(0..keys.len(), |item| (keys[item].0, keys[item].1.as_slice()));
            let sorted: Vec<_> = sorted.into_iter().map(|item| keys[item].clone()).collect();
            let mut naive = keys.clone();
            naive.sort();
            prop_assert_eq!(sorted, naive);
        }

        #[test]
        fn beginnings_never_contradict_their_keys(
            a in prop::collection::vec(0..3_u8, 0..12),
            b in prop::collection::vec(0..3_u8, 0..12),
        ) {
            let by_beginning = key_beginning(&a).cmp(&key_beginning(&b));
            prop_assert!(by_beginning.is_eq() || by_beginning == a.cmp(&b), "{:?} {:?}", a, b);
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = |a: &str, b: &str| {
            encode(&[
                (DataType::String, Value::String(a.into())),
                (DataType::String, Value::String(b.into())),
            ])
        };
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(key("a\0", "b"), key("a", "\0b"));
    }

    #[test]
    fn null_long_and_mistyped_keys_are_refused() {
        let mut out = Vec::new();
        assert!(encode_key_part("k", &DataType::String, &Value::Null, &mut out).is_err());
        assert!(encode_key_part("k", &DataType::String, &Value::String("x".repeat(1025)), &mut out).is_err());
        assert!(encode_key_part("k", &DataType::Int64, &Value::String("1".into()), &mut out).is_err());
    }
}
