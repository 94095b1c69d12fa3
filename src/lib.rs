//! larder: a machine-learning feature store in one binary.

pub mod actor;
pub mod cli;
pub mod clock;
pub mod compute;
pub mod config;
pub mod error;
pub mod failpoint;
pub mod format;
pub mod http;
pub mod ingest;
pub mod metrics;
pub mod model;
pub mod node;
pub mod offline;
pub mod registry;
pub mod serve;
pub mod shard;
pub mod telemetry;
