//! Join-key columns from encoded entity keys: the inverse of [`crate::model::encode_keys`].

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, StringBuilder};

use crate::model::{Column, DataType};

pub struct KeyDecoder(Vec<KeyColumn>);

enum KeyColumn {
    String(StringBuilder),
    Int64(Int64Builder),
    Int32(Int32Builder),
    Bool(BooleanBuilder),
}

/// The bytes are not a key of these columns.
#[derive(Debug)]
pub struct MalformedKey;

impl KeyDecoder {
    pub fn new(keys: &[Column]) -> KeyDecoder {
        let column = |key: &Column| match key.data_type {
            DataType::Int64 => KeyColumn::Int64(Int64Builder::new()),
            DataType::Int32 => KeyColumn::Int32(Int32Builder::new()),
            DataType::Bool => KeyColumn::Bool(BooleanBuilder::new()),
            _ => KeyColumn::String(StringBuilder::new()),
        };
        KeyDecoder(keys.iter().map(column).collect())
    }

    pub fn push(&mut self, mut key: &[u8]) -> Result<(), MalformedKey> {
        for column in &mut self.0 {
            match column {
                KeyColumn::Int64(b) => {
                    b.append_value((u64::from_be_bytes(take(&mut key)?) ^ (1 << 63)).cast_signed());
                }
                KeyColumn::Int32(b) => {
                    b.append_value((u32::from_be_bytes(take(&mut key)?) ^ (1 << 31)).cast_signed());
                }
                KeyColumn::Bool(b) => b.append_value(take::<1>(&mut key)?[0] != 0),
                KeyColumn::String(b) => b.append_value(take_string(&mut key)?),
            }
        }
        if key.is_empty() { Ok(()) } else { Err(MalformedKey) }
    }

    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.0
            .iter_mut()
            .map(|column| match column {
                KeyColumn::String(b) => Arc::new(b.finish()) as ArrayRef,
                KeyColumn::Int64(b) => Arc::new(b.finish()),
                KeyColumn::Int32(b) => Arc::new(b.finish()),
                KeyColumn::Bool(b) => Arc::new(b.finish()),
            })
            .collect()
    }
}

fn take<const N: usize>(key: &mut &[u8]) -> Result<[u8; N], MalformedKey> {
    let (head, rest) = key.split_first_chunk().ok_or(MalformedKey)?;
    *key = rest;
    Ok(*head)
}

fn take_string(key: &mut &[u8]) -> Result<String, MalformedKey> {
    let mut bytes = Vec::with_capacity(key.len());
    loop {
        match key {
            [0, 0, rest @ ..] => {
                *key = rest;
                return String::from_utf8(bytes).map_err(|_| MalformedKey);
            }
            [0, 0xFF, rest @ ..] => {
                bytes.push(0);
                *key = rest;
            }
            [0, ..] | [] => return Err(MalformedKey),
            [byte, rest @ ..] => {
                bytes.push(*byte);
                *key = rest;
            }
        }
    }
}
