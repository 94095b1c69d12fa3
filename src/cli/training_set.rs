//! `larder training-set`: a spine file in, a file with its features out.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use clap::Args;

use crate::{
    cli::{CliError, Client, Server, WantedArgs, progress},
    format::{Format, ReadOptions, TableReader, TableWriter},
    model::{Column, DataType},
};

#[derive(Args)]
pub struct TrainingSet {
    /// Entity keys and event times, one row per example: Parquet, Arrow, CSV or NDJSON.
    #[arg(long)]
    spine: PathBuf,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Where to write: .parquet, .arrow, .csv, .ndjson or .json.
    #[arg(long)]
    out: PathBuf,
    /// The spine's column of times.
    #[arg(long, default_value = "event_time")]
    event_time: String,
    /// Ignore what was accepted after this time (RFC 3339).
    #[arg(long)]
    known_at: Option<String>,
    /// Name columns `feature` instead of `view__feature`.
    #[arg(long)]
    short_names: bool,
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
            spine,
            wanted,
            out,
            event_time: crate::model::EVENT_TIME.to_owned(),
            known_at: None,
            short_names: false,
            server,
        }
    }

    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let (format, _) = Format::from_path(&self.out).map_err(CliError::usage)?;
        // All requests of one training set see the store at one moment.
        let known_at = match &self.known_at {
            Some(time) => time.clone(),
            None => client.get("/v1/info")?["now"].as_str().unwrap_or_default().to_owned(),
        };
        let started = Instant::now();
        let rows = self.build(&client, format, &known_at)?;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{} rows in {seconds:.2} s → {}", progress::count(rows), self.out.display());
        Ok(())
    }

    fn build(&self, client: &Client, format: Format, known_at: &str) -> Result<u64, CliError> {
        let options = ReadOptions { types: self.key_types(client)?, ..ReadOptions::default() };
        let reader = TableReader::open(&self.spine, &options)
            .map_err(|e| CliError::Failed(format!("{}: {e}", self.spine.display())))?;
        let bar = progress::bar(reader.rows().unwrap_or(0), "training set");
        let mut out = Output::create(&self.out, format)?;
        // A spine without rows has an answer too: its columns.
        let mut waiting = vec![RecordBatch::new_empty(reader.schema().clone())];
        let (mut waiting_rows, mut total) = (0, 0);
        for batch in reader {
            let batch = batch.map_err(|e| CliError::Failed(format!("{}: {e}", self.spine.display())))?;
            waiting_rows += batch.num_rows();
            waiting.push(batch);
            if waiting_rows >= CHUNK_ROWS {
                total += self.join(client, &std::mem::take(&mut waiting), known_at, &mut out)?;
                bar.set_position(total);
                waiting_rows = 0;
            }
        }
        if total == 0 || waiting_rows > 0 {
            total += self.join(client, &waiting, known_at, &mut out)?;
        }
        bar.finish();
        for (column, rows) in &out.failed {
            eprintln!("{column}: its expression failed for {} rows, which are null", progress::count(*rows));
        }
        out.finish()?;
        Ok(total)
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
                types.insert(column.name, column.data_type);
            }
        }
        types.insert(self.event_time.clone(), DataType::Timestamp);
        Ok(types)
    }

    /// Joins a part of the spine and appends it to the output.
    fn join(
        &self,
        client: &Client,
        spine: &[RecordBatch],
        known_at: &str,
        out: &mut Output,
    ) -> Result<u64, CliError> {
        let Some(first) = spine.first() else { return Ok(0) };
        let spine = concat_batches(&first.schema(), spine).map_err(CliError::failed)?;
        let body = encode_spine(&spine)?;
        if body.len() > CHUNK_BYTES && spine.num_rows() > 1 {
            let half = spine.num_rows() / 2;
            let rest = spine.num_rows() - half;
            let mut rows = self.join(client, &[spine.slice(0, half)], known_at, out)?;
            rows += self.join(client, &[spine.slice(half, rest)], known_at, out)?;
            return Ok(rows);
        }
        let mut query = vec![
            ("known_at", known_at.to_owned()),
            ("event_time", self.event_time.clone()),
            ("full_feature_names", (!self.short_names).to_string()),
        ];
        match (&self.wanted.service, &self.wanted.features) {
            (Some(service), _) => query.push(("feature_service", service.clone())),
            (None, features) => query.push(("features", features.clone().unwrap_or_default().join(","))),
        }
        let url = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let body = bytes::Bytes::from(body);
        let response = client.send(|| {
            client
                .post(&format!("/v1/training-sets?{url}"))
                .header("Content-Type", Format::Parquet.media_type())
                .header("Accept", Format::ArrowStream.media_type())
                .body(body.clone())
        })?;
        out.note_failures(response.headers().get("larder-failed-rows"));
        let bytes = response.bytes().map_err(CliError::failed)?;
        let reader = TableReader::from_bytes(Format::ArrowStream, bytes, &ReadOptions::default())
            .map_err(CliError::failed)?;
        for batch in reader {
            out.write(&batch.map_err(CliError::failed)?)?;
        }
        Ok(spine.num_rows() as u64)
    }
}

fn encode_spine(spine: &RecordBatch) -> Result<Vec<u8>, CliError> {
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
