//! Text files sent as text: the node can put rows with a bad value into quarantine, and a merge sees which columns a row names.

use std::path::Path;

use crate::{
    cli::{CliError, ingest_file::Chunk},
    format::{Compression, Format, FormatError, TextRows},
};

/// A body stays well below the node's default limits of bytes and rows.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
const CHUNK_ROWS: u64 = 8_192;

/// Chunks of a CSV, NDJSON or JSON file with those of its columns that `keep` says; JSON goes as NDJSON.
pub fn chunks(
    path: &Path,
    format: Format,
    compression: Option<Compression>,
    keep: Vec<String>,
) -> Result<impl Iterator<Item = Result<Chunk, CliError>> + Send + use<>, CliError> {
    let name = path.display().to_string();
    let failed = move |error: FormatError| CliError::Failed(format!("{name}: {error}"));
    let mut rows = TextRows::open(path, format, compression, keep).map_err(&failed)?;
    let format = if format == Format::Csv { Format::Csv } else { Format::NdJson };
    let mut first_row = 0;
    Ok(std::iter::from_fn(move || {
        let mut body = rows.header();
        let mut count = 0;
        while count < CHUNK_ROWS && body.len() < CHUNK_BYTES {
            match rows.next(&mut body) {
                Ok(true) => count += 1,
                Ok(false) => break,
                Err(error) => return Some(Err(failed(error))),
            }
        }
        let chunk = Chunk { format, body, first_row, rows: count, progress: count };
        first_row += count;
        (count > 0).then_some(Ok(chunk))
    }))
}
