//! Taking known keys out of a table, and telling of everything that is not as it should be.

use std::{cell::RefCell, collections::BTreeMap, fmt::Display, str::FromStr};

use crate::{
    error::{DefinitionError, MOST_ERRORS, RegistryError},
    object::About,
    parse::tree::{Member, Node, Tree},
    place::Place,
    suggest::hint,
};
use larder_model::{DataType, Duration, TimeForm, check_name};

/// Keys that say how times are written.
pub(super) const TIME_KEYS: [&str; 2] = ["time_unit", "time_zone"];

/// Definitions are kept for ever, every version of them: bytes of a description, of an owner, of any text; number of tags.
const MOST_DESCRIPTION: usize = 10_000;
const MOST_OWNER: usize = 1_000;
const MOST_TEXT: usize = 100_000;
const MOST_TAGS: usize = 100;

/// The errors found so far. Once it is full nothing more is read: the rest of a hostile document costs nothing.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<DefinitionError>>);

impl Report {
    pub fn add(&self, place: &Place, message: impl Into<String>) {
        self.push(place.error(message));
    }

    pub fn push(&self, error: DefinitionError) {
        // One more than are told, so that there are more is known.
        if self.0.borrow().len() <= MOST_ERRORS {
            self.0.borrow_mut().push(error);
        }
    }

    pub fn is_full(&self) -> bool {
        self.0.borrow().len() > MOST_ERRORS
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The errors in the order of files and lines.
    pub fn into_error(self) -> RegistryError {
        let mut errors = self.0.into_inner();
        errors.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        RegistryError::invalid(errors)
    }
}

/// One table, its keys checked.
pub(super) struct Fields<'t> {
    /// What it is, for messages: "feature view `plane`".
    pub what: String,
    pub place: &'t Place,
    pub report: &'t Report,
    members: &'t [Member],
}

impl<'t> Fields<'t> {
    /// Opens a table that may have the `known` keys; anything else is reported.
    pub fn open(tree: &'t Tree, what: &str, known: &[&str], report: &'t Report) -> Option<Self> {
        if report.is_full() {
            return None;
        }
        let Node::Table(members) = &tree.node else {
            report.add(&tree.place, format!("{what}: expected a table, got {}", tree.node.kind()));
            return None;
        };
        let what = match members.iter().find(|m| m.name == "name").map(|m| &m.value.node) {
            Some(Node::Text(name)) => format!("{what} `{name}`"),
            _ => what.to_owned(),
        };
        for member in members.iter().filter(|member| !known.contains(&member.name.as_str())) {
            if report.is_full() {
                break;
            }
            let hint = hint(&member.name, known.iter().copied());
            report.add(&member.place, format!("{what}: unknown key `{}`{hint}", member.name));
        }
        Some(Fields { what, place: &tree.place, report, members })
    }

    pub fn error(&self, place: &Place, message: impl Display) {
        self.report.add(place, format!("{}: {message}", self.what));
    }

    /// None where the key is not given, or is null.
    pub fn get(&self, key: &str) -> Option<&'t Tree> {
        let member = self.members.iter().find(|member| member.name == key)?;
        (!matches!(member.value.node, Node::Null)).then_some(&member.value)
    }

    /// [`Fields::get`], reporting a key that is missing; `example` shows what to write.
    pub fn required(&self, key: &str, example: &str) -> Option<&'t Tree> {
        let value = self.get(key);
        if value.is_none() {
            self.error(self.place, format!("`{key}` is missing; write {key} = {example}"));
        }
        value
    }

    /// The object's name, checked.
    pub fn name(&self) -> Option<String> {
        let tree = self.required("name", "\"…\"")?;
        let name = self.as_text("name", tree)?;
        self.check(tree, check_name(name).map(|()| name.to_owned()))
    }

    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|tree| self.as_text(key, tree)).map(str::to_owned)
    }

    pub fn flag(&self, key: &str, default: bool) -> bool {
        match self.get(key).map(|tree| (&tree.place, &tree.node)) {
            None => default,
            Some((_, Node::Bool(b))) => *b,
            Some((place, node)) => {
                self.error(place, format!("`{key}` must be true or false, got {}", node.kind()));
                default
            }
        }
    }

    /// A duration of any length.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        let tree = self.get(key)?;
        match &tree.node {
            Node::Text(text) => self.check(tree, text.parse().map_err(|error| format!("`{key}`: {error}"))),
            node => {
                self.error(
                    &tree.place,
                    format!("`{key}` must be a duration such as \"2h\", got {}", node.kind()),
                );
                None
            }
        }
    }

    /// A duration longer than zero.
    pub fn length(&self, key: &str) -> Option<Duration> {
        let duration = self.duration(key)?;
        if duration == Duration::ZERO {
            let place = self.get(key).map_or(self.place, |tree| &tree.place);
            self.error(place, format!("`{key}` must be longer than zero; leave it out for no limit"));
            return None;
        }
        Some(duration)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let tree = self.get(key)?;
        let word = self.as_text(key, tree)?;
        let chosen = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        if chosen.is_none() {
            let hint = hint(word, choices.iter().map(|(name, _)| *name));
            self.error(&tree.place, format!("`{key}` cannot be `{word}`{hint}"));
        }
        chosen
    }

    /// How times are written, by the keys [`TIME_KEYS`].
    pub fn times(&self) -> TimeForm {
        TimeForm { time_unit: self.parsed(TIME_KEYS[0]), time_zone: self.parsed(TIME_KEYS[1]) }
    }

    /// A word that is parsed; the error says what would be right.
    fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Option<T> {
        let tree = self.get(key)?;
        let word = self.as_text(key, tree)?;
        word.parse().map_err(|error: T::Err| self.error(&tree.place, format!("`{key}`: {error}"))).ok()
    }

    /// The items of a list; empty where it is not given.
    pub fn list(&self, key: &str) -> &'t [Tree] {
        match self.get(key).map(|tree| (&tree.place, &tree.node)) {
            None => &[],
            Some((_, Node::List(items))) => items,
            Some((place, node)) => {
                self.error(place, format!("`{key}` must be a list, got {}", node.kind()));
                &[]
            }
        }
    }

    /// A list of strings, with the place of each.
    pub fn texts(&self, key: &str) -> Vec<(String, &'t Place)> {
        let item = |tree: &'t Tree| Some((self.as_text(key, tree)?.to_owned(), &tree.place));
        self.list(key).iter().filter_map(item).collect()
    }

    /// The members of a table; empty where it is not given.
    pub fn members(&self, key: &str) -> &'t [Member] {
        match self.get(key).map(|tree| (&tree.place, &tree.node)) {
            None => &[],
            Some((_, Node::Table(members))) => members,
            Some((place, node)) => {
                self.error(place, format!("`{key}` must be a table, got {}", node.kind()));
                &[]
            }
        }
    }

    /// A table of strings, such as tags.
    pub fn text_table(&self, key: &str) -> BTreeMap<String, String> {
        let member = |m: &Member| Some((m.name.clone(), self.as_text(&m.name, &m.value)?.to_owned()));
        self.members(key).iter().filter_map(member).collect()
    }

    /// `description`, `owner` and `tags`.
    pub fn about(&self) -> About {
        About {
            description: self.short_text("description", MOST_DESCRIPTION),
            owner: self.short_text("owner", MOST_OWNER),
            tags: self.tags(),
            project: None,
        }
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let tags = self.text_table("tags");
        if tags.len() > MOST_TAGS {
            self.error(
                self.place,
                format!("`tags` has {} entries; at most {MOST_TAGS} are allowed", tags.len()),
            );
        }
        tags
    }

    /// A text for people, which is kept for ever.
    fn short_text(&self, key: &str, most: usize) -> String {
        let text = self.text(key).unwrap_or_default();
        if text.len() > most {
            let place = self.get(key).map_or(self.place, |tree| &tree.place);
            self.error(place, format!("`{key}` has {} bytes; at most {most} are allowed", text.len()));
        }
        text
    }

    /// A type's name, which must be of the `allowed` where these are given.
    pub fn data_type(&self, tree: &Tree, allowed: Option<&[&str]>) -> Option<DataType> {
        const SIMPLE: [&str; 9] =
            ["bool", "int32", "int64", "float32", "float64", "string", "bytes", "timestamp", "json"];
        let text = self.as_text("type", tree)?;
        let refused = match allowed {
            Some(allowed) if !allowed.contains(&text) => {
                format!("`{text}` cannot be its type; possible are {}", allowed.join(", "))
            }
            None if text.contains("uuid") => {
                format!("the type `{text}` is for join keys; write `{}`", text.replace("uuid", "string"))
            }
            _ => match DataType::from_str(text) {
                Ok(data_type) => return Some(data_type),
                Err(error) => match hint(text, SIMPLE) {
                    hint if hint.contains("did you mean") => format!("unknown type `{text}`{hint}"),
                    _ => error.to_string(),
                },
            },
        };
        self.error(&tree.place, refused);
        None
    }

    pub fn as_text(&self, key: &str, tree: &'t Tree) -> Option<&'t str> {
        match &tree.node {
            Node::Text(text) if text.len() > MOST_TEXT => {
                let message = format!("`{key}` has {} bytes; at most {MOST_TEXT} are allowed", text.len());
                self.error(&tree.place, message);
                None
            }
            Node::Text(text) => Some(text),
            node => {
                self.error(&tree.place, format!("`{key}` must be a string, got {}", node.kind()));
                None
            }
        }
    }

    /// The value, or None with the error reported at `tree`.
    pub fn check<T, E: Display>(&self, tree: &Tree, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.error(&tree.place, error)).ok()
    }
}
