//! `larder training-set`: a spine file in, a file with its features out.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use clap::Args;
use serde_json::Value as Json;

use crate::{
    cli::{CliError, Client, Server, WantedArgs, progress, times::TimeArgs, training_job},
    format::{Format, ReadOptions, TableReader, TableWriter, plain_batch, plain_schema},
    model::{Column, DataType},
};

#[derive(Args)]
pub struct TrainingSet {
    /// Entity keys and event times, one row per example: Parquet, Arrow, CSV or NDJSON.
    #[arg(long, required_unless_present = "verify")]
    spine: Option<PathBuf>,
    /// A feature service, `name` or `name@version`.
    #[arg(long, conflicts_with = "features", required_unless_present_any = ["features", "verify"])]
    service: Option<String>,
    /// Feature references, separated by commas.
    #[arg(long, value_delimiter = ',')]
    features: Option<Vec<String>>,
    /// Where to write: .parquet, .arrow, .csv, .ndjson or .json.
    #[arg(long, required_unless_present_any = ["name", "verify"])]
    out: Option<PathBuf>,
    /// Keep the set on the node under this name, as its next version; it is built there by a job.
    #[arg(long)]
    name: Option<String>,
    /// Make the set NAME or NAME@VERSION again on the node and compare it with what is stored.
    #[arg(long, value_name = "NAME[@VERSION]", conflicts_with_all = ["spine", "out", "name"])]
    verify: Option<String>,
    /// The spine's column of times.
    #[arg(long, default_value = "event_time")]
    event_time: String,
    /// Ignore what was accepted after this time (RFC 3339); with `--name` also NAME@VERSION: what that version saw.
    #[arg(long)]
    known_at: Option<String>,
    /// Name columns `feature` instead of `view__feature`.
    #[arg(long)]
    short_names: bool,
    /// Values that nobody had at a row's time: count those within a source's lag (`lag`), count also those accepted later
    /// (`report`), or leave these out as well (`exclude`).
    #[arg(long, value_name = "off|lag|report|exclude")]
    leak_guard: Option<String>,
    /// Adds the column `split`; JSON: {"time":{"train":TIME,…}} or {"hash":{"key":COLUMN,"fractions":{"train":0.8,…}}}.
    #[arg(long, value_name = "JSON")]
    split: Option<String>,
    #[command(flatten)]
    times: TimeArgs,
    #[command(flatten)]
    server: Server,
}

/// Rows of the spine that go into one request, and the bytes that they may have.
const CHUNK_ROWS: usize = 400_000;
const CHUNK_BYTES: usize = 12 * 1024 * 1024;

impl TrainingSet {
    /// With everything else at its default.
    pub fn new(spine: PathBuf, wanted: WantedArgs, out: PathBuf, server: Server) -> TrainingSet {
        TrainingSet {
            spine: Some(spine),
            service: wanted.service,
            features: wanted.features,
            out: Some(out),
            name: None,
            verify: None,
            event_time: crate::model::EVENT_TIME.to_owned(),
            known_at: None,
            short_names: false,
            leak_guard: None,
            split: None,
            times: TimeArgs::default(),
            server,
        }
    }

    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        if let Some(set) = &self.verify {
            return training_job::verify(&client, set);
        }
        let Some(spine) = &self.spine else { return Err(CliError::Usage("give --spine".to_owned())) };
        let asked = Asked { set: &self, spine };
        if let Some(name) = &self.name {
            return training_job::build(&client, &asked, name, self.out.as_deref());
        }
        let Some(out) = &self.out else { return Err(CliError::Usage("give --out, or --name".to_owned())) };
        let (format, _) = Format::from_path(out).map_err(CliError::usage)?;
        // All requests of one training set see the store at one moment.
        let known_at = match &self.known_at {
            Some(time) => time.clone(),
            None => client.get("/v1/info")?["now"].as_str().unwrap_or_default().to_owned(),
        };
        let started = Instant::now();
        let (rows, leaks) = asked.build(&client, out, format, &known_at)?;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{} rows in {seconds:.2} s → {}", progress::count(rows), out.display());
        print_leaks(&leaks);
        Ok(())
    }
}

/// What is asked, with what it is asked of.
pub(super) struct Asked<'a> {
    set: &'a TrainingSet,
    spine: &'a Path,
}

/// Counts of the leak guard: per feature within the lag, accepted later.
pub(super) type Leaks = BTreeMap<String, (u64, u64)>;

impl Asked<'_> {
    pub(super) fn open(&self, client: &Client) -> Result<TableReader, CliError> {
        let times = self.set.times.form();
        let options = ReadOptions { types: self.key_types(client)?, times, ..ReadOptions::default() };
        TableReader::open(self.spine, &options).map_err(|e| self.unreadable(&e))
    }

    pub(super) fn unreadable(&self, error: &dyn std::fmt::Display) -> CliError {
        CliError::Failed(format!("{}: {error}", self.spine.display()))
    }

    /// The query of a request for it.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let TrainingSet { event_time, short_names, leak_guard, split, .. } = self.set;
        let mut query =
            vec![("event_time", event_time.clone()), ("full_feature_names", (!short_names).to_string())];
        match (&self.set.service, &self.set.features) {
            (Some(service), _) => query.push(("feature_service", service.clone())),
            (None, features) => query.push(("features", features.clone().unwrap_or_default().join(","))),
        }
        query.extend(leak_guard.clone().map(|guard| ("leak_guard", guard)));
        query.extend(split.clone().map(|split| ("split", split)));
        query.extend(self.set.times.query());
        query
    }

    pub(super) fn known_at(&self) -> Option<&str> {
        self.set.known_at.as_deref()
    }

    fn build(
        &self,
        client: &Client,
        out: &Path,
        format: Format,
        known_at: &str,
    ) -> Result<(u64, Leaks), CliError> {
        let reader = self.open(client)?;
        let bar = progress::bar(reader.rows().unwrap_or(0), "training set");
        let mut out = Output::create(out, format)?;
        let mut leaks = Leaks::new();
        // A spine without rows has an answer too: its columns.
        let schema = Arc::new(plain_schema(reader.schema()));
        let mut waiting = vec![RecordBatch::new_empty(schema)];
        let (mut waiting_rows, mut total) = (0, 0);
        for batch in reader {
            let batch =
                plain_batch(&batch.map_err(|e| self.unreadable(&e))?).map_err(|e| self.unreadable(&e))?;
            waiting_rows += batch.num_rows();
            waiting.push(batch);
            if waiting_rows >= CHUNK_ROWS {
                total += self.join(client, &std::mem::take(&mut waiting), known_at, &mut out, &mut leaks)?;
                bar.set_position(total);
                waiting_rows = 0;
            }
        }
        if total == 0 || waiting_rows > 0 {
            total += self.join(client, &waiting, known_at, &mut out, &mut leaks)?;
        }
        bar.finish();
        for (column, rows) in &out.failed {
            eprintln!("{column}: its expression failed for {} rows, which are null", progress::count(*rows));
        }
        out.finish()?;
        Ok((total, leaks))
    }

    /// Types of the columns that text spines cannot tell: a key such as 007 stays text where the entity says so.
    fn key_types(&self, client: &Client) -> Result<BTreeMap<String, DataType>, CliError> {
        let catalog = client.get("/v1/registry")?;
        let mut types = BTreeMap::new();
        let lists =
            [("feature_views", "request"), ("entities", "join_keys"), ("feature_services", "join_keys")];
        for (list, columns) in lists {
            let objects = catalog[list].as_array().into_iter().flatten();
            for key in objects.filter_map(|object| object[columns].as_array()).flatten() {
                let column: Column = serde_json::from_value(key.clone()).map_err(CliError::failed)?;
                // A UUID comes back as it was written.
                let data_type = match column.data_type {
                    DataType::Uuid => DataType::String,
                    data_type => data_type,
                };
                types.insert(column.name, data_type);
            }
        }
        types.insert(self.set.event_time.clone(), DataType::Timestamp);
        Ok(types)
    }

    /// Joins a part of the spine and appends it to the output.
    fn join(
        &self,
        client: &Client,
        spine: &[RecordBatch],
        known_at: &str,
        out: &mut Output,
        leaks: &mut Leaks,
    ) -> Result<u64, CliError> {
        let Some(first) = spine.first() else { return Ok(0) };
        let spine = concat_batches(&first.schema(), spine).map_err(CliError::failed)?;
        let body = encode_spine(&spine)?;
        if body.len() > CHUNK_BYTES && spine.num_rows() > 1 {
            let half = spine.num_rows() / 2;
            let rest = spine.num_rows() - half;
            let mut rows = self.join(client, &[spine.slice(0, half)], known_at, out, leaks)?;
            rows += self.join(client, &[spine.slice(half, rest)], known_at, out, leaks)?;
            return Ok(rows);
        }
        let mut query = self.query();
        query.push(("known_at", known_at.to_owned()));
        let url = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let body = bytes::Bytes::from(body);
        let response = client.send(|| {
            client
                .post(&format!("/v1/training-sets?{url}"))
                .header("Content-Type", Format::Parquet.media_type())
                .header("Accept", Format::ArrowStream.media_type())
                .body(body.clone())
        })?;
        add_leaks(leaks, response.headers());
        out.note_failures(response.headers().get("larder-failed-rows"));
        let bytes = response.bytes().map_err(CliError::failed)?;
        let reader = TableReader::from_bytes(Format::ArrowStream, bytes, &ReadOptions::default())
            .map_err(CliError::failed)?;
        // An answer without rows may be a schema alone.
        out.write(&RecordBatch::new_empty(reader.schema().clone()))?;
        for batch in reader {
            out.write(&batch.map_err(CliError::failed)?)?;
        }
        Ok(spine.num_rows() as u64)
    }
}

fn add_leaks(leaks: &mut Leaks, headers: &reqwest::header::HeaderMap) {
    let text = headers.get("larder-leaks").and_then(|header| header.to_str().ok()).unwrap_or("{}");
    let counted: BTreeMap<String, Json> = serde_json::from_str(text).unwrap_or_default();
    for (feature, counts) in counted {
        let sum = leaks.entry(feature).or_default();
        let count = |name: &str| counts[name].as_u64().unwrap_or(0);
        *sum = (sum.0 + count("within_lag"), sum.1 + count("accepted_later"));
    }
}

/// Rows per feature whose value would have been made of what was not available yet.
pub(super) fn print_leaks(leaks: &Leaks) {
    let width = leaks.keys().map(String::len).max().unwrap_or(0);
    for (feature, (within_lag, accepted_later)) in leaks {
        eprintln!(
            "  {feature:width$}  {:>12} rows within the lag  {:>12} rows accepted later",
            progress::count(*within_lag),
            progress::count(*accepted_later)
        );
    }
}

pub(super) fn encode_spine(spine: &RecordBatch) -> Result<Vec<u8>, CliError> {
    let mut writer =
        TableWriter::new(Format::Parquet, Vec::new(), spine.schema()).map_err(CliError::failed)?;
    writer.write(spine).map_err(CliError::failed)?;
    writer.finish().map_err(CliError::failed)
}

/// The output file, written under a temporary name until it is whole.
struct Output {
    path: PathBuf,
    part: PathBuf,
    format: Format,
    file: Option<std::fs::File>,
    /// On-demand features, each with the rows for which its expression failed.
    failed: BTreeMap<String, u64>,
    writer: Option<TableWriter<std::fs::File>>,
}

impl Output {
    fn create(path: &Path, format: Format) -> Result<Output, CliError> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file =
            std::fs::File::create(&part).map_err(|source| CliError::File { path: part.clone(), source })?;
        Ok(Output {
            path: path.to_owned(),
            part,
            format,
            file: Some(file),
            failed: BTreeMap::new(),
            writer: None,
        })
    }

    /// Adds up what the node said of a part: `column=rows, …`.
    fn note_failures(&mut self, said: Option<&reqwest::header::HeaderValue>) {
        let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
        for (column, rows) in said.split(", ").filter_map(|one| one.split_once('=')) {
            *self.failed.entry(column.to_owned()).or_default() += rows.parse::<u64>().unwrap_or(0);
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        if let Some(file) = self.file.take() {
            self.writer =
                Some(TableWriter::new(self.format, file, batch.schema()).map_err(CliError::failed)?);
        }
        match &mut self.writer {
            Some(writer) => writer.write(batch).map_err(CliError::failed),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), CliError> {
        let Some(writer) = self.writer.take() else {
            return Err(CliError::Failed("the node gave no rows and no columns".to_owned()));
        };
        let mut file = writer.finish().map_err(CliError::failed)?;
        file.flush().map_err(CliError::failed)?;
        std::fs::rename(&self.part, &self.path)
            .map_err(|source| CliError::File { path: self.path.clone(), source })
    }
}

impl Drop for Output {
    /// What did not become whole is not left behind; after a rename there is nothing to remove.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.part);
    }
}
