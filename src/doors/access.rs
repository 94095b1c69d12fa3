//! Access: which caller may do which action with which resource.

use std::{fmt, sync::Arc};

use crate::{
    doors::Caller,
    error::{Code, Coded},
};

/// Kinds of what a caller can do; each route and each door declares its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    ReadOnline,
    ReadTraining,
    Explain,
    Query,
    Write,
    Delete,
    ReadQuarantine,
    Define,
    ReadDefinitions,
    RunJob,
    ReadJob,
    Operate,
    /// Health, metrics, documentation.
    Observe,
}

impl Action {
    pub const ALL: [Action; 13] = [
        Action::ReadOnline,
        Action::ReadTraining,
        Action::Explain,
        Action::Query,
        Action::Write,
        Action::Delete,
        Action::ReadQuarantine,
        Action::Define,
        Action::ReadDefinitions,
        Action::RunJob,
        Action::ReadJob,
        Action::Operate,
        Action::Observe,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Action::ReadOnline => "read_online",
            Action::ReadTraining => "read_training",
            Action::Explain => "explain",
            Action::Query => "query",
            Action::Write => "write",
            Action::Delete => "delete",
            Action::ReadQuarantine => "read_quarantine",
            Action::Define => "define",
            Action::ReadDefinitions => "read_definitions",
            Action::RunJob => "run_job",
            Action::ReadJob => "read_job",
            Action::Operate => "operate",
            Action::Observe => "observe",
        }
    }

    /// The action of this name.
    pub fn named(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The object of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// All definitions, all tables: the node itself.
    Node,
    /// A feature view or a source, by name.
    Table(&'a str),
    TrainingSet(&'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Node => f.write_str("this node"),
            Resource::Table(name) => write!(f, "`{name}`"),
            Resource::TrainingSet(name) => write!(f, "the training set `{name}`"),
        }
    }
}

/// A rule that decides.
pub trait Policy: Send + Sync {
    fn allows(&self, caller: &Caller, action: Action, resource: Resource<'_>) -> bool;
}

/// The policy of a node; without one, everyone may do everything.
#[derive(Clone, Default)]
pub struct Access(Option<Arc<dyn Policy>>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{caller} may not {action} on {resource}")]
pub struct Denied {
    pub caller: String,
    pub action: Action,
    pub resource: String,
}

impl Coded for Denied {
    fn code(&self) -> Code {
        Code::Forbidden
    }
}

impl Access {
    pub fn with(policy: Arc<dyn Policy>) -> Access {
        Access(Some(policy))
    }

    /// Whether no question needs to be asked.
    pub fn allows_everything(&self) -> bool {
        self.0.is_none()
    }

    pub fn check(&self, caller: &Caller, action: Action, resource: Resource<'_>) -> Result<(), Denied> {
        match &self.0 {
            Some(policy) if !policy.allows(caller, action, resource) => {
                Err(Denied { caller: caller.to_string(), action, resource: resource.to_string() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_names_of_their_own() {
        for action in Action::ALL {
            assert_eq!(Action::named(action.as_str()), Some(action));
        }
        assert_eq!(Action::named("reboot"), None);
    }

    #[test]
    fn a_policy_decides_and_its_absence_allows() {
        struct ReadOnly;
        impl Policy for ReadOnly {
            fn allows(&self, _: &Caller, action: Action, _: Resource<'_>) -> bool {
                action == Action::ReadOnline
            }
        }
        let someone = Caller::Named("someone".into());
        let access = Access::with(Arc::new(ReadOnly));
        access.check(&someone, Action::ReadOnline, Resource::Node).unwrap();
        let denied = access.check(&someone, Action::Write, Resource::Table("v")).unwrap_err();
        assert_eq!(denied.to_string(), "someone may not write on `v`");
        assert_eq!(denied.code(), Code::Forbidden);
        Access::default().check(&Caller::Anonymous, Action::Define, Resource::Node).unwrap();
    }
}
