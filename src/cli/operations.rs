//! `larder serve`, `check-config`, `dump-config`.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::CliError,
    clock::Clock,
    config::Config,
    node::{self, NodeError},
    telemetry,
};

/// The environment; variables that are not text cannot be ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[derive(Args)]
pub struct ConfigFile {
    /// A configuration file over the embedded defaults.
    #[arg(long, env = "LARDER_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// The data directory (`data.dir`).
    #[arg(long)]
    data: Option<PathBuf>,
    /// The address to listen on (`server.listen`).
    #[arg(long)]
    listen: Option<String>,
}

impl ConfigFile {
    pub fn load(&self, flags: &[(String, String)]) -> Result<Config, CliError> {
        Config::load(self.config.as_deref(), environment(), flags).map_err(CliError::failed)
    }

    pub fn check(self) -> Result<(), CliError> {
        self.load(&[])?;
        eprintln!("the configuration is fine");
        Ok(())
    }

    pub fn dump(self) -> Result<(), CliError> {
        print!("{}", self.load(&[])?.dump());
        Ok(())
    }
}

impl Serve {
    pub fn run(self) -> Result<(), CliError> {
        let mut flags = Vec::new();
        if let Some(data) = &self.data {
            flags.push(("data.dir".to_owned(), data.display().to_string()));
        }
        if let Some(listen) = &self.listen {
            flags.push(("server.listen".to_owned(), listen.clone()));
        }
        let config = self.file.load(&flags)?;
        let telemetry = telemetry::init(&config.log, &config.tracing).map_err(CliError::failed)?;
        let result = node::run(config, Clock::system()).map_err(|error| match error {
            NodeError::Failed(_) => CliError::Restart(error.to_string()),
            other => CliError::failed(other),
        });
        telemetry.shutdown();
        result
    }
}
