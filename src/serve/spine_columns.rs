//! The spine's columns as the types in which they are wanted: join keys, and what on-demand features take.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, new_null_array},
    datatypes::{Field, Schema},
};

use crate::{
    error::Detail,
    format::{TypeFit, ValueLimits, convert_column, type_fit, undeclared_time, value_text},
    model::{Column, DataType, TimeForm, encode_keys},
    registry::{Group, RequestColumn},
    serve::ServeError,
};

/// A spine was bounded when it was read.
const LIMITS: ValueLimits = ValueLimits {
    max_bytes: usize::MAX,
    max_depth: 64,
    max_array_bytes: usize::MAX,
    times: TimeForm::EXPLICIT,
};

/// Refuses two columns of one name: which of them is meant cannot be told.
pub(super) fn check_names(spine: &RecordBatch) -> Result<(), ServeError> {
    let fields = spine.schema_ref().fields();
    let mut names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    let mut twice: Vec<&str> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.dedup();
    let detail = |name: &str| Detail {
        row: None,
        field: Some(name.to_owned()),
        reason: "the spine has two columns of this name".to_owned(),
    };
    if twice.is_empty() { Ok(()) } else { Err(ServeError::Request(twice.into_iter().map(detail).collect())) }
}

/// The columns that on-demand features take of a request, in their types.
pub(super) fn request_columns(
    request: &[RequestColumn],
    spine: &RecordBatch,
    times: TimeForm,
) -> Result<Vec<ArrayRef>, ServeError> {
    let wanted = request.iter().map(|RequestColumn { column: Column { name, data_type }, view }| {
        column(spine, name, (data_type, times), || format!("`{view}` is computed from it"))
    });
    all(wanted)
}

/// The entity of each row of the spine. A null key, or one that is too long to be stored, has no value: its slice is
/// empty.
pub(super) fn spine_keys(group: &Group, spine: &RecordBatch) -> Result<(Vec<u8>, Vec<u32>), ServeError> {
    let keys = &group.view.schema.keys;
    let wanted = group.key_columns.iter().zip(keys).map(|(name, key)| {
        column(spine, name, (&key.data_type, TimeForm::EXPLICIT), || {
            format!("the view `{}` is keyed by it", group.alias)
        })
    });
    let arrays = all(wanted)?;
    let fields = group.key_columns.iter().zip(&arrays);
    let fields: Vec<Field> =
        fields.map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    let keys = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let positions: Vec<usize> = (0..keys.num_columns()).collect();
    Ok(encode_keys(&keys, &positions, |_, _| {}))
}

/// The spine's column of event times.
pub(super) fn time_column(spine: &RecordBatch, name: &str, times: TimeForm) -> Result<ArrayRef, ServeError> {
    let why = || "each row needs its event time".to_owned();
    column(spine, name, (&DataType::Timestamp, times), why)
        .map_err(|detail| ServeError::Request(vec![detail]))
}

fn all(columns: impl Iterator<Item = Result<ArrayRef, Detail>>) -> Result<Vec<ArrayRef>, ServeError> {
    let (mut arrays, mut details) = (Vec::new(), Vec::new());
    for column in columns {
        match column {
            Ok(array) => arrays.push(array),
            Err(detail) => details.push(detail),
        }
    }
    if details.is_empty() { Ok(arrays) } else { Err(ServeError::Request(details)) }
}

/// A column whose every value is one of the type; `why` it is needed.
fn column(
    spine: &RecordBatch,
    name: &str,
    (to, times): (&DataType, TimeForm),
    why: impl Fn() -> String,
) -> Result<ArrayRef, Detail> {
    let wrong = |row: Option<usize>, reason: String| Detail {
        row: row.map(|row| row as u64),
        field: Some(name.to_owned()),
        reason,
    };
    let Some((at, field)) = spine.schema_ref().column_with_name(name) else {
        return Err(missing(spine, name, &why()));
    };
    let given = spine.column(at);
    if let TypeFit::Nulls(reason) = type_fit(field, to) {
        let nulls = given.logical_nulls();
        let valid = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        return match (0..given.len()).find(valid) {
            None => Ok(new_null_array(&to.arrow(), given.len())),
            Some(row) => {
                let value = value_text(given, row).unwrap_or_default();
                Err(wrong(Some(row), format!("{reason}: {value}; {}", why())))
            }
        };
    }
    let undeclared = undeclared_time(given, to, times).map_err(|error| wrong(None, error.to_string()))?;
    if let Some((row, error)) = undeclared {
        return Err(wrong(Some(row), error.to_string()));
    }
    let mut bad = Vec::new();
    let array = convert_column(given, to, ValueLimits { times, ..LIMITS }, &mut bad)
        .map_err(|error| wrong(None, format!("cannot be read as {to}: {error}")))?;
    match bad.into_iter().min_by_key(|bad| bad.index) {
        None => Ok(array),
        Some(bad) => Err(wrong(Some(bad.index), bad.reason)),
    }
}

pub(super) fn missing(spine: &RecordBatch, name: &str, why: &str) -> Detail {
    let has: Vec<&str> = spine.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    Detail {
        row: None,
        field: Some(name.to_owned()),
        reason: format!("the spine has no column `{name}`; {why}. It has: {}", has.join(", ")),
    }
}
