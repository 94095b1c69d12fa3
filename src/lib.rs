//! larder: a machine-learning feature store in one binary.

pub mod clock;
pub mod config;
pub mod error;
pub mod http;
pub mod metrics;
pub mod model;
pub mod registry;
pub mod telemetry;
