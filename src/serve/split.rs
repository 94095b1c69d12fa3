//! Splits: a column that says which part of a training set a row belongs to. Each row's part follows from the row alone,
//! never from its place or from the other rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType as Arrow, Field, Int64Type, Schema},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    error::Detail,
    format::{plain, repeated_key, type_words},
    model::Timestamp,
    serve::ServeError,
};

/// The column's name.
pub const SPLIT: &str = "split";
/// The part after the last cut where none is named.
const REST: &str = "test";

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// `{"train": "2013-09-01T00:00:00Z", "validation": "2013-11-01T00:00:00Z"}`: each part ends before its time; what
    /// comes after the last is `test`, or the part whose time is null.
    Time(BTreeMap<String, Option<Timestamp>>),
    /// By an entity: all rows of a key are in the same part.
    Hash(HashSplit),
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashSplit {
    pub key: KeyColumns,
    /// Adding up to 1.
    pub fractions: BTreeMap<String, f64>,
    #[serde(default)]
    pub seed: u64,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum KeyColumns {
    One(String),
    Several(Vec<String>),
}

impl KeyColumns {
    fn names(&self) -> &[String] {
        match self {
            KeyColumns::One(name) => std::slice::from_ref(name),
            KeyColumns::Several(names) => names,
        }
    }
}

fn wrong(field: &str, reason: impl Into<String>) -> ServeError {
    ServeError::Request(vec![Detail { row: None, field: Some(field.to_owned()), reason: reason.into() }])
}

impl Split {
    /// Of JSON text, as in a query. What needs no rows to be wrong is refused here, before any work.
    pub fn parse(text: &str) -> Result<Split, ServeError> {
        if let Some(repeated) = repeated_key(text) {
            return Err(wrong(SPLIT, repeated));
        }
        let split: Split = serde_json::from_str(text).map_err(|error| {
            let forms = r#"{"time":{"train":"2013-09-01T00:00:00Z"}} or {"hash":{"key":"tailnum","fractions":{"train":0.8,"test":0.2}}}"#;
            wrong(SPLIT, format!("{error}; write {forms}"))
        })?;
        match &split {
            Split::Time(cuts) => Cuts::of(cuts).map(drop)?,
            Split::Hash(hash) => hash.thresholds().map(drop)?,
        }
        Ok(split)
    }

    /// The rows with the column `split` after the others; `times` are the rows' own, µs.
    pub fn append(&self, rows: RecordBatch, times: &[i64]) -> Result<RecordBatch, ServeError> {
        if rows.schema_ref().column_with_name(SPLIT).is_some() {
            return Err(wrong(SPLIT, "there is a column `split` already; rename it"));
        }
        let parts: StringArray = match self {
            Split::Time(cuts) => {
                let cuts = Cuts::of(cuts)?;
                times.iter().map(|t| Some(cuts.part(*t))).collect()
            }
            Split::Hash(split) => {
                let parts = split.thresholds()?;
                let keys = split.keys(&rows)?;
                let mut bytes = Vec::new();
                (0..rows.num_rows())
                    .map(|row| {
                        bytes.clear();
                        for (number, key) in keys.iter().enumerate() {
                            if number > 0 {
                                bytes.push(0);
                            }
                            key.push(row, &mut bytes);
                        }
                        Some(part(&parts, xxh3_64_with_seed(&bytes, split.seed)))
                    })
                    .collect()
            }
        };
        let mut fields: Vec<Field> = rows.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new(SPLIT, Arrow::Utf8, true));
        let mut arrays: Vec<ArrayRef> = rows.columns().to_vec();
        arrays.push(Arc::new(parts));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }
}

/// Parts in the order of their ends.
struct Cuts<'a> {
    ends: Vec<(i64, &'a str)>,
    rest: &'a str,
}

impl<'a> Cuts<'a> {
    fn of(cuts: &'a BTreeMap<String, Option<Timestamp>>) -> Result<Cuts<'a>, ServeError> {
        let mut ends: Vec<(i64, &str)> =
            cuts.iter().filter_map(|(name, end)| Some(((*end)?.micros(), name.as_str()))).collect();
        ends.sort_unstable();
        let mut open = cuts.iter().filter(|(_, end)| end.is_none()).map(|(name, _)| name.as_str());
        let rest = open.next().unwrap_or(REST);
        if ends.is_empty() || open.next().is_some() {
            return Err(wrong(
                "split.time",
                "at least one part has a time before which it ends, at most one has null",
            ));
        }
        if ends.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(wrong("split.time", "two parts end at the same time; one of them would be empty"));
        }
        if ends.iter().any(|(_, name)| *name == rest) {
            return Err(wrong(
                "split.time",
                format!("what comes after the last time is `{rest}`; name that part, with null"),
            ));
        }
        let cuts = Cuts { ends, rest };
        cuts.check_order()?;
        Ok(cuts)
    }

    /// A model that is trained on what comes after its validation has seen the future: parts whose names say what they are for
    /// follow each other as these do.
    fn check_order(&self) -> Result<(), ServeError> {
        let named = self.ends.iter().map(|(_, name)| *name).chain([self.rest]);
        let placed: Vec<(usize, &str)> = named.filter_map(|name| Some((place(name)?, name))).collect();
        match placed.windows(2).find(|pair| pair[0].0 > pair[1].0) {
            None => Ok(()),
            Some(pair) => Err(wrong(
                "split.time",
                format!(
                    "the times are not in order: `{}` would come before `{}`; train ends before validation, and validation before \
                     test",
                    pair[0].1, pair[1].1
                ),
            )),
        }
    }

    fn part(&self, t: i64) -> &'a str {
        self.ends.iter().find(|(end, _)| t < *end).map_or(self.rest, |(_, name)| name)
    }
}

/// The place of a part in time, where its name says one.
fn place(name: &str) -> Option<usize> {
    const PLACES: [&[&str]; 3] = [
        &["train", "training"],
        &["validation", "valid", "val", "dev", "development", "eval", "evaluation"],
        &["test", "testing", "holdout"],
    ];
    let name = name.to_ascii_lowercase();
    PLACES.iter().position(|names| names.contains(&name.as_str()))
}

impl HashSplit {
    /// Parts by name, each with the hash below which it lies; the last has no end.
    fn thresholds(&self) -> Result<Vec<(u128, &str)>, ServeError> {
        let sum: f64 = self.fractions.values().sum();
        let sound = self.fractions.values().all(|fraction| *fraction > 0.0 && fraction.is_finite());
        if !sound || (sum - 1.0).abs() > 1e-9 {
            return Err(wrong(
                "split.hash.fractions",
                format!("each is above 0, and they add up to 1; these add up to {sum}"),
            ));
        }
        let mut below = 0.0;
        let mut parts = Vec::with_capacity(self.fractions.len());
        for (name, fraction) in &self.fractions {
            below += fraction;
            parts.push(((below * 2f64.powi(64)) as u128, name.as_str()));
        }
        Ok(parts)
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<Key>, ServeError> {
        if self.key.names().is_empty() {
            return Err(wrong("split.hash.key", "names no column"));
        }
        let column = |name: &String| {
            let column = rows.column_by_name(name);
            let column =
                column.ok_or_else(|| wrong("split.hash.key", format!("the spine has no column `{name}`")))?;
            Key::of(column).ok_or_else(|| {
                let found = type_words(column.data_type());
                wrong("split.hash.key", format!("`{name}` must be string, integer or bool, it is {found}"))
            })
        };
        self.key.names().iter().map(column).collect()
    }
}

fn part<'a>(parts: &[(u128, &'a str)], hash: u64) -> &'a str {
    let found = parts.iter().find(|(below, _)| u128::from(hash) < *below);
    // Rounding may leave the last sum just below 1.
    found.or(parts.last()).map_or(REST, |(_, name)| name)
}

/// A key column in one of the forms whose bytes are hashed.
enum Key {
    Text(ArrayRef),
    Int(ArrayRef),
    Bool(ArrayRef),
}

impl Key {
    fn of(column: &ArrayRef) -> Option<Key> {
        let column = &plain(column).ok()?;
        Some(match column.data_type() {
            Arrow::Utf8 | Arrow::LargeUtf8 => Key::Text(cast(column, &Arrow::Utf8).ok()?),
            Arrow::Boolean => Key::Bool(column.clone()),
            other if other.is_integer() => Key::Int(cast(column, &Arrow::Int64).ok()?),
            _ => return None,
        })
    }

    /// Text as UTF-8, integers as eight bytes, the least first, bools as one; null as nothing.
    fn push(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Key::Text(column) if column.is_valid(row) => {
                out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes());
            }
            Key::Int(column) if column.is_valid(row) => {
                out.extend_from_slice(&column.as_primitive::<Int64Type>().value(row).to_le_bytes());
            }
            Key::Bool(column) if column.is_valid(row) => out.push(column.as_boolean().value(row).into()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::Int64Array, compute::take_record_batch};
    use proptest::prelude::*;

    use super::*;

    fn rows(keys: &[i64]) -> RecordBatch {
        let names = StringArray::from_iter_values(keys.iter().map(|key| format!("N{key}")));
        let keys = Int64Array::from(keys.to_vec());
        RecordBatch::try_from_iter([("k", Arc::new(keys) as ArrayRef), ("name", Arc::new(names))]).unwrap()
    }

    fn parts(split: &Split, rows: &RecordBatch, times: &[i64]) -> Vec<String> {
        let split = split.append(rows.clone(), times).unwrap();
        let column = split.column_by_name(SPLIT).unwrap();
        column.as_string::<i32>().iter().map(|part| part.unwrap().to_owned()).collect()
    }

    fn parsed(text: &str) -> Split {
        Split::parse(text).unwrap()
    }

    #[test]
    fn a_part_ends_before_its_time() {
        let split = parsed(
            r#"{"time":{"validation":"1970-01-01T00:00:00.000020Z","train":"1970-01-01T00:00:00.000010Z"}}"#,
        );
        let found = parts(&split, &rows(&[0; 4]), &[9, 10, 19, 20]);
        assert_eq!(found, ["train", "validation", "validation", "test"]);
        let named = parsed(r#"{"time":{"train":"1970-01-01T00:00:00.000010Z","later":null}}"#);
        assert_eq!(parts(&named, &rows(&[0; 2]), &[-5, 10]), ["train", "later"]);
    }

    #[test]
    fn parts_whose_names_say_their_place_are_in_order() {
        let error =
            Split::parse(r#"{"time":{"train":"2024-06-01T00:00:00Z","validation":"2024-03-01T00:00:00Z"}}"#);
        let Err(ServeError::Request(details)) = error else { panic!("{error:?}") };
        assert_eq!(details[0].field.as_deref(), Some("split.time"));
        assert!(details[0].reason.contains("`validation` would come before `train`"), "{details:?}");
        // Other names say nothing about time, and lie where their times say.
        let split = parsed(
            r#"{"time":{"b":"1970-01-01T00:00:00.000010Z","a":"1970-01-01T00:00:00.000020Z","z":null}}"#,
        );
        assert_eq!(parts(&split, &rows(&[0; 3]), &[9, 10, 20]), ["b", "a", "z"]);
        parsed(
            r#"{"time":{"train":"2024-03-01T00:00:00Z","gap":"2024-04-01T00:00:00Z","val":"2024-06-01T00:00:00Z","test":null}}"#,
        );
    }

    #[test]
    fn the_hash_is_the_one_that_is_documented() {
        let split = parsed(r#"{"hash":{"key":"name","fractions":{"a":0.5,"b":0.5},"seed":7}}"#);
        let keys: Vec<i64> = (0..100).collect();
        for (key, found) in keys.iter().zip(parts(&split, &rows(&keys), &[0; 100])) {
            let expected =
                if xxh3_64_with_seed(format!("N{key}").as_bytes(), 7) < 1 << 63 { "a" } else { "b" };
            assert_eq!(found, expected);
        }
        let both = parsed(r#"{"hash":{"key":["name","k"],"fractions":{"a":0.5,"b":0.5}}}"#);
        let bytes = [b"N5\0".as_slice(), &5i64.to_le_bytes()].concat();
        let expected = if xxh3_64_with_seed(&bytes, 0) < 1 << 63 { "a" } else { "b" };
        assert_eq!(parts(&both, &rows(&[5]), &[0]), [expected]);
        // As the reference implementation has it: another hash would move rows between parts.
        assert_eq!(xxh3_64_with_seed(b"", 0), 0x2d06_8005_38d3_94c2);
    }

    proptest! {
        #[test]
        fn a_key_has_one_part_wherever_its_rows_are(keys in prop::collection::vec(0..50i64, 1..60), seed: u64, turn in 0..60usize) {
            let split = Split::Hash(HashSplit {
                key: KeyColumns::One("k".to_owned()),
                fractions: [("train".to_owned(), 0.6), ("validation".to_owned(), 0.3), ("test".to_owned(), 0.1)].into(),
                seed,
            });
            let all = rows(&keys);
            let found = parts(&split, &all, &vec![0; keys.len()]);
            let turned: Vec<u64> = (0..keys.len()).map(|row| ((row + turn) % keys.len()) as u64).collect();
            let other = take_record_batch(&all, &arrow::array::UInt64Array::from(turned.clone())).unwrap();
            for (row, part) in turned.iter().zip(parts(&split, &other, &vec![0; keys.len()])) {
                prop_assert_eq!(&found[*row as usize], &part);
            }
            for (a, key) in keys.iter().enumerate() {
                for (b, other) in keys.iter().enumerate() {
                    prop_assert!(key != other || found[a] == found[b]);
                }
            }
        }
    }

    #[test]
    fn fractions_are_kept_about() {
        let split = parsed(r#"{"hash":{"key":"k","fractions":{"train":0.8,"test":0.2}}}"#);
        let keys: Vec<i64> = (0..10_000).collect();
        let train =
            parts(&split, &rows(&keys), &vec![0; keys.len()]).iter().filter(|part| *part == "train").count();
        assert!((7_800..8_200).contains(&train), "{train}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "{}",
            r#"{"time":{}}"#,
            r#"{"time":{"a":null}}"#,
            r#"{"time":{"a":null,"b":null,"c":"1970-01-01T00:00:00Z"}}"#,
            r#"{"time":{"a":"1970-01-01T00:00:00Z","b":"1970-01-01T00:00:00Z"}}"#,
            r#"{"time":{"test":"1970-01-01T00:00:00Z"}}"#,
            r#"{"time":{"train":"1970-01-02T00:00:00Z","validation":"1970-01-01T00:00:00Z"}}"#,
            r#"{"time":{"train":null,"validation":"1970-01-01T00:00:00Z"}}"#,
            r#"{"time":{"Test":"1970-01-01T00:00:00Z","val":"1970-01-02T00:00:00Z","later":null}}"#,
            r#"{"time":{"train":"1970-01-01T00:00:00Z","validation":"1970-01-01T00:00:00Z"}}"#,
            r#"{"hash":{"key":"k","fractions":{}}}"#,
            r#"{"hash":{"key":"k","fractions":{"a":0.5}}}"#,
            r#"{"hash":{"key":"k","fractions":{"a":1.5,"b":-0.5}}}"#,
            r#"{"hash":{"key":"none","fractions":{"a":1}}}"#,
            r#"{"hash":{"key":[],"fractions":{"a":1}}}"#,
            r#"{"hash":{"key":"k","fractions":{"a":1},"sead":1}}"#,
        ] {
            let done = Split::parse(text).and_then(|split| split.append(rows(&[1]), &[0]));
            assert!(matches!(done, Err(ServeError::Request(_))), "{text}: {done:?}");
        }
        let twice = parsed(r#"{"hash":{"key":"k","fractions":{"a":1}}}"#).append(rows(&[1]), &[0]).unwrap();
        assert!(parsed(r#"{"hash":{"key":"k","fractions":{"a":1}}}"#).append(twice, &[0]).is_err());
    }
}
