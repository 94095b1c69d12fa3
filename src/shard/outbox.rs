//! Rows that were acknowledged but are in no segment yet, as Arrow.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, TimestampMicrosecondBuilder};

use crate::{
    error::Coded,
    model::{TableId, TableSchema},
    offline::{Tail, TailError, Unsealed},
    registry::CatalogHandle,
    shard::{
        CommittedTables, ShardError,
        blob::Blob,
        builder::ColumnBuilder,
        key_columns::KeyDecoder,
        row::{Row, RowLayout, Slot},
        store::{Store, numbered_key},
    },
};

/// Reads the outbox; any thread.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    committed: CommittedTables,
    catalog: CatalogHandle,
}

impl Outbox {
    pub fn new(store: Store, committed: CommittedTables, catalog: CatalogHandle) -> Outbox {
        Outbox { store, committed, catalog }
    }

    /// The acknowledged rows of `table` from `from_seq` on, in order of acceptance, in the shape of the newest
    /// schema's `offline()`; stops after the blob that reaches `max_rows`.
    pub fn read(
        &self,
        table: TableId,
        from_seq: u64,
        max_rows: usize,
    ) -> Result<Option<RecordBatch>, ShardError> {
        let catalog = self.catalog.current();
        let Some(schema) = catalog.newest_schema(table) else { return Ok(None) };
        // Rows beyond this are of a commit that is still going on.
        let end = self.committed.of(table).next_seq();
        let mut rows = OfflineRows::new(Arc::clone(schema));
        let mut expected = None;
        for guard in self.store.outbox.range(numbered_key(table, 0)..numbered_key(table, end)) {
            let (_, bytes) = guard.into_inner()?;
            let blob = Blob::open(&bytes).ok_or_else(|| {
                ShardError::Damaged(format!("an outbox blob of `{}` fails its checksum", schema.name))
            })?;
            // Rows of a view that was online-only for a while leave a gap in the numbers, but none in the chain.
            if expected.is_some_and(|crc| blob.header.prev_crc != crc) {
                return Err(ShardError::Damaged(format!(
                    "the outbox of `{}` has a gap before row {}",
                    schema.name, blob.header.first_seq
                )));
            }
            expected = Some(blob.crc);
            if blob.end_seq() <= from_seq {
                continue;
            }
            rows.push_blob(&blob, from_seq, |version| catalog.schema(table, version).cloned())?;
            if rows.len >= max_rows {
                break;
            }
        }
        rows.finish().map(Some)
    }
}

impl Tail for Outbox {
    fn tail(&self, table: TableId, from_seq: u64) -> Result<Vec<RecordBatch>, TailError> {
        let batch = Outbox::read(self, table, from_seq, usize::MAX).map_err(tail_error)?;
        Ok(batch.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }
}

impl Unsealed for Outbox {
    fn read(&self, table: TableId, from_seq: u64, max_rows: usize) -> Result<Option<RecordBatch>, TailError> {
        Outbox::read(self, table, from_seq, max_rows).map_err(tail_error)
    }
}

fn tail_error(error: ShardError) -> TailError {
    TailError { code: error.code(), reason: error.to_string() }
}

/// Builds an offline batch from encoded rows of any version of the table.
struct OfflineRows {
    schema: Arc<TableSchema>,
    keys: KeyDecoder,
    event_time: TimestampMicrosecondBuilder,
    columns: Vec<ColumnBuilder>,
    seq: Int64Builder,
    accepted_at: TimestampMicrosecondBuilder,
    deleted: BooleanBuilder,
    /// Slots of `columns` in rows of one version; most runs of rows are of one.
    slots: Option<(u32, Vec<Option<Slot>>)>,
    len: usize,
}

impl OfflineRows {
    fn new(schema: Arc<TableSchema>) -> OfflineRows {
        OfflineRows {
            keys: KeyDecoder::new(&schema.keys),
            event_time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            columns: schema.columns.iter().map(|c| ColumnBuilder::new(&c.data_type)).collect(),
            seq: Int64Builder::new(),
            accepted_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            deleted: BooleanBuilder::new(),
            slots: None,
            len: 0,
            schema,
        }
    }

    fn push_blob(
        &mut self,
        blob: &Blob<'_>,
        from_seq: u64,
        schema_of: impl Fn(u32) -> Option<Arc<TableSchema>>,
    ) -> Result<(), ShardError> {
        for (offset, (key, row)) in blob.entries().enumerate() {
            let seq = blob.header.first_seq + offset as u64;
            if seq < from_seq {
                continue;
            }
            let row = Row(row);
            let version = row.schema_version();
            if self.slots.as_ref().is_none_or(|(known, _)| *known != version) {
                let written = schema_of(version).ok_or_else(|| {
                    ShardError::Damaged(format!(
                        "a row of `{}` names unknown version {version}",
                        self.schema.name
                    ))
                })?;
                self.slots = Some((version, slots(&written, &self.schema)));
            }
            self.keys.push(key).map_err(|_| {
                ShardError::Damaged(format!("row {seq} of `{}` has an unreadable key", self.schema.name))
            })?;
            self.event_time.append_value(row.event_time().micros());
            let Some((_, slots)) = &self.slots else { continue };
            for (builder, slot) in self.columns.iter_mut().zip(slots) {
                match slot {
                    Some(slot) => builder.push(row.cell(slot)),
                    None => builder.push_null(),
                }
            }
            self.seq.append_value(seq.cast_signed());
            self.accepted_at.append_value(blob.header.accepted_at.micros());
            self.deleted.append_value(row.is_tombstone());
            self.len += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<RecordBatch, ShardError> {
        let mut arrays: Vec<ArrayRef> = self.keys.finish();
        arrays.push(Arc::new(self.event_time.finish()));
        arrays.extend(self.columns.iter_mut().map(ColumnBuilder::finish));
        arrays.push(Arc::new(self.seq.finish()));
        arrays.push(Arc::new(self.accepted_at.finish()));
        arrays.push(Arc::new(self.deleted.finish()));
        RecordBatch::try_new(Arc::clone(self.schema.offline()), arrays).map_err(|e| {
            ShardError::Damaged(format!("rows of `{}` do not fit its schema: {e}", self.schema.name))
        })
    }
}

/// Where each column of `target` lies in rows that `written` wrote; `None` where they do not have it.
pub fn slots(written: &TableSchema, target: &TableSchema) -> Vec<Option<Slot>> {
    let layout = RowLayout::of(written);
    target
        .columns
        .iter()
        .map(|column| written.columns.iter().position(|c| c.name == column.name).map(|i| layout.slot(i)))
        .collect()
}
