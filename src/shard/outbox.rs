//! Rows that were acknowledged but are in no segment yet, as Arrow.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, TimestampMicrosecondBuilder},
    datatypes::{Schema, SchemaRef},
};

use crate::{
    error::Coded,
    model::{TableId, TableSchema},
    offline::{Tail, TailError, TailRows, Unsealed},
    registry::CatalogHandle,
    shard::{
        CommittedTables, ShardError,
        blob::Blob,
        builder::ColumnBuilder,
        key_columns::KeyDecoder,
        row::{Row, RowLayout, Slot},
        store::{Store, numbered_key},
        tails::SharedTails,
    },
};

/// Encoded rows that go into one batch: well below the 2 GiB that one Arrow column of text can hold, and what a seal
/// has in memory at a time.
const BATCH_BYTES: usize = 256 << 20;

/// Reads the outbox; any thread.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    committed: CommittedTables,
    catalog: CatalogHandle,
    tails: SharedTails,
}

impl Outbox {
    pub fn new(store: Store, committed: CommittedTables, catalog: CatalogHandle) -> Outbox {
        Outbox { store, committed, catalog, tails: SharedTails::default() }
    }

    /// The acknowledged rows of `table` from `from_seq` on, in order of acceptance: a batch for each run of rows that
    /// one version of the table's schema wrote, in the shape of its `offline()`. Ends after the blob that reaches
    /// `max_rows` or `max_bytes`. No batch is of much more than [`BATCH_BYTES`]. Where `columns` are named, no other features
    /// are decoded.
    pub fn read(
        &self,
        table: TableId,
        from_seq: u64,
        max_rows: usize,
        max_bytes: usize,
        columns: Option<&[&str]>,
    ) -> Result<Vec<(Arc<TableSchema>, RecordBatch)>, ShardError> {
        let mut gap = None;
        loop {
            match self.scan(table, from_seq, max_rows, max_bytes, columns)? {
                Scanned::Rows(rows) => return Ok(rows),
                // A scan is no snapshot: truncation takes blobs away that it has not come to, behind one that it has
                // seen. What is really missing is missing in the next one too.
                Scanned::GapBefore(row) if gap != Some(row) => gap = Some(row),
                Scanned::GapBefore(row) => {
                    return Err(ShardError::Damaged(format!(
                        "the outbox of table {} has a gap before row {row}",
                        table.0
                    )));
                }
            }
        }
    }

    fn scan(
        &self,
        table: TableId,
        from_seq: u64,
        max_rows: usize,
        max_bytes: usize,
        columns: Option<&[&str]>,
    ) -> Result<Scanned, ShardError> {
        // Rows beyond this are of a commit that is still going on. Taken before the catalog, which then knows the
        // versions of all rows below it.
        let committed = self.committed.of(table);
        let end = committed.next_seq();
        let catalog = self.catalog.current();
        let mut runs: Vec<OfflineRows> = Vec::new();
        let (mut chain, mut rows, mut read) = (None, 0, 0);
        let begin = committed.truncated().min(from_seq);
        for guard in self.store.outbox.range(numbered_key(table, begin)..numbered_key(table, end)) {
            let (_, bytes) = guard.into_inner()?;
            let blob = Blob::open(&bytes).ok_or_else(|| {
                ShardError::Damaged(format!("an outbox blob of table {} fails its checksum", table.0))
            })?;
            // Rows of a view that was online-only for a while leave a gap in the numbers, but none in the chain.
            if chain.is_some_and(|crc| blob.header.prev_crc != crc) {
                return Ok(Scanned::GapBefore(blob.header.first_seq));
            }
            chain = Some(blob.crc);
            if blob.end_seq() <= from_seq {
                continue;
            }
            // A blob is of one batch, and a batch of one version.
            let version = blob.entries().next().map_or(0, |(_, row)| Row(row).schema_version());
            let run = match runs.last_mut() {
                Some(run) if run.schema.version == version && run.bytes < BATCH_BYTES => run,
                _ => {
                    let schema = catalog.schema(table, version).ok_or_else(|| {
                        ShardError::Damaged(format!(
                            "row {} of table {} names its version {version}, which never was",
                            blob.header.first_seq, table.0
                        ))
                    })?;
                    runs.push(OfflineRows::new(Arc::clone(schema), columns));
                    let last = runs.len() - 1;
                    &mut runs[last]
                }
            };
            rows += run.push_blob(&blob, from_seq)?;
            run.bytes += bytes.len();
            read += bytes.len();
            if rows >= max_rows || read >= max_bytes {
                break;
            }
        }
        let rows = runs.into_iter().map(|run| Ok((Arc::clone(&run.schema), run.finish()?)));
        rows.collect::<Result<_, ShardError>>().map(Scanned::Rows)
    }
}

enum Scanned {
    Rows(Vec<(Arc<TableSchema>, RecordBatch)>),
    /// The blob of this row does not follow the one before it.
    GapBefore(u64),
}

impl Tail for Outbox {
    fn tail(&self, table: TableId, from_seq: u64, columns: Option<&[&str]>) -> Result<TailRows, TailError> {
        let committed = self.committed.of(table);
        let read = |from| {
            let runs = self.read(table, from, usize::MAX, usize::MAX, columns)?;
            Ok(runs.into_iter().map(|(_, batch)| batch).collect())
        };
        self.tails.get(table, from_seq, columns, || committed.next_seq(), read).map_err(tail_error)
    }
}

impl Unsealed for Outbox {
    fn unsealed(
        &self,
        table: TableId,
        from_seq: u64,
        max_rows: usize,
    ) -> Result<Vec<(Arc<TableSchema>, RecordBatch)>, TailError> {
        self.read(table, from_seq, max_rows, BATCH_BYTES, None).map_err(tail_error)
    }
}

fn tail_error(error: ShardError) -> TailError {
    TailError { code: error.code(), reason: error.to_string() }
}

/// Builds an offline batch from encoded rows of one version of the table.
struct OfflineRows {
    schema: Arc<TableSchema>,
    /// The columns that are built.
    offline: SchemaRef,
    slots: Vec<Slot>,
    keys: KeyDecoder,
    event_time: TimestampMicrosecondBuilder,
    columns: Vec<ColumnBuilder>,
    seq: Int64Builder,
    accepted_at: TimestampMicrosecondBuilder,
    deleted: BooleanBuilder,
    /// What its rows take in the outbox.
    bytes: usize,
}

impl OfflineRows {
    fn new(schema: Arc<TableSchema>, columns: Option<&[&str]>) -> OfflineRows {
        let layout = RowLayout::of(&schema);
        let wanted = |name: &str| columns.is_none_or(|columns| columns.contains(&name));
        let built: Vec<usize> =
            (0..schema.columns.len()).filter(|&column| wanted(&schema.columns[column].name)).collect();
        OfflineRows {
            offline: match columns {
                None => Arc::clone(schema.offline()),
                Some(_) => with_columns(&schema, &built),
            },
            slots: built.iter().map(|&column| layout.slot(column)).collect(),
            keys: KeyDecoder::new(&schema.keys),
            event_time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            columns: built.iter().map(|&c| ColumnBuilder::new(&schema.columns[c].data_type)).collect(),
            seq: Int64Builder::new(),
            accepted_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            deleted: BooleanBuilder::new(),
            bytes: 0,
            schema,
        }
    }

    /// Adds the blob's rows from `from_seq` on; returns how many.
    fn push_blob(&mut self, blob: &Blob<'_>, from_seq: u64) -> Result<usize, ShardError> {
        let mut pushed = 0;
        for (offset, (key, row)) in blob.entries().enumerate() {
            let seq = blob.header.first_seq + offset as u64;
            if seq < from_seq {
                continue;
            }
            let row = Row(row);
            self.keys.push(key).map_err(|_| {
                ShardError::Damaged(format!("row {seq} of `{}` has an unreadable key", self.schema.name))
            })?;
            self.event_time.append_value(row.event_time().micros());
            for (builder, slot) in self.columns.iter_mut().zip(&self.slots) {
                builder.push(row.cell(slot));
            }
            self.seq.append_value(seq.cast_signed());
            self.accepted_at.append_value(blob.header.accepted_at.micros());
            self.deleted.append_value(row.is_tombstone());
            pushed += 1;
        }
        Ok(pushed)
    }

    fn finish(mut self) -> Result<RecordBatch, ShardError> {
        let mut arrays: Vec<ArrayRef> = self.keys.finish();
        arrays.push(Arc::new(self.event_time.finish()));
        arrays.extend(self.columns.iter_mut().map(ColumnBuilder::finish));
        arrays.push(Arc::new(self.seq.finish()));
        arrays.push(Arc::new(self.accepted_at.finish()));
        arrays.push(Arc::new(self.deleted.finish()));
        RecordBatch::try_new(self.offline, arrays).map_err(|e| {
            ShardError::Damaged(format!("rows of `{}` do not fit its schema: {e}", self.schema.name))
        })
    }
}

/// The offline schema without the features that are not among `built`.
fn with_columns(schema: &TableSchema, built: &[usize]) -> SchemaRef {
    let first = schema.first_column_index();
    let features = first..first + schema.columns.len();
    let fields = schema.offline().fields().iter().enumerate();
    let kept = fields.filter(|(at, _)| !features.contains(at) || built.contains(&(at - first)));
    Arc::new(Schema::new(kept.map(|(_, field)| Arc::clone(field)).collect::<Vec<_>>()))
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
