//! What is wrong with a configuration, and where.

use std::{fmt, path::PathBuf};

use crate::error::{Code, Coded, Detail};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, from 1.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Environment { variable: String },
    /// A command-line flag, or the program itself.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment { variable } => f.write_str(variable),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// `None` where only the reference itself could be to blame.
    pub origin: Option<Origin>,
    /// The dotted key, as in `server.listen`; empty where the file could not be read at all.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// Everything that is wrong with a configuration, one complaint a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub complaints: Vec<Complaint>,
}

impl ConfigError {
    pub(super) fn one(origin: Option<Origin>, key: &str, reason: String) -> ConfigError {
        ConfigError { complaints: vec![Complaint { origin, key: key.to_owned(), reason }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, complaint) in self.complaints.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            complaint.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Coded for ConfigError {
    fn code(&self) -> Code {
        Code::Invalid
    }

    fn details(&self) -> Vec<Detail> {
        let detail = |c: &Complaint| Detail {
            row: None,
            field: (!c.key.is_empty()).then(|| c.key.clone()),
            reason: c.reason.clone(),
        };
        self.complaints.iter().map(detail).collect()
    }
}
