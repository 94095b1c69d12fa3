//! Entities as a request's JSON gives them, read straight into columns: no tree of values is built on the way.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::{
    model::Value,
    serve::{Entities, KeyColumn, Plan, ReadLimits, ServeError, entities::note},
};

const FIELD: &str = "entities";
const SHAPE: &str = "a list of objects, or an object of lists";
const ROW_SHAPE: &str = "each entity is an object of its join keys";
const COLUMN_SHAPE: &str = "a list of values, one for each entity";

impl Entities {
    /// From JSON text: rows (`[{"origin": "JFK"}, …]`) or columns (`{"origin": ["JFK", …]}`, all of one length). Every key
    /// column must be there, with the right type; what else there is does not matter. A null key is allowed: that entity
    /// has no value. Where the plan looks nothing up, columns of any name say how many entities there are. Reading ends where
    /// there are more than `limits` allows.
    pub fn from_json(plan: &Plan, text: &str, limits: &ReadLimits) -> Result<Entities, ServeError> {
        let given = Given::read(&plan.key_columns, text, limits.entities);
        if given.too_many {
            return Err(ServeError::TooManyEntities { limit: limits.entities });
        }
        Entities::checked(given.columns, given.rows, given.details)
    }
}

/// What was read so far, and what is wrong with it.
struct Given<'p> {
    keys: &'p [KeyColumn],
    columns: Vec<Vec<Value>>,
    rows: usize,
    details: Vec<crate::error::Detail>,
    limit: usize,
    /// More than the limit: the rest was not read.
    too_many: bool,
}

impl<'p> Given<'p> {
    fn read(keys: &'p [KeyColumn], text: &str, limit: usize) -> Given<'p> {
        let columns = keys.iter().map(|_| Vec::new()).collect();
        let mut given = Given { keys, columns, rows: 0, details: Vec::new(), limit, too_many: false };
        let mut reader = serde_json::Deserializer::from_str(text);
        if let Err(error) = Whole(&mut given).deserialize(&mut reader)
            && given.details.is_empty()
        {
            let reason = if error.is_data() { SHAPE.to_owned() } else { error.to_string() };
            note(&mut given.details, None, FIELD, reason);
        }
        given
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.name == name)
    }

    fn value(&mut self, key: usize, row: usize, json: Json) -> Value {
        match Value::of_json(json, &self.keys[key].data_type) {
            Ok(value) => value,
            Err(reason) => {
                note(&mut self.details, Some(row), &self.keys[key].name, reason);
                Value::Null
            }
        }
    }

    /// Ends the reading where one more than `read` is too many.
    fn count<E: Error>(&mut self, read: usize) -> Result<(), E> {
        self.too_many |= read >= self.limit;
        if self.too_many { Err(E::custom("too many entities")) } else { Ok(()) }
    }

    /// The shape is wrong, and the reason why reading ends.
    fn unfit(&mut self, row: Option<usize>, field: &str, reason: &str) {
        if self.details.is_empty() {
            note(&mut self.details, row, field, reason.to_owned());
        }
    }

    /// All columns have one length: that of the first.
    fn agree(&mut self, length: &mut Option<usize>, own: usize, name: &str) {
        let first = *length.get_or_insert(own);
        if first != own {
            let reason = format!("has {own} values, the columns before it {first}");
            note(&mut self.details, Some(0), name, reason);
        }
    }

    fn repeated(&mut self, key: usize, row: Option<usize>) {
        let name = &self.keys[key].name;
        note(&mut self.details, row, name, "the key is given twice".to_owned());
    }

    fn missing(&mut self, key: usize, row: usize) {
        let KeyColumn { name, data_type } = &self.keys[key];
        let reason = format!("the join key `{name}` ({data_type}) is missing");
        note(&mut self.details, Some(row), name, reason);
    }
}

struct Whole<'g, 'p>(&'g mut Given<'p>);

impl<'de> DeserializeSeed<'de> for Whole<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPE)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let given = self.0;
        while rows.next_element_seed(Row(given))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut columns: A) -> Result<(), A::Error> {
        let given = self.0;
        let mut seen = vec![false; given.keys.len()];
        let mut length = None;
        while let Some(name) = columns.next_key::<Cow<'de, str>>()? {
            match given.position(&name) {
                Some(key) => {
                    if seen[key] {
                        given.repeated(key, None);
                        given.columns[key].clear();
                    }
                    columns.next_value_seed(Column { given, key })?;
                    seen[key] = true;
                }
                // Features of the request alone need no key: then the columns only say how many entities there are.
                None if given.keys.is_empty() => {
                    let own = columns
                        .next_value_seed(Length(given))
                        .inspect_err(|_| given.unfit(None, &name, COLUMN_SHAPE))?;
                    given.agree(&mut length, own, &name);
                }
                None => {
                    columns.next_value::<IgnoredAny>()?;
                }
            }
        }
        for (key, seen) in seen.into_iter().enumerate() {
            let own = given.columns[key].len();
            if !seen {
                given.missing(key, 0);
            } else {
                let name = &given.keys[key].name;
                given.agree(&mut length, own, name);
            }
        }
        given.rows = length.unwrap_or(0);
        Ok(())
    }
}

/// One entity of a list.
struct Row<'g, 'p>(&'g mut Given<'p>);

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        let given = self.0;
        let row = given.rows;
        given.count(row)?;
        reader.deserialize_any(Row(given)).inspect_err(|_| given.unfit(Some(row), FIELD, ROW_SHAPE))
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ROW_SHAPE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let given = self.0;
        let row = given.rows;
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            let Some(key) = given.position(&name) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            let json = members.next_value()?;
            let value = given.value(key, row, json);
            if given.columns[key].len() > row {
                given.repeated(key, Some(row));
            } else {
                given.columns[key].push(value);
            }
        }
        for key in 0..given.keys.len() {
            if given.columns[key].len() == row {
                given.missing(key, row);
                given.columns[key].push(Value::Null);
            }
        }
        given.rows += 1;
        Ok(())
    }
}

/// The values of one join key for all entities.
struct Column<'g, 'p> {
    given: &'g mut Given<'p>,
    key: usize,
}

impl<'de> DeserializeSeed<'de> for Column<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        let Column { given, key } = self;
        let name = &given.keys[key].name;
        reader
            .deserialize_any(Column { given: &mut *given, key })
            .inspect_err(|_| given.unfit(None, name, COLUMN_SHAPE))
    }
}

impl<'de> Visitor<'de> for Column<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(COLUMN_SHAPE)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let Column { given, key } = self;
        while let Some(json) = values.next_element()? {
            let row = given.columns[key].len();
            given.count(row)?;
            let value = given.value(key, row, json);
            given.columns[key].push(value);
        }
        Ok(())
    }
}

/// Reads how many values a column has.
struct Length<'g, 'p>(&'g mut Given<'p>);

impl<'de> DeserializeSeed<'de> for Length<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<usize, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Length<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(COLUMN_SHAPE)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<usize, A::Error> {
        let mut length = 0;
        while values.next_element::<IgnoredAny>()?.is_some() {
            self.0.count(length)?;
            length += 1;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::DataType;

    fn keys() -> Vec<KeyColumn> {
        let key = |name: &str, data_type| KeyColumn { name: name.to_owned(), data_type };
        vec![key("user", DataType::Int64), key("shop", DataType::String)]
    }

    /// By way of a tree of values; `None` where anything is wrong.
    fn naive(keys: &[KeyColumn], given: &Json) -> Option<(Vec<Vec<Value>>, usize)> {
        let rows: Vec<Vec<&Json>> = match given {
            Json::Array(rows) => rows
                .iter()
                .map(|row| keys.iter().map(|key| row.as_object()?.get(&key.name)).collect())
                .collect::<Option<_>>()?,
            Json::Object(columns) => {
                let columns: Vec<&Vec<Json>> =
                    keys.iter().map(|key| columns.get(&key.name)?.as_array()).collect::<Option<_>>()?;
                let rows = columns.first().map_or(0, |column| column.len());
                if columns.iter().any(|column| column.len() != rows) {
                    return None;
                }
                (0..rows).map(|row| columns.iter().map(|column| &column[row]).collect()).collect()
            }
            _ => return None,
        };
        let column = |k: usize| {
            rows.iter().map(|row| Value::from_json(row[k], &keys[k].data_type).ok()).collect::<Option<_>>()
        };
        Some(((0..keys.len()).map(column).collect::<Option<_>>()?, rows.len()))
    }

    fn scalar() -> impl Strategy<Value = Json> {
        prop_oneof![
            4 => any::<i64>().prop_map(Json::from),
            4 => ".{0,4}".prop_map(Json::from),
            1 => Just(Json::Null),
            1 => Just(json!(1.5)),
            1 => Just(json!([1])),
            1 => Just(json!({ "a": [1] })),
        ]
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => Just("user".to_owned()),
            3 => Just("shop".to_owned()),
            1 => Just("other".to_owned()),
        ]
    }

    fn request() -> impl Strategy<Value = Json> {
        let right = (any::<i64>(), ".{0,4}").prop_map(|(user, shop)| json!({ "user": user, "shop": shop }));
        let object = proptest::collection::hash_map(name(), scalar(), 0..3).prop_map(|it| json!(it));
        let row = prop_oneof![20 => right, 2 => object, 1 => scalar()];
        let list = |values| proptest::collection::vec(values, 3);
        let column = prop_oneof![
            3 => list(any::<i64>().prop_map(Json::from).boxed()).prop_map(Json::from),
            3 => list(".{0,4}".prop_map(Json::from).boxed()).prop_map(Json::from),
            1 => proptest::collection::vec(scalar(), 0..4).prop_map(Json::from),
            1 => scalar(),
        ];
        prop_oneof![
            proptest::collection::vec(row, 0..4).prop_map(Json::from),
            proptest::collection::hash_map(name(), column, 0..4).prop_map(|it| json!(it)),
            scalar(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn as_by_way_of_a_tree(given in request()) {
            let keys = keys();
            let read = Given::read(&keys, &given.to_string(), 1000);
            let right = read.details.is_empty().then_some((read.columns, read.rows));
            prop_assert_eq!(right, naive(&keys, &given));
        }
    }

    #[test]
    fn without_keys_columns_say_how_many_entities_there_are() {
        let of = |text: &str| {
            let read = Given::read(&[], text, 1000);
            (read.details.is_empty(), read.rows)
        };
        assert_eq!(of(r#"[{"k":"a"},{}]"#), (true, 2));
        assert_eq!(of(r#"{"k":["a","b"]}"#), (true, 2));
        assert_eq!(of(r#"{"k":["a","b"],"l":[1,[2]]}"#), (true, 2));
        assert_eq!((of("[]"), of("{}"), of(r#"{"k":[]}"#)), ((true, 0), (true, 0), (true, 0)));
        for wrong in [r#"{"k":["a","b"],"l":[1]}"#, r#"{"k":1}"#, r#"{"k":{}}"#, "7"] {
            assert!(!of(wrong).0, "{wrong}");
        }
    }

    #[test]
    fn reading_ends_where_there_are_too_many() {
        let keys = keys();
        // Wrong further on, where nobody looks.
        let rows = format!("[{}", r#"{"user":1,"shop":"a"},"#.repeat(4));
        let columns = r#"{"user":[1,2,3,4,"#;
        for text in [rows.as_str(), columns, "[{},{},{},{},"] {
            let read = Given::read(&keys, text, 3);
            assert!(read.too_many && read.columns.iter().all(|column| column.len() <= 3), "{text}");
        }
        assert!(Given::read(&[], r#"{"any":[1,2,3,4,"#, 3).too_many);
        assert!(!Given::read(&[], r#"{"any":[1,2,3]}"#, 3).too_many);
        assert!(!Given::read(&keys, r#"{"user":[1,2,3],"shop":["a","b","c"]}"#, 3).too_many);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let of = |text: &str| {
            let keys = keys();
            let read = Given::read(&keys, text, 1000);
            let lines = read.details.iter().map(|detail| {
                format!("{:?} {} {}", detail.row, detail.field.as_deref().unwrap_or("-"), detail.reason)
            });
            lines.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(of("7"), format!("None entities {SHAPE}"));
        assert_eq!(of(r#"[{"user":1,"shop":"a"},7]"#), format!("Some(1) entities {ROW_SHAPE}"));
        assert_eq!(of(r#"{"user":7,"shop":[]}"#), format!("None user {COLUMN_SHAPE}"));
        assert_eq!(of(r#"[{"user":1}]"#), "Some(0) shop the join key `shop` (string) is missing");
        assert_eq!(
            of(r#"{"user":[1,2],"shop":["a"]}"#),
            "Some(0) shop has 1 values, the columns before it 2"
        );
        assert_eq!(of(r#"[{"user":"x","shop":"a"}]"#), "Some(0) user expected int64, got \"x\"");
        assert_eq!(of(r#"[{"user":1,"user":2,"shop":"a"}]"#), "Some(0) user the key is given twice");
        assert_eq!(of(r#"{"user":[1],"user":[2],"shop":["a"]}"#), "None user the key is given twice");
        assert_ne!(of("[{"), "");
    }
}
