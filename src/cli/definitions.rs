//! `larder plan DIR` and `larder apply DIR`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::{CliError, Client, Server};

#[derive(Args)]
pub struct Plan {
    /// A directory of TOML definition files, or one file.
    dir: PathBuf,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Apply {
    /// A directory of TOML definition files, or one file.
    dir: PathBuf,
    /// Refuse where the registry is not at this version.
    #[arg(long)]
    expect_version: Option<u64>,
    #[command(flatten)]
    server: Server,
}

impl Plan {
    pub fn run(self) -> Result<(), CliError> {
        let outcome = send(&Client::new(&self.server)?, read(&self.dir)?, true, None)?;
        print(&outcome, "would be");
        let breaking = outcome["breaking"].as_array().map(Vec::as_slice).unwrap_or_default();
        for broken in breaking {
            let text = |key: &str| broken[key].as_str().unwrap_or_default().to_owned();
            println!("! {} {}: {}", text("kind"), text("name"), text("reason"));
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
        let outcome = send(&Client::new(&self.server)?, read(&self.dir)?, false, self.expect_version)?;
        print(&outcome, "is");
        Ok(())
    }
}

/// All `*.toml` of the directory by name, so that errors can name the file.
fn read(dir: &Path) -> Result<Map<String, Json>, CliError> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::File { path, source }
    };
    let mut paths = Vec::new();
    if dir.is_dir() {
        for entry in std::fs::read_dir(dir).map_err(file_error(dir))? {
            let path = entry.map_err(file_error(dir))?.path();
            if path.extension().is_some_and(|e| e == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
    } else {
        paths.push(dir.to_owned());
    }
    if paths.is_empty() {
        return Err(CliError::Failed(format!("{} has no *.toml files", dir.display())));
    }
    let mut files = Map::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(file_error(&path))?;
        files.insert(path.display().to_string(), Json::String(text));
    }
    Ok(files)
}

/// Applies definition files, or only asks what that would do.
pub fn send(
    client: &Client,
    files: Map<String, Json>,
    dry_run: bool,
    expect_version: Option<u64>,
) -> Result<Json, CliError> {
    let body = json!({ "files": files });
    let response = client.send(|| {
        let request = client.post(&format!("/v1/registry/apply?dry_run={dry_run}")).json(&body);
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
