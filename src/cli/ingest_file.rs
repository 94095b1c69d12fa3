//! A file as a sequence of request bodies, each within the node's limits.

use std::{collections::BTreeSet, path::Path};

use arrow::array::RecordBatch;
use serde_json::Value as Json;

use crate::{
    cli::CliError,
    format::{Format, ReadOptions, TableReader, TableWriter},
    model::{Column, TimeForm},
};

/// The columns that a table takes, with their types.
pub struct Columns(Vec<Column>);

impl Columns {
    /// From the definition that the node gives of a feature view or source: its `columns` are all that a row has.
    pub fn of(definition: &Json) -> Result<Columns, CliError> {
        serde_json::from_value(definition["schema"].clone())
            .map(Columns)
            .map_err(|e| CliError::Failed(format!("the node's definition cannot be read: {e}")))
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|c| c.name == name)
    }
}

/// One request body.
pub struct Chunk {
    pub format: Format,
    pub body: Vec<u8>,
    /// Row of the file, from 0.
    pub first_row: u64,
    pub rows: u64,
    /// How far this brings the progress bar.
    pub progress: u64,
}

pub struct SourceFile {
    /// The progress bar's length, in rows where they are known, else in bytes.
    pub size: u64,
    /// Columns of the file that the table does not have.
    pub ignored: Vec<String>,
    pub chunks: Box<dyn Iterator<Item = Result<Chunk, CliError>> + Send>,
}

/// A body stays well below the node's default limit of 16 MiB.
const CHUNK_BYTES: usize = 6 * 1024 * 1024;
/// The node syncs once a chunk, so larger ones are stored faster.
const CHUNK_ROWS: usize = 32_768;
/// What a value takes, about: rows are read as many at a time as make a chunk.
const VALUE_BYTES: usize = 16;

impl SourceFile {
    pub fn open(
        path: &Path,
        format: Option<Format>,
        columns: &Columns,
        times: TimeForm,
        strict: bool,
    ) -> Result<SourceFile, CliError> {
        let in_file =
            |error: &dyn std::fmt::Display| CliError::Failed(format!("{}: {error}", path.display()));
        let types = columns.0.iter().map(|c| (c.name.clone(), c.data_type.clone())).collect();
        let batch_rows = (CHUNK_BYTES / (VALUE_BYTES * columns.0.len().max(1))).clamp(1024, CHUNK_ROWS);
        let options = ReadOptions { types, times, batch_rows, ..ReadOptions::default() };
        let reader = match format {
            Some(format) => TableReader::open_as(path, format, None, &options),
            None => TableReader::open(path, &options),
        };
        let reader = reader.map_err(|e| in_file(&e))?;
        let schema = reader.schema().clone();
        let (mut keep, mut ignored) = (Vec::new(), Vec::new());
        for (i, field) in schema.fields().iter().enumerate() {
            if columns.contains(field.name()) { keep.push(i) } else { ignored.push(field.name().clone()) }
        }
        if strict && !ignored.is_empty() {
            return Err(in_file(&format!("the table has no column {}", ignored.join(", "))));
        }
        let has: BTreeSet<&String> = schema.fields().iter().map(|f| f.name()).collect();
        if keep.is_empty() {
            let wanted: Vec<&str> = columns.0.iter().map(|c| c.name.as_str()).collect();
            return Err(in_file(&format!("has columns {has:?}, the table {wanted:?}: nothing in common")));
        }
        let size = reader.rows().unwrap_or(0);
        let name = path.display().to_string();
        let mut first_row = 0;
        let chunks = reader
            .flat_map(move |batch| match batch.map_err(|e| e.to_string()).and_then(|b| split(&b, &keep)) {
                Ok(parts) => parts.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(CliError::Failed(format!("{name}: {error}")))],
            })
            .map(move |part| {
                let part = part?;
                let chunk = encode(&part, first_row)?;
                first_row += chunk.rows;
                Ok(chunk)
            });
        Ok(SourceFile { size, ignored, chunks: Box::new(chunks) })
    }
}

/// The wanted columns of a batch, in parts that stay within a body.
fn split(batch: &RecordBatch, keep: &[usize]) -> Result<Vec<RecordBatch>, String> {
    let batch = batch.project(keep).map_err(|e| e.to_string())?;
    let row_bytes = (batch.get_array_memory_size() / batch.num_rows().max(1)).max(1);
    let rows = (CHUNK_BYTES / row_bytes).clamp(1, CHUNK_ROWS);
    Ok((0..batch.num_rows())
        .step_by(rows)
        .map(|start| batch.slice(start, rows.min(batch.num_rows() - start)))
        .collect())
}

fn encode(batch: &RecordBatch, first_row: u64) -> Result<Chunk, CliError> {
    let mut writer =
        TableWriter::new(Format::ArrowStream, Vec::new(), batch.schema()).map_err(CliError::failed)?;
    writer.write(batch).map_err(CliError::failed)?;
    let body = writer.finish().map_err(CliError::failed)?;
    let rows = batch.num_rows() as u64;
    Ok(Chunk { format: Format::ArrowStream, body, first_row, rows, progress: rows })
}
