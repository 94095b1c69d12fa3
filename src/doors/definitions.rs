//! Definitions: apply them, read the catalog.

use std::sync::Arc;

use crate::{
    actor::registry::ApplyDefinitions,
    doors::{Action, Caller, DoorError, Doors, Event, Resource},
    registry::{ApplyMode, ApplyOutcome, Catalog, Definitions, RegistryError},
};

/// Attempts where the registry changed between reading the definitions and applying them.
const TRIES: usize = 4;

impl Doors {
    /// The definitions as they are now.
    pub fn catalog(&self, caller: &Caller) -> Result<Arc<Catalog>, DoorError> {
        self.authorise(caller, Action::ReadDefinitions, Resource::Node)?;
        Ok(self.parts.catalog.current())
    }

    /// Makes what `read` gives the definitions. They stand beside what other projects have, so they are read again, with the
    /// catalog as it is then, where the registry changed meanwhile.
    pub async fn apply<E, F>(
        &self,
        caller: &Caller,
        mode: ApplyMode,
        mut read: impl FnMut(Arc<Catalog>) -> F,
    ) -> Result<ApplyOutcome, E>
    where
        E: From<DoorError>,
        F: Future<Output = Result<Definitions, E>>,
    {
        self.authorise(caller, Action::Define, Resource::Node)?;
        if !mode.dry_run {
            // All shards and the registry are in one store.
            self.parts.shards.status(0).check().map_err(DoorError::from)?;
        }
        let mut outcome = Err(RegistryError::Moved);
        for _ in 0..TRIES {
            let definitions = read(self.parts.catalog.current()).await?;
            let registry =
                self.parts.registry.get().ok_or(DoorError::Unavailable("the registry is restarting"))?;
            outcome = registry
                .send(ApplyDefinitions { definitions, mode })
                .await
                .map_err(|_| DoorError::Unavailable("the registry stopped while it had these definitions"))?;
            if !matches!(outcome, Err(RegistryError::Moved)) {
                break;
            }
        }
        if outcome.is_ok() && !mode.dry_run {
            self.follow_definitions().await;
            self.observers.tell(caller, &Event::Change { action: Action::Define, subject: "definitions" });
        }
        Ok(outcome.map_err(DoorError::from)?)
    }

    /// Makes the window states of new aggregates before the answer, so that what is sent then is counted. Where it fails now
    /// the shards try again by themselves.
    async fn follow_definitions(&self) {
        if let Err(error) = self.parts.shards.reconcile().await {
            tracing::warn!(%error, "cannot create window states; the shards try again");
        }
        self.parts.backfills.wake();
    }
}
