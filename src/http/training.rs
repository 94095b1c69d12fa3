//! `POST /v1/training-sets`: the spine in, the spine with its features out.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, compute::concat_batches};
use axum::{
    extract::{FromRequest, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use crate::{
    format::{Format, ReadOptions, TableReader, TableWriter, plain_batch, plain_schema},
    http::{App, Problem, ProblemBody, extract::Body, media, references::References, times::time_form},
    ingest::decompress,
    metrics,
    model::{DataType, EVENT_TIME, TimeForm, Timestamp},
    serve::{Leak, LeakGuard, Split, TrainingRequest, TrainingSet, Wanted},
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
    #[param(value_type = Option<String>)]
    pub features: Option<References>,
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
    /// What came too late for a row: off (the default), lag, report, exclude; counts in the header `larder-leaks`.
    #[serde(default)]
    #[param(inline)]
    pub leak_guard: LeakGuard,
    /// JSON: `{"time": {"train": TIME, …}}` or `{"hash": {"key": COLUMN, "fractions": {"train": 0.8, …}, "seed"?}}`.
    #[serde(default)]
    pub split: Option<String>,
    /// What numbers count that are times: `s`, `ms`, `us` or `ns`.
    #[serde(default)]
    pub time_unit: Option<String>,
    /// The zone of times that are written without one: `UTC` or an IANA name.
    #[serde(default)]
    pub time_zone: Option<String>,
}

fn yes() -> bool {
    true
}

/// A spine may take this many times the body's limit once it is decoded.
const DECODED_FACTOR: usize = 16;
/// For how many rows on-demand features failed, by column.
const FAILED_ROWS: HeaderName = HeaderName::from_static("larder-failed-rows");
const MAX_FAILED_ROWS: usize = 4 << 10;
const FORMATS: [Format; 5] =
    [Format::Parquet, Format::ArrowStream, Format::Csv, Format::NdJson, Format::Json];

#[utoipa::path(post, path = "/v1/training-sets", tag = "serving", params(TrainingQuery),
    request_body(content = Vec<u8>, content_type = "application/vnd.apache.parquet",
        description = "the spine: entity keys, event time, further columns; Parquet, Arrow, CSV or NDJSON"),
    responses((status = 200, description = "the spine's rows in the spine's order, with the features at each row's \
            own time; in `Accept`'s format, Parquet by default; `larder-failed-rows` counts rows for which on-demand features \
            failed", content_type = "application/vnd.apache.parquet"),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn training_sets(
    State(app): State<Arc<App>>,
    Query(query): Query<TrainingQuery>,
    headers: HeaderMap,
    body: Request,
) -> Result<Response, Problem> {
    let Body(body) = Body::from_request(body, &app).await?;
    // With its body here: no place is kept for a client that is slow to send one.
    let place = Arc::clone(&app.training_queue)
        .try_acquire_owned()
        .map_err(|_| Problem::overloaded("too many training sets are being built; try again in a moment"))?;
    let started = std::time::Instant::now();
    let given = media::content_type(&headers)?;
    let wanted_format = media::accepted(&headers, &FORMATS)?;
    let encoding = media::text(&headers, header::CONTENT_ENCODING.as_str())?;
    let wanted = Wanted::from_parts(query.feature_service, query.features.map(References::into_vec))?;
    let times = time_form(query.time_unit.as_deref(), query.time_zone.as_deref())?;
    let split = query.split.as_deref().map(Split::parse).transpose()?;
    let stopping = |_| Problem::unavailable("the node is stopping");
    let slot = Arc::clone(&app.training_slots).acquire_owned().await.map_err(stopping)?;
    let worker = Arc::clone(&app);
    let (bytes, rows, failed, leaks) = tokio::task::spawn_blocking(move || -> Result<_, Problem> {
        // Held until the work is done, which goes on when the client is gone.
        let _held = (place, slot);
        let body = decompress(encoding.as_deref(), body, worker.ingest.max_body, worker.ingest.max_ratio)
            .map_err(media::undecodable)?;
        let options = spine_options(&worker, &wanted, query.event_time.as_deref(), times)?;
        let spine = read_spine(given, body, &options)?;
        let request = TrainingRequest {
            wanted,
            spine,
            event_time: query.event_time,
            times,
            max_bytes: worker.reads.limits.joined_bytes,
            known_at: query.known_at,
            until: None,
            full_feature_names: query.full_feature_names,
            guard: query.leak_guard,
            split,
        };
        let TrainingSet { rows, failed, leaks } = worker.reads.training_set(&request)?;
        let mut writer = TableWriter::new(wanted_format, Vec::new(), rows.schema())?;
        writer.write(&rows)?;
        Ok((writer.finish()?, rows.num_rows(), failed, leaks))
    })
    .await
    .map_err(|_| Problem::internal("the training set could not be built"))??;
    metrics::record_training(rows, started.elapsed());
    let mut response = ([(header::CONTENT_TYPE, wanted_format.media_type())], bytes).into_response();
    if let Some(failed) = failures(&failed) {
        response.headers_mut().insert(FAILED_ROWS, failed);
    }
    if !query.leak_guard.is_off() {
        response.headers_mut().insert(LEAKS, leaks_header(&leaks));
    }
    Ok(response)
}

/// `column=rows` of each on-demand feature whose expression failed for some; those that fit into one header.
fn failures(failed: &[(String, usize)]) -> Option<HeaderValue> {
    let mut text = String::new();
    for (column, rows) in failed {
        let comma = if text.is_empty() { "" } else { ", " };
        let one = format!("{comma}{column}={rows}");
        if text.len() + one.len() > MAX_FAILED_ROWS {
            break;
        }
        text += &one;
    }
    (!text.is_empty()).then(|| HeaderValue::from_str(&text).ok()).flatten()
}

/// Features with a count, and their counts, as JSON: `{"view:feature":{"within_lag":0,"accepted_later":3}}`.
const LEAKS: &str = "larder-leaks";
/// Features in the header; a job's manifest has them all.
const MAX_LEAKS: usize = 100;

fn leaks_header(leaks: &[Leak]) -> HeaderValue {
    let found = leaks.iter().filter(|leak| leak.within_lag > 0 || leak.accepted_later > 0).take(MAX_LEAKS);
    let counts = found.map(|leak| {
        let counts = json!({ "within_lag": leak.within_lag, "accepted_later": leak.accepted_later });
        (leak.feature.clone(), counts)
    });
    let text = serde_json::Value::Object(counts.collect()).to_string();
    // Names are plain ASCII.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("{}"))
}

/// How a spine from outside is read.
pub(super) fn spine_options(
    app: &App,
    wanted: &Wanted,
    event_time: Option<&str>,
    times: TimeForm,
) -> Result<ReadOptions, Problem> {
    let resolved = wanted.resolve(&app.catalog.current())?;
    // A key such as 007 stays text where the view says so, whatever it looks like.
    let brought = resolved.computation.request.iter().map(|asked| asked.column.clone());
    // And a UUID comes back as it was written.
    let types = brought.chain(resolved.join_keys()).map(|column| match column.data_type {
        DataType::Uuid => (column.name, DataType::String),
        data_type => (column.name, data_type),
    });
    let mut types: BTreeMap<String, DataType> = types.collect();
    types.insert(event_time.unwrap_or(EVENT_TIME).to_owned(), DataType::Timestamp);
    let max_decoded_bytes = Some(app.ingest.max_body.saturating_mul(DECODED_FACTOR));
    Ok(ReadOptions { types, times, max_decoded_bytes, ..ReadOptions::default() })
}

fn read_spine(format: Format, body: Bytes, options: &ReadOptions) -> Result<RecordBatch, Problem> {
    let reader = TableReader::from_bytes(format, body, options)?;
    let schema = reader.schema().clone();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    // Dictionaries of several batches may have more words together than one of them has room for.
    let whole = concat_batches(&schema, &batches).or_else(|_| {
        let batches = batches.iter().map(plain_batch).collect::<Result<Vec<_>, _>>()?;
        concat_batches(&Arc::new(plain_schema(&schema)), &batches)
    });
    whole.map_err(|e| Problem::bad_request(format!("the spine cannot be read: {e}")))
}
