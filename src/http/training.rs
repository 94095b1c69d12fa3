//! `POST /v1/training-sets`: the spine in, the spine with its features out.

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::concat_batches};
use axum::{
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    format::{Format, TableReader, TableWriter},
    http::{App, Problem, media},
    ingest::decompress,
    metrics,
    model::{Column, DataType, Timestamp},
    serve::{TrainingRequest, Wanted},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrainingQuery {
    /// `name` or `name@version`. Either this or `features`.
    #[serde(default)]
    pub feature_service: Option<String>,
    /// Feature references, separated by commas.
    #[serde(default)]
    pub features: Option<String>,
    /// The spine's column of times; `event_time` where not given.
    #[serde(default)]
    pub event_time: Option<String>,
    /// Ignore what was accepted after this time (RFC 3339).
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub known_at: Option<Timestamp>,
    /// `false`: columns are named `feature` instead of `view__feature`.
    #[serde(default = "yes")]
    pub full_feature_names: bool,
}

fn yes() -> bool {
    true
}

const FORMATS: [Format; 5] = [Format::Parquet, Format::ArrowStream, Format::Csv, Format::NdJson, Format::Json];

#[utoipa::path(post, path = "/v1/training-sets", tag = "serving", params(TrainingQuery),
    request_body(content = Vec<u8>, content_type = "application/vnd.apache.parquet",
        description = "the spine: entity keys, event time, further columns; Parquet, Arrow, CSV or NDJSON"),
    responses((status = 200, description = "the spine's rows in the spine's order, with the features at each row's \
            own time; in `Accept`'s format, Parquet by default", content_type = "application/vnd.apache.parquet"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn training_sets(
    State(app): State<Arc<App>>,
    Query(query): Query<TrainingQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let started = std::time::Instant::now();
    let given = media::content_type(&headers)?;
    let wanted_format = media::accepted(&headers, Format::Parquet, &FORMATS)?;
    let encoding = media::text(&headers, header::CONTENT_ENCODING.as_str())?;
    let features = query.features.map(|list| list.split(',').map(|f| f.trim().to_owned()).collect());
    let wanted = Wanted::from_parts(query.feature_service, features)?;
    let permit = app.training_slots.acquire().await.map_err(|_| Problem::internal("the node is stopping"))?;
    let worker = Arc::clone(&app);
    let bytes = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, Problem> {
        let limits = &worker.config.limits;
        let body = decompress(encoding.as_deref(), body, limits.body_bytes, limits.decompression_ratio)?;
        let resolved = wanted.resolve(&worker.catalog.current())?;
        // A key such as 007 stays text where the view says so, whatever it looks like.
        let declared: Vec<Column> = resolved
            .groups
            .iter()
            .flat_map(|group| group.key_columns.iter().zip(&group.view.schema.keys))
            .map(|(name, key)| Column { name: name.clone(), data_type: key.data_type.clone() })
            .chain([Column {
                name: query.event_time.clone().unwrap_or_else(|| crate::model::EVENT_TIME.to_owned()),
                data_type: DataType::Timestamp,
            }])
            .collect();
        let spine = read_spine(given, body, &declared)?;
        let request = TrainingRequest {
            wanted,
            spine,
            event_time: query.event_time,
            known_at: query.known_at,
            full_feature_names: query.full_feature_names,
        };
        let set = worker.reads.training_set(&request)?;
        let mut writer = TableWriter::new(wanted_format, Vec::new(), &set.schema())?;
        writer.write(&set)?;
        Ok(writer.finish()?)
    })
    .await
    .map_err(|_| Problem::internal("the training set could not be built"))??;
    drop(permit);
    metrics::record_training(started.elapsed());
    Ok(([(header::CONTENT_TYPE, wanted_format.media_type())], bytes).into_response())
}

fn read_spine(format: Format, body: Bytes, declared: &[Column]) -> Result<RecordBatch, Problem> {
    let reader = TableReader::from_bytes(format, body, declared)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    concat_batches(&schema, &batches).map_err(|e| Problem::bad_request(format!("the spine cannot be read: {e}")))
}
