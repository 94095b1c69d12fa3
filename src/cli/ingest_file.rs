//! A file as a sequence of request bodies, each within the node's limits.

use std::path::Path;

use crate::{
    cli::{
        CliError,
        ingest_columns::{Chosen, Columns, Ignoring},
        ingest_text,
        times::TimeArgs,
    },
    format::{Compression, Format, ReadOptions, TableReader, TableWriter},
    model::TimeForm,
};
use arrow::array::RecordBatch;

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
    /// Columns that the table does not have, and of which nobody said that they shall be left out.
    pub left_out: Vec<String>,
    pub chunks: Box<dyn Iterator<Item = Result<Chunk, CliError>> + Send>,
}

/// A body stays well below the node's default limit of 16 MiB.
const CHUNK_BYTES: usize = 6 * 1024 * 1024;
/// The node syncs once a chunk, so larger ones are stored faster.
const CHUNK_ROWS: usize = 32_768;
/// What a value takes, about: rows are read as many at a time as make a chunk.
const VALUE_BYTES: usize = 16;

/// How a file is read and sent.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The file's format, where its name does not tell.
    pub format: Option<Format>,
    pub ignoring: Ignoring,
    /// Rows with a bad value are the node's to judge.
    pub quarantine: bool,
    /// What a row leaves out is kept.
    pub merge: bool,
    /// How times are written, where the definition does not say.
    pub times: TimeArgs,
}

impl Reading {
    pub fn query(&self) -> String {
        let on_error = if self.quarantine { "quarantine" } else { "reject" };
        let mode = self.merge.then(|| ("mode", "merge".to_owned()));
        let query = [("on_error", on_error.to_owned())].into_iter().chain(mode).chain(self.times.query());
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
    }

    /// Whether the node gets rows as they are written: it puts bad ones into quarantine, and sees which columns a row names.
    /// A table's rows all have the same columns, whether or not the file's have.
    fn as_written(&self, format: Format) -> bool {
        match format {
            Format::Json | Format::NdJson => self.quarantine || self.merge,
            Format::Csv => self.quarantine,
            Format::Parquet | Format::ArrowStream => false,
        }
    }
}

impl SourceFile {
    pub fn open(
        path: &Path,
        columns: &Columns,
        times: TimeForm,
        reading: &Reading,
    ) -> Result<SourceFile, CliError> {
        let in_file =
            |error: &dyn std::fmt::Display| CliError::Failed(format!("{}: {error}", path.display()));
        let types = columns.all().iter().map(|c| (c.name.clone(), c.data_type.clone())).collect();
        let batch_rows = (CHUNK_BYTES / (VALUE_BYTES * columns.all().len().max(1))).clamp(1024, CHUNK_ROWS);
        let options = ReadOptions { types, times, batch_rows, ..ReadOptions::default() };
        let (format, compression) = match reading.format {
            Some(format) => (format, Compression::from_path(path)),
            None => Format::from_path(path).map_err(|e| in_file(&e))?,
        };
        let reader = TableReader::open_as(path, format, compression, &options).map_err(|e| in_file(&e))?;
        let schema = reader.schema().clone();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let Chosen { keep, left_out } = columns.choose(&names, &reading.ignoring).map_err(|e| in_file(&e))?;
        let size = reader.rows().unwrap_or(0);
        if reading.as_written(format) {
            let keep = keep.iter().filter_map(|at| names.get(*at)).map(|name| (*name).to_owned()).collect();
            let chunks = ingest_text::chunks(path, format, compression, keep)?;
            return Ok(SourceFile { size, left_out, chunks: Box::new(chunks) });
        }
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
        Ok(SourceFile { size, left_out, chunks: Box::new(chunks) })
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
