//! Training sets: the spine's rows in the spine's order, each with the features at its own time.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, Scalar},
    compute::{CastOptions, cast_with_options, is_null, kernels::zip::zip},
    datatypes::{DataType as Arrow, Field, Schema, TimestampMicrosecondType},
};

use crate::{
    error::Detail,
    model::{DataType, EVENT_TIME, Timestamp, Value, encode_keys},
    offline::{AsOf, SpineKeys, accepted_later, as_of_join},
    registry::{Feature, Group, Resolved},
    serve::{
        Leak, LeakGuard, Reads, ServeError, Split, Until, Wanted,
        aggregates::{Asked, Look, Moments, aggregate},
        guard::Leaks,
    },
    shard::ColumnBuilder,
};

#[derive(Debug)]
pub struct TrainingRequest {
    pub wanted: Wanted,
    /// Entity keys, the event time and any further columns, which are kept as they are.
    pub spine: RecordBatch,
    /// The spine's column that says when; `event_time` where not given.
    pub event_time: Option<String>,
    /// Ignore versions accepted after this.
    pub known_at: Option<Timestamp>,
    /// Up to which row each table is read; to its end where nothing is said.
    pub until: Option<Arc<Until>>,
    /// `view__feature` rather than `feature`.
    pub full_feature_names: bool,
    pub guard: LeakGuard,
    /// Adds the column `split`.
    pub split: Option<Split>,
}

/// The spine with its features.
#[derive(Debug)]
pub struct TrainingSet {
    pub rows: RecordBatch,
    /// Per feature, where the guard was asked for.
    pub leaks: Vec<Leak>,
}

pub fn training_set(reads: &Reads, request: &TrainingRequest) -> Result<TrainingSet, ServeError> {
    let catalog = reads.catalog.current();
    let resolved = request.wanted.resolve(&catalog)?;
    let names = resolved.column_names(request.full_feature_names)?;
    let spine = &request.spine;
    let times = event_times(spine, request.event_time.as_deref().unwrap_or(EVENT_TIME))?;

    let mut columns: Vec<Option<ArrayRef>> = vec![None; resolved.features.len()];
    let leaks = Leaks::new(request.guard);
    let (mut asked, mut places) = (Vec::new(), Vec::new());
    for (g, group) in resolved.groups.iter().enumerate() {
        let wanted: Vec<usize> =
            (0..resolved.features.len()).filter(|f| resolved.features[*f].group == g).collect();
        if let Some(stream) = group.view.stream() {
            let (keys, offsets) = spine_keys(group, spine)?;
            let features = wanted.iter().map(|f| resolved.features[*f].feature).collect();
            asked.push(Asked { view: &group.view, group: g, stream, features, keys, offsets });
            places.push(wanted);
            continue;
        }
        let joined = join_group(reads, (g, group), &resolved, &wanted, &times, request, &leaks)?;
        for (position, column) in wanted.into_iter().zip(joined) {
            columns[position] = Some(column);
        }
    }
    let until = request.until.as_deref();
    let moments =
        Moments { times: &times, known_at: request.known_at, lagged: true, until, look: Look::Leaks(&leaks) };
    let aggregates = aggregate(reads, &catalog, &asked, moments)?;
    for (position, column) in places.into_iter().flatten().zip(aggregates.into_iter().flatten()) {
        let definition = resolved.definition(&resolved.features[position]);
        columns[position] = Some(finished(&column, definition)?);
    }

    let mut fields: Vec<Field> = spine.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut arrays: Vec<ArrayRef> = spine.columns().to_vec();
    for (name, column) in names.iter().zip(columns.into_iter().flatten()) {
        if spine.schema_ref().column_with_name(name).is_some() {
            return Err(ServeError::Invalid(format!(
                "the spine already has a column `{name}`; rename it, or give the view an alias"
            )));
        }
        fields.push(Field::new(name, column.data_type().clone(), true));
        arrays.push(column);
    }
    let mut rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    if let Some(split) = &request.split {
        rows = split.append(rows, &times)?;
    }
    Ok(TrainingSet { rows, leaks: leaks.finish(&resolved) })
}

/// The features `wanted` of one group, as columns as long as the spine.
fn join_group(
    reads: &Reads,
    (number, group): (usize, &Group),
    resolved: &Resolved,
    wanted: &[usize],
    times: &[i64],
    request: &TrainingRequest,
    leaks: &Leaks,
) -> Result<Vec<ArrayRef>, ServeError> {
    let view = &group.view;
    if !view.offline {
        return Err(ServeError::Invalid(format!(
            "the view `{}` keeps no history (offline = false), so it cannot be part of a training set",
            view.name
        )));
    }
    let (keys, offsets) = spine_keys(group, &request.spine)?;
    let history = reads.table_history(&view.schema, request.until.as_deref())?;
    let definitions: Vec<_> = wanted.iter().map(|f| resolved.definition(&resolved.features[*f])).collect();
    let columns: Vec<&str> = definitions.iter().map(|d| d.name.as_str()).collect();
    let join = AsOf {
        history: &history,
        keys: SpineKeys { bytes: &keys, offsets: &offsets },
        times,
        ttl: view.ttl.map(crate::model::Duration::micros),
        lag: 0,
        known_at: request.known_at.map(Timestamp::micros),
        by_then: request.guard.excludes(),
        columns: &columns,
    };
    if !request.guard.is_off() {
        let later = match request.guard.counts_acceptance() {
            true => accepted_later(&AsOf { by_then: false, ..join })?,
            false => 0,
        };
        // What is written directly has no lag.
        wanted.iter().for_each(|f| leaks.add(number, resolved.features[*f].feature, 0, later));
    }
    let result = as_of_join(&join)?;
    definitions
        .iter()
        .zip(result.features.columns())
        .map(|(definition, column)| finished(column, definition))
        .collect()
}

/// The column in its feature's type, with the default where there is no value.
fn finished(column: &ArrayRef, definition: &Feature) -> Result<ArrayRef, ServeError> {
    let column = definition.data_type.fit(column)?;
    match &definition.default {
        Some(default) => with_default(&column, &definition.data_type, default),
        None => Ok(column),
    }
}

/// The entity of each row of the spine. A null key, or one that is too long to be stored, has no value: its slice is
/// empty.
fn spine_keys(group: &Group, spine: &RecordBatch) -> Result<(Vec<u8>, Vec<u32>), ServeError> {
    let key_batch = key_columns(group, spine)?;
    let positions: Vec<usize> = (0..group.view.schema.keys.len()).collect();
    Ok(encode_keys(&key_batch, &positions, |_, _| {}))
}

/// The spine's columns that hold the group's join keys, in the view's order and types.
fn key_columns(group: &Group, spine: &RecordBatch) -> Result<RecordBatch, ServeError> {
    let (mut fields, mut arrays, mut details) = (Vec::new(), Vec::new(), Vec::new());
    for (name, key) in group.key_columns.iter().zip(&group.view.schema.keys) {
        let Some(column) = spine.column_by_name(name) else {
            details.push(missing(spine, name, &format!("the view `{}` is keyed by it", group.alias)));
            continue;
        };
        match exact_cast(column, &key.data_type.arrow()) {
            Some(array) => {
                fields.push(Field::new(name, array.data_type().clone(), true));
                arrays.push(array);
            }
            None => details.push(Detail {
                row: None,
                field: Some(name.clone()),
                reason: format!("must be {}, the spine's column is {}", key.data_type, column.data_type()),
            }),
        }
    }
    if !details.is_empty() {
        return Err(ServeError::Request(details));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn missing(spine: &RecordBatch, name: &str, why: &str) -> Detail {
    let has: Vec<&str> = spine.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    Detail {
        row: None,
        field: Some(name.to_owned()),
        reason: format!("the spine has no column `{name}`; {why}. It has: {}", has.join(", ")),
    }
}

/// Casts that lose nothing and never fail a value: other widths of integers, other encodings of strings.
fn exact_cast(column: &ArrayRef, to: &Arrow) -> Option<ArrayRef> {
    let from = match column.data_type() {
        Arrow::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let allowed = from == to
        || match to {
            Arrow::Utf8 => matches!(from, Arrow::LargeUtf8 | Arrow::Utf8View | Arrow::Null),
            Arrow::Int64 | Arrow::Int32 => from.is_integer() || *from == Arrow::Null,
            _ => *from == Arrow::Null,
        };
    let options = CastOptions { safe: false, ..CastOptions::default() };
    if allowed { cast_with_options(column, to, &options).ok() } else { None }
}

/// The spine's event times, µs.
pub(super) fn event_times(spine: &RecordBatch, name: &str) -> Result<Vec<i64>, ServeError> {
    let wrong = |reason: String| {
        ServeError::Request(vec![Detail { row: None, field: Some(name.to_owned()), reason }])
    };
    let Some(column) = spine.column_by_name(name) else {
        return Err(ServeError::Request(vec![missing(spine, name, "each row needs its event time")]));
    };
    let zoned = matches!(column.data_type(), Arrow::Timestamp(_, Some(_)));
    if !zoned {
        return Err(wrong(format!(
            "must be a timestamp with a time zone (UTC), the spine's column is {}",
            column.data_type()
        )));
    }
    let micros = cast_with_options(
        column,
        &DataType::arrow_timestamp(),
        &CastOptions { safe: false, ..CastOptions::default() },
    )
    .map_err(|e| wrong(e.to_string()))?;
    if let Some(row) = (0..micros.len()).find(|row| micros.is_null(*row)) {
        return Err(ServeError::Request(vec![Detail {
            row: Some(row as u64),
            field: Some(name.to_owned()),
            reason: "is null; each row needs its event time".to_owned(),
        }]));
    }
    Ok(micros.as_primitive::<TimestampMicrosecondType>().values().to_vec())
}

/// The feature's default wherever there is no value.
fn with_default(column: &ArrayRef, data_type: &DataType, default: &Value) -> Result<ArrayRef, ServeError> {
    if column.null_count() == 0 {
        return Ok(Arc::clone(column));
    }
    let mut builder = ColumnBuilder::new(data_type);
    builder.push_value(default);
    let scalar = Scalar::new(builder.finish());
    let nulls: BooleanArray = is_null(column)?;
    Ok(zip(&nulls, &scalar, column)?)
}
