//! `larder plan DIR` and `larder apply DIR`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::{
    cli::{CliError, Client, Server},
    format::utf8_text,
};

#[derive(Args)]
pub struct Plan {
    /// A directory of TOML definition files, with those below it, or one file.
    dir: PathBuf,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Apply {
    /// A directory of TOML definition files, with those below it, or one file.
    dir: PathBuf,
    /// Refuse where the registry is not at this version.
    #[arg(long)]
    expect_version: Option<u64>,
    /// Retire objects of these files' projects that the files no longer define; otherwise they are listed and nothing is done.
    #[arg(long)]
    allow_retire: bool,
    #[command(flatten)]
    server: Server,
}

impl Plan {
    pub fn run(self) -> Result<(), CliError> {
        let outcome = send(&Client::new(&self.server)?, read(&self.dir)?, "dry_run=true", None)?;
        print(&outcome, "would be");
        let breaking = outcome["breaking"].as_array().map(Vec::as_slice).unwrap_or_default();
        for broken in breaking {
            let text = |key: &str| broken[key].as_str().unwrap_or_default().to_owned();
            println!("! {} {}: {}", text("kind"), text("name"), text("reason"));
        }
        let retired = outcome["retired"].as_array().map_or(0, Vec::len);
        if retired > 0 {
            eprintln!("{retired} would be retired: apply needs --allow-retire");
        }
        match breaking.len() {
            0 => Ok(()),
            n => {
                Err(CliError::Refused(format!("{n} changes would break what is in use; apply would refuse")))
            }
        }
    }
}

impl Apply {
    pub fn run(self) -> Result<(), CliError> {
        let query = format!("allow_retire={}", self.allow_retire);
        let outcome = send(&Client::new(&self.server)?, read(&self.dir)?, &query, self.expect_version)?;
        print(&outcome, "is");
        Ok(())
    }
}

/// All `*.toml` of the directory and those below it, by their paths, so that errors can name the file.
fn read(dir: &Path) -> Result<Map<String, Json>, CliError> {
    let mut paths = Vec::new();
    if dir.is_dir() {
        collect(dir, &mut BTreeSet::new(), &mut paths)?;
        paths.sort();
    } else {
        paths.push(dir.to_owned());
    }
    if paths.is_empty() {
        return Err(CliError::Failed(format!("{} has no *.toml files", dir.display())));
    }
    let mut files = Map::new();
    for path in paths {
        let bytes = std::fs::read(&path).map_err(|source| CliError::File { path: path.clone(), source })?;
        let text = utf8_text(&bytes).map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))?;
        files.insert(path.display().to_string(), Json::String(text.to_owned()));
    }
    Ok(files)
}

/// `seen` ends what links to a directory above it.
fn collect(dir: &Path, seen: &mut BTreeSet<PathBuf>, paths: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let file_error = |source| CliError::File { path: dir.to_owned(), source };
    if !seen.insert(std::fs::canonicalize(dir).map_err(file_error)?) {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).map_err(file_error)? {
        let path = entry.map_err(file_error)?.path();
        if is_hidden(&path) {
            continue;
        }
        if path.is_dir() {
            collect(&path, seen, paths)?;
        } else if path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Files that editors, version control and macOS keep beside those that people write: `.#a.toml`, `._a.toml`, `#a.toml#`,
/// `~a.toml`, `.git/`. (`a.toml~` has another extension.)
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.starts_with(['.', '#', '~'])
}

/// Applies definition files, or only asks what that would do.
pub fn send(
    client: &Client,
    files: Map<String, Json>,
    query: &str,
    expect_version: Option<u64>,
) -> Result<Json, CliError> {
    let body = json!({ "files": files });
    let response = client.send(|| {
        let request = client.post(&format!("/v1/registry/apply?{query}")).json(&body);
        match expect_version {
            Some(version) => request.header("If-Match", version.to_string()),
            None => request,
        }
    })?;
    response.json().map_err(CliError::failed)
}

fn print(outcome: &Json, verb: &str) {
    for (sign, list) in [("+", "created"), ("~", "updated"), ("-", "retired")] {
        for object in outcome[list].as_array().map(Vec::as_slice).unwrap_or_default() {
            let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
            println!("{sign} {} {}", text("kind"), text("name"));
            for change in object["changes"].as_array().map(Vec::as_slice).unwrap_or_default() {
                println!("    {}", change.as_str().unwrap_or_default());
            }
        }
    }
    let unchanged = outcome["unchanged"].as_array().map_or(0, Vec::len);
    eprintln!("{unchanged} unchanged; the registry {verb} at version {}", outcome["version"]);
}
