//! larder: a machine-learning feature store in one binary.

pub mod clock;
pub mod compute;
pub mod error;
pub mod format;
pub mod ingest;
pub mod model;
pub mod offline;
pub mod registry;
