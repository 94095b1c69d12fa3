//! `larder jobs`.

use clap::Args;
use serde_json::Value as Json;

use crate::cli::{CliError, Client, Server};

#[derive(Args)]
pub struct Jobs {
    /// Only jobs of this kind: backfill, backup, run, training_set.
    #[arg(long)]
    kind: Option<String>,
    /// Only jobs in this state: queued, running, done, failed, cancelled.
    #[arg(long)]
    state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// The node's answer as it is.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Jobs {
    pub fn run(self) -> Result<(), CliError> {
        let mut path = format!("/v1/jobs?limit={}", self.limit);
        for (name, value) in [("kind", &self.kind), ("state", &self.state)] {
            if let Some(value) = value {
                let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                path.push_str(&format!("&{name}={value}"));
            }
        }
        let answer = Client::new(&self.server)?.get(&path)?;
        if self.json {
            println!("{answer:#}");
            return Ok(());
        }
        let empty = Vec::new();
        let jobs = answer["jobs"].as_array().unwrap_or(&empty);
        let rows: Vec<[String; 6]> = jobs.iter().map(row).collect();
        print_table(["KIND", "SUBJECT", "STATE", "PROGRESS", "FINISHED", "ERROR"], &rows);
        let total = answer["total"].as_u64().unwrap_or(0);
        if total > rows.len() as u64 {
            eprintln!("{} of {total} jobs; --limit {total} shows all", rows.len());
        }
        Ok(())
    }
}

fn row(job: &Json) -> [String; 6] {
    let text = |name: &str| job[name].as_str().unwrap_or("-").to_owned();
    let progress = match (job["done"].as_u64(), job["total"].as_u64()) {
        (Some(done), Some(total)) => format!("{done}/{total}"),
        (done, _) => done.map_or("-".to_owned(), |done| done.to_string()),
    };
    [text("kind"), text("subject"), text("state"), progress, text("finished"), text("error")]
}

fn print_table(head: [&str; 6], rows: &[[String; 6]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(head.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
}
