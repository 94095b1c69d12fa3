//! The tree of a JSON document, its members in the order written.

use std::{collections::HashSet, fmt, sync::Arc};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::{
    parse::{
        tree::{Member, Node, Tree},
        walk::Report,
    },
    place::Place,
};
use larder_format::json_error;

/// None, and the error reported, where the text is not JSON.
pub(super) fn from_json(name: &str, text: &str, report: &Report) -> Option<Tree> {
    let file: Arc<str> = name.into();
    match serde_json::from_str::<Raw>(text) {
        Ok(raw) => Some(located(raw, &file, String::new(), report)),
        Err(error) => {
            let place = Place { file, line: Some(error.line()), path: None };
            report.add(&place, format!("not JSON: {}", json_error(text, &error)));
            None
        }
    }
}

/// JSON as it is written. `serde_json::Value` would sort the members and keep one of equal names.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Raw>),
    Table(Vec<(String, Raw)>),
}

fn located(raw: Raw, file: &Arc<str>, path: String, report: &Report) -> Tree {
    let place = Place { file: Arc::clone(file), line: None, path: (!path.is_empty()).then(|| path.clone()) };
    let node = match raw {
        Raw::Null => Node::Null,
        Raw::Bool(b) => Node::Bool(b),
        Raw::Number(n) => Node::Number(n),
        Raw::Text(text) => Node::Text(text),
        Raw::List(items) => {
            let item = |(i, item)| located(item, file, format!("{path}[{i}]"), report);
            Node::List(items.into_iter().enumerate().map(item).collect())
        }
        Raw::Table(members) => {
            let mut names = HashSet::new();
            let mut table = Vec::with_capacity(members.len());
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let value = located(value, file, path, report);
                if !names.insert(name.clone()) {
                    report.add(&value.place, format!("the key `{name}` is given twice"));
                }
                table.push(Member { name, place: value.place.clone(), value });
            }
            Node::Table(table)
        }
    };
    Tree { place, node, digits: None }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Raw, E> {
        Ok(Raw::Number(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Raw, E> {
        Ok(Raw::Number(n.into()))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Raw, E> {
        // JSON has no other than finite numbers.
        Ok(Number::from_f64(x).map_or(Raw::Null, Raw::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Raw::Table(members))
    }
}
