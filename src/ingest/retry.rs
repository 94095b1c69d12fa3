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
    model::BatchId,
    registry::FeatureView,
    shard::{PreparedBatch, Quarantine, QuarantinedRow, Write},
};

/// Rows that are tried in one batch.
const AT_A_TIME: usize = 1000;

/// What became of the quarantined rows.
#[derive(Debug, Default)]
pub struct Retried {
    pub accepted: u64,
    pub late: u64,
    /// Rows that are still not acceptable.
    pub remaining: usize,
}

impl Ingest {
    /// Stores the quarantined rows of a view that are acceptable now and takes them out of quarantine; of each
    /// thousand the good ones in one atomic batch.
    pub async fn retry(&self, quarantine: &Quarantine, name: &str) -> Result<Retried, IngestError> {
        let view = view(&self.catalog.current(), name)?;
        let _one_at_a_time = self.retrying.lock().await;
        let (mut retried, mut from) = (Retried::default(), 0);
        loop {
            let kept = quarantine.list(view.schema.table, from, AT_A_TIME)?;
            let Some((last, _)) = kept.last() else { return Ok(retried) };
            from = last + 1;
            let (write, remaining) = self.again(&view, kept)?;
            retried.remaining += remaining;
            if write.release.is_empty() {
                continue;
            }
            self.shards.check(view.schema.table)?;
            let permit = self.shards.reserve(write.batch.size())?;
            let applied = self.shards.apply(write, permit).await?;
            retried.accepted += applied.accepted;
            retried.late += applied.late;
        }
    }

    /// A batch of the rows that are acceptable now, and how many are not.
    fn again(
        &self,
        view: &FeatureView,
        mut kept: Vec<(u64, QuarantinedRow)>,
    ) -> Result<(Write, usize), IngestError> {
        let all = kept.len();
        // What was no object when it came is none now.
        kept.retain(|(_, row)| row.raw.is_object());
        let rows: Vec<&Json> = kept.iter().map(|(_, row)| &row.raw).collect();
        let body = serde_json::to_vec(&serde_json::json!({ "rows": rows })).expect("JSON values encode");
        let decoded = decode(Format::Json, Bytes::from(body), &view.schema, &self.limits)?;
        let decoded = check_rules(decoded, Some(view))?;
        let release: Vec<u64> = kept
            .iter()
            .enumerate()
            .filter(|(row, _)| !decoded.rejected.iter().any(|r| r.row == *row as u64))
            .map(|(_, (number, _))| *number)
            .collect();
        let remaining = all - release.len();
        let write = Write {
            batch: PreparedBatch::rows(Arc::clone(&view.schema), &decoded.batch),
            batch_id: BatchId::fresh(),
            idempotency: None,
            after: None,
            offline: view.offline,
            quarantine: Vec::new(),
            release,
            notes: Vec::new(),
        };
        Ok((write, remaining))
    }
}
