use std::io::BufReader;

use arrow::array::{Array, AsArray};
use proptest::prelude::*;

use super::*;
use crate::{Format, ReadOptions, TableReader};

/// A record as (line, fields), a field as text or nothing.
type Rows = Vec<(u64, Vec<Option<String>>)>;

fn read(mut reader: CsvReader<impl BufRead>) -> Result<Rows, String> {
    let mut record = CsvRecord::default();
    let mut rows = Vec::new();
    while reader.read(&mut record).map_err(|e| e.to_string())? {
        if let Some(field) = record.stray_quote() {
            return Err(format!("stray in field {field}"));
        }
        let fields = record.fields().map_err(|e| e.to_string())?;
        rows.push((
            record.line(),
            fields.map(|field| (!field.is_null()).then(|| field.text.to_owned())).collect(),
        ));
    }
    Ok(rows)
}

/// Read as a whole, and in pieces of `size` bytes.
fn both(text: &str, size: usize) -> Result<Rows, String> {
    let whole = read(CsvReader::new(text.as_bytes()));
    let pieces = read(CsvReader::new(BufReader::with_capacity(size, text.as_bytes())));
    assert_eq!(whole, pieces, "{text:?} in pieces of {size}");
    whole
}

fn fields(text: &str) -> Vec<Vec<Option<String>>> {
    both(text, 3).unwrap().into_iter().map(|(_, fields)| fields).collect()
}

/// Characters one by one, by the grammar of RFC 4180 and no state but where it stands.
fn naive(text: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut rows) = (0, Vec::new());
    while at < chars.len() {
        let mut row = Vec::new();
        loop {
            let (mut field, quoted) = (String::new(), chars.get(at) == Some(&'"'));
            if quoted {
                at += 1;
                loop {
                    match (chars.get(at), chars.get(at + 1)) {
                        (None, _) => return Err("not closed".to_owned()),
                        (Some('"'), Some('"')) => {
                            field.push('"');
                            at += 2;
                        }
                        (Some('"'), _) => {
                            at += 1;
                            break;
                        }
                        (Some(c), _) => {
                            field.push(*c);
                            at += 1;
                        }
                    }
                }
                if chars.get(at).is_some_and(|c| !matches!(c, ',' | '\n' | '\r')) {
                    return Err("stray".to_owned());
                }
            } else {
                while let Some(c) = chars.get(at).filter(|c| !matches!(c, ',' | '\n' | '\r')) {
                    field.push(*c);
                    at += 1;
                }
            }
            row.push((quoted || !field.is_empty()).then_some(field));
            if chars.get(at) != Some(&',') {
                break;
            }
            at += 1;
        }
        at += if chars.get(at) == Some(&'\r') && chars.get(at + 1) == Some(&'\n') { 2 } else { 1 };
        if row != [None] {
            rows.push(row);
        }
    }
    Ok(rows)
}

#[test]
fn quotes_tell_the_empty_string_from_nothing() {
    let row = |fields: &[Option<&str>]| fields.iter().map(|f| f.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(fields("a,,\"\"\n"), [row(&[Some("a"), None, Some("")])]);
    assert_eq!(fields("\"a,\"\"b\"\"\r\nc\",\n"), [row(&[Some("a,\"b\"\r\nc"), None])]);
    assert_eq!(fields("\"\""), [row(&[Some("")])]);
    assert_eq!(fields("a,"), [row(&[Some("a"), None])]);
    assert_eq!(fields("5\" pipe,x\"y\n"), [row(&[Some("5\" pipe"), Some("x\"y")])]);
    assert_eq!(fields("a\r\n\r\nb\rc\n\n"), [row(&[Some("a")]), row(&[Some("b")]), row(&[Some("c")])]);
}

#[test]
fn records_know_their_lines_and_bytes() {
    let text = "k,v\r\n\r\na,\"1\n2\"\r\nb,3";
    assert_eq!(both(text, 2).unwrap().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 5]);
    let mut reader = CsvReader::new(text.as_bytes());
    let mut record = CsvRecord::default();
    let mut raw = Vec::new();
    while reader.read(&mut record).unwrap() {
        let (begin, end) = reader.span();
        raw.push(&text[begin as usize..end as usize]);
    }
    // An LF behind a CR is skipped with the next record.
    assert_eq!(raw, ["k,v\r", "a,\"1\n2\"\r", "b,3"]);
}

#[test]
fn a_blank_line_is_a_row_only_where_there_is_one_column() {
    let rows = |text: &'static str| {
        let mut reader = CsvReader::new(text.as_bytes());
        reader.header().unwrap();
        read(reader).unwrap().len()
    };
    assert_eq!(rows("a\n1\n\n2\n"), 3);
    assert_eq!(rows("a,b\n1,\n\n2,\n"), 2);
}

#[test]
fn what_hides_lost_rows_is_refused() {
    let unclosed = "is not closed; close it, or the file may be cut off";
    assert_eq!(both("a\n1,\"x\n2,y\n", 4), Err(format!("the quoted field that begins in line 2 {unclosed}")));
    assert_eq!(
        both("a\n\"x\ny\",\"z\n", 4),
        Err(format!("the quoted field that begins in line 3 {unclosed}"))
    );
    assert_eq!(both("\"", 4), Err(format!("the quoted field that begins in line 1 {unclosed}")));
    assert_eq!(both("1,\"a\"b\n", 4), Err("stray in field 1".to_owned()));
    let endless = format!("a\n\"{}", "x,y\n".repeat(MAX_RECORD / 4 + 1));
    let error = both(&endless, 64 * 1024).unwrap_err();
    assert!(error.contains("longer than") && error.contains("line 2 may not be closed"), "{error}");
    let mut record = CsvRecord::default();
    let mut latin = CsvReader::new(&b"a,b\n1,caf\xe9\n"[..]);
    latin.read(&mut record).unwrap();
    latin.read(&mut record).unwrap();
    let error = record.fields().err().unwrap().to_string();
    assert_eq!(error, "line 2, field 2: byte 0xE9 (`é` in Latin-1) is not UTF-8; save the text as UTF-8");
    assert!(CsvReader::new(&b""[..]).header().unwrap_err().to_string().contains("empty"));
}

fn cell() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(String::new())),
        4 => "[a-z0-9 ,\"\r\n\té€\u{1F980}]{1,6}".prop_map(Some),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_read_as_the_grammar_says(
        text in "[ab,\"\r\né]{0,24}",
        size in 1_usize..8,
    ) {
        match (both(&text, size), naive(&text)) {
            (Ok(rows), Ok(expected)) => {
                prop_assert_eq!(rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), expected);
            }
            (read, naive) => prop_assert!(read.is_err() && naive.is_err(), "{:?}: {:?} {:?}", text, read, naive),
        }
    }

    /// Rows and spines alike: a table of two columns of strings, of any text.
    #[test]
    fn tables_of_any_text_are_read_as_the_grammar_says(
        body in "[ab,\"\r\né]{0,24}",
        mark in any::<bool>(),
        batch_rows in 1_usize..4,
    ) {
        let text = format!("{}k,v\n{body}", if mark { "\u{feff}" } else { "" });
        let expected = naive(&text).and_then(|rows| match rows.iter().any(|row| row.len() != 2) {
            true => Err("fields".to_owned()),
            false => Ok(rows[1..].to_vec()),
        });
        let options = ReadOptions { batch_rows, ..ReadOptions::default() };
        let read = TableReader::from_bytes(Format::Csv, text.clone().into(), &options)
            .and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
        match (read, expected) {
            (Ok(batches), Ok(expected)) => {
                let mut rows = Vec::new();
                for batch in &batches {
                    let column = |n: usize| batch.column(n).as_string::<i32>();
                    for row in 0..batch.num_rows() {
                        let cell = |n: usize| column(n).is_valid(row).then(|| column(n).value(row).to_owned());
                        rows.push(vec![cell(0), cell(1)]);
                    }
                }
                prop_assert_eq!(rows, expected);
            }
            (read, expected) => prop_assert!(read.is_err() && expected.is_err(), "{:?}", text),
        }
    }

    #[test]
    fn what_is_written_is_read(
        rows in prop::collection::vec(prop::collection::vec(cell(), 2..4), 0..6),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        size in 1_usize..8,
    ) {
        let mut text = Vec::new();
        for row in &rows {
            for (n, field) in row.iter().enumerate() {
                if n > 0 {
                    text.push(b',');
                }
                write_field(field.as_ref().map(String::as_bytes), &mut text);
            }
            text.extend_from_slice(end.as_bytes());
        }
        let text = String::from_utf8(text).unwrap();
        let read = both(&text, size).unwrap();
        prop_assert_eq!(read.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), rows);
    }
}
