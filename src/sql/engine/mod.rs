//! DataFusion, kept within bounds.
//!
//! A text is checked (`text`), its parameters put in (`parameters`), its tables found in the catalog (`tables`), and what
//! comes of it planned and run in a session that has nothing else (`session`). Where DataFusion's answers are wrong, plans are
//! written otherwise: `subqueries`, `integers`, `sum`. Rows come from `scan`; `watch` ends a query
//! between any two batches. Planning needs a deep stack: everything here is called from a thread that has one.

#[allow(clippy::module_inception)]
mod engine;
mod errors;
mod functions;
mod integers;
mod parameters;
mod scan;
mod schedule;
mod session;
mod subqueries;
mod sum;
mod tables;
mod text;
mod time;
mod watch;

pub(super) use engine::Engine;
pub(super) use schedule::Schedule;
