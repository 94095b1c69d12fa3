//! The process: start order, threads, supervision, drain order.
//!
//! One actix `System` on a multi-thread tokio runtime, which accepts connections; axum serves them on worker threads, a
//! runtime each. Arbiters, one thread each: shards,
//! segment writer, control (registry, supervisor). Built bottom-up, so that every actor is born with its downstream
//! handle; drained top-down, so that nothing accepted is left behind.

mod actors;
mod error;
mod process;
mod reserve;
mod serving;
mod shards;
mod start;
mod stop;
mod stores;
mod supervisor;
mod tables;
mod ticks;

pub use error::NodeError;
pub use process::{Running, run, spawn};
