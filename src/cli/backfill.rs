//! `larder backfill VIEW`.

use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;

use crate::cli::{
    CliError, Client, Server,
    progress::{bar, count},
};

/// How often the node is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Backfill {
    /// A stream feature view.
    view: String,
    /// Only say how far it is.
    #[arg(long)]
    status: bool,
    #[command(flatten)]
    server: Server,
}

impl Backfill {
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let path = format!("/v1/feature-views/{}/backfill", self.view);
        if self.status {
            println!("{:#}", client.get(&path)?);
            return Ok(());
        }
        let begun: Json = client.send(|| client.post(&path))?.json().map_err(CliError::failed)?;
        let progress = bar(0, &format!("backfill {}", self.view));
        let end = loop {
            let now = client.get(&path)?;
            progress.set_length(now["events_total"].as_u64().unwrap_or(0));
            progress.set_position(now["events_done"].as_u64().unwrap_or(0));
            if now["state"] == "ready" || now["generation"] != begun["generation"] {
                break now;
            }
            if let Some(error) = now["error"].as_str() {
                progress.println(format!("{error}; it is tried again"));
            }
            std::thread::sleep(POLL);
        };
        progress.finish_and_clear();
        if end["generation"] != begun["generation"] {
            return Err(CliError::Refused(format!(
                "the definition of `{}` has changed meanwhile",
                self.view
            )));
        }
        let events = count(end["events_total"].as_u64().unwrap_or(0));
        eprintln!("{}: {events} events counted; the new state serves", self.view);
        Ok(())
    }
}
