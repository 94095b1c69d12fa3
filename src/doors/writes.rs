//! Writes: rows, events, deletes; quarantined rows; checkpoints.

use std::sync::Arc;

use crate::{
    doors::{Action, Caller, DoorError, Doors, Event, Resource},
    ingest::{DeleteRequest, IngestError, IngestRequest, Retried},
    shard::{Applied, QuarantinedRow},
};

impl Doors {
    /// Stores a batch, all of it or nothing, with its checkpoint where it has one.
    ///
    /// A connector names itself and its place in what it reads as the checkpoint of each batch. After a crash it reads
    /// [`Doors::checkpoint`] and goes on from there: each batch is stored exactly once.
    pub async fn write(&self, caller: &Caller, request: IngestRequest) -> Result<Applied, DoorError> {
        self.authorise(caller, Action::Write, Resource::Table(&request.table))?;
        let table = request.table.clone();
        let applied = self.parts.ingest.ingest(request).await?;
        self.observers.tell(caller, &Event::Change { action: Action::Write, subject: &table });
        Ok(applied)
    }

    /// Bytes of the last stored batch that had a checkpoint of this name.
    pub fn checkpoint(&self, caller: &Caller, name: &str) -> Result<Option<Vec<u8>>, DoorError> {
        self.authorise(caller, Action::Write, Resource::Node)?;
        Ok(self.parts.checkpoints.get(name)?)
    }

    /// Stores tombstones.
    pub async fn delete(&self, caller: &Caller, request: DeleteRequest) -> Result<Applied, DoorError> {
        self.authorise(caller, Action::Delete, Resource::Table(&request.view))?;
        let view = request.view.clone();
        let applied = self.parts.ingest.delete(request).await?;
        self.observers.tell(caller, &Event::Change { action: Action::Delete, subject: &view });
        Ok(applied)
    }

    /// Quarantined rows with their numbers, from number `from` on: at most `limit`, and about `bytes`.
    pub fn quarantined(
        &self,
        caller: &Caller,
        table: &str,
        from: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(u64, QuarantinedRow)>, DoorError> {
        self.authorise(caller, Action::ReadQuarantine, Resource::Table(table))?;
        let catalog = self.parts.catalog.current();
        if let Some(error) = catalog.feature_views.get(table).and_then(|view| IngestError::of_computed(view))
        {
            return Err(error.into());
        }
        let Some(schema) = catalog.table(table) else {
            return Err(DoorError::Unknown { kind: "feature view or source", name: table.to_owned() });
        };
        Ok(self.parts.quarantine.list(schema.table, from, limit, bytes)?)
    }

    /// Tries a view's quarantined rows again; goes on when nobody waits for it.
    pub async fn retry_quarantined(
        self: &Arc<Self>,
        caller: &Caller,
        view: String,
    ) -> Result<Retried, DoorError> {
        self.authorise(caller, Action::Write, Resource::Table(&view))?;
        let doors = Arc::clone(self);
        let subject = view.clone();
        let retry =
            tokio::spawn(async move { doors.parts.ingest.retry(&doors.parts.quarantine, &view).await });
        let retried = retry.await.map_err(|_| DoorError::Interrupted("the retry"))??;
        self.observers.tell(caller, &Event::Change { action: Action::Write, subject: &subject });
        Ok(retried)
    }
}
