//! Quarantined rows tried again: a definition may have been corrected since.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;

use crate::{
    format::Format,
    ingest::{
        Ingest, IngestError, decode,
        merge::Learned,
        pipeline::{check, view},
    },
    registry::FeatureView,
    shard::{Applied, PreparedBatch, Quarantine, QuarantinedRow, Write},
};

/// Rows that are tried in one batch.
const AT_A_TIME: usize = 1000;
/// Bytes of such rows, about.
const BYTES_AT_A_TIME: usize = 8 << 20;

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
            let kept = quarantine.list(view.schema.table, from, AT_A_TIME, BYTES_AT_A_TIME)?;
            let Some((last, _)) = kept.last() else { return Ok(retried) };
            from = last + 1;
            let all = kept.len();
            // What was no object when it came is none now.
            let objects: Vec<_> = kept.into_iter().filter(|(_, row)| row.raw.is_object()).collect();
            retried.remaining += all;
            for alike in objects.chunk_by(|a, b| a.1.times == b.1.times) {
                let (applied, released) = self.retry_rows(&view, alike).await?;
                retried.remaining -= released;
                if let Some(applied) = applied {
                    retried.accepted += applied.accepted;
                    retried.late += applied.late;
                }
            }
        }
    }

    /// What became of those that are acceptable now, and how many they are. All write their times in the same way.
    async fn retry_rows(
        &self,
        view: &FeatureView,
        kept: &[(u64, QuarantinedRow)],
    ) -> Result<(Option<Applied>, usize), IngestError> {
        let mut learned = Learned::default();
        loop {
            let (write, numbers) = self.again(view, kept, &learned)?;
            let released = write.released();
            if released == 0 {
                return Ok((None, 0));
            }
            self.shards.check(view.schema.table)?;
            let permit = self.shards.reserve(write.batch().size())?;
            let applied = self.shards.apply(write, permit).await;
            if let Err(error) = &applied
                && learned.note(error, &numbers)
                && learned.may_try_again()
            {
                continue;
            }
            return Ok((Some(applied?), released));
        }
    }

    /// A batch of the rows that are acceptable now, with their positions among `kept` where these are not their own.
    fn again(
        &self,
        view: &FeatureView,
        kept: &[(u64, QuarantinedRow)],
        learned: &Learned,
    ) -> Result<(Write, Option<Vec<u64>>), IngestError> {
        let times = kept.first().map(|(_, row)| row.times).unwrap_or_default();
        let rows: Vec<&Json> = kept.iter().map(|(_, row)| &row.raw).collect();
        let body = serde_json::to_vec(&serde_json::json!({ "rows": rows })).expect("JSON values encode");
        let mut decoded = decode(Format::Json, Bytes::from(body), &view.schema, &self.limits, times)?;
        let merged: Vec<bool> =
            (0..decoded.batch.num_rows()).map(|row| kept[decoded.body_row(row) as usize].1.merge).collect();
        decoded.named.complete(|row| !merged[row]);
        let mut decoded = check(decoded, view)?;
        learned.reject(&mut decoded, view)?;
        let merge = match decoded.named.incomplete() {
            0 => None,
            _ => Some(self.merge_plan(view, &decoded, learned)?),
        };
        let release: Vec<u64> = kept
            .iter()
            .enumerate()
            .filter(|(row, _)| !decoded.rejected.iter().any(|r| r.row == *row as u64))
            .map(|(_, (number, _))| *number)
            .collect();
        let batch = PreparedBatch::rows(Arc::clone(&view.schema), &decoded.batch);
        let write = Write::of(batch, view.offline).releasing(release).merging(merge);
        Ok((write, decoded.row_numbers))
    }
}
