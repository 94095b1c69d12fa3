//! `larder backup DIR` and `larder restore BACKUP --data DIR`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use crate::{
    backup,
    cli::{
        CliError, Client, Server,
        operations::ConfigFile,
        progress::{bar, count},
    },
};

/// How often the node is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Backup {
    /// A directory on the node's machine: empty, or an earlier backup of the same node, which is then brought up to date.
    dir: PathBuf,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Restore {
    /// A directory that `larder backup` wrote.
    backup: PathBuf,
    /// The data directory to make of it: empty, or not there yet.
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    file: ConfigFile,
}

impl Backup {
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let dir = std::path::absolute(&self.dir)
            .map_err(|source| CliError::File { path: self.dir.clone(), source })?;
        let body = json!({ "dir": dir });
        let begun: Json =
            client.send(|| client.post("/v1/admin/backup").json(&body))?.json().map_err(CliError::failed)?;
        let path = format!("/v1/admin/backup/{}", begun["id"].as_str().unwrap_or_default());
        let style = ProgressStyle::with_template("{spinner} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let spinner = ProgressBar::new_spinner().with_style(style);
        let job = loop {
            let job = client.get(&path)?;
            if job["state"] != "running" {
                break job;
            }
            spinner.set_message(describe(&job));
            spinner.tick();
            std::thread::sleep(POLL);
        };
        spinner.finish_and_clear();
        if job["state"] != "done" {
            return Err(CliError::Refused(job["error"].as_str().unwrap_or("the backup failed").to_owned()));
        }
        eprintln!("{} holds everything acknowledged before {}", dir.display(), text(&job, "barrier"));
        eprintln!("{}", describe(&job));
        Ok(())
    }
}

impl Restore {
    pub fn run(self) -> Result<(), CliError> {
        let config = self.file.load(&[])?;
        let progress = bar(0, "verify and restore");
        let result = backup::restore(&self.backup, &self.data, (&config.online).into(), |manifest| {
            // Each file is read twice: to verify it, and to restore it.
            progress.set_length(2 * manifest.files.len() as u64);
            progress.inc(1);
        });
        progress.finish_and_clear();
        let restored = result.map_err(CliError::failed)?;
        let rows: u64 = restored.manifest.tables.values().map(|mark| mark.next_seq).sum();
        eprintln!(
            "{} is the node as it was at {}: {} tables, {} rows",
            self.data.display(),
            restored.manifest.barrier,
            restored.manifest.tables.len(),
            count(rows),
        );
        Ok(())
    }
}

fn describe(job: &Json) -> String {
    let number = |key: &str| count(job[key].as_u64().unwrap_or(0));
    format!(
        "{} entries of the online store; table files: {} copied, {} linked, {} there before; {} bytes written",
        number("entries"),
        number("files_copied"),
        number("files_linked"),
        number("files_kept"),
        number("bytes_written"),
    )
}

fn text<'a>(job: &'a Json, key: &str) -> &'a str {
    job[key].as_str().unwrap_or_default()
}
