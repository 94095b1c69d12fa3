//! The registry itself: the log's one writer, which publishes each new catalog.

use std::sync::Arc;

use crate::{
    batch::{NoQueries, Queries},
    catalog::{Catalog, CatalogHandle},
    changes::{ApplyOutcome, Changes},
    definition::Definitions,
    error::RegistryError,
    log::{LogEntry, RegistryLog},
    plan::plan,
};
use larder_model::clock::Clock;

/// How definitions are applied.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyMode {
    /// Registry version that the caller has planned against.
    pub expected_version: Option<u64>,
    /// Change nothing, only tell what would change.
    pub dry_run: bool,
    /// Retire what is defined no longer; otherwise definitions that would are refused.
    pub allow_retire: bool,
}

pub struct Registry {
    catalog: CatalogHandle,
    log: Box<dyn RegistryLog + Send>,
    clock: Clock,
    queries: Arc<dyn Queries>,
}

impl Registry {
    /// Replays the log and publishes the catalog that comes of it.
    pub fn open(
        log: Box<dyn RegistryLog + Send>,
        clock: Clock,
        catalog: CatalogHandle,
    ) -> Result<Registry, RegistryError> {
        let mut replayed = Catalog::default();
        for (version, bytes) in log.read_all().map_err(RegistryError::Log)? {
            replayed = replay(&replayed, version, &bytes)
                .map_err(|reason| RegistryError::Corrupt { version, reason })?;
        }
        catalog.publish(replayed);
        Ok(Registry { catalog, log, clock, queries: Arc::new(NoQueries) })
    }

    /// By which batch feature views are checked; without it they are refused.
    pub fn with_queries(self, queries: Arc<dyn Queries>) -> Registry {
        Registry { queries, ..self }
    }

    pub fn catalog(&self) -> &CatalogHandle {
        &self.catalog
    }

    /// Makes `definitions` the whole of what is defined, durable and then published; or tells why not.
    ///
    /// In a dry run what would be refused is in the outcome's `breaking` and `retired`.
    pub fn apply(
        &mut self,
        definitions: &Definitions,
        mode: ApplyMode,
    ) -> Result<ApplyOutcome, RegistryError> {
        let current = self.catalog.current();
        if let Some(expected) = mode.expected_version
            && expected != current.version
        {
            return Err(RegistryError::Stale { expected, actual: current.version });
        }
        if definitions.beside.is_some_and(|version| version != current.version) {
            return Err(RegistryError::Moved);
        }
        let mut definitions = definitions.clone();
        let wrong = definitions.read_queries(self.queries.as_ref());
        if !wrong.is_empty() {
            return Err(RegistryError::invalid(wrong));
        }
        let plan = plan(&current, &definitions)?;
        let refused = !plan.changes.breaking.is_empty();
        if !refused {
            let wrong = definitions.check_queries(&plan.next, self.queries.as_ref());
            if !wrong.is_empty() {
                return Err(RegistryError::invalid(wrong));
            }
        }
        let version = if refused { current.version } else { plan.next.version };
        let outcome = ApplyOutcome { version, changes: plan.changes };
        if mode.dry_run {
            return Ok(outcome);
        }
        if refused {
            return Err(RegistryError::Breaking(Box::new(outcome)));
        }
        if !mode.allow_retire && !outcome.changes.retired.is_empty() {
            return Err(RegistryError::Retires(Box::new(ApplyOutcome {
                version: current.version,
                ..outcome
            })));
        }
        if plan.revision.is_empty() {
            return Ok(outcome);
        }
        let entry = LogEntry {
            version,
            time: self.clock.now(),
            note: definitions.note.clone(),
            summary: Changes { unchanged: Vec::new(), ..outcome.changes.clone() },
            revision: plan.revision,
        };
        let bytes = serde_json::to_vec(&entry).map_err(|error| RegistryError::Log(error.to_string()))?;
        self.log.append(version, &bytes).map_err(RegistryError::Log)?;
        self.catalog.publish(plan.next);
        Ok(outcome)
    }
}

fn replay(catalog: &Catalog, version: u64, bytes: &[u8]) -> Result<Catalog, String> {
    let entry: LogEntry = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if version != catalog.version + 1 || entry.version != version {
        return Err(format!("expected version {}, the entry says {}", catalog.version + 1, entry.version));
    }
    catalog.revised(&entry.revision)
}
