//! Callers: on whose behalf a door is used.

use std::{fmt, sync::Arc};

/// A principal, as the transport has established it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Caller {
    /// Has shown no credentials.
    #[default]
    Anonymous,
    /// Has shown that it is this principal.
    Named(Arc<str>),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Anonymous => f.write_str("anonymous"),
            Caller::Named(name) => f.write_str(name),
        }
    }
}
