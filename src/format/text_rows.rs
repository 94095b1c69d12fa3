//! Rows of text files as text, some of their columns left out: for those who hand them on.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
};

use crate::{
    Compression, CsvError, CsvReader, CsvRecord, Format, FormatError,
    csv_reader::write_field,
    encoding::{TextInput, text_reader, utf8_text},
    json::{cells, raw_rows},
    reader::Input,
    text_reader::Lines,
};

/// Rows of one CSV, NDJSON or JSON file.
pub struct TextRows {
    keep: BTreeSet<String>,
    rows: Rows,
}

enum Rows {
    Csv { reader: CsvReader<TextInput<'static>>, record: CsvRecord, header: Vec<String> },
    Lines(Lines),
    Document(VecDeque<String>),
}

impl TextRows {
    /// `keep`: names of the columns that rows shall have.
    pub fn open(
        path: &Path,
        format: Format,
        compression: Option<Compression>,
        keep: Vec<String>,
    ) -> Result<TextRows, FormatError> {
        let input = Input::File(path.to_owned(), compression);
        let rows = match format {
            Format::Csv => {
                let mut reader = CsvReader::new(text_reader(input.reader()?)?);
                let header = reader.header().map_err(csv_error)?;
                Rows::Csv { reader, record: CsvRecord::default(), header }
            }
            Format::NdJson => Rows::Lines(Lines::new(&input)?),
            _ => {
                let mut body = Vec::new();
                std::io::Read::read_to_end(&mut input.reader()?, &mut body)?;
                let malformed = |reason: String| FormatError::malformed(Format::Json, reason);
                let text = utf8_text(&body).map_err(malformed)?;
                let rows = raw_rows(text).map_err(|error| FormatError::malformed(Format::Json, error))?;
                Rows::Document(rows.into_iter().map(|row| row.get().replace(['\n', '\r'], " ")).collect())
            }
        };
        Ok(TextRows { keep: keep.into_iter().collect(), rows })
    }

    /// What each body begins with.
    pub fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Rows::Csv { header, .. } = &self.rows {
            for (n, name) in header.iter().filter(|name| self.keep.contains(*name)).enumerate() {
                separate(n, &mut out);
                write_field(Some(name.as_bytes()), &mut out);
            }
            out.push(b'\n');
        }
        out
    }

    /// Appends the next row; false at the end. What is wrong with a row stays wrong.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, FormatError> {
        match &mut self.rows {
            Rows::Csv { reader, record, header } => {
                if !reader.read(record).map_err(csv_error)? {
                    return Ok(false);
                }
                csv_row(record, header, &self.keep, out)?;
            }
            Rows::Lines(lines) => {
                let Some((line, _)) = lines.next()? else { return Ok(false) };
                json_row(line, &self.keep, out);
            }
            Rows::Document(rows) => {
                let Some(row) = rows.pop_front() else { return Ok(false) };
                json_row(&row, &self.keep, out);
            }
        }
        out.push(b'\n');
        Ok(true)
    }
}

fn csv_row(
    record: &CsvRecord,
    header: &[String],
    keep: &BTreeSet<String>,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let whole = record.field_count() == header.len();
    let kept = |at: usize| header.get(at).is_some_and(|name| keep.contains(name));
    let mut written = 0;
    for (at, field) in record.fields().map_err(csv_error)?.enumerate() {
        if whole && !kept(at) {
            continue;
        }
        separate(written, out);
        written += 1;
        if record.stray_quote() == Some(at) {
            out.extend_from_slice(b"\"\"");
            out.extend_from_slice(field.text.replace([',', '"', '\n', '\r'], " ").as_bytes());
        } else {
            write_field((!field.is_null()).then_some(field.text.as_bytes()), out);
        }
    }
    // With fewer columns in the header the row could have as many as that.
    if !whole && written == (0..header.len()).filter(|at| kept(*at)).count() {
        out.push(b',');
    }
    Ok(())
}

/// The row with the members that are kept, each as it is written; a line that is no object as it is.
fn json_row(row: &str, keep: &BTreeSet<String>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'{');
    let read = cells(row, |name, raw| {
        if keep.contains(name) {
            separate(out.len() - start - 1, out);
            out.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(raw.as_bytes());
        }
    });
    out.push(b'}');
    if read.is_err() {
        out.truncate(start);
        out.extend_from_slice(row.as_bytes());
    }
}

fn separate(before: usize, out: &mut Vec<u8>) {
    if before > 0 {
        out.push(b',');
    }
}

fn csv_error(error: CsvError) -> FormatError {
    match error {
        CsvError::Io(error) => FormatError::Io(error),
        CsvError::Malformed(reason) => FormatError::malformed(Format::Csv, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(format: Format, text: &str, keep: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        fs_err::write(&path, text).unwrap();
        let keep = keep.iter().map(|name| (*name).to_owned()).collect();
        let mut rows = TextRows::open(&path, format, None, keep).unwrap();
        let mut out = rows.header();
        while rows.next(&mut out).unwrap() {}
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_left_out_and_wrong_rows_stay_wrong() {
        assert_eq!(
            rows(
                Format::Csv,
                "a,b,c\r\n1,\"\",3\r\n\"x,\ny\",,\"z\"\n1,2\n1,2,3,4\n1,\"2\"2,3\n",
                &["a", "b"]
            ),
            "a,b\n1,\"\"\n\"x,\ny\",\n1,2,\n1,2,3,4\n1,\"\"22\n"
        );
        assert_eq!(
            rows(
                Format::NdJson,
                "{\"a\": 1.50, \"b\":{\"c\":[1]}, \"d\":2}\n\n[1]\n{\"a\":1,\"a\":2}\n",
                &["a", "b"]
            ),
            "{\"a\":1.50,\"b\":{\"c\":[1]}}\n[1]\n{\"a\":1,\"a\":2}\n"
        );
        assert_eq!(
            rows(Format::Json, "{\"rows\":[{\"a\":\n1},\n{\"b\":2,\"c\":3}]}", &["a", "b"]),
            "{\"a\":1}\n{\"b\":2}\n"
        );
    }
}
