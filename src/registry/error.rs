//! What can be wrong with definitions, references and the registry's log.

use std::fmt;

use crate::{
    changes::{ApplyOutcome, ObjectVersion},
    object::ObjectKind,
};
use larder_model::error::{Code, Coded, Detail};

/// One thing that is wrong in a definition file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionError {
    pub file: String,
    /// From 1; none in a JSON document.
    pub line: Option<usize>,
    /// In a JSON document, in the line's place: `feature_view[2].feature[0].type`.
    pub path: Option<String>,
    pub message: String,
}

impl DefinitionError {
    /// Where it is: `views.toml:12`, or the path within a JSON document, or only the file.
    pub fn location(&self) -> String {
        match (&self.line, &self.path) {
            (Some(line), _) => format!("{}:{line}", self.file),
            (None, Some(path)) => path.clone(),
            (None, None) => self.file.clone(),
        }
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location(), self.message)
    }
}

/// Why a reference to a feature view or its features does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceProblem {
    #[error("unknown feature view `{view}`{hint}")]
    View { view: String, hint: String },
    #[error("feature view `{view}` has no version {version}; its newest is {newest}")]
    Version { view: String, version: u32, newest: u32 },
    #[error("feature view `{view}` has no feature `{feature}`{hint}")]
    Feature { view: String, feature: String, hint: String },
    #[error("{0}")]
    Misused(String),
}

/// One reference of a list that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceError {
    /// Position in the list, from 0.
    pub index: usize,
    /// As written.
    pub reference: String,
    pub problem: ReferenceProblem,
}

/// Errors of definitions that are told; of what there is beyond them only that it is there.
pub(super) const MOST_ERRORS: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{}", first_of(.0.iter().map(ToString::to_string), .0.len()))]
    Invalid(Vec<DefinitionError>),
    /// The definitions are well formed, but something that is in use would break.
    #[error("refused, nothing was changed: {}", first_of(.0.changes.breaking.iter().map(ToString::to_string), .0.changes.breaking.len()))]
    Breaking(Box<ApplyOutcome>),
    /// Objects would be retired, and the caller did not allow it.
    #[error("refused, nothing was changed: this would retire {}; add what is missing, or allow it: --allow-retire, over HTTP allow_retire=true", listed(&.0.changes.retired))]
    Retires(Box<ApplyOutcome>),
    /// The registry changed between the reading of the definitions and their being applied.
    #[error("the registry was changed at the same time; apply again")]
    Moved,
    #[error("the registry is at version {actual}, not at {expected} as expected; plan again and retry")]
    Stale { expected: u64, actual: u64 },
    #[error("unknown {kind} `{name}`{hint}")]
    Unknown { kind: ObjectKind, name: String, hint: String },
    #[error("{kind} `{name}` has no version {version}; its newest is {newest}")]
    UnknownVersion { kind: ObjectKind, name: String, version: u32, newest: u32 },
    #[error("{}", first_of(.0.iter().map(|e| e.problem.to_string()), .0.len()))]
    References(Vec<ReferenceError>),
    #[error("`{first}` and `{second}` would both be the column `{column}`; {remedy}")]
    ColumnNames { column: String, first: String, second: String, remedy: &'static str },
    #[error("the registry's log cannot be used: {0}")]
    Log(String),
    #[error("the registry's log is damaged at version {version}: {reason}")]
    Corrupt { version: u64, reason: String },
}

impl RegistryError {
    /// The first errors, and that there are more.
    pub(super) fn invalid(mut errors: Vec<DefinitionError>) -> RegistryError {
        if errors.len() > MOST_ERRORS {
            errors.truncate(MOST_ERRORS);
            if let Some(last) = errors.last() {
                let message = format!("there are more errors; {MOST_ERRORS} of them are told here");
                errors.push(DefinitionError { message, line: None, path: None, file: last.file.clone() });
            }
        }
        RegistryError::Invalid(errors)
    }
}

impl Coded for RegistryError {
    fn code(&self) -> Code {
        match self {
            RegistryError::Invalid(_) | RegistryError::ColumnNames { .. } => Code::Invalid,
            RegistryError::Breaking(_)
            | RegistryError::Retires(_)
            | RegistryError::Moved
            | RegistryError::Stale { .. } => Code::Conflict,
            RegistryError::Unknown { .. } | RegistryError::UnknownVersion { .. } => Code::NotFound,
            RegistryError::References(errors) => {
                if errors.iter().any(|e| matches!(e.problem, ReferenceProblem::Misused(_))) {
                    Code::Invalid
                } else {
                    Code::NotFound
                }
            }
            RegistryError::Log(_) => Code::Unavailable,
            RegistryError::Corrupt { .. } => Code::Internal,
        }
    }

    fn details(&self) -> Vec<Detail> {
        let detail = |field: String, reason: String| Detail { row: None, field: Some(field), reason };
        match self {
            RegistryError::Invalid(errors) => {
                errors.iter().map(|e| detail(e.location(), e.message.clone())).collect()
            }
            RegistryError::Breaking(outcome) => {
                outcome.changes.breaking.iter().map(|b| detail(b.location(), b.reason.clone())).collect()
            }
            RegistryError::References(errors) => {
                errors.iter().map(|e| detail(e.reference.clone(), e.problem.to_string())).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The first few objects of a list, and how many more there are.
fn listed(objects: &[ObjectVersion]) -> String {
    const SHOWN: usize = 5;
    let shown = objects.iter().take(SHOWN).map(|object| format!("{} `{}`", object.kind, object.name));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if objects.len() > SHOWN {
        text.push_str(&format!(" and {} more", objects.len() - SHOWN));
    }
    text
}

/// The first message, and how many more there are.
fn first_of(mut messages: impl Iterator<Item = String>, count: usize) -> String {
    let first = messages.next().unwrap_or_else(|| "nothing to do".to_owned());
    match count {
        0 | 1 => first,
        2 => format!("{first} (and one more error)"),
        _ => format!("{first} (and {} more errors)", count - 1),
    }
}
