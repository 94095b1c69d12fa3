//! The configuration as typed values, section by section. What each key means stands in `config/larder.toml`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Origin, Size};
use crate::model::Duration;

/// A whole, checked configuration. Built by [`Config::load`]; `Config::default()` is the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: ServerConfig,
    pub data: DataConfig,
    pub durability: DurabilityConfig,
    pub online: OnlineConfig,
    pub ingest: IngestConfig,
    pub offline: OfflineConfig,
    pub limits: LimitsConfig,
    pub log: LogConfig,
    pub tracing: TracingConfig,
    /// Where each value that is not the reference's was set, by dotted key.
    #[serde(skip)]
    pub origins: BTreeMap<String, Origin>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub max_connections: usize,
    pub first_byte_timeout: Duration,
    pub header_timeout: Duration,
    pub stall_timeout: Duration,
    pub read_timeout: Duration,
    pub write_timeout: Duration,
    pub drain_deadline: Duration,
    /// 0 = as many as there are cores.
    pub workers: usize,
    pub hosts: Vec<String>,
    pub origins: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    pub dir: PathBuf,
    /// 0 = none.
    pub reserve_bytes: Size,
    /// Empty = none.
    pub spine_dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DurabilityConfig {
    pub mode: DurabilityMode,
    pub interval: Duration,
    /// 0 = never.
    pub restart_after: Duration,
}

/// How the pages of segments are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentCompression {
    /// Read by everything that reads Parquet.
    Snappy,
    /// `LZ4_RAW`: a tenth less to decode than snappy, unknown to readers from before 2022.
    Lz4,
    /// Smaller where values repeat, and two to three times as much to decode.
    Zstd,
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityMode {
    /// In the journal, and fdatasync returned.
    Fsync,
    /// With the operating system, synced in the background.
    Interval,
    /// With the operating system.
    Buffer,
}

impl DurabilityMode {
    pub fn as_str(self) -> &'static str {
        match self {
            DurabilityMode::Fsync => "fsync",
            DurabilityMode::Interval => "interval",
            DurabilityMode::Buffer => "buffer",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineConfig {
    pub shards: u16,
    pub cache_bytes: Size,
    pub memtable_bytes: Size,
    pub block_cache_bytes: Size,
    pub max_journal_bytes: Size,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    pub max_in_flight_bytes: Size,
    pub idempotency_window: Duration,
    pub quarantine_rows: usize,
    pub quarantine_bytes: Size,
    pub min_free_bytes: Size,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineConfig {
    pub compression: SegmentCompression,
    pub seal_rows: usize,
    pub seal_bytes: Size,
    pub seal_after: Duration,
    pub compact_segments: usize,
    pub segment_rows: usize,
    pub vacuum_after: Duration,
    pub log_retention: Duration,
    /// 0 = not at all.
    pub scrub_bytes_per_second: Size,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    pub body_bytes: Size,
    pub bytes_in_flight: Size,
    pub min_rate_bytes: Size,
    pub decompression_ratio: u64,
    pub json_rows: usize,
    pub json_depth: usize,
    pub string_bytes: Size,
    pub array_bytes: Size,
    pub key_bytes: Size,
    pub header_bytes: Size,
    pub url_bytes: Size,
    pub entities_per_read: usize,
    pub features_per_read: usize,
    pub answer_bytes: Size,
    pub training_answer_bytes: Size,
    pub sql_memory: Size,
    pub sql_timeout: Duration,
    pub sql_rows: usize,
    pub sql_answer_bytes: Size,
    pub sql_concurrency: usize,
    pub training_set_bytes: Size,
    /// 0 = none.
    pub read_deadline: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// A level or per-module directives, as tracing-subscriber's `EnvFilter` reads them.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Json,
    Text,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracingConfig {
    pub enabled: bool,
    pub endpoint: String,
    pub sample_ratio: f64,
    pub service_name: String,
}
