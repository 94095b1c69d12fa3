//! Quarantined rows tried again: a definition may have been corrected since.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;

use crate::{
    format::Format,
    ingest::{
        Ingest, IngestError, decode,
        pipeline::{check_rules, view},
    },
    shard::{Applied, PreparedBatch, Quarantine, Write},
};

/// Rows that one retry looks at.
const AT_A_TIME: usize = 1000;

impl Ingest {
    /// Stores the quarantined rows of a view that are acceptable now and takes them out of quarantine, in one
    /// atomic batch. Returns also how many stay.
    pub async fn retry(&self, quarantine: &Quarantine, name: &str) -> Result<(Applied, usize), IngestError> {
        let view = view(&self.catalog.current(), name)?;
        self.shards.check(view.schema.table)?;
        let _one_at_a_time = self.retrying.lock().await;
        let mut kept = quarantine.list(view.schema.table, AT_A_TIME)?;
        let all = kept.len();
        // What was no object when it came is none now.
        kept.retain(|(_, row)| row.raw.is_object());
        let permit = self.shards.reserve(kept.len() * 1024)?;
        let rows: Vec<&Json> = kept.iter().map(|(_, row)| &row.raw).collect();
        let body = serde_json::to_vec(&serde_json::json!({ "rows": rows })).unwrap_or_default();
        let decoded = decode(Format::Json, Bytes::from(body), &view.schema, &self.limits)?;
        let decoded = check_rules(decoded, Some(&view))?;
        let release: Vec<u64> = (0..kept.len() as u64)
            .filter(|row| !decoded.rejected.iter().any(|r| r.row == *row))
            .filter_map(|row| kept.get(row as usize).map(|(number, _)| *number))
            .collect();
        let write = Write {
            batch: PreparedBatch::rows(Arc::clone(&view.schema), &decoded.batch),
            batch_id: crate::model::BatchId::fresh(),
            idempotency: None,
            offline: view.offline,
            quarantine: Vec::new(),
            release,
        };
        let stay = all - write.release.len();
        Ok((self.shards.apply(write, permit).await?, stay))
    }
}
