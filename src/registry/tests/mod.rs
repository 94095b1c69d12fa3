//! Tests across the module: from text to the published catalog and back from the log.

mod batch;
mod flights;
mod history;
mod on_demand;
mod parse;
mod plan;
mod projects;
mod replay;
mod resolve;
mod streams;
mod views;

use std::sync::Arc;

use crate::{
    ApplyMode, ApplyOutcome, Catalog, CatalogHandle, DefinitionError, DefinitionFile, Definitions, MemoryLog,
    Registry, RegistryError, parse_json, parse_toml,
};
use larder_model::{Timestamp, clock::Clock};

fn file(name: &str, text: &str) -> DefinitionFile {
    DefinitionFile { name: name.to_owned(), text: text.to_owned() }
}

fn read(text: &str) -> Definitions {
    parse_toml(&[file("f.toml", text)]).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

/// What is wrong with one file, as `line: message`.
fn wrong(text: &str) -> Vec<String> {
    errors(parse_toml(&[file("f.toml", text)]))
        .iter()
        .map(|e| format!("{}: {}", e.line.unwrap_or(0), e.message))
        .collect()
}

/// What is wrong with a JSON document, as `path: message`.
fn wrong_json(text: &str) -> Vec<String> {
    errors(parse_json("body", text)).iter().map(ToString::to_string).collect()
}

fn errors(result: Result<Definitions, RegistryError>) -> Vec<DefinitionError> {
    match result {
        Err(RegistryError::Invalid(errors)) => errors,
        other => panic!("expected to be refused as invalid, got {other:?}"),
    }
}

/// What was there may go.
const ANY: ApplyMode = ApplyMode { expected_version: None, dry_run: false, allow_retire: true };

fn expecting(version: u64) -> ApplyMode {
    ApplyMode { expected_version: Some(version), ..ANY }
}

fn dry_run(expected_version: Option<u64>) -> ApplyMode {
    ApplyMode { expected_version, dry_run: true, ..ANY }
}

/// A registry over a log in memory.
struct Node {
    log: MemoryLog,
    registry: Registry,
}

impl Node {
    fn new() -> Node {
        Node::over(MemoryLog::default())
    }

    fn over(log: MemoryLog) -> Node {
        let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_000_000));
        let registry = Registry::open(Box::new(log.clone()), clock, CatalogHandle::default()).unwrap();
        Node { log, registry }
    }

    /// Applies definitions that must be accepted.
    fn apply(&mut self, text: &str) -> ApplyOutcome {
        self.registry.apply(&read(text), ANY).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
    }

    /// Applies definitions that must be refused; gives `name.field: reason` of each.
    fn refused(&mut self, text: &str) -> Vec<String> {
        match self.registry.apply(&read(text), ANY) {
            Err(RegistryError::Breaking(outcome)) => {
                outcome.changes.breaking.iter().map(|b| format!("{}: {}", b.location(), b.reason)).collect()
            }
            other => panic!("expected to be refused, got {other:?}\n{text}"),
        }
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.registry.catalog().current()
    }
}

/// Every field of every version, for comparison.
fn print(catalog: &Catalog) -> String {
    format!("{catalog:#?}")
}

fn lines(texts: &[&str]) -> String {
    texts.concat()
}

const AIRPORT: &str =
    "[[entity]]\nname = \"airport\"\njoin_keys = [{ name = \"origin\", type = \"string\" }]\n";

/// A feature view `weather` of `airport` with the given features (inline tables) and further keys.
fn weather(features: &str, more: &str) -> String {
    format!(
        "{AIRPORT}[[feature_view]]\nname = \"weather\"\nentities = [\"airport\"]\nfeature = [{features}]\n{more}\n"
    )
}

fn service(name: &str, features: &str) -> String {
    format!("[[feature_service]]\nname = \"{name}\"\nfeatures = [{features}]\n")
}

/// `feature("temp", "float64")`
fn feature(name: &str, data_type: &str) -> String {
    format!("{{ name = \"{name}\", type = \"{data_type}\" }}")
}

#[track_caller]
fn assert_one(found: &[String], parts: &[&str]) {
    assert_eq!(found.len(), 1, "{found:#?}");
    for part in parts {
        assert!(found[0].contains(part), "`{part}` is not in: {}", found[0]);
    }
}
