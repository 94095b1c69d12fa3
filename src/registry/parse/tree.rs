//! A document as a tree whose every part knows where it was written.

use std::sync::Arc;

use serde_json::{Number, Value as Json};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    parse::{DefinitionFile, walk::Report},
    place::Place,
};
use larder_model::{DataType, Value};

#[derive(Debug)]
pub(super) struct Tree {
    pub place: Place,
    pub node: Node,
    /// A float as it is written: one of another width is rounded from this, not from the float64 that `node` has.
    pub digits: Option<String>,
}

#[derive(Debug)]
pub(super) enum Node {
    /// JSON's null, which stands for "not given".
    Null,
    Bool(bool),
    Number(Number),
    /// Also a TOML date-time.
    Text(String),
    List(Vec<Tree>),
    /// In the order written.
    Table(Vec<Member>),
}

#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    /// Of the name.
    pub place: Place,
    pub value: Tree,
}

impl Tree {
    /// As a value of the type; the error says what is wrong.
    pub fn value(&self, data_type: &DataType) -> Result<Value, String> {
        let item = match data_type {
            DataType::Array(item) => Some(item.as_ref()),
            DataType::Vector(_) => Some(&DataType::Float32),
            _ => None,
        };
        let value = Value::from_json(&self.node.to_json(), data_type)?;
        Ok(match (value, &self.node, item, &self.digits) {
            (Value::Float32(rounded), _, _, Some(digits)) => {
                Value::Float32(digits.parse().unwrap_or(rounded))
            }
            (Value::Array(_), Node::List(items), Some(item), _) => {
                Value::Array(items.iter().map(|tree| tree.value(item)).collect::<Result<_, _>>()?)
            }
            (value, ..) => value,
        })
    }
}

impl Node {
    /// For messages: "got a string".
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::Text(_) => "a string",
            Node::List(_) => "a list",
            Node::Table(_) => "a table",
        }
    }

    pub fn to_json(&self) -> Json {
        match self {
            Node::Null => Json::Null,
            Node::Bool(b) => Json::Bool(*b),
            Node::Number(n) => Json::Number(n.clone()),
            Node::Text(text) => Json::String(text.clone()),
            Node::List(items) => Json::Array(items.iter().map(|item| item.node.to_json()).collect()),
            Node::Table(members) => {
                Json::Object(members.iter().map(|m| (m.name.clone(), m.value.node.to_json())).collect())
            }
        }
    }
}

/// None, and all syntax errors reported, where the text is not TOML.
pub(super) fn from_toml(file: &DefinitionFile, report: &Report) -> Option<Tree> {
    let reader = TomlReader::new(file, report);
    let (parsed, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        // The parser's messages may have several lines.
        let message = error.message().replace('\n', ", ");
        report.add(&reader.place(error.span().map_or(0, |span| span.start)), format!("not TOML: {message}"));
    }
    let root = |root| Tree { place: reader.place(0), node: reader.table(root), digits: None };
    errors.is_empty().then(|| root(parsed.get_ref()))
}

struct TomlReader<'a> {
    file: Arc<str>,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
    report: &'a Report,
}

impl<'a> TomlReader<'a> {
    fn new(file: &DefinitionFile, report: &'a Report) -> Self {
        let breaks = file.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        TomlReader { file: file.name.as_str().into(), lines, report }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|begin| *begin <= offset);
        Place { file: Arc::clone(&self.file), line: Some(line), path: None }
    }

    fn table(&self, table: &DeTable<'_>) -> Node {
        let mut members: Vec<_> = table.iter().collect();
        // The parser sorts by name.
        members.sort_by_key(|(name, _)| name.span().start);
        let member = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let text: &std::borrow::Cow<'_, str> = name.get_ref();
            Member { name: text.to_string(), place: self.place(name.span().start), value: self.tree(value) }
        };
        Node::Table(members.into_iter().map(member).collect())
    }

    fn tree(&self, value: &Spanned<DeValue<'_>>) -> Tree {
        let place = self.place(value.span().start);
        let node = match value.get_ref() {
            DeValue::String(text) => Node::Text(text.to_string()),
            DeValue::Boolean(b) => Node::Bool(*b),
            DeValue::Datetime(time) => Node::Text(time.to_string()),
            DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(n) => Node::Number(n.into()),
                Err(_) => self.unusable(&place, format!("{digits} is too large; integers have 64 bits")),
            },
            DeValue::Float(text) => match text.as_str().parse().ok().and_then(Number::from_f64) {
                Some(x) => Node::Number(x),
                None => self.unusable(&place, format!("{text} cannot be used; write a finite number")),
            },
            DeValue::Array(items) => Node::List(items.iter().map(|item| self.tree(item)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        let digits = match value.get_ref() {
            DeValue::Float(text) => Some(text.as_str().to_owned()),
            _ => None,
        };
        Tree { place, node, digits }
    }

    fn unusable(&self, place: &Place, message: String) -> Node {
        self.report.add(place, message);
        Node::Null
    }
}
