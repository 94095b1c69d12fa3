//! The node's configuration: what can be set, its defaults, and where a value came from.
//!
//! `config/larder.toml` is compiled in as the lowest layer, so the documented default *is* the default. Above it, in
//! this order: a file, the environment (`LARDER__SECTION__KEY`), command-line flags. A key that the reference does not
//! have is refused, and every complaint names the place to go and what would be right there.

mod checks;
mod dump;
mod error;
mod load;
mod sections;
mod size;

pub use error::{Complaint, ConfigError, Origin};
pub use sections::{
    Config, DataConfig, DurabilityConfig, DurabilityMode, IngestConfig, LimitsConfig, LogConfig, LogFormat,
    OfflineConfig, OnlineConfig, SegmentCompression, ServerConfig, TracingConfig,
};
pub use size::{ParseSizeError, Size};

/// The reference configuration: every key with its default and what it means.
pub const REFERENCE: &str = include_str!("../../config/larder.toml");
