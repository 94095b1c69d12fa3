//! Writing a table's Delta log: one JSON file per commit, durable before it counts.
//!
//! All commits are written here rather than through delta_kernel's transactions: those neither sync nor can change
//! a column's type, and one way for all commits is simpler than two. delta_kernel reads the log (`delta_read`).

use std::{io::Write, path::Path};

use arrow::datatypes::Schema;
use delta_kernel::{engine::arrow_conversion::TryIntoKernel, schema::StructType};
use serde_json::{Value, json};

use crate::{
    clock::Clock,
    failpoint,
    offline::{
        OfflineError,
        durable::{NewFile, sync_dir},
        log_check::{CRC_FIELD, hex},
        segment::{FileStats, Segment},
        tags::Tags,
    },
};

/// The Delta application id under which `sealed_seq` is kept as the transaction's version.
pub(super) const APP_ID: &str = "larder";
pub(super) const LOG_DIR: &str = "_delta_log";

pub(super) fn log_dir(table_dir: &Path) -> std::path::PathBuf {
    table_dir.join(LOG_DIR)
}

/// What stays the same in a table's metadata when its schema changes.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub id: String,
    /// Milliseconds.
    pub created: i64,
}

impl Identity {
    pub fn new() -> Identity {
        Identity { id: crate::model::BatchId::fresh().to_string(), created: now_millis() }
    }
}

/// Why a commit did not return.
pub(super) enum CommitError {
    /// The log is as it was.
    NotMade(OfflineError),
    /// The commit may or may not be in the log.
    Unknown(OfflineError),
}

impl CommitError {
    pub fn into_inner(self) -> OfflineError {
        match self {
            CommitError::NotMade(error) | CommitError::Unknown(error) => error,
        }
    }
}

/// Appends commit `version`. On return it survives a power loss.
pub(super) fn commit(
    table: &str,
    dir: &Path,
    version: u64,
    operation: &str,
    actions: &[Value],
) -> Result<(), CommitError> {
    let log = log_dir(dir);
    let actions: String = actions.iter().map(|action| format!("{action}\n")).collect();
    let info = json!({ "commitInfo": {
        "timestamp": now_millis(),
        "operation": operation,
        "operationParameters": {},
        "engineInfo": concat!("larder/", env!("CARGO_PKG_VERSION")),
        CRC_FIELD: hex(crc32c::crc32c(actions.as_bytes())),
    }});
    let text = format!("{info}\n{actions}");
    let path = log.join(format!("{version:020}.json"));
    failpoint::reach("delta.before");
    let written = NewFile::create(&log).and_then(|mut file| {
        file.write_all(text.as_bytes()).map_err(OfflineError::io("writing", &path))?;
        file.link(&path)
    });
    match written {
        Ok(true) => {
            sync_dir(&log).map_err(CommitError::Unknown)?;
            failpoint::reach("delta.after");
            Ok(())
        }
        Ok(false) => Err(CommitError::NotMade(OfflineError::Conflict { table: table.to_owned(), version })),
        Err(error) => Err(CommitError::NotMade(error)),
    }
}

pub(super) fn protocol() -> Value {
    json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } })
}

pub(super) fn metadata(table: &str, identity: &Identity, schema: &Schema) -> Result<Value, OfflineError> {
    let delta: StructType = schema.try_into_kernel().map_err(OfflineError::columns(table))?;
    let schema_string = serde_json::to_string(&delta).map_err(|error| OfflineError::Schema {
        table: table.to_owned(),
        column: "*".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(json!({ "metaData": {
        "id": identity.id,
        "name": table,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": schema_string,
        "partitionColumns": [],
        "configuration": {},
        "createdTime": identity.created,
    }}))
}

/// `data_change` is false where rows only move between files. A file that the table has already gets these statistics in
/// place of its earlier ones.
pub(super) fn add(segment: &Segment, stats: &FileStats, data_change: bool) -> Value {
    let tags = Tags { stats_columns: Some(stats.columns), ..segment.tags() };
    json!({ "add": {
        "path": segment.name,
        "partitionValues": {},
        "size": segment.bytes,
        "modificationTime": now_millis(),
        "dataChange": data_change,
        "stats": &*stats.json,
        "tags": tags.to_json(),
    }})
}

pub(super) fn remove(segment: &Segment, data_change: bool) -> Value {
    json!({ "remove": {
        "path": segment.name,
        "deletionTimestamp": now_millis(),
        "dataChange": data_change,
        "extendedFileMetadata": true,
        "partitionValues": {},
        "size": segment.bytes,
    }})
}

/// Rows with `_seq < sealed_seq` are in the table.
pub(super) fn transaction(sealed_seq: u64) -> Value {
    json!({ "txn": { "appId": APP_ID, "version": sealed_seq, "lastUpdated": now_millis() } })
}

fn now_millis() -> i64 {
    Clock::system().now().micros().div_euclid(1000)
}
