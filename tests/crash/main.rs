//! What a node survives: each test hurts a real one in its own way and compares it with what its clients were told.
//!
//! The quick form runs with `cargo test`, the full one with `scripts/crash-suite`. Each test prints one line of results;
//! `LARDER_CRASH_SEED` repeats a run's choices. One test at a time: they need the machine to themselves.
#![allow(clippy::unwrap_used)]

mod backups;
mod clock;
mod descriptors;
mod disk;
mod failpoints;
mod harness;
mod io_errors;
mod kills;
mod linear;
mod load;
mod memory;
mod model;
mod oracle;
#[cfg(feature = "failpoints")]
mod panics;
mod repairs;
mod replay;
#[cfg(feature = "sql")]
mod runs;
mod sealing;
mod server;
mod slow_disk;
mod supervision;
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod support;
mod windows;
