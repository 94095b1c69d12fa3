//! Partial updates on their way to the shard: what of each row is kept, and the history of rows that come late.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt64Array},
    compute::take_record_batch,
    datatypes::TimestampMicrosecondType,
};

use crate::{
    compute::as_of::{Outcome, Spine},
    ingest::{Decoded, Ingest, IngestError, validate::Violation},
    model::encode_keys,
    offline::{AsOf, ByteBudget, History, as_of_join},
    registry::FeatureView,
    shard::{Base, LateBases, MergePlan, PreparedBatch, ShardError},
};

/// What becomes of features that a row leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// They are null.
    #[default]
    Replace,
    /// They keep the values that they have at the row's event time.
    Merge,
}

/// Attempts to merge late rows while others write to the same entities.
const MOST_ATTEMPTS: usize = 16;

/// What an attempt has shown, for the next one. Rows are those of the body.
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    attempts: usize,
    /// Rows older than what is stored of their entities.
    late: BTreeSet<u64>,
    /// Rows that lack a feature which must not be null, with its position.
    lacking: BTreeMap<u64, usize>,
}

impl Learned {
    /// Notes what an attempt came to; false where it failed for another reason. `numbers`: the body's of the batch's rows, where
    /// they are not their positions.
    pub fn note(&mut self, error: &ShardError, numbers: &Option<Vec<u64>>) -> bool {
        let ShardError::Unmerged { late, lacking } = error else { return false };
        let body_row = |row: usize| numbers.as_ref().map_or(row as u64, |numbers| numbers[row]);
        self.late.extend(late.iter().map(|row| body_row(*row)));
        for (row, column) in lacking {
            self.lacking.entry(body_row(*row)).or_insert(*column);
        }
        self.attempts += 1;
        true
    }

    pub fn may_try_again(&self) -> bool {
        self.attempts < MOST_ATTEMPTS
    }

    pub fn reads_history(&self) -> bool {
        !self.late.is_empty()
    }

    /// Takes out rows that leave out what nothing is stored for and what must not be null.
    pub fn reject(&self, decoded: &mut Decoded, view: &FeatureView) -> Result<(), IngestError> {
        let field = |index| self.lacking.get(&decoded.body_row(index)).map(|column| (index, *column));
        let lacking = (0..decoded.batch.num_rows()).filter_map(field);
        let violations = lacking.map(|(index, column)| Violation {
            index,
            field: view.schema.columns[column].name.clone(),
            reason: "must not be null; the row leaves it out, and there is no value to keep".to_owned(),
        });
        let violations = violations.collect();
        Ok(decoded.reject(violations)?)
    }
}

impl Ingest {
    /// How the rows, which are in the view's canonical form, are merged.
    pub(super) fn merge_plan(
        &self,
        view: &FeatureView,
        decoded: &Decoded,
        learned: &Learned,
    ) -> Result<MergePlan, IngestError> {
        let schema = &view.schema;
        let late: Vec<u64> = (0..decoded.batch.num_rows())
            .filter(|index| learned.late.contains(&decoded.body_row(*index)))
            .map(|index| index as u64)
            .collect();
        let required = view.features.iter().filter(|feature| feature.validate.not_null);
        let position = |name: &str| schema.columns.iter().position(|column| column.name == name);
        Ok(MergePlan {
            named: decoded.named.from_column(schema.first_column_index() as u32),
            schemas: self.catalog.current().tables.get(&schema.table).cloned().unwrap_or_default(),
            ttl: view.ttl.map(crate::model::Duration::micros),
            required: required.filter_map(|feature| position(&feature.name)).map(|at| at as u32).collect(),
            late: match late.is_empty() {
                true => LateBases::default(),
                false => self.late_bases(view, &decoded.batch, late)?,
            },
            most: self.limits.max_decoded_bytes,
        })
    }

    /// The versions at the event times of some rows, from history.
    fn late_bases(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        late: Vec<u64>,
    ) -> Result<LateBases, IngestError> {
        let schema = &view.schema;
        // First: what is stored between this and the reading is in both, and read anew.
        let before = self.shards.committed().of(schema.table).next_seq();
        let table = self.offline.table(schema)?;
        let history = History::open(&table, self.tail.as_ref(), schema)?;
        let rows = take_record_batch(rows, &UInt64Array::from(late.clone()))?;
        let (keys, offsets) = encode_keys(&rows, &(0..schema.keys.len()).collect::<Vec<_>>(), |_, _| {});
        let times = rows.column(schema.event_time_index()).as_primitive::<TimestampMicrosecondType>();
        let columns: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        let found = as_of_join(&AsOf {
            history: &history,
            spine: &Spine::new(&keys, &offsets, times.values(), 0),
            ttl: view.ttl.map(crate::model::Duration::micros),
            known_at: None,
            by_then: false,
            columns: &columns,
            budget: &ByteBudget::new(self.limits.max_decoded_bytes),
        })?;
        // In the form of stored rows, at the times of the versions.
        let at = found.event_times.iter().zip(times.values()).map(|(at, own)| at.unwrap_or(*own));
        let at = TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC");
        let mut arrays: Vec<ArrayRef> = rows.columns()[..schema.keys.len()].to_vec();
        arrays.push(Arc::new(at));
        for (column, values) in schema.columns.iter().zip(found.features.columns()) {
            arrays.push(column.data_type.fit(values)?);
        }
        let versions = PreparedBatch::rows(
            Arc::clone(schema),
            &RecordBatch::try_new(Arc::clone(schema.arrow()), arrays)?,
        );
        let base = |place: usize| {
            let row = match found.outcomes[place] {
                Outcome::Present => versions.row(place).to_vec(),
                Outcome::NotFound | Outcome::OutsideMaxAge => Vec::new(),
            };
            let known = !found.event_times.is_null(place);
            known.then(|| Base { event_time: found.event_times.value(place), row })
        };
        let rows = late.iter().enumerate().map(|(place, row)| (*row as usize, base(place))).collect();
        Ok(LateBases { before, rows })
    }
}
