//! Compiled plans, kept while definitions and window states stay the same: a request names what it wants in a few
//! words, again and again.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

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
            _ => Err(ServeError::Invalid(
                "give either `feature_service` or a list of `features`, and not both".to_owned(),
            )),
        }
    }

    pub fn resolve(&self, catalog: &Catalog) -> Result<Resolved, ServeError> {
        Ok(match self {
            Wanted::Service(text) => {
                let (name, version) = match text.split_once('@') {
                    None => (text.as_str(), None),
                    Some((name, version)) => {
                        let version = version.parse().map_err(|_| {
                            ServeError::Invalid(format!("`{text}` is not `name` or `name@version`"))
                        })?;
                        (name, Some(version))
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

/// Different requests that are remembered; more than a node's models ever ask for.
const CAPACITY: usize = 1024;

#[derive(Default)]
pub struct Plans(RwLock<(Versions, HashMap<Wanted, Arc<Plan>>)>);

/// Of the definitions, and of the window states.
type Versions = (u64, u64);

impl Plans {
    pub fn get(
        &self,
        catalog: &Catalog,
        streams: &StreamSet,
        wanted: &Wanted,
    ) -> Result<Arc<Plan>, ServeError> {
        let versions = (catalog.version, streams.version);
        {
            let known = self.0.read().unwrap_or_else(|e| e.into_inner());
            if known.0 == versions
                && let Some(plan) = known.1.get(wanted)
            {
                return Ok(Arc::clone(plan));
            }
        }
        let plan = Arc::new(Plan::compile(catalog, streams, wanted)?);
        let mut known = self.0.write().unwrap_or_else(|e| e.into_inner());
        if known.0 != versions || known.1.len() >= CAPACITY {
            *known = (versions, HashMap::new());
        }
        known.1.insert(wanted.clone(), Arc::clone(&plan));
        Ok(plan)
    }
}
