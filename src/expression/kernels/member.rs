//! `IN`: constants by binary search, all else one by one.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    buffer::BooleanBuffer,
    datatypes::{DataType as Arrow, Int32Type, Int64Type, TimestampMicrosecondType},
    error::ArrowError,
};

use crate::kernels::{
    compare::{Comparison, compare},
    logic::{Connective, connect},
    values::Values,
};

/// Constants of one type, sorted.
#[derive(Debug)]
pub(crate) enum Members {
    Integers(Vec<i64>),
    Texts(Vec<Box<str>>),
}

impl Members {
    /// Of arrays of one value each, none null; nothing where their type has no such form.
    pub fn of(constants: &[ArrayRef]) -> Option<Members> {
        let first = constants.first()?;
        match first.data_type() {
            Arrow::Utf8 => {
                let mut texts: Vec<Box<str>> =
                    constants.iter().map(|text| text.as_string::<i32>().value(0).into()).collect();
                texts.sort_unstable();
                Some(Members::Texts(texts))
            }
            Arrow::Int32 | Arrow::Int64 | Arrow::Timestamp(..) => {
                let mut integers: Vec<i64> = constants.iter().map(|one| integer(one, 0)).collect();
                integers.sort_unstable();
                Some(Members::Integers(integers))
            }
            _ => None,
        }
    }

    fn search(&self, needle: &ArrayRef) -> BooleanArray {
        let rows = needle.len();
        let found = match self {
            Members::Texts(texts) => {
                let needles = needle.as_string::<i32>();
                BooleanBuffer::collect_bool(rows, |row| {
                    texts.binary_search_by(|text| (**text).cmp(needles.value(row))).is_ok()
                })
            }
            Members::Integers(integers) => {
                BooleanBuffer::collect_bool(rows, |row| integers.binary_search(&integer(needle, row)).is_ok())
            }
        };
        BooleanArray::new(found, needle.nulls().cloned())
    }
}

fn integer(array: &ArrayRef, row: usize) -> i64 {
    match array.data_type() {
        Arrow::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        Arrow::Int64 => array.as_primitive::<Int64Type>().value(row),
        _ => array.as_primitive::<TimestampMicrosecondType>().value(row),
    }
}

/// True where `needle` equals one of `members` or of `others`; else null where one of them is null, as SQL has it.
pub(crate) fn contains(
    needle: &Values,
    members: Option<&Members>,
    others: &[Values],
    rows: usize,
) -> Result<Values, ArrowError> {
    let mut found = match members {
        None => Values::of(Arc::new(BooleanArray::new(BooleanBuffer::new_unset(rows), None))),
        Some(members) => {
            let searched: ArrayRef = Arc::new(members.search(&needle.array));
            match needle.constant {
                true => Values::constant(searched),
                false => Values { array: searched, constant: false, failed: needle.failed.clone() },
            }
        }
    };
    for other in others {
        let equal = compare(Comparison::Equal, needle, other, rows)?;
        found = connect(Connective::Or, &found, &equal, rows)?;
    }
    Ok(found)
}
