//! `larder ingest FILE… --view V | --source S`: streams files into a node, in order, in bounded memory.
//!
//! Each chunk is a batch whose Idempotency-Key is a fingerprint of its bytes and place, so an interrupted run is
//! resumed by running it again: what was stored is answered from memory and stored once. Each chunk names the one that it
//! comes after (Ingest-After), so two are on their way at once and are stored in the order of the file.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;

use crate::{
    cli::{
        CliError, Client, Server,
        ingest_file::{Columns, SourceFile},
        ingest_rows,
        ingest_send::{Sending, Sent},
        progress,
        times::TimeArgs,
    },
    format::Format,
    model::TimeForm,
};

#[derive(Args)]
pub struct Ingest {
    /// Files or glob patterns: Parquet, Arrow, CSV, NDJSON or JSON; text also with .gz or .zst.
    #[arg(required = true)]
    files: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// The files' format, where their names do not tell: parquet, arrow, csv, ndjson, json.
    #[arg(long)]
    format: Option<String>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    server: Server,
}

/// What becomes of rows and columns.
#[derive(Args, Clone, Copy, Default)]
pub struct Options {
    /// Refuse files with columns that the table does not have, instead of leaving those columns out.
    #[arg(long)]
    strict: bool,
    /// Store good rows and keep bad ones in quarantine.
    #[arg(long)]
    quarantine: bool,
    /// Keep what a row leaves out as it was at the row's event time, instead of writing nulls.
    #[arg(long, conflicts_with = "source")]
    merge: bool,
    #[command(flatten)]
    times: TimeArgs,
}

impl Options {
    fn query(self) -> String {
        let on_error = if self.quarantine { "quarantine" } else { "reject" };
        let mode = self.merge.then(|| ("mode", "merge".to_owned()));
        let query = [("on_error", on_error.to_owned())].into_iter().chain(mode).chain(self.times.query());
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
    }
}

#[derive(Args, Clone)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The feature view whose rows these are.
    #[arg(long)]
    view: Option<String>,
    /// The source whose events these are.
    #[arg(long)]
    source: Option<String>,
}

/// What all chunks together came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    pub rows: u64,
    pub accepted: u64,
    pub late: u64,
    pub deduplicated: u64,
    pub quarantined: u64,
    /// Rows of batches that an earlier run had stored.
    pub resumed: u64,
}

impl Totals {
    fn add(&mut self, sent: &Sent) {
        let number = |name: &str| sent.answer[name].as_u64().unwrap_or(0);
        self.rows += sent.rows;
        if sent.replayed {
            self.resumed += sent.rows;
        } else {
            self.accepted += number("accepted");
            self.late += number("late");
            self.deduplicated += number("deduplicated");
            self.quarantined += number("quarantined");
        }
    }
}

impl Ingest {
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let format = match &self.format {
            Some(name) => Some(name.parse().map_err(CliError::usage)?),
            None => None,
        };
        let files = expand(&self.files)?;
        let started = Instant::now();
        let mut totals = Totals::default();
        for file in files {
            totals = send_file(&client, &self.target, &file, format, self.options, totals)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "{} rows in {seconds:.2} s ({} rows/s): {} stored ({} late), {} duplicates, {} quarantined, {} stored before",
            progress::count(totals.rows),
            progress::count((totals.rows as f64 / seconds.max(1e-9)) as u64),
            progress::count(totals.accepted),
            progress::count(totals.late),
            progress::count(totals.deduplicated),
            progress::count(totals.quarantined),
            progress::count(totals.resumed),
        );
        Ok(())
    }
}

impl Target {
    pub fn view(name: &str) -> Target {
        Target { view: Some(name.to_owned()), source: None }
    }

    pub fn source(name: &str) -> Target {
        Target { view: None, source: Some(name.to_owned()) }
    }

    fn name(&self) -> &str {
        self.view.as_deref().or(self.source.as_deref()).unwrap_or_default()
    }

    /// (where its definition is, where its rows go).
    fn paths(&self) -> (String, String) {
        match &self.view {
            Some(view) => (format!("/v1/feature-views/{view}"), format!("/v1/feature-views/{view}/rows")),
            None => {
                let source = self.name();
                (format!("/v1/sources/{source}"), format!("/v1/sources/{source}/events"))
            }
        }
    }
}

fn expand(patterns: &[String]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for pattern in patterns {
        if Path::new(pattern).is_file() {
            files.push(PathBuf::from(pattern));
            continue;
        }
        let matches = glob::glob(pattern).map_err(|e| CliError::Usage(format!("`{pattern}`: {e}")))?;
        let mut found: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|p| p.is_file()).collect();
        if found.is_empty() {
            return Err(CliError::Failed(format!("no file matches `{pattern}`")));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// Sends one file; `totals` goes on counting.
pub fn send_file(
    client: &Client,
    target: &Target,
    path: &Path,
    format: Option<Format>,
    options: Options,
    mut totals: Totals,
) -> Result<Totals, CliError> {
    let (definition, rows_path) = target.paths();
    let definition = client.get(&definition)?;
    let columns = Columns::of(&definition)?;
    let declared: TimeForm = serde_json::from_value(definition).map_err(CliError::failed)?;
    let as_written = if options.merge { ingest_rows::chunks(path, format)? } else { None };
    let file = match as_written {
        Some(chunks) => SourceFile { size: 0, ignored: Vec::new(), chunks },
        None => {
            let times = options.times.form().or(declared);
            SourceFile::open(path, format, &columns, times, options.strict)?
        }
    };
    if !file.ignored.is_empty() {
        let name = path.display();
        eprintln!(
            "{name}: leaving out columns that `{}` does not have: {}",
            target.name(),
            file.ignored.join(", ")
        );
    }
    let bar = progress::bar(file.size, &format!("{} → {}", file_name(path), target.name()));
    let url = format!("{rows_path}?{}", options.query());

    Sending::new(client, target.name(), path, url).all(file.chunks, |sent| {
        totals.add(&sent);
        bar.inc(sent.progress);
    })?;
    bar.finish();
    Ok(totals)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
