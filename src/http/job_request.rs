//! What a job that builds a training set is asked.

use std::{borrow::Cow, collections::HashMap, path::Path};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value as Json, value::RawValue};
use utoipa::{IntoParams, ToSchema};

use crate::{
    doors::Caller,
    error::Detail,
    format::{Format, ReadOptions, TableReader, json_weight, repeated_key},
    http::{
        App, Problem,
        extract::{parse_text, weigh},
        references::References,
        sql::answered,
        times::time_form,
    },
    model::Timestamp,
    serve::{
        LeakGuard, ServeError, Split, Wanted,
        sets::{Ask, KnownAt, SetRef, confined},
    },
    sql::SqlQuery,
};

/// A JSON body with the spine in it, or the query of a request whose body is the spine.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobRequest {
    /// `name` or `name@version`. Either this or `features`.
    #[serde(default)]
    pub feature_service: Option<String>,
    /// Feature references: a list, in a query separated by commas.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<Vec<String>>)]
    pub features: Option<References>,
    /// Keeps the result under this name, as its next version.
    #[serde(default)]
    pub name: Option<String>,
    /// Of the result: parquet (the default), csv, ndjson or json.
    #[serde(default)]
    pub format: Option<String>,
    /// A time (RFC 3339): what was accepted later is ignored. Or `name@version`: the rows of which that version was made.
    #[serde(default)]
    pub known_at: Option<String>,
    /// The spine's column of times; `event_time` where not given.
    #[serde(default)]
    pub event_time: Option<String>,
    /// `false`: columns are named `feature` instead of `view__feature`.
    #[serde(default)]
    pub full_feature_names: Option<bool>,
    /// What came too late for a row: off (the default), lag, report, exclude.
    #[serde(default)]
    #[param(inline)]
    pub leak_guard: LeakGuard,
    /// JSON: `{"time": {"train": TIME, …}}` or `{"hash": {"key": COLUMN, "fractions": {"train": 0.8, …}, "seed"?}}`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<Object>)]
    pub split: Option<Json>,
    /// What numbers count that are times: `s`, `ms`, `us` or `ns`.
    #[serde(default)]
    pub time_unit: Option<String>,
    /// The zone of times that are written without one: `UTC` or an IANA name.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// `{"path": …}` below `data.spine_dir`, `{"inline": [{…}]}` or `{"sql": "SELECT …"}`.
    #[serde(default)]
    #[param(ignore)]
    #[schema(value_type = Object, required = true)]
    pub spine: Option<SpineForm>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpineForm {
    /// A file below `data.spine_dir`.
    Path(String),
    /// Rows: `[{"tailnum": "N1", "event_time": "…"}, …]`; left as the text that they are.
    Inline(Box<RawValue>),
    /// What a query answers, within the limits of `POST /v1/sql`.
    Sql(String),
}

impl JobRequest {
    /// From a JSON body. Its spine is text until it is read as rows; the rest is weighed.
    pub fn parse(body: &[u8], max_depth: usize) -> Result<JobRequest, Problem> {
        let members: HashMap<Cow<'_, str>, &RawValue> = parse_text(body, max_depth)?;
        let others = members.iter().filter(|(name, _)| *name != "spine");
        weigh(others.clone().map(|(_, text)| json_weight(text.get())).sum())?;
        for (name, text) in others {
            if let Some(repeated) = repeated_key(text.get()) {
                return Err(wrong(name, repeated).into());
            }
        }
        parse_text(body, max_depth)
    }

    pub fn ask(self) -> Result<Ask, Problem> {
        let split = self.split.map(|split| match split {
            Json::String(text) => Split::parse(&text),
            object => Split::parse(&object.to_string()),
        });
        Ok(Ask {
            wanted: Wanted::from_parts(self.feature_service, self.features.map(References::into_vec))?,
            name: self.name,
            format: self.format.unwrap_or_else(|| Format::Parquet.to_string()),
            known_at: self.known_at.as_deref().map(known_at).transpose()?,
            event_time: self.event_time,
            times: time_form(self.time_unit.as_deref(), self.time_zone.as_deref())?,
            full_feature_names: self.full_feature_names.unwrap_or(true),
            leak_guard: self.leak_guard,
            split: split.transpose()?,
        })
    }

    pub fn with_spine(mut self) -> Result<(Ask, SpineForm), Problem> {
        let spine = self.spine.take();
        let missing = || wrong("spine", "it is missing; a JSON body brings its spine: path, inline or sql");
        Ok((self.ask()?, spine.ok_or_else(missing)?))
    }
}

/// A time begins with a digit, a set's name with a letter.
fn known_at(text: &str) -> Result<KnownAt, Problem> {
    if text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(KnownAt::Set(text.parse::<SetRef>()?));
    }
    Ok(KnownAt::Time(Timestamp::parse(text).map_err(|error| wrong("known_at", error.to_string()))?))
}

fn wrong(field: &str, reason: impl Into<String>) -> ServeError {
    ServeError::Request(vec![Detail { row: None, field: Some(field.to_owned()), reason: reason.into() }])
}

impl SpineForm {
    /// Everything that gives record batches can be a spine.
    pub fn open(self, app: &App, caller: &Caller, ask: &Ask) -> Result<TableReader, Problem> {
        let options = app.doors.spine_options(&ask.wanted, ask.event_time.as_deref(), ask.times)?;
        match self {
            SpineForm::Inline(rows) => {
                let document = [br#"{"rows":"#, rows.get().as_bytes(), b"}"].concat();
                Ok(TableReader::from_bytes(Format::Json, Bytes::from(document), &options)?)
            }
            SpineForm::Path(path) => {
                let dir = &app.config.data.spine_dir;
                let dir = Some(dir.as_path()).filter(|dir| !dir.as_os_str().is_empty());
                let file = confined(dir, Path::new(&path))?;
                // It is read batch by batch; what it may come to is bounded where it is stored.
                Ok(TableReader::open(&file, &ReadOptions { max_decoded_bytes: None, ..options })?)
            }
            SpineForm::Sql(text) => {
                let query = SqlQuery { text, ..SqlQuery::default() };
                let answer = tokio::runtime::Handle::current().block_on(answered(
                    app,
                    caller,
                    query,
                    Format::Parquet,
                ))?;
                // Its rows and bytes are bounded already.
                let options = ReadOptions { max_decoded_bytes: None, ..options };
                Ok(TableReader::from_bytes(Format::Parquet, Bytes::from(answer.bytes), &options)?)
            }
        }
    }
}
