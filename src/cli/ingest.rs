//! `larder ingest FILE… --view V | --source S`: streams files into a node, in order, in bounded memory.
//!
//! Each chunk is a batch whose Idempotency-Key is a fingerprint of the run, its bytes and its place: an interrupted run is
//! gone on with by `--resume`, and what was stored is answered from memory and stored once. The same command without it is
//! another run, which writes again. Each chunk names the one that it comes after (Ingest-After), so two are on their way at
//! once and are stored in the order of the file.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use uuid::Uuid;

use crate::{
    cli::{
        CliError, Client, Server,
        ingest_columns::{Columns, Ignoring},
        ingest_file::{Reading, SourceFile},
        ingest_run::IngestRun,
        ingest_send::{Sending, Sent},
        progress,
        times::TimeArgs,
    },
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
    ignoring: Ignoring,
    /// Store good rows and keep bad ones in quarantine.
    #[arg(long)]
    quarantine: bool,
    /// Keep what a row leaves out as it was at the row's event time, instead of writing nulls.
    #[arg(long, conflicts_with = "source")]
    merge: bool,
    #[command(flatten)]
    times: TimeArgs,
    /// Go on with an interrupted run of the same command, of which a node remembers for a day what it has stored; by its id
    /// where it ran elsewhere.
    #[arg(long, value_name = "RUN", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    resume: Option<String>,
    #[command(flatten)]
    server: Server,
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
        let run = self.begin(&files)?;
        let Ingest { quarantine, merge, times, .. } = self;
        let reading = Reading { format, ignoring: self.ignoring.clone(), quarantine, merge, times };
        let mut totals = Totals::default();
        interrupted(run.hint())?;
        for file in &files {
            let sent = send_file(&client, &self.target, file, &reading, run.id(), totals);
            totals = sent.map_err(|error| error.with(&run.hint()))?;
        }
        run.complete();
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

impl Ingest {
    /// The run that is resumed, or a new one.
    fn begin(&self, files: &[PathBuf]) -> Result<IngestRun, CliError> {
        let paths = files.iter().map(|file| std::fs::canonicalize(file).unwrap_or_else(|_| file.clone()));
        let mut what = vec![self.server.server.clone(), self.target.paths().1];
        what.extend(paths.map(|path| path.display().to_string()));
        match &self.resume {
            Some(given) => IngestRun::resume(&what, given),
            None => Ok(IngestRun::begin(&what)),
        }
    }
}

/// On Ctrl-C says how to go on, and ends as the signal would: with 130.
fn interrupted(hint: String) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::failed)?;
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            eprintln!("interrupted; {hint}");
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// 128 + SIGINT, as shells say it.
const INTERRUPTED: i32 = 130;

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
    reading: &Reading,
    run: Uuid,
    mut totals: Totals,
) -> Result<Totals, CliError> {
    let (definition, rows_path) = target.paths();
    let definition = client.get(&definition)?;
    let columns = Columns::of(&definition)?;
    let declared: TimeForm = serde_json::from_value(definition).map_err(CliError::failed)?;
    let file = SourceFile::open(path, &columns, reading.times.form().or(declared), reading)?;
    if !file.left_out.is_empty() {
        let name = path.display();
        eprintln!(
            "{name}: leaving out columns that `{}` does not have: {}",
            target.name(),
            file.left_out.join(", ")
        );
    }
    let bar = progress::bar(file.size, &format!("{} → {}", file_name(path), target.name()));
    let url = format!("{rows_path}?{}", reading.query());

    Sending::new(client, target.name(), path, run, url).all(file.chunks, |sent| {
        totals.add(&sent);
        bar.inc(sent.progress);
    })?;
    bar.finish();
    Ok(totals)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
