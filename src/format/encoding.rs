//! Text as files have it: a byte-order mark is skipped, what is not UTF-8 is named.

use std::io::{self, BufReader, Cursor, Read};

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of bytes that must be UTF-8, without the byte-order mark that spreadsheets and Windows put in front.
///
/// The error says where the first wrong byte is, what it would be in Latin-1, and what to do.
pub fn utf8_text(bytes: &[u8]) -> Result<&str, String> {
    if let Some(other) = other_encoding(bytes) {
        return Err(other);
    }
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        format!("line {line}, byte {}: {}", before.len() - start + 1, not_utf8(byte))
    })
}

/// Text of a file, read in pieces.
pub type TextInput<'a> = BufReader<Box<dyn Read + Send + 'a>>;

/// A reader behind the byte-order mark; an error where the bytes are no UTF-8 text.
pub fn text_reader<'a>(mut reader: impl Read + Send + 'a) -> io::Result<TextInput<'a>> {
    let mut begin = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut begin)?;
    if let Some(other) = other_encoding(&begin) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, other));
    }
    if begin.starts_with(MARK) {
        begin.drain(..MARK.len());
    }
    Ok(BufReader::with_capacity(64 * 1024, Box::new(Cursor::new(begin).chain(reader))))
}

/// One byte that is not UTF-8, in words.
pub fn not_utf8(byte: u8) -> String {
    let latin = match char::from(byte) {
        c if c.is_control() => String::new(),
        c => format!(" (`{c}` in Latin-1)"),
    };
    format!("byte 0x{byte:02X}{latin} is not UTF-8; save the text as UTF-8")
}

/// Text in UTF-16 or UTF-32, by its mark or by the zeros beside its first character; and what is no text but often sent as
/// such.
fn other_encoding(begin: &[u8]) -> Option<String> {
    let encoding = match begin {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..] => "UTF-16",
        [0x1f, 0x8b, ..] => return Some(packed("gzip", "gz")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Some(packed("zstd", "zst")),
        [b'P', b'A', b'R', b'1', ..] => return Some("this is a Parquet file, not text".to_owned()),
        _ => return None,
    };
    Some(format!("the text is {encoding}; save it as UTF-8"))
}

fn packed(encoding: &str, extension: &str) -> String {
    format!(
        "the text is compressed; give the file the extension .{extension}, or send it with Content-Encoding: {encoding}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_skipped_and_other_encodings_are_named() {
        assert_eq!(utf8_text(b"\xef\xbb\xbfa,b"), Ok("a,b"));
        assert_eq!(utf8_text("é".as_bytes()), Ok("é"));
        assert_eq!(utf8_text(b""), Ok(""));
        let wrong = |bytes: &[u8]| utf8_text(bytes).unwrap_err();
        assert_eq!(
            wrong(b"a\nb caf\xe9\n"),
            "line 2, byte 6: byte 0xE9 (`é` in Latin-1) is not UTF-8; save the text as UTF-8"
        );
        assert_eq!(wrong(b"\xff\xfea\0"), "the text is UTF-16; save it as UTF-8");
        assert_eq!(wrong(b"a\0b\0"), "the text is UTF-16; save it as UTF-8");
        assert_eq!(wrong(b"\0a\0b"), "the text is UTF-16; save it as UTF-8");
        assert_eq!(wrong(b"\xff\xfe\0\0a\0\0\0"), "the text is UTF-32; save it as UTF-8");
    }

    #[test]
    fn readers_begin_behind_the_mark() {
        let read = |bytes: &'static [u8]| {
            let mut text = String::new();
            text_reader(bytes).and_then(|mut reader| reader.read_to_string(&mut text)).map(|_| text)
        };
        assert_eq!(read(b"\xef\xbb\xbfa").unwrap(), "a");
        assert_eq!(read(b"a").unwrap(), "a");
        assert_eq!(read(b"").unwrap(), "");
        assert!(read(b"\xfe\xff\0a").unwrap_err().to_string().contains("UTF-16"));
    }
}
