//! CSV records (RFC 4180) that know which of their fields were quoted: `""` is the empty string, nothing is null.
//!
//! Rows end with LF, CRLF or CR. A quote within a field that does not begin with one is a character like any other. Two
//! things are refused that other readers let pass, since each hides lost rows or a lost character: a quoted field that is not
//! closed, and text behind a closing quote.

use std::io::{self, BufRead};

use memchr::{memchr, memchr3};

use crate::encoding::not_utf8;

/// The longest record of a file; a quote that is not closed would make all that follows one record.
const MAX_RECORD: usize = 16 * 1024 * 1024;

/// Why CSV cannot be read on from here.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(String),
}

/// One record; it is filled again and again.
#[derive(Debug, Default)]
pub struct CsvRecord {
    /// The fields' text, end to end and without their quotes.
    text: Vec<u8>,
    fields: Vec<Field>,
    line: u64,
    /// Field with text behind its closing quote.
    stray: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    end: usize,
    quoted: bool,
}

/// Text of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvField<'a> {
    pub text: &'a str,
    pub quoted: bool,
}

impl CsvField<'_> {
    /// Nothing at all, not even quotes.
    pub fn is_null(self) -> bool {
        self.text.is_empty() && !self.quoted
    }
}

impl CsvRecord {
    pub fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// Line at which the record begins, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Position of a field with text behind its closing quote.
    pub fn stray_quote(&self) -> Option<usize> {
        self.stray
    }

    /// The fields; fails where the record is not UTF-8.
    pub fn fields(&self) -> Result<impl Iterator<Item = CsvField<'_>>, CsvError> {
        let text = std::str::from_utf8(&self.text).map_err(|error| {
            let byte = self.text.get(error.valid_up_to()).copied().unwrap_or_default();
            let column = self.fields.iter().take_while(|field| field.end <= error.valid_up_to()).count() + 1;
            CsvError::Malformed(format!("line {}, field {column}: {}", self.line, not_utf8(byte)))
        })?;
        let mut start = 0;
        Ok(self.fields.iter().map(move |field| {
            let text = text.get(start..field.end).unwrap_or_default();
            start = field.end;
            CsvField { text, quoted: field.quoted }
        }))
    }

    fn clear(&mut self, line: u64) {
        self.text.clear();
        self.fields.clear();
        self.line = line;
        self.stray = None;
    }

    fn end_field(&mut self, quoted: bool) {
        self.fields.push(Field { end: self.text.len(), quoted });
    }

    /// A line without anything on it.
    fn is_blank(&self) -> bool {
        matches!(self.fields.as_slice(), [Field { end: 0, quoted: false }])
    }
}

/// Where in a record the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    /// Behind a quote in a quoted field: it ends the field, or is the first of two.
    Quote,
}

/// Reads records one after the other.
pub struct CsvReader<R> {
    input: R,
    /// Bytes read so far.
    offset: u64,
    /// Line that is being read, from 1.
    line: u64,
    /// The last record ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Offset at which the last record began.
    begun: u64,
    /// Where a table has one column, a blank line is a row of one null.
    keep_blank: bool,
}

impl<R: BufRead> CsvReader<R> {
    /// `input` has no byte-order mark.
    pub fn new(input: R) -> CsvReader<R> {
        CsvReader { input, offset: 0, line: 1, after_cr: false, begun: 0, keep_blank: false }
    }

    /// The first record; later ones have as many fields, or are wrong.
    pub fn header(&mut self) -> Result<Vec<String>, CsvError> {
        let mut record = CsvRecord::default();
        if !self.read(&mut record)? {
            return Err(CsvError::Malformed("it is empty: it has no header line".to_owned()));
        }
        if let Some(field) = record.stray_quote() {
            return Err(CsvError::Malformed(format!("field {} of the header {STRAY}", field + 1)));
        }
        self.keep_blank = record.field_count() == 1;
        Ok(record.fields()?.map(|field| field.text.to_owned()).collect())
    }

    /// Offsets of the last record's first byte and of the byte behind its line end (of CRLF: behind CR).
    pub fn span(&self) -> (u64, u64) {
        (self.begun, self.offset)
    }

    /// Reads the next record that is not blank; false at the end.
    pub fn read(&mut self, record: &mut CsvRecord) -> Result<bool, CsvError> {
        loop {
            record.clear(self.line);
            if !self.record(record)? {
                return Ok(false);
            }
            if self.keep_blank || !record.is_blank() {
                return Ok(true);
            }
        }
    }

    fn record(&mut self, record: &mut CsvRecord) -> Result<bool, CsvError> {
        let (mut state, mut quoted, mut opened, mut any) = (State::FieldStart, false, self.line, false);
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return match state {
                    State::Quoted => Err(unclosed(opened)),
                    _ if !any => Ok(false),
                    _ => {
                        record.end_field(quoted);
                        Ok(true)
                    }
                };
            }
            let mut at = 0;
            if !any {
                if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                    at = 1;
                }
                self.begun = self.offset + at as u64;
            }
            let mut ended = false;
            while let Some(&byte) = bytes.get(at) {
                any = true;
                let rest = &bytes[at..];
                match state {
                    State::Quoted => {
                        let plain = memchr(b'"', rest).unwrap_or(rest.len());
                        self.line += rest[..plain].iter().filter(|byte| **byte == b'\n').count() as u64;
                        record.text.extend_from_slice(&rest[..plain]);
                        at += plain;
                        if plain < rest.len() {
                            at += 1;
                            state = State::Quote;
                        }
                    }
                    State::Quote if byte == b'"' => {
                        record.text.push(b'"');
                        at += 1;
                        state = State::Quoted;
                    }
                    State::FieldStart if byte == b'"' => {
                        (state, quoted, opened) = (State::Quoted, true, self.line);
                        at += 1;
                    }
                    _ => {
                        let plain = memchr3(b',', b'\n', b'\r', rest).unwrap_or(rest.len());
                        if plain > 0 && state == State::Quote {
                            record.stray.get_or_insert(record.fields.len());
                        }
                        record.text.extend_from_slice(&rest[..plain]);
                        at += plain;
                        state = if plain > 0 { State::Bare } else { state };
                        let Some(&end) = rest.get(plain) else { continue };
                        at += 1;
                        record.end_field(quoted);
                        (state, quoted) = (State::FieldStart, false);
                        if end != b',' {
                            self.after_cr = end == b'\r';
                            self.line += 1;
                            ended = true;
                            break;
                        }
                    }
                }
            }
            self.input.consume(at);
            self.offset += at as u64;
            if ended {
                return Ok(true);
            }
            if record.text.len() + record.fields.len() > MAX_RECORD {
                return Err(too_long(record.line, (state == State::Quoted).then_some(opened)));
            }
        }
    }
}

/// The end of "field 3 …".
pub const STRAY: &str = "has text behind its closing quote; a quote within a quoted field is written twice, as in \"a \"\"b\"\"\"";

fn unclosed(line: u64) -> CsvError {
    CsvError::Malformed(format!(
        "the quoted field that begins in line {line} is not closed; close it, or the file may be cut off"
    ))
}

fn too_long(line: u64, opened: Option<u64>) -> CsvError {
    let hint = match opened {
        Some(line) => format!("; the quoted field that begins in line {line} may not be closed"),
        None => String::new(),
    };
    CsvError::Malformed(format!("the row that begins in line {line} is longer than {MAX_RECORD} bytes{hint}"))
}

/// Appends a field's text, quoted where it has to be; null is nothing, the empty string `""`.
pub fn write_field(text: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(text) = text else { return };
    let special = memchr3(b',', b'"', b'\n', text).or_else(|| memchr(b'\r', text)).is_some();
    if !special && !text.is_empty() {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    let mut rest = text;
    while let Some(quote) = memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=quote]);
        out.push(b'"');
        rest = &rest[quote + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
