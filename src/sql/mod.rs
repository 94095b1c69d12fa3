//! SQL over what is kept offline: queries of users, and batch feature views.
//!
//! `engine` alone knows DataFusion, and is built with the cargo feature `sql`; without it `absent` stands in its place and
//! refuses. A query sees tables of the catalog and nothing else: no files, no settings, no state. It is bounded in text,
//! memory, time and answer, runs on threads of its own, and ends when nobody waits for it any more.

// Without an engine nobody asks for parts of what is around it.
#![cfg_attr(not(feature = "sql"), allow(dead_code))]

mod check;
#[cfg(not(feature = "sql"))]
#[path = "absent.rs"]
mod engine;
#[cfg(feature = "sql")]
mod engine;
mod error;
mod places;
mod query;
mod runs;
#[allow(clippy::module_inception)]
mod sql;

pub use error::SqlError;
pub use query::{Inputs, Parameter, SqlAnswer, SqlLimits, SqlQuery};
pub use runs::{Origin, Overview, RunError, Runs};
pub use sql::Sql;
