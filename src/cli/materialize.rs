//! `larder materialize VIEW`.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::{
    CliError, Client, Server,
    progress::{bar, count},
};

/// How often the node is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Materialize {
    /// A batch feature view.
    view: String,
    /// A run of each moment of the schedule from this time on (RFC 3339); without it one run as of now.
    #[arg(long)]
    from: Option<String>,
    /// … up to this time; now where not given.
    #[arg(long, requires = "from")]
    to: Option<String>,
    /// Only say how its runs are.
    #[arg(long, conflicts_with = "from")]
    status: bool,
    #[command(flatten)]
    server: Server,
}

impl Materialize {
    /// A run of each moment of the view's schedule from `from` to `to`.
    pub fn over(view: &str, from: &str, to: &str, server: Server) -> Materialize {
        let (from, to) = (Some(from.to_owned()), Some(to.to_owned()));
        Materialize { view: view.to_owned(), from, to, status: false, server }
    }

    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let path = format!("/v1/feature-views/{}/materialize", self.view);
        if self.status {
            println!("{:#}", client.get(&path)?);
            return Ok(());
        }
        let mut body = Map::new();
        let times = [("from", &self.from), ("to", &self.to)];
        body.extend(
            times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), json!(time.as_ref()?)))),
        );
        let begun: Json = client.send(|| client.post(&path).json(&body))?.json().map_err(CliError::failed)?;
        let numbers: Vec<u64> = runs(&begun).filter_map(|run| run["number"].as_u64()).collect();
        let progress = bar(numbers.len() as u64, &format!("materialize {}", self.view));
        let mut told = None;
        let ours = loop {
            let now = client.get(&path)?;
            let is_ours = |run: &&Json| run["number"].as_u64().is_some_and(|n| numbers.contains(&n));
            let ours: Vec<Json> = runs(&now).filter(is_ours).cloned().collect();
            let open =
                ours.iter().filter(|run| run["state"] == "queued" || run["state"] == "running").count();
            progress.set_position((numbers.len() - open) as u64);
            let error = ours.iter().rev().find_map(|run| run["error"].as_str());
            if let Some(error) = error
                && open > 0
                && told.as_deref() != Some(error)
            {
                progress.println(format!("{error}; it is tried again"));
                told = Some(error.to_owned());
            }
            if open == 0 {
                break ours;
            }
            std::thread::sleep(POLL);
        };
        progress.finish_and_clear();
        let rows: u64 = ours.iter().filter_map(|run| run["rows"].as_u64()).sum();
        let failed: Vec<&Json> = ours.iter().filter(|run| run["state"] == "failed").collect();
        eprintln!("{}: {} runs, {} rows", self.view, count(ours.len() as u64), count(rows));
        match failed.last() {
            None => Ok(()),
            Some(first) => Err(CliError::Refused(format!(
                "{} of {} runs failed; the first, as of {}: {}",
                failed.len(),
                ours.len(),
                first["moment"].as_str().unwrap_or_default(),
                first["error"].as_str().unwrap_or_default()
            ))),
        }
    }
}

fn runs(answer: &Json) -> impl Iterator<Item = &Json> {
    answer["runs"].as_array().into_iter().flatten()
}
