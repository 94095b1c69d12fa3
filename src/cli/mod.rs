//! The command line: wording, progress, exit codes. Human output goes to stderr, results to stdout.

mod backfill;
mod backup;
mod client;
mod definitions;
mod demo;
mod directory;
mod explain;
mod get;
mod ingest;
mod ingest_columns;
mod ingest_file;
mod ingest_run;
mod ingest_send;
mod ingest_text;
mod jobs;
mod manual;
mod materialize;
mod operations;
mod progress;
mod sql;
mod times;
mod training_job;
mod training_set;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

pub use client::Client;

/// A machine-learning feature store in one binary.
#[derive(Parser)]
#[command(name = "larder", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node.
    Serve(operations::Serve),
    /// See it work: a node, real data, an online lookup, a training set.
    Demo(demo::Demo),
    /// Show what `apply` would change.
    Plan(definitions::Plan),
    /// Make a directory of definition files the node's definitions.
    Apply(definitions::Apply),
    /// Stream files into the node.
    Ingest(ingest::Ingest),
    /// Read online features.
    Get(get::Get),
    /// Say why the values of an entity are what they are.
    Explain(explain::Explain),
    /// Join a spine with its features as they were at each row's time.
    TrainingSet(training_set::TrainingSet),
    /// Query what is kept offline.
    Sql(sql::Sql),
    /// Count the events of a stream feature view anew, beside what serves.
    Backfill(backfill::Backfill),
    /// Run a batch feature view's query: as of now, or as of each moment of its schedule in a range.
    Materialize(materialize::Materialize),
    /// List background jobs: backfills, backups, runs of batch views, training sets.
    Jobs(jobs::Jobs),
    /// Back a running node up, while it writes.
    Backup(backup::Backup),
    /// Make a data directory of a backup.
    Restore(backup::Restore),
    /// Look through the data directory of a stopped node, without changing it.
    Doctor(directory::Doctor),
    /// Repair the data directory of a stopped node; what it was is kept, what is lost is named.
    Repair(directory::Repair),
    /// Check a configuration file and the environment.
    CheckConfig(operations::ConfigFile),
    /// Print the configuration in effect.
    DumpConfig(operations::ConfigFile),
    /// Read the manual: every page is in this binary.
    Manual(manual::Manual),
    /// Print the version.
    Version,
}

/// Which node to talk to.
#[derive(Args, Clone)]
pub struct Server {
    /// The node's address.
    #[arg(long, env = "LARDER_SERVER", default_value = "http://127.0.0.1:6566")]
    server: String,
    /// Sent as a bearer token.
    #[arg(long, env = "LARDER_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// What to read: a service or a list of features.
#[derive(Args, Clone)]
#[group(required = true, multiple = false)]
pub struct WantedArgs {
    /// A feature service, `name` or `name@version`.
    #[arg(long)]
    service: Option<String>,
    /// Feature references, separated by commas.
    #[arg(long, value_delimiter = ',')]
    features: Option<Vec<String>>,
}

/// Why a command did not do what it was asked; printed after `error: `.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The node said no.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
    /// The node ended after a failed write; started again it may well go on.
    #[error("{0}")]
    Restart(String),
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    #[error("{path}: {source}", path = .path.display())]
    File { path: PathBuf, source: std::io::Error },
}

impl CliError {
    fn usage(error: impl std::fmt::Display) -> CliError {
        CliError::Usage(error.to_string())
    }

    fn failed(error: impl std::fmt::Display) -> CliError {
        CliError::Failed(error.to_string())
    }

    /// The same, with what to do on a line of its own.
    fn with(self, hint: &str) -> CliError {
        let add = |text: String| format!("{text}\n{hint}");
        match self {
            CliError::Refused(text) => CliError::Refused(add(text)),
            CliError::Failed(text) => CliError::Failed(add(text)),
            other => other,
        }
    }
}

/// Sysexits: temporary failure.
const RESTART: u8 = 75;

/// Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 75 to be started again.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Plan(plan) => plan.run(),
        Command::Apply(apply) => apply.run(),
        Command::Ingest(ingest) => ingest.run(),
        Command::Get(get) => get.run(),
        Command::Explain(explain) => explain.run(),
        Command::TrainingSet(training_set) => training_set.run(),
        Command::Sql(sql) => sql.run(),
        Command::Backfill(backfill) => backfill.run(),
        Command::Materialize(materialize) => materialize.run(),
        Command::Jobs(jobs) => jobs.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Repair(repair) => repair.run(),
        Command::CheckConfig(file) => file.check(),
        Command::DumpConfig(file) => file.dump(),
        Command::Manual(manual) => manual.run(),
        Command::Version => {
            println!("larder {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                CliError::Usage(_) => ExitCode::from(2),
                CliError::Restart(_) => ExitCode::from(RESTART),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
