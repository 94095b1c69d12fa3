//! From a stored spine to the training set, portion by portion.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef};

use crate::{
    error::{Code, Coded},
    format::{Format, FormatError, ReadOptions, TableReader, TableWriter},
    offline::NewFile,
    registry::{Catalog, Resolved},
    serve::{
        Leak, Reads, ServeError, TrainingRequest, TrainingSet, Wanted, add_leaks,
        sets::{
            DataMark, Order, SetError,
            hashed::{Hashed, unwritten},
            portions::{LEAST_ROWS, Portions, SPINE_BYTES, most_rows},
        },
        until::tables,
    },
};

/// Bytes that strings, lists and vectors may come to in a portion; a portion with more is made in halves.
const MOST_JOINED: usize = 512 << 20;

impl Order {
    pub(super) fn wanted(&self) -> Wanted {
        Wanted::Pinned(self.features.clone())
    }

    fn request(&self, spine: RecordBatch) -> TrainingRequest {
        TrainingRequest {
            wanted: self.wanted(),
            spine,
            event_time: Some(self.event_time.clone()),
            times: self.times,
            max_bytes: MOST_JOINED,
            known_at: self.by_time.then_some(self.known_at),
            until: Some(Arc::new(self.until())),
            full_feature_names: self.full_feature_names,
            guard: self.leak_guard,
            split: self.split.clone(),
        }
    }

    /// The columns of the set, of a spine with these columns; an error where the two do not fit.
    pub(super) fn columns(&self, pinned: &Pinned<'_>, spine: &SchemaRef) -> Result<SchemaRef, SetError> {
        Ok(pinned.training_set(self, RecordBatch::new_empty(Arc::clone(spine)))?.rows.schema())
    }
}

/// What a job reads, by the definitions as they were when it began: an apply meanwhile changes nothing in it.
pub(super) struct Pinned<'a> {
    reads: &'a Reads,
    pub catalog: Arc<Catalog>,
}

impl<'a> Pinned<'a> {
    pub fn new(reads: &'a Reads) -> Pinned<'a> {
        Pinned { reads, catalog: reads.catalog.current() }
    }

    /// The order's features, of tables of which it knows how far they are read.
    pub fn resolve(&self, order: &Order) -> Result<Resolved, SetError> {
        let resolved = order.wanted().resolve(&self.catalog)?;
        let tables = tables(&self.catalog, &resolved)?;
        match tables.iter().find(|table| !order.tables.contains_key(&table.name)) {
            Some(table) => Err(SetError::Redefined { table: table.name.clone() }),
            None => Ok(resolved),
        }
    }

    fn training_set(&self, order: &Order, spine: RecordBatch) -> Result<TrainingSet, SetError> {
        Ok(self.reads.training_set_of(&self.catalog, &order.request(spine))?)
    }

    /// How many rows each table of the order has below its bound.
    pub fn table_rows(&self, order: &Order) -> Result<BTreeMap<String, u64>, SetError> {
        let until = order.until();
        let tables = tables(&self.catalog, &self.resolve(order)?)?;
        tables
            .iter()
            .map(|schema| {
                Ok((schema.name.clone(), self.reads.table_history(schema, Some(&until))?.counted()?))
            })
            .collect()
    }
}

/// Makes the set, and gives it away in portions; `done` is told the rows so far, and may end it. There is at least one
/// portion, without rows where the spine has none.
pub(super) fn derive(
    pinned: &Pinned<'_>,
    order: &Order,
    spine: &Path,
    done: impl Fn(u64) -> Result<(), SetError>,
    mut give: impl FnMut(TrainingSet) -> Result<(), SetError>,
) -> Result<(), SetError> {
    pinned.resolve(order)?;
    let unreadable = |error: FormatError| SetError::damaged(spine, error);
    let options = ReadOptions { batch_rows: LEAST_ROWS, ..ReadOptions::default() };
    let batches = TableReader::open(spine, &options).map_err(unreadable)?;
    let schema = Arc::clone(batches.schema());
    let most_rows = most_rows(order.columns(pinned, &schema)?.as_ref());
    let mut portions = Portions { batches, most_rows, most_bytes: SPINE_BYTES };
    let mut next = Some(portions.next().unwrap_or_else(|| Ok(Vec::new())));
    let mut rows = 0;
    while let Some(portion) = next {
        done(rows)?;
        let portion = portion.map_err(unreadable)?;
        let part = concat_batches(&schema, &portion).map_err(ServeError::from)?;
        drop(portion);
        rows += part.num_rows() as u64;
        in_parts(part, &|part| pinned.training_set(order, part), &mut give)?;
        next = portions.next();
    }
    done(rows)
}

/// Joins `spine` at once, or in halves where that comes to too many bytes; a single row that does is an error.
fn in_parts(
    spine: RecordBatch,
    join: &impl Fn(RecordBatch) -> Result<TrainingSet, SetError>,
    give: &mut impl FnMut(TrainingSet) -> Result<(), SetError>,
) -> Result<(), SetError> {
    let rows = spine.num_rows();
    match join(spine.clone()) {
        Err(error) if rows > 1 && error.code() == Code::TooLarge => {
            in_parts(spine.slice(0, rows / 2), join, give)?;
            in_parts(spine.slice(rows / 2, rows - rows / 2), join, give)
        }
        joined => give(joined?),
    }
}

/// A set in its directory.
pub(super) struct Built {
    pub data: DataMark,
    pub columns: SchemaRef,
    pub leaks: Vec<Leak>,
    pub failed_rows: BTreeMap<String, u64>,
}

/// Writes the set to `dir` under `data.<format>`; the directory is the caller's to sync.
pub(super) fn build(
    pinned: &Pinned<'_>,
    order: &Order,
    spine: &Path,
    dir: &Path,
    limit: u64,
    done: impl Fn(u64) -> Result<(), SetError>,
) -> Result<Built, SetError> {
    let format = order.format()?;
    let mut file = Some(NewFile::create(dir)?);
    let mut out: Option<TableWriter<Hashed<NewFile>>> = None;
    let (mut schema, mut leaks, mut failed_rows) = (None, Vec::new(), BTreeMap::new());
    derive(pinned, order, spine, done, |TrainingSet { rows: portion, failed, leaks: part }| {
        add_leaks(&mut leaks, part);
        for (column, rows) in failed {
            *failed_rows.entry(column).or_default() += rows as u64;
        }
        if let Some(file) = file.take() {
            let file = Hashed::new(file, limit);
            out = Some(TableWriter::new(format, file, portion.schema()).map_err(unwritten)?);
            schema = Some(portion.schema());
        }
        out.as_mut().map_or(Ok(()), |out| out.write(&portion)).map_err(unwritten)
    })?;
    let (Some(out), Some(schema)) = (out, schema) else {
        return Err(SetError::damaged(spine, "it has no columns"));
    };
    let (mut written, bytes, sha256) = out.finish().map_err(unwritten)?.finish();
    let name = format!("data.{format}");
    written.rename(&dir.join(&name))?;
    Ok(Built { data: DataMark { file: name, bytes, sha256 }, columns: schema, leaks, failed_rows })
}

impl Order {
    pub(super) fn format(&self) -> Result<Format, SetError> {
        kept_format(&self.format)
    }
}

/// The formats in which a set is kept: those whose bytes follow from the rows.
pub(super) fn kept_format(name: &str) -> Result<Format, SetError> {
    match name.parse() {
        Ok(format @ (Format::Parquet | Format::Csv | Format::NdJson | Format::Json)) => Ok(format),
        _ => Err(SetError::field("format", format!("`{name}` is not one of parquet, csv, ndjson, json"))),
    }
}
