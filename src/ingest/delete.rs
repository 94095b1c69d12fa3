//! Deletes: tombstones, in the order of event times like any other version.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use serde_json::{Map, Value as Json};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    error::Detail,
    ingest::{
        DecodeError, Ingest, IngestError, Rejected,
        pipeline::{check_idempotency_key, view},
    },
    model::{DataType, EVENT_TIME, TableSchema, TimeForm, Timestamp, Value, encode_key_part},
    shard::{Applied, ColumnBuilder, PreparedBatch, Write},
};

/// The entities whose value ends at `event_time` (now, where not given).
#[derive(Debug)]
pub struct DeleteRequest {
    pub view: String,
    pub entities: Vec<Map<String, Json>>,
    /// As it was sent.
    pub event_time: Option<Json>,
    /// How `event_time` is written; over what the view declares.
    pub times: TimeForm,
    pub idempotency_key: Option<String>,
}

impl Ingest {
    pub async fn delete(&self, request: DeleteRequest) -> Result<Applied, IngestError> {
        check_idempotency_key(request.idempotency_key.as_deref())?;
        let view = view(&self.catalog.current(), &request.view)?;
        if request.entities.len() > self.limits.max_json_rows {
            return Err(IngestError::Decode(DecodeError::TooLarge {
                what: format!("{} entities are too many for one request", request.entities.len()),
                limit: self.limits.max_json_rows,
            }));
        }
        self.shards.check(view.schema.table)?;
        let permit = self.shards.reserve(request.entities.len() * 128)?;
        let fingerprint = fingerprint(&request);
        let event_time = match &request.event_time {
            Some(json) => event_time(json, request.times.or(view.schema.times))?,
            None => self.clock.now(),
        };
        let keys = key_batch(&view.schema, &request.entities)?;
        let times = vec![event_time; keys.num_rows()];
        let batch = PreparedBatch::tombstones(Arc::clone(&view.schema), &keys, &times);
        let write = Write::of(batch, view.offline).idempotent(request.idempotency_key, fingerprint);
        Ok(self.shards.apply(write, permit).await?)
    }
}

fn event_time(json: &Json, times: TimeForm) -> Result<Timestamp, IngestError> {
    let refused = |reason: String| {
        IngestError::Decode(DecodeError::Columns(vec![Detail {
            row: None,
            field: Some(EVENT_TIME.to_owned()),
            reason,
        }]))
    };
    match Value::from_json_as(json, &DataType::Timestamp, times) {
        Ok(Value::Timestamp(time)) => Ok(time),
        Ok(_) => Err(refused("is null; leave it out for the time of the request".to_owned())),
        Err(reason) => Err(refused(reason)),
    }
}

/// The join keys as columns; every entity must give exactly the view's keys.
fn key_batch(schema: &TableSchema, entities: &[Map<String, Json>]) -> Result<RecordBatch, IngestError> {
    let mut builders: Vec<ColumnBuilder> =
        schema.keys.iter().map(|k| ColumnBuilder::new(&k.data_type)).collect();
    let mut rejected = Vec::new();
    for (row, entity) in entities.iter().enumerate() {
        let mut reject = |field: &str, reason: String| {
            let raw = Json::Object(entity.clone()).to_string();
            rejected.push(Rejected { row: row as u64, field: Some(field.to_owned()), reason, raw });
        };
        if let Some(name) = entity.keys().find(|name| !schema.keys.iter().any(|k| &k.name == *name)) {
            reject(name, format!("is not a join key of `{}`", schema.name));
        }
        for (key, builder) in schema.keys.iter().zip(&mut builders) {
            let value = match entity.get(&key.name) {
                Some(json) => Value::from_json(json, &key.data_type),
                None => Err("the join key is missing".to_owned()),
            };
            let checked = value.and_then(|value| {
                encode_key_part(&key.name, &key.data_type, &value, &mut Vec::new())
                    .map(|()| value)
                    .map_err(|e| e.to_string())
            });
            match checked {
                Ok(value) => builder.push_value(&value),
                Err(reason) => {
                    builder.push_null();
                    reject(&key.name, reason);
                }
            }
        }
    }
    if !rejected.is_empty() {
        return Err(IngestError::Rows { rejected, total: entities.len() });
    }
    let fields: Vec<Field> =
        schema.keys.iter().map(|k| Field::new(&k.name, k.data_type.arrow(), false)).collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        builders.iter_mut().map(ColumnBuilder::finish).collect(),
    )
    .map_err(|e| IngestError::Invalid(format!("the keys cannot be read: {e}")))
}

fn fingerprint(request: &DeleteRequest) -> u128 {
    let mut text = format!("delete\0{}\0{:?}{:?}\0", request.view, request.event_time, request.times);
    for entity in &request.entities {
        text.push_str(&Json::Object(entity.clone()).to_string());
    }
    xxh3_128(text.as_bytes())
}
