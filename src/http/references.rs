//! Feature references of a training set, as a request gives them.

use serde::Deserialize;

/// A query has no lists: there they are separated by commas.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a list of feature references")]
pub enum References {
    List(Vec<String>),
    Text(String),
}

impl References {
    pub fn into_vec(self) -> Vec<String> {
        match self {
            References::List(list) => list,
            References::Text(text) => text.split(',').map(|one| one.trim().to_owned()).collect(),
        }
    }
}
