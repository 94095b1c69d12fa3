//! Places in definition files.

use std::{fmt, sync::Arc};

use crate::error::DefinitionError;

/// Where something is written: a line of a TOML file, or a path within a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub file: Arc<str>,
    pub line: Option<usize>,
    pub path: Option<String>,
}

impl Place {
    pub fn error(&self, message: impl Into<String>) -> DefinitionError {
        DefinitionError {
            file: self.file.to_string(),
            line: self.line,
            path: self.path.clone(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error("").location())
    }
}
