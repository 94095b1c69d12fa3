//! Training sets that are answered at once.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    doors::{Action, Caller, DoorError, Doors, Event, Resource, admission::Place},
    format::ReadOptions,
    model::{DataType, EVENT_TIME, TimeForm},
    serve::{TrainingRequest, TrainingSet, Wanted},
};

/// A spine may take this many times the body's limit once it is decoded.
const DECODED_FACTOR: usize = 16;

/// The right to build one training set, taken before its spine is decoded.
pub struct TrainingPlace {
    _queue: Place,
    _slot: Place,
    started: Instant,
}

impl Doors {
    /// Waits for a place among the training sets that are built; refused where too many wait.
    pub async fn training_place(&self, caller: &Caller, wanted: &Wanted) -> Result<TrainingPlace, DoorError> {
        self.authorise_wanted(caller, wanted)?;
        let queue = self.admission.queue_training()?;
        let started = Instant::now();
        Ok(TrainingPlace { _queue: queue, _slot: self.admission.training_set().await?, started })
    }

    /// Builds a training set and hands it to `write`, both on a thread that may block; they go on when the client is gone.
    /// `request` decodes the spine there.
    pub async fn training_set<T, E>(
        self: &Arc<Self>,
        caller: &Caller,
        place: TrainingPlace,
        request: impl FnOnce(&Doors) -> Result<TrainingRequest, E> + Send + 'static,
        write: impl FnOnce(&TrainingSet) -> Result<T, E> + Send + 'static,
    ) -> Result<(TrainingSet, T), E>
    where
        T: Send + 'static,
        E: From<DoorError> + Send + 'static,
    {
        let (doors, started) = (Arc::clone(self), place.started);
        let built = Doors::blocking("the training set", move || -> Result<_, E> {
            let _held = place;
            let request = request(&doors)?;
            let set = doors.parts.reads.training_set(&request).map_err(DoorError::from)?;
            let written = write(&set)?;
            Ok((set, written))
        });
        let (set, written) = built.await??;
        self.observers.tell(caller, &Event::Training { rows: set.rows.num_rows(), took: started.elapsed() });
        Ok((set, written))
    }

    /// The bytes that the values of a training set answered at once may take.
    pub fn training_bytes(&self) -> usize {
        self.parts.reads.limits.joined_bytes
    }

    /// How a spine from outside is read.
    pub fn spine_options(
        &self,
        wanted: &Wanted,
        event_time: Option<&str>,
        times: TimeForm,
    ) -> Result<ReadOptions, DoorError> {
        let resolved = wanted.resolve(&self.parts.catalog.current())?;
        // A key such as 007 stays text where the view says so, whatever it looks like.
        let brought = resolved.computation.request.iter().map(|asked| asked.column.clone());
        // And a UUID comes back as it was written.
        let types = brought.chain(resolved.join_keys()).map(|column| match column.data_type {
            DataType::Uuid => (column.name, DataType::String),
            data_type => (column.name, data_type),
        });
        let mut types: BTreeMap<String, DataType> = types.collect();
        types.insert(event_time.unwrap_or(EVENT_TIME).to_owned(), DataType::Timestamp);
        let max_decoded_bytes = Some(self.parts.ingest.max_body.saturating_mul(DECODED_FACTOR));
        Ok(ReadOptions { types, times, max_decoded_bytes, ..ReadOptions::default() })
    }

    /// Refuses features of a view that the caller may not read for training.
    pub(super) fn authorise_wanted(&self, caller: &Caller, wanted: &Wanted) -> Result<(), DoorError> {
        if self.access.allows_everything() {
            return Ok(());
        }
        let resolved = wanted.resolve(&self.parts.catalog.current())?;
        resolved.groups.iter().try_for_each(|group| {
            self.authorise(caller, Action::ReadTraining, Resource::Table(&group.view.name))
        })
    }
}
