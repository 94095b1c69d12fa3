//! `POST /v1/training-sets`: the spine in, the spine with its features out.

use std::sync::Arc;

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
    doors::{Caller, Doors},
    format::{Format, ReadOptions, TableReader, TableWriter, plain_batch, plain_schema},
    http::{App, Problem, ProblemBody, extract::Body, media, references::References, times::time_form},
    model::Timestamp,
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

/// For how many rows on-demand features failed, by column.
const FAILED_ROWS: HeaderName = HeaderName::from_static("larder-failed-rows");
const MAX_FAILED_ROWS: usize = 4 << 10;
const FORMATS: [Format; 5] =
    [Format::Parquet, Format::ArrowStream, Format::Csv, Format::NdJson, Format::Json];

#[utoipa::path(post, path = "/v1/training-sets", tag = "serving",
    extensions(("x-action" = json!("read_training")), ("x-timeout" = json!("long"))), params(TrainingQuery),
    request_body(content = Vec<u8>, content_type = "application/vnd.apache.parquet",
        description = "the spine: entity keys, event time, further columns; Parquet, Arrow, CSV or NDJSON"),
    responses((status = 200, description = "the spine's rows in the spine's order, with the features at each row's \
            own time; in `Accept`'s format, Parquet by default; `larder-failed-rows` counts rows for which on-demand features \
            failed", content_type = "application/vnd.apache.parquet"),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn training_sets(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<TrainingQuery>,
    headers: HeaderMap,
    body: Request,
) -> Result<Response, Problem> {
    // With its body here: no place is kept for a client that is slow to send one.
    let Body(body) = Body::from_request(body, &app).await?;
    let given = media::content_type(&headers)?;
    let wanted_format = media::accepted(&headers, &FORMATS)?;
    let encoding = media::text(&headers, header::CONTENT_ENCODING.as_str())?;
    let wanted = Wanted::from_parts(query.feature_service, query.features.map(References::into_vec))?;
    let times = time_form(query.time_unit.as_deref(), query.time_zone.as_deref())?;
    let split = query.split.as_deref().map(Split::parse).transpose()?;
    let place = app.doors.training_place(&caller, &wanted).await?;
    let worker = Arc::clone(&app);
    let request = move |doors: &Doors| -> Result<TrainingRequest, Problem> {
        let body = worker.doors.decompressed(encoding.as_deref(), body).map_err(media::undecodable)?;
        let options = doors.spine_options(&wanted, query.event_time.as_deref(), times)?;
        Ok(TrainingRequest {
            spine: read_spine(given, body, &options)?,
            wanted,
            event_time: query.event_time,
            times,
            max_bytes: doors.training_bytes(),
            known_at: query.known_at,
            until: None,
            full_feature_names: query.full_feature_names,
            guard: query.leak_guard,
            split,
        })
    };
    let write = move |set: &TrainingSet| -> Result<Vec<u8>, Problem> {
        let mut writer = TableWriter::new(wanted_format, Vec::new(), set.rows.schema())?;
        writer.write(&set.rows)?;
        Ok(writer.finish()?)
    };
    let (TrainingSet { failed, leaks, .. }, bytes) =
        app.doors.training_set(&caller, place, request, write).await?;
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
