//! Online reads answered from history: `as_of`, `known_at`, and entities whose newest version is yet to come.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};

use crate::{
    compute::as_of::{Outcome, Spine},
    model::{Timestamp, Value},
    offline::{AsOf, ByteBudget, History, as_of_join},
    serve::{
        Entities, Found, Plan, PlanGroup, Progress, Reads, ServeError,
        aggregates::{Asked, Look, Moments, aggregate, value_at},
    },
    shard::{PreparedBatch, StoredRow},
};

/// Every group of `plan` for every entity at `at`, through the point-in-time kernel, into `progress`; until that is given
/// up.
pub fn read(
    reads: &Reads,
    plan: &Plan,
    entities: &Entities,
    at: Timestamp,
    known_at: Option<Timestamp>,
    progress: &Progress,
) -> Result<(), ServeError> {
    for (g, group) in plan.groups.iter().enumerate().filter(|(_, group)| group.view.stream().is_none()) {
        if progress.is_given_up() {
            return Ok(());
        }
        let asked = AsOfGroup { plan, number: g, group, at, known_at };
        let Some(found) = read_group(reads, &asked, entities, progress)? else { return Ok(()) };
        progress.put(g, found);
    }
    if progress.is_given_up() {
        return Ok(());
    }
    read_streams(reads, plan, entities, at, known_at, progress)
}

/// A group of the plan, and the moment it is read as of.
struct AsOfGroup<'a> {
    plan: &'a Plan,
    number: usize,
    group: &'a PlanGroup,
    at: Timestamp,
    known_at: Option<Timestamp>,
}

/// The features asked for of each entity; those that are not asked for are not read, and null. None where the read was
/// given up.
fn read_group(
    reads: &Reads,
    asked: &AsOfGroup<'_>,
    entities: &Entities,
    progress: &Progress,
) -> Result<Option<Vec<Found>>, ServeError> {
    let &AsOfGroup { plan, number, group, at, known_at } = asked;
    let (keys, offsets) = encode_keys(plan, group, entities)?;
    let view = &group.view;
    if !view.offline {
        return Ok(Some(vec![Found::NOTHING; entities.len()]));
    }
    let table = reads.offline.table(&view.schema)?;
    let wanted = plan.features_of(number);
    let columns: Vec<&str> = wanted.iter().map(|&feature| view.features[feature].name.as_str()).collect();
    let history = History::with_columns(&table, reads.tail.as_ref(), &view.schema, &columns)?;
    if progress.is_given_up() {
        return Ok(None);
    }
    let result = as_of_join(&AsOf {
        history: &history,
        spine: &Spine::new(&keys, &offsets, &vec![at.micros(); entities.len()], 0),
        ttl: group.ttl,
        known_at: known_at.map(Timestamp::micros),
        by_then: false,
        columns: &columns,
        budget: &ByteBudget::new(reads.limits.answer_bytes),
    })?;
    let rows = entities.len();
    let mut features: Vec<ArrayRef> =
        (view.features.iter()).map(|feature| new_null_array(&feature.data_type.arrow(), rows)).collect();
    for (&feature, column) in wanted.iter().zip(result.features.columns()) {
        features[feature] = view.features[feature].data_type.fit(column)?;
    }
    // Into the form that the online store answers in, so that everything after this is the same.
    let mut found = Vec::with_capacity(entities.len());
    for (entity, outcome) in result.outcomes.iter().copied().enumerate() {
        let row = if outcome == Outcome::NotFound || result.event_times.is_null(entity) {
            None
        } else {
            Some(encode(view, &features, result.event_times.value(entity), entity)?)
        };
        found.push(Found::Row { row, outcome });
    }
    Ok(Some(found))
}

pub(super) fn encode_keys(
    plan: &Plan,
    group: &PlanGroup,
    entities: &Entities,
) -> Result<(Vec<u8>, Vec<u32>), ServeError> {
    let (mut keys, mut offsets, mut key) = (Vec::new(), vec![0u32], Vec::new());
    for entity in 0..entities.len() {
        if entities.encode_key(plan, group, entity, &mut key)? {
            keys.extend_from_slice(&key);
        }
        offsets.push(keys.len() as u32);
    }
    Ok((keys, offsets))
}

/// The aggregates of all stream views of the plan, each into its group.
fn read_streams(
    reads: &Reads,
    plan: &Plan,
    entities: &Entities,
    at: Timestamp,
    known_at: Option<Timestamp>,
    progress: &Progress,
) -> Result<(), ServeError> {
    let mut asked = Vec::new();
    let mut groups = Vec::new();
    for (g, group) in plan.groups.iter().enumerate() {
        let Some(stream) = group.view.stream() else { continue };
        let features = plan.features_of(g);
        let (keys, offsets) = encode_keys(plan, group, entities)?;
        asked.push(Asked { view: &group.view, group: g, stream, features, keys, offsets });
        groups.push(g);
    }
    let times = vec![at.micros(); entities.len()];
    // What was online at that moment had come by then: no lag.
    let moments = Moments { times: &times, known_at, lagged: false, until: None, look: Look::Nobody };
    let columns = aggregate(reads, &reads.catalog.current(), &asked, moments)?;
    for ((g, asked), columns) in groups.into_iter().zip(&asked).zip(columns) {
        let features = &asked.view.features;
        let found = (0..entities.len())
            .map(|entity| {
                let mut values: Box<[Option<Value>]> = vec![None; features.len()].into();
                for (&feature, column) in asked.features.iter().zip(&columns) {
                    values[feature] = Some(value_at(column, entity, &features[feature].data_type));
                }
                Found::Aggregates(values)
            })
            .collect();
        progress.put(g, found);
    }
    Ok(())
}

fn encode(
    view: &crate::registry::FeatureView,
    features: &[ArrayRef],
    event_time: i64,
    row: usize,
) -> Result<StoredRow, ServeError> {
    let keyless = crate::model::TableSchema::feature_view(
        view.schema.table,
        &view.schema.name,
        view.schema.version,
        Vec::new(),
        view.schema.columns.clone(),
    );
    let time = arrow::array::TimestampMicrosecondArray::from(vec![event_time]).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(time)];
    arrays.extend(features.iter().map(|column| column.slice(row, 1)));
    let batch = RecordBatch::try_new(Arc::clone(keyless.arrow()), arrays)?;
    Ok(StoredRow::read(PreparedBatch::rows(Arc::new(keyless), &batch).row(0)))
}
