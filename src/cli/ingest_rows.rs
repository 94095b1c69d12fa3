//! Rows of JSON and NDJSON sent as they are written: in a table each row would name every column, and a merge would write nulls
//! over what a row leaves out.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

use crate::{
    cli::{CliError, ingest_file::Chunk},
    format::{Compression, Format, raw_rows},
};

/// Below what a node takes of JSON in one body by default: `limits.json_rows`, `limits.body_bytes`.
const CHUNK_ROWS: usize = 5_000;
const CHUNK_BYTES: usize = 6 * 1024 * 1024;
/// The longest line.
const MAX_LINE: u64 = 16 * 1024 * 1024;

type Rows = Box<dyn Iterator<Item = Result<String, CliError>> + Send>;

/// The file's rows in bodies of their own format; none for a format whose rows all have the same columns.
pub fn chunks(
    path: &Path,
    format: Option<Format>,
) -> Result<Option<Box<dyn Iterator<Item = Result<Chunk, CliError>> + Send>>, CliError> {
    let (format, compression) = match format {
        Some(format) => (format, None),
        None => Format::from_path(path).map_err(|error| in_file(path, error))?,
    };
    let rows: Rows = match format {
        Format::NdJson => lines(path, compression)?,
        Format::Json => {
            let mut text = String::new();
            let read = open(path, compression).and_then(|mut file| file.read_to_string(&mut text));
            read.map_err(|error| in_file(path, error))?;
            let rows = raw_rows(text.trim_start_matches('\u{feff}')).map_err(|error| in_file(path, error))?;
            let rows: Vec<String> = rows.into_iter().map(|row| row.get().to_owned()).collect();
            Box::new(rows.into_iter().map(Ok))
        }
        _ => return Ok(None),
    };
    Ok(Some(Box::new(Chunks { format, rows, first_row: 0 })))
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> CliError {
    CliError::Failed(format!("{}: {error}", path.display()))
}

fn open(path: &Path, compression: Option<Compression>) -> std::io::Result<Box<dyn Read + Send>> {
    let file = fs_err::File::open(path)?;
    match compression {
        Some(compression) => compression.reader(BufReader::new(file)),
        None => Ok(Box::new(file)),
    }
}

/// The lines that are not blank.
fn lines(path: &Path, compression: Option<Compression>) -> Result<Rows, CliError> {
    let mut reader = BufReader::new(open(path, compression).map_err(|error| in_file(path, error))?);
    let (path, mut number, mut ended) = (path.to_owned(), 0_u64, false);
    Ok(Box::new(std::iter::from_fn(move || {
        while !ended {
            let mut line = String::new();
            number += 1;
            match reader.by_ref().take(MAX_LINE + 1).read_line(&mut line) {
                Ok(0) => return None,
                Ok(read) if read as u64 > MAX_LINE => {
                    ended = true;
                    return Some(Err(in_file(
                        &path,
                        format!("line {number} has more than {MAX_LINE} bytes"),
                    )));
                }
                Ok(_) => {
                    let row = line.trim_start_matches('\u{feff}').trim();
                    if !row.is_empty() {
                        return Some(Ok(row.to_owned()));
                    }
                }
                Err(error) => {
                    ended = true;
                    return Some(Err(in_file(&path, format!("line {number}: {error}"))));
                }
            }
        }
        None
    })))
}

struct Chunks {
    format: Format,
    rows: Rows,
    first_row: u64,
}

impl Iterator for Chunks {
    type Item = Result<Chunk, CliError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (separator, end) = match self.format {
            Format::Json => (",", "]}"),
            _ => ("\n", "\n"),
        };
        let mut body = if self.format == Format::Json { "{\"rows\":[".to_owned() } else { String::new() };
        let (mut rows, begun) = (0, body.len());
        while rows < CHUNK_ROWS && body.len() < CHUNK_BYTES {
            match self.rows.next() {
                Some(Ok(row)) => {
                    if body.len() > begun {
                        body += separator;
                    }
                    body += &row;
                    rows += 1;
                }
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        if rows == 0 {
            return None;
        }
        body += end;
        let first_row = self.first_row;
        self.first_row += rows as u64;
        let rows = rows as u64;
        Some(Ok(Chunk { format: self.format, body: body.into_bytes(), first_row, rows, progress: rows }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(name: &str, text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let chunks = chunks(&path, None).unwrap().unwrap();
        chunks.map(|chunk| String::from_utf8(chunk.unwrap().body).unwrap()).collect()
    }

    #[test]
    fn rows_stay_as_they_are() {
        assert_eq!(
            bodies("a.ndjson", "\u{feff}{\"k\":1,\"x\":1.50}\r\n\n {\"k\":2}"),
            ["{\"k\":1,\"x\":1.50}\n{\"k\":2}\n"]
        );
        assert_eq!(
            bodies("a.json", "{\"rows\": [{\"k\": 1,\n \"x\": 2}, {\"k\":2}]}"),
            ["{\"rows\":[{\"k\": 1,\n \"x\": 2},{\"k\":2}]}"]
        );
        let many: String = (0..CHUNK_ROWS + 1).map(|n| format!("{{\"k\":{n}}}\n")).collect();
        let bodies = bodies("b.ndjson", &many);
        assert_eq!(bodies.len(), 2);
        assert_eq!(bodies[1], format!("{{\"k\":{CHUNK_ROWS}}}\n"));
        assert_eq!(bodies.concat(), many);
    }

    #[test]
    fn other_formats_say_it_by_their_columns() {
        assert!(chunks(Path::new("a.csv"), None).unwrap().is_none());
        assert!(chunks(Path::new("a"), Some(Format::Parquet)).unwrap().is_none());
        assert!(chunks(Path::new("none.ndjson"), None).is_err());
    }
}
