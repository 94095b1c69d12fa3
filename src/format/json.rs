//! JSON documents and NDJSON split into rows, each row into cells, without building a tree.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{json_error, rows::RowBuilder, text};

/// Why reading rows of JSON stopped.
#[derive(Debug, thiserror::Error)]
pub enum JsonRowsError<E> {
    #[error("{0}")]
    Malformed(String),
    /// What the caller's closure gave.
    #[error("{0}")]
    Stopped(E),
}

/// Reads `{"rows":[{…}, …]}` into `rows`, calling `ended` after each row with the builder, so that the caller ends
/// the row and may stop.
pub fn json_rows<E>(
    body: &str,
    rows: &mut RowBuilder,
    ended: impl FnMut(&mut RowBuilder) -> Result<(), E>,
) -> Result<(), JsonRowsError<E>> {
    let mut stopped = None;
    let mut json = serde_json::Deserializer::from_str(body);
    let parsed =
        Document { rows, ended, stopped: &mut stopped }.deserialize(&mut json).and_then(|()| json.end());
    match (stopped, parsed) {
        (Some(error), _) => Err(JsonRowsError::Stopped(error)),
        (None, Err(error)) => Err(JsonRowsError::Malformed(json_error(body, &error))),
        (None, Ok(())) => Ok(()),
    }
}

/// Reads one object per line, blank lines skipped. `ended` also gets the line's text and its number from 1.
pub fn ndjson_rows<E>(
    body: &str,
    rows: &mut RowBuilder,
    mut ended: impl FnMut(&mut RowBuilder, &str, u64) -> Result<(), E>,
) -> Result<(), JsonRowsError<E>> {
    for (number, line) in (1..).zip(body.split('\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        read_line(line, rows).map_err(|error| JsonRowsError::Malformed(line_error(number, line, &error)))?;
        ended(rows, line, number).map_err(JsonRowsError::Stopped)?;
    }
    Ok(())
}

/// What is wrong with one line of NDJSON; its own line number is told, and that within the line left out.
pub(super) fn line_error(number: u64, line: &str, error: &serde_json::Error) -> String {
    format!("line {number}: {}", json_error(line, error).replace(" at line 1 column ", " at column "))
}

/// Begins a row and fills it with the cells of one line. The caller ends it.
pub(super) fn read_line(line: &str, rows: &mut RowBuilder) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(line);
    Row(rows).deserialize(&mut json)?;
    json.end()
}

/// Calls `cell` with each key and value of one row's text, nothing checked but the syntax.
pub(super) fn cells(row: &str, cell: impl FnMut(&str, &str)) -> Result<(), serde_json::Error> {
    struct Cells<F>(F);
    impl<'de, F: FnMut(&str, &str)> Visitor<'de> for Cells<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a row as an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(Key(key)) = map.next_key()? {
                let raw: &RawValue = map.next_value()?;
                self.0(&key, raw.get());
            }
            Ok(())
        }
    }
    let mut json = serde_json::Deserializer::from_str(row);
    json.deserialize_map(Cells(cell))?;
    json.end()
}

/// The text of each of a document's rows, for those who read it a second time.
pub fn raw_rows(body: &str) -> Result<Vec<&RawValue>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Rows<'a> {
        #[serde(borrow)]
        rows: Vec<&'a RawValue>,
    }
    serde_json::from_str::<Rows<'_>>(body).map(|document| document.rows)
}

struct Document<'b, F, E> {
    rows: &'b mut RowBuilder,
    ended: F,
    stopped: &'b mut Option<E>,
}

impl<'de, F: FnMut(&mut RowBuilder) -> Result<(), E>, E> DeserializeSeed<'de> for Document<'_, F, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&mut RowBuilder) -> Result<(), E>, E> Visitor<'de> for Document<'_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an object {"rows":[{…}]}"#)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(Key(key)) = map.next_key()? {
            if key != "rows" {
                let key = text::shorten(&key);
                return Err(A::Error::custom(format!(
                    r#"unknown key `{key}`; the document is {{"rows":[…]}}"#
                )));
            }
            if std::mem::replace(&mut found, true) {
                return Err(A::Error::custom("`rows` is given twice"));
            }
            map.next_value_seed(Rows(&mut self))?;
        }
        if found {
            Ok(())
        } else {
            Err(A::Error::custom(r#"`rows` is missing; the document is {"rows":[…]}"#))
        }
    }
}

struct Rows<'c, 'b, F, E>(&'c mut Document<'b, F, E>);

impl<'de, F: FnMut(&mut RowBuilder) -> Result<(), E>, E> DeserializeSeed<'de> for Rows<'_, '_, F, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&mut RowBuilder) -> Result<(), E>, E> Visitor<'de> for Rows<'_, '_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Document { rows, ended, stopped } = self.0;
        while seq.next_element_seed(Row(rows))?.is_some() {
            if let Err(error) = ended(rows) {
                **stopped = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// One row. What is wrong with its cells is noted in the builder; an error is one of syntax.
struct Row<'b>(&'b mut RowBuilder);

impl Row<'_> {
    fn not_an_object(self, got: &str) {
        self.0.refuse(None, format!("expected a row as an object {{…}}, got {}", text::shorten(got)));
    }
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.begin();
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let raw: &RawValue = map.next_value()?;
            self.0.json_cell(&key, raw.get());
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            self.0.check_depth(raw.get());
        }
        self.not_an_object("an array");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.not_an_object(&value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.not_an_object(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.not_an_object(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.not_an_object(&value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.not_an_object(&format!("{value:?}"));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.not_an_object("null");
        Ok(())
    }
}

/// An object's key, borrowed where it has no escapes.
pub(super) struct Key<'de>(pub Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
