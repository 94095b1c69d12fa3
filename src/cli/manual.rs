//! `larder manual`: the manual that is compiled into the binary.

use std::{
    io::{IsTerminal, Write},
    process::{Command, Stdio},
};

use clap::Args;

use crate::{
    cli::CliError,
    format::did_you_mean,
    manual::{PAGES, find, search},
};

/// Hits of a search that are printed.
const HITS: usize = 40;

#[derive(Args)]
pub struct Manual {
    /// A page; without it the pages are listed.
    topic: Option<String>,
    /// Print lines that contain these words instead.
    #[arg(long, value_name = "WORDS", conflicts_with = "topic")]
    search: Option<String>,
}

impl Manual {
    pub fn run(self) -> Result<(), CliError> {
        let text = match (&self.search, &self.topic) {
            (Some(query), _) => hits(query)?,
            (None, Some(topic)) => page(topic)?.to_owned(),
            (None, None) => contents(),
        };
        show(&text).map_err(CliError::failed)
    }
}

fn contents() -> String {
    let lines = PAGES.iter().map(|page| format!("  {:<15} {}\n", page.name, page.answers));
    format!(
        "larder's manual. `larder manual PAGE` shows a page, `larder manual --search WORDS` searches.\n\n{}",
        lines.collect::<String>()
    )
}

fn page(topic: &str) -> Result<&'static str, CliError> {
    let found = find(topic).ok_or_else(|| {
        let near = did_you_mean(topic, PAGES.iter().map(|page| page.name));
        let hint = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        CliError::Usage(format!("the manual has no page `{topic}`{hint}; `larder manual` lists the pages"))
    })?;
    Ok(found.text)
}

fn hits(query: &str) -> Result<String, CliError> {
    let hits = search(query);
    if hits.is_empty() {
        return Err(CliError::Failed(format!("nothing in the manual has all of `{query}`")));
    }
    let lines = hits.iter().take(HITS).map(|hit| {
        let line = hit.line.trim_start_matches(['#', ' ', '-', '|']);
        format!("{} > {}\n    {line}\n", hit.page.name, hit.section)
    });
    let mut text: String = lines.collect();
    if hits.len() > HITS {
        text.push_str(&format!("and {} more lines\n", hits.len() - HITS));
    }
    Ok(text)
}

/// Prints `text`, through `$PAGER` (or `less`) where stdout is a terminal. A pager that is missing, or that is left
/// early, is no error.
fn show(text: &str) -> std::io::Result<()> {
    if std::io::stdout().is_terminal() {
        let pager = std::env::var("PAGER").unwrap_or_else(|_| "less -FRX".to_owned());
        let mut words = pager.split_whitespace();
        if let Some(program) = words.next()
            && let Ok(mut child) = Command::new(program).args(words).stdin(Stdio::piped()).spawn()
        {
            if let Some(mut input) = child.stdin.take() {
                let _ = input.write_all(text.as_bytes());
            }
            child.wait()?;
            return Ok(());
        }
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
