//! Training sets: the spine's rows in the spine's order, each with the features at its own time.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, Scalar},
    compute::{is_null, kernels::zip::zip},
    datatypes::{Field, Schema, TimestampMicrosecondType},
};

use crate::{
    error::Detail,
    model::{EVENT_TIME, TimeForm, Timestamp},
    offline::ByteBudget,
    registry::{Catalog, Feature, Origin},
    serve::{
        Computation, Leak, LeakGuard, Reads, ServeError, Split, Until, Wanted,
        aggregates::{Asked, Look, Moments, aggregate},
        computation::variable_bytes,
        guard::Leaks,
        spine_columns::{check_names, request_columns, spine_keys, time_column},
        written,
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
    /// How the spine's times are written.
    pub times: TimeForm,
    /// Ignore versions accepted after this.
    pub known_at: Option<Timestamp>,
    /// Up to which row each table is read; to its end where nothing is said.
    pub until: Option<Arc<Until>>,
    /// `view__feature` rather than `feature`.
    pub full_feature_names: bool,
    pub guard: LeakGuard,
    /// Bytes that strings, lists and vectors of all features together may come to.
    pub max_bytes: usize,
    /// Adds the column `split`.
    pub split: Option<Split>,
}

/// The spine with its features, and what went wrong on the way.
#[derive(Debug)]
pub struct TrainingSet {
    pub rows: RecordBatch,
    /// Columns of on-demand features, each with the number of rows for which its expression failed; only those that have
    /// some.
    pub failed: Vec<(String, usize)>,
    /// Per feature that was looked up, where the guard was asked for.
    pub leaks: Vec<Leak>,
}

pub fn training_set(
    reads: &Reads,
    catalog: &Catalog,
    request: &TrainingRequest,
) -> Result<TrainingSet, ServeError> {
    let resolved = request.wanted.resolve(catalog)?;
    let names = resolved.column_names(request.full_feature_names)?;
    let spine = &request.spine;
    check_names(spine)?;
    let times = event_times(spine, request.event_time.as_deref().unwrap_or(EVENT_TIME), request.times)?;

    let computation = Computation::new(&resolved);
    let brought = request_columns(&computation.request, spine, request.times)?;
    let leaks = Leaks::new(request.guard);
    // By the position of the group, and of the feature in its view.
    let mut columns: HashMap<(usize, usize), ArrayRef> = HashMap::new();
    let (mut written, mut asked, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (g, group) in resolved.groups.iter().enumerate() {
        let features = resolved.looked_up(g);
        match &group.view.origin {
            Origin::OnDemand(_) => {}
            Origin::Stream(stream) => {
                let (keys, offsets) = spine_keys(group, spine)?;
                places.extend(features.iter().map(|feature| (g, *feature)));
                asked.push(Asked { view: &group.view, group: g, stream, features, keys, offsets });
            }
            Origin::Written | Origin::Batch(_) => {
                written.push(written::Asked { group, number: g, features });
            }
        }
    }
    let budget = ByteBudget::new(request.max_bytes);
    let joined = written::join(reads, &written, &times, request, &budget, &leaks)?;
    for (of, joined) in written.into_iter().zip(joined) {
        columns.extend(of.features.into_iter().map(|feature| (of.number, feature)).zip(joined));
    }
    let until = request.until.as_deref();
    let moments =
        Moments { times: &times, known_at: request.known_at, lagged: true, until, look: Look::Leaks(&leaks) };
    let aggregates = aggregate(reads, catalog, &asked, moments)?;
    for ((g, feature), column) in places.into_iter().zip(aggregates.into_iter().flatten()) {
        let definition = &resolved.groups[g].view.features[feature];
        take_bytes(&budget, variable_bytes(&column))?;
        columns.insert((g, feature), finished(&column, definition, &budget)?);
    }
    let inputs: Vec<ArrayRef> =
        resolved.computation.inputs.iter().filter_map(|input| columns.get(input).cloned()).collect();
    let computed = computation.evaluate(&brought, &inputs, spine.num_rows(), budget.left())?;

    let mut fields: Vec<Field> = spine.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut arrays: Vec<ArrayRef> = spine.columns().to_vec();
    let mut failed = Vec::new();
    for (name, feature) in names.iter().zip(&resolved.features) {
        let place = (feature.group, feature.feature);
        let column = match resolved.computation.step(place.0, place.1) {
            Some(step) => {
                let failures = computed[step].failures();
                failed.extend((failures > 0).then(|| (name.clone(), failures)));
                Some(Arc::clone(&computed[step].values))
            }
            None => columns.get(&place).cloned(),
        };
        let Some(column) = column else { continue };
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
    Ok(TrainingSet { rows, failed, leaks: leaks.finish(&resolved) })
}

/// The column in its feature's type, with the default where there is no value. Copies of the default are counted too: a spine
/// of many unknown entities is small, and a string for each of them need not be.
pub(super) fn finished(
    column: &ArrayRef,
    definition: &Feature,
    budget: &ByteBudget,
) -> Result<ArrayRef, ServeError> {
    let column = definition.data_type.fit(column)?;
    let Some(default) = &definition.default else { return Ok(column) };
    if column.null_count() == 0 {
        return Ok(column);
    }
    let mut builder = ColumnBuilder::new(&definition.data_type);
    builder.push_value(default);
    let default = builder.finish();
    take_bytes(budget, variable_bytes(&default).saturating_mul(column.null_count()))?;
    Ok(zip(&is_null(&column)?, &Scalar::new(default), &column)?)
}

fn take_bytes(budget: &ByteBudget, bytes: usize) -> Result<(), ServeError> {
    match budget.take(bytes) {
        true => Ok(()),
        false => Err(ServeError::AnswerTooLarge {
            limit: budget.limit(),
            setting: "limits.training_answer_bytes",
            instead: "ask for fewer rows or features at once; a named training set is built in parts",
        }),
    }
}

/// The spine's event times in µs.
pub(super) fn event_times(spine: &RecordBatch, name: &str, times: TimeForm) -> Result<Vec<i64>, ServeError> {
    let micros = time_column(spine, name, times)?;
    if let Some(row) = (0..micros.len()).find(|row| micros.is_null(*row)) {
        return Err(ServeError::Request(vec![Detail {
            row: Some(row as u64),
            field: Some(name.to_owned()),
            reason: "is null; each row needs its event time".to_owned(),
        }]));
    }
    Ok(micros.as_primitive::<TimestampMicrosecondType>().values().to_vec())
}
