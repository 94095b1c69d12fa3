//! larder: a machine-learning feature store in one binary.

pub mod clock;
pub mod config;
pub mod error;
pub mod model;
pub mod registry;
