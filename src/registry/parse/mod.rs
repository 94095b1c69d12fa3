//! Definition files read: TOML or JSON text to checked [`Definitions`], or everything that is wrong with it.
//!
//! Text becomes a tree that knows where each part was written (`tree`), a walker takes known keys out of its tables
//! (`walk`), and the objects' readers do so for each kind (`objects`, `view`, `stream`, `batch`, `on_demand`, `service`).
//! Nothing stops at the first error. What depends on the registry's history is left to `plan`, and so is what on-demand views
//! compute: they may use features of older versions.

mod aggregation;
mod batch;
mod document;
mod feature;
mod json;
mod objects;
mod on_demand;
mod service;
mod stream;
mod tree;
mod view;
mod walk;

use crate::{catalog::Catalog, definition::Definitions, error::RegistryError};

/// A file of a definition directory.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct DefinitionFile {
    /// As it shall be named in errors.
    pub name: String,
    pub text: String,
}

/// [`parse_toml_beside`] nothing.
pub fn parse_toml(files: &[DefinitionFile]) -> Result<Definitions, RegistryError> {
    let alone = parse_toml_beside(files, &Catalog::default())?;
    Ok(Definitions { beside: None, ..alone })
}

/// [`parse_json_beside`] nothing.
pub fn parse_json(name: &str, text: &str) -> Result<Definitions, RegistryError> {
    let alone = parse_json_beside(name, text, &Catalog::default())?;
    Ok(Definitions { beside: None, ..alone })
}

/// Reads the TOML files of one directory (or one body) as one whole, with the objects that other projects have in `catalog`.
pub fn parse_toml_beside(files: &[DefinitionFile], catalog: &Catalog) -> Result<Definitions, RegistryError> {
    let report = walk::Report::default();
    let roots: Vec<tree::Tree> = files.iter().filter_map(|file| tree::from_toml(file, &report)).collect();
    // A file that cannot be read would make all that it defines unknown.
    if report.is_empty() { document::read(&roots, catalog, report) } else { Err(report.into_error()) }
}

/// Reads a JSON document of the structure of the TOML files: `{"entity": [{"name": …}], "feature_view": […]}`; or one
/// that holds such files, `{"files": {"views.toml": "…"}}`, so that errors name their lines.
///
/// `name` stands for the document in errors that concern it as a whole.
pub fn parse_json_beside(name: &str, text: &str, catalog: &Catalog) -> Result<Definitions, RegistryError> {
    let report = walk::Report::default();
    let root = json::from_json(name, text, &report);
    if let Some(tree::Tree { node: tree::Node::Table(members), .. }) = &root
        && members.iter().any(|member| member.name == FILES)
    {
        let files: Vec<DefinitionFile> = root.iter().flat_map(|root| held_files(root, &report)).collect();
        return if report.is_empty() { parse_toml_beside(&files, catalog) } else { Err(report.into_error()) };
    }
    if report.is_empty() {
        document::read(root.as_slice(), catalog, report)
    } else {
        Err(report.into_error())
    }
}

const FILES: &str = "files";

fn held_files(root: &tree::Tree, report: &walk::Report) -> Vec<DefinitionFile> {
    let Some(fields) = walk::Fields::open(root, "definitions", &[FILES], report) else { return Vec::new() };
    let file = |member: &tree::Member| {
        let text = fields.as_text(&member.name, &member.value)?;
        Some(DefinitionFile { name: member.name.clone(), text: text.to_owned() })
    };
    fields.members(FILES).iter().filter_map(file).collect()
}
