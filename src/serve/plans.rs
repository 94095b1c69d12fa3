//! Compiled plans, kept while definitions and window states stay the same: a request names what it wants in a few
//! words, again and again.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, RwLockWriteGuard},
};

use serde_json::value::RawValue;

use crate::{
    registry::{Catalog, Resolved, Selection},
    serve::{Plan, ServeError},
    shard::StreamSet,
};

/// What a read asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A feature service, as `name` or `name@version`.
    Service(String),
    /// Feature references.
    Features(Vec<String>),
    /// What one of the others stood for once, every view at its version: the same for ever.
    Pinned(Vec<Selection>),
}

impl Wanted {
    /// Exactly one of the two must be given.
    pub fn from_parts(service: Option<String>, features: Option<Vec<String>>) -> Result<Wanted, ServeError> {
        match (service, features) {
            (Some(service), None) => Ok(Wanted::Service(service)),
            (None, Some(features)) if !features.is_empty() => Ok(Wanted::Features(features)),
            _ => Err(either_of_both()),
        }
    }

    pub fn resolve(&self, catalog: &Catalog) -> Result<Resolved, ServeError> {
        Ok(match self {
            Wanted::Service(text) => {
                let (name, version) = match text.split_once('@') {
                    None => (text.as_str(), None),
                    Some((name, version)) => {
                        // One spelling for each version: what clients write becomes a label of metrics.
                        let number = version.parse::<u32>().ok().filter(|n| n.to_string() == version);
                        let number = number.ok_or_else(|| {
                            let text = crate::format::shorten(text);
                            ServeError::Invalid(format!(
                                "`{text}` is not `name` or `name@version`, as in `fraud@3`"
                            ))
                        })?;
                        (name, Some(number))
                    }
                };
                catalog.resolve_service(name, version)?
            }
            Wanted::Features(references) => catalog.resolve_features(references)?,
            Wanted::Pinned(selections) => catalog.resolve_selections(selections)?,
        })
    }

    /// What it stands for now, every view at its version.
    pub fn pinned(&self, catalog: &Catalog) -> Result<Vec<Selection>, ServeError> {
        let resolved = self.resolve(catalog)?;
        Ok(resolved.pinned())
    }

    /// For metrics: the service's name, or a dash.
    pub fn label(&self) -> &str {
        match self {
            Wanted::Service(name) => name,
            Wanted::Features(_) | Wanted::Pinned(_) => "-",
        }
    }
}

/// What a request asks for, as its JSON says it: the text of a feature service's name, or that of a list of references.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    Service(&'a str),
    Features(&'a str),
}

impl<'a> Asked<'a> {
    /// Exactly one of the two must be given.
    pub fn new(service: Option<&'a RawValue>, features: Option<&'a RawValue>) -> Result<Self, ServeError> {
        match (service, features) {
            (Some(service), None) => Ok(Asked::Service(service.get())),
            (None, Some(features)) => Ok(Asked::Features(features.get())),
            _ => Err(either_of_both()),
        }
    }

    fn text(self) -> &'a str {
        match self {
            Asked::Service(text) | Asked::Features(text) => text,
        }
    }

    pub fn wanted(self) -> Result<Wanted, ServeError> {
        let (service, features) = match self {
            Asked::Service(text) => (Some(parsed("feature_service", "a text", text)?), None),
            Asked::Features(text) => (None, Some(parsed("features", "a list of texts", text)?)),
        };
        Wanted::from_parts(service, features)
    }
}

fn either_of_both() -> ServeError {
    ServeError::Invalid("give either `feature_service` or a list of `features`, and not both".to_owned())
}

fn parsed<T: serde::de::DeserializeOwned>(field: &str, what: &str, text: &str) -> Result<T, ServeError> {
    serde_json::from_str(text).map_err(|error| ServeError::Invalid(format!("`{field}` is {what}: {error}")))
}

/// Different requests that are remembered; more than a node's models ever ask for.
const CAPACITY: usize = 1024;
/// Bytes of a request's text that is remembered.
const LONGEST: usize = 64 << 10;
/// Bytes that all plans and texts that are remembered may take, about.
const MOST_BYTES: usize = 32 << 20;
/// Bytes that a plan takes for each of its columns, about.
const COLUMN_BYTES: usize = 1 << 10;

/// What is remembered, up to bounds of number and of bytes.
pub struct Plans {
    known: RwLock<Known>,
    /// Columns of a plan that is remembered: no read may ask for more.
    most_columns: usize,
}

#[derive(Default)]
struct Known {
    versions: Versions,
    plans: HashMap<Wanted, Arc<Plan>>,
    /// The same by [`Asked`]: a service's text begins with a quote, a list's with a bracket.
    texts: HashMap<Box<str>, Arc<Plan>>,
    /// Bytes of all, about.
    bytes: usize,
}

/// Of the definitions, and of the window states.
type Versions = (u64, u64);

impl Plans {
    pub fn new(most_columns: usize) -> Plans {
        Plans { known: RwLock::default(), most_columns }
    }

    /// The plan for a request that came in these words before.
    pub fn of_text(
        &self,
        catalog: &Catalog,
        streams: &StreamSet,
        asked: Asked<'_>,
    ) -> Result<Arc<Plan>, ServeError> {
        if let Some(plan) = self.find(catalog, streams, |known| known.texts.get(asked.text())) {
            return Ok(plan);
        }
        let plan = self.get(catalog, streams, &asked.wanted()?)?;
        if asked.text().len() <= LONGEST && plan.columns.len() <= self.most_columns {
            let mut known = self.known(catalog, streams, asked.text().len());
            known.texts.insert(asked.text().into(), Arc::clone(&plan));
        }
        Ok(plan)
    }

    /// The plan for what is wanted. One that `limits` do not allow is made once more the next time, and takes no room.
    pub fn get(
        &self,
        catalog: &Catalog,
        streams: &StreamSet,
        wanted: &Wanted,
    ) -> Result<Arc<Plan>, ServeError> {
        if let Some(plan) = self.find(catalog, streams, |known| known.plans.get(wanted)) {
            return Ok(plan);
        }
        let plan = Arc::new(Plan::compile(catalog, streams, wanted)?);
        if plan.columns.len() <= self.most_columns {
            let bytes = plan.columns.len() * COLUMN_BYTES;
            self.known(catalog, streams, bytes).plans.insert(wanted.clone(), Arc::clone(&plan));
        }
        Ok(plan)
    }

    /// What is remembered of these versions.
    fn find(
        &self,
        catalog: &Catalog,
        streams: &StreamSet,
        of: impl FnOnce(&Known) -> Option<&Arc<Plan>>,
    ) -> Option<Arc<Plan>> {
        let known = self.known.read().unwrap_or_else(|e| e.into_inner());
        let current = known.versions == (catalog.version, streams.version);
        if current { of(&known).map(Arc::clone) } else { None }
    }

    /// To remember one more of these versions, which takes so many bytes.
    fn known(&self, catalog: &Catalog, streams: &StreamSet, bytes: usize) -> RwLockWriteGuard<'_, Known> {
        let versions = (catalog.version, streams.version);
        let mut known = self.known.write().unwrap_or_else(|e| e.into_inner());
        let full = known.plans.len().max(known.texts.len()) >= CAPACITY || known.bytes + bytes > MOST_BYTES;
        if known.versions != versions || full {
            *known = Known { versions, ..Known::default() };
        }
        known.bytes += bytes;
        known
    }
}
