//! `larder doctor` and `larder repair`: the data directory of a stopped node.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::CliError,
    clock::Clock,
    model::BatchId,
    shard::integrity::{DoctorReport, Lost, LostCommits, MendedRuns, RepairReport, doctor, repair},
};

#[derive(Args)]
pub struct Doctor {
    /// The data directory.
    dir: PathBuf,
    /// Read every segment and compare it with its checksum.
    #[arg(long)]
    deep: bool,
    /// Print the report as JSON on stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Repair {
    /// The data directory.
    dir: PathBuf,
    /// Print the report as JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(self) -> Result<(), CliError> {
        let report = doctor(&self.dir, self.deep).map_err(CliError::failed)?;
        match self.json {
            true => print_json(&report)?,
            false => show(&report),
        }
        match report.problems.len() {
            0 => Ok(()),
            n => Err(CliError::Failed(format!("{n} problems; `larder repair` mends the online store"))),
        }
    }
}

impl Repair {
    pub fn run(self) -> Result<(), CliError> {
        let report = repair(&self.dir, &Clock::system()).map_err(CliError::failed)?;
        match self.json {
            true => print_json(&report)?,
            false => show_repair(&report),
        }
        Ok(())
    }
}

fn print_json(report: &impl serde::Serialize) -> Result<(), CliError> {
    println!("{}", serde_json::to_string_pretty(report).map_err(CliError::failed)?);
    Ok(())
}

fn show(report: &DoctorReport) {
    let format = report.format.map_or_else(|| "not noted".to_owned(), |format| format.to_string());
    let registry = report.registry_version.map_or_else(|| "not read".to_owned(), |v| v.to_string());
    eprintln!("{}: format {format}, registry version {registry}", report.directory.display());
    for file in &report.journals {
        let torn = match file.torn {
            0 => String::new(),
            n => format!(", {n} bytes of a batch that was never finished"),
        };
        let state = if file.damage.is_empty() { "whole" } else { "DAMAGED" };
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("journal {name}: {state}, {} batches in {} bytes{torn}", file.batches, file.valid);
    }
    if !report.tables.is_empty() {
        eprintln!(
            "{:<24} {:>12} {:>12} {:>12} {:>10} {:>10} {:>8} {:>7} {:>10}",
            "table",
            "accepted",
            "acknowledged",
            "in segments",
            "unsealed",
            "online",
            "segments",
            "orphans",
            "quarantine"
        );
    }
    for table in &report.tables {
        let acknowledged =
            table.acknowledged.map_or_else(|| "-".to_owned(), |mark| mark.next_seq.to_string());
        eprintln!(
            "{:<24} {:>12} {acknowledged:>12} {:>12} {:>10} {:>10} {:>8} {:>7} {:>10}",
            table.name,
            table.next_seq,
            table.offline.sealed_seq,
            table.unsealed,
            table.online_rows,
            table.offline.segments,
            table.offline.orphans.len(),
            table.quarantined
        );
    }
    for problem in &report.problems {
        eprintln!("problem: {problem}");
    }
    if report.healthy {
        eprintln!("healthy");
    }
}

fn show_repair(report: &RepairReport) {
    let Some(kept) = &report.kept else {
        eprintln!("nothing is wrong, nothing was changed");
        return;
    };
    eprintln!("repaired; as it was, the online store is in {}", kept.display());
    for lost in &report.lost {
        eprintln!("{}", in_words(lost));
    }
    for LostCommits { table, from, until, batches } in &report.lost_commits {
        let batches = named(batches);
        eprintln!("lost: table `{table}`, what commits {from} to {} changed online; {batches}", until - 1);
    }
    if let Some((from, until)) = report.registry_lost {
        eprintln!("lost: registry versions {from} to {}; apply the definitions again", until - 1);
    }
    report.runs.iter().for_each(show_runs);
    if report.lost.is_empty() && report.lost_commits.is_empty() && report.registry_lost.is_none() {
        eprintln!("nothing that was acknowledged is lost");
    }
}

fn show_runs(runs: &MendedRuns) {
    let MendedRuns { table, again, unreadable, in_doubt } = runs;
    for moment in again {
        eprintln!("batch feature view `{table}`: the run as of {moment} is done again at the next start");
    }
    for record in unreadable {
        eprintln!("batch feature view `{table}`: {record}; it is removed");
    }
    if *in_doubt || !unreadable.is_empty() {
        eprintln!(
            "batch feature view `{table}`: runs, or rows of runs, are lost that cannot be told; ask for the moments in doubt: \
             larder materialize {table} --from … --to …"
        );
    }
}

fn in_words(lost: &Lost) -> String {
    let Lost { table, from, until, .. } = lost;
    let what = match lost.history_is_whole {
        true => "the online values (the history has the rows)",
        false => "the history",
    };
    let batches = named(&lost.batches);
    format!("lost: table `{table}`, {what} of rows {from} to {}; {batches}", until - 1)
}

fn named(batches: &[BatchId]) -> String {
    let batches: Vec<_> = batches.iter().map(ToString::to_string).collect();
    match batches.is_empty() {
        true => "their batches cannot be read".to_owned(),
        false => format!("batches {}", batches.join(", ")),
    }
}
