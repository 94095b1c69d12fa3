//! The write path, as a sentence: look up the table, reserve memory, decode, validate, prepare, apply.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    clock::Clock,
    format::Format,
    ingest::{
        Circle, DecodeLimits, Decoded, IngestError, Meters, Rejected, Turns, WriteMode, decode, decompress,
        merge::Learned, validate,
    },
    metrics,
    model::{TableKind, TableSchema, TimeForm},
    offline::{OfflineStore, Tail},
    registry::{Catalog, CatalogHandle, FeatureView},
    shard::{
        Answers, Applied, Checkpoint, MOST_NAME, MOST_VALUE, PreparedBatch, QuarantinedRow, ShardError,
        Shards, Streams, Write,
    },
};

/// What becomes of a batch with bad rows in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Nothing of it is stored.
    #[default]
    Reject,
    /// The good rows are stored, the bad ones kept in quarantine with their reasons.
    Quarantine,
}

/// One request: one batch.
#[derive(Debug, Clone)]
pub struct IngestRequest {
    pub table: String,
    pub kind: TableKind,
    pub format: Format,
    /// `Content-Encoding`.
    pub encoding: Option<String>,
    pub body: Bytes,
    pub on_error: OnError,
    pub mode: WriteMode,
    /// How times are written; over what the table declares.
    pub times: TimeForm,
    pub idempotency_key: Option<String>,
    /// The Idempotency-Key of the batch that this one comes after.
    pub after: Option<String>,
    /// Stored with the rows, in the same atomic batch.
    pub checkpoint: Option<Checkpoint>,
}

/// The write side of a node; cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    pub catalog: CatalogHandle,
    pub shards: Shards,
    /// What the events of sources are counted in.
    pub streams: Streams,
    /// First answers, so that a repeat costs no decoding and is answered whatever the node's state is.
    pub answers: Answers,
    pub clock: Clock,
    /// History, which late rows of a merge are merged with.
    pub offline: Arc<OfflineStore>,
    pub tail: Arc<dyn Tail>,
    pub limits: DecodeLimits,
    pub max_body: usize,
    pub max_ratio: usize,
    /// One retry of quarantined rows at a time, so that none is stored twice.
    pub retrying: Arc<tokio::sync::Mutex<()>>,
    pub meters: Meters,
    pub turns: Turns,
}

/// Bodies from this size on are decoded on a thread of their own, so that they do not hold up small requests.
const INLINE_BYTES: usize = 32 * 1024;
/// A decoded and encoded batch takes about this many times its body while it is in flight.
const MEMORY_FACTOR: usize = 3;
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The table that a batch is for, with the view whose rules its rows must keep.
struct Target {
    schema: Arc<TableSchema>,
    view: Option<Arc<FeatureView>>,
}

/// How often a batch is prepared when definitions are applied again and again meanwhile.
const TRIES: usize = 4;

impl Ingest {
    pub async fn ingest(&self, request: IngestRequest) -> Result<Applied, IngestError> {
        check_idempotency_key(request.idempotency_key.as_deref())?;
        check_idempotency_key(request.after.as_deref())?;
        if request.after.is_some() && request.after == request.idempotency_key {
            return Err(IngestError::Invalid("a batch cannot come after itself".to_owned()));
        }
        request.checkpoint.as_ref().map_or(Ok(()), check_checkpoint)?;
        let (request, _held) = self.decompressed(request).await?;
        let (mut redefined, mut learned) = (0, Learned::default());
        loop {
            let before = learned.clone();
            match self.try_ingest(request.clone(), &before, &mut learned).await {
                Err(IngestError::Shard(ShardError::Redefined)) if redefined + 1 < TRIES => redefined += 1,
                Err(IngestError::Shard(ShardError::Unmerged { .. })) if learned.may_try_again() => {}
                result => return result,
            }
        }
    }

    /// The request with its body as it is without an encoding: the same rows are the same request, however they were
    /// compressed. The permit is for the body that was sent.
    async fn decompressed(
        &self,
        mut request: IngestRequest,
    ) -> Result<(IngestRequest, Option<OwnedSemaphorePermit>), IngestError> {
        let Some(encoding) = request.encoding.take() else { return Ok((request, None)) };
        target(&self.catalog.current(), &request.table, request.kind)?;
        let permit = self.shards.reserve(request.body.len().saturating_mul(MEMORY_FACTOR))?;
        let (body, limit, ratio) = (std::mem::take(&mut request.body), self.max_body, self.max_ratio);
        let decompressed = tokio::task::spawn_blocking(move || {
            // The permit goes where the memory is.
            decompress(Some(&encoding), body, limit, ratio).map(|body| (body, permit))
        });
        let (body, permit) = decompressed
            .await
            .map_err(|_| IngestError::Invalid("the body cannot be decompressed".to_owned()))??;
        request.body = body;
        Ok((request, Some(permit)))
    }

    /// One attempt, which knows what those before it have `learned`; what it learns itself goes to `more`.
    async fn try_ingest(
        &self,
        request: IngestRequest,
        learned: &Learned,
        more: &mut Learned,
    ) -> Result<Applied, IngestError> {
        let started = Instant::now();
        let target = target(&self.catalog.current(), &request.table, request.kind)?;
        if request.mode == WriteMode::Merge && target.view.is_none() {
            return Err(IngestError::MergedEvents);
        }
        if let Some(key) = &request.idempotency_key
            && let Some(answer) = self.answers.find(target.schema.table, key, fingerprint(&request))?
        {
            return Ok(answer);
        }
        let table = target.schema.table;
        let after = request.after.as_deref();
        let begun = request.idempotency_key.as_deref().map(|key| self.turns.begin(table, key, after));
        let turn = begun.transpose().map_err(|Circle| IngestError::Circle)?;
        self.shards.check(table)?;
        let permit = self.shards.reserve(request.body.len().saturating_mul(MEMORY_FACTOR))?;

        let blocking = request.body.len() > INLINE_BYTES
            || learned.reads_history()
            || matches!(request.format, Format::ArrowStream | Format::Parquet);
        // The permit goes where the memory is: decoding goes on when the client is gone.
        let (write, numbers, permit) = if blocking {
            let (this, learned) = (self.clone(), learned.clone());
            tokio::task::spawn_blocking(move || this.prepare(request, &target, &learned, permit))
                .await
                .map_err(|_| IngestError::Invalid("the body cannot be decoded".to_owned()))??
        } else {
            self.prepare(request, &target, learned, permit)?
        };
        let (schema, nulls) = (Arc::clone(&write.batch().schema), write.batch().nulls.clone());
        let rows = write.batch().len() as u64;
        if let Some(after) = write.predecessor() {
            self.turns.wait(table, after).await;
        }
        let stored = self.shards.hand_over(write, permit)?;
        drop(turn);
        let applied = stored.await.inspect_err(|error| {
            more.note(error, &numbers);
        })?;
        if !applied.replayed {
            self.meters.record(&schema, &applied, rows, &nulls, started.elapsed());
        }
        Ok(applied)
    }

    /// Everything that needs no shard: from bytes to a batch that only has to be numbered and committed, with the body's
    /// numbers of its rows where they are not their positions.
    fn prepare(
        &self,
        request: IngestRequest,
        target: &Target,
        learned: &Learned,
        mut permit: OwnedSemaphorePermit,
    ) -> Result<(Write, Option<Vec<u64>>, OwnedSemaphorePermit), IngestError> {
        let fingerprint = fingerprint(&request);
        let sent = request.body.len();
        let mut decoded = decode(request.format, request.body, &target.schema, &self.limits, request.times)?;
        let mut merge = None;
        if let Some(view) = &target.view {
            match request.mode {
                WriteMode::Replace => decoded = check_rules(decoded, Some(view))?,
                WriteMode::Merge => {
                    decoded = check(decoded, view)?;
                    learned.reject(&mut decoded, view)?;
                    merge = Some(self.merge_plan(view, &decoded, learned)?);
                }
            }
        }
        if !decoded.rejected.is_empty() && request.on_error == OnError::Reject {
            metrics::record_rejected(&target.schema.name, decoded.rows as u64);
            return Err(IngestError::Rows { rejected: decoded.rejected, total: decoded.rows });
        }
        let batch_id = crate::model::BatchId::fresh();
        let schema = Arc::clone(&target.schema);
        let incomplete = target.view.as_ref().map_or(0, |_| decoded.named.incomplete() as u64);
        let mut batch = match &target.view {
            Some(_) => PreparedBatch::rows(schema, &decoded.batch),
            None => PreparedBatch::events(schema, &decoded.batch, &self.streams.current()),
        };
        if let Some(plan) = &merge {
            batch.forget_nulls(&plan.named);
        }
        let times = request.times.or(target.schema.times);
        let write = Write::of(batch, target.view.as_ref().is_none_or(|view| view.offline))
            .with_id(batch_id)
            .idempotent(request.idempotency_key, fingerprint)
            .after(request.after)
            .quarantining(self.quarantined(batch_id, (request.mode, times), decoded.rejected))
            .noting(request.checkpoint.map(Checkpoint::note))
            .incomplete(incomplete)
            .merging(merge);
        // Columnar bodies unfold: what the rows take now is known.
        let held = sent.saturating_mul(MEMORY_FACTOR);
        if write.batch().size() > held {
            permit.merge(self.shards.reserve(write.batch().size() - held)?);
        }
        Ok((write, decoded.row_numbers, permit))
    }

    fn quarantined(
        &self,
        batch_id: crate::model::BatchId,
        (mode, times): (WriteMode, TimeForm),
        rejected: Vec<Rejected>,
    ) -> Vec<Vec<u8>> {
        let rejected_at = self.clock.now();
        rejected
            .into_iter()
            .map(|r| {
                let row = QuarantinedRow {
                    batch_id,
                    rejected_at,
                    row: r.row,
                    field: r.field,
                    reason: r.reason,
                    raw: raw_row(r.raw),
                    merge: mode == WriteMode::Merge,
                    times,
                };
                serde_json::to_vec(&row).expect("a quarantined row has string keys and derives Serialize")
            })
            .collect()
    }
}

/// Takes out the rows that break the view's rules.
pub(super) fn check_rules(mut decoded: Decoded, view: Option<&FeatureView>) -> Result<Decoded, IngestError> {
    if let Some(view) = view {
        let violations = validate(view, &decoded.batch, |_, _| true);
        decoded.reject(violations)?;
    }
    Ok(decoded)
}

/// The same of rows that are merged: the rules hold for what they name. What they leave out is checked where it is merged.
pub(super) fn check(mut decoded: Decoded, view: &FeatureView) -> Result<Decoded, IngestError> {
    let violations = validate(view, &decoded.batch, |index, column| decoded.named.has(index, column));
    decoded.reject(violations)?;
    Ok(decoded)
}

/// A row that could be read as JSON is kept as such, so that it can be tried again; any other as its text.
fn raw_row(text: String) -> serde_json::Value {
    match serde_json::from_str(&text) {
        Ok(object @ serde_json::Value::Object(_)) => object,
        _ => serde_json::Value::String(text),
    }
}

fn target(catalog: &Catalog, name: &str, kind: TableKind) -> Result<Target, IngestError> {
    let view = catalog.feature_views.get(name);
    let source = catalog.sources.get(name);
    if let Some(error) = view.and_then(|view| IngestError::of_computed(view)) {
        return Err(error);
    }
    match (kind, view, source) {
        (TableKind::FeatureView, Some(view), _) => {
            Ok(Target { schema: Arc::clone(&view.schema), view: Some(Arc::clone(view)) })
        }
        (TableKind::Source, _, Some(source)) => Ok(Target { schema: Arc::clone(&source.schema), view: None }),
        (TableKind::FeatureView, None, Some(_)) => {
            Err(unknown("feature view", name, "; it is a source: send events"))
        }
        (TableKind::Source, Some(_), None) => {
            Err(unknown("source", name, "; it is a feature view: send rows"))
        }
        (TableKind::FeatureView, None, None) => {
            Err(unknown("feature view", name, &known(catalog.feature_views.keys())))
        }
        (TableKind::Source, None, None) => Err(unknown("source", name, &known(catalog.sources.keys()))),
    }
}

/// The view whose rows are to be changed by other means than ingestion.
pub(super) fn view(catalog: &Catalog, name: &str) -> Result<Arc<FeatureView>, IngestError> {
    target(catalog, name, TableKind::FeatureView)?.view.ok_or_else(|| unknown("feature view", name, ""))
}

fn unknown(kind: &'static str, name: &str, hint: &str) -> IngestError {
    IngestError::UnknownTable { kind, name: name.to_owned(), hint: hint.to_owned() }
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).take(20).collect();
    if names.is_empty() {
        "; none is defined yet".to_owned()
    } else {
        format!("; known: {}", names.join(", "))
    }
}

pub(super) fn check_idempotency_key(key: Option<&str>) -> Result<(), IngestError> {
    match key {
        Some(key) if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY => Err(IngestError::Invalid(format!(
            "an Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} characters, this one has {}",
            key.len()
        ))),
        _ => Ok(()),
    }
}

fn check_checkpoint(checkpoint: &Checkpoint) -> Result<(), IngestError> {
    let (name, value) = (checkpoint.name.len(), checkpoint.value.len());
    if name == 0 || name > MOST_NAME || value > MOST_VALUE {
        return Err(IngestError::Invalid(format!(
            "a checkpoint has a name of 1 to {MOST_NAME} bytes and a value of at most {MOST_VALUE}; this one has {name} and {value}"
        )));
    }
    Ok(())
}

/// What makes two requests under one key the same request: the decoded body, and all that changes what is made of it.
fn fingerprint(request: &IngestRequest) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(request.table.as_bytes());
    hash.update(&[0, request.kind as u8, request.format as u8]);
    if request.on_error == OnError::Quarantine {
        hash.update(b"on_error=quarantine");
    }
    if request.mode == WriteMode::Merge {
        hash.update(b"mode=merge");
    }
    if !request.times.is_explicit() {
        hash.update(format!("{:?}", request.times).as_bytes());
    }
    hash.update(&[0]);
    hash.update(&request.body);
    hash.digest128()
}
