//! Admission: how much work of a kind runs at the same time, and how much may wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::doors::DoorError;

/// Training sets built at the same time: each may use all cores and much memory.
const TRAINING_SETS: usize = 2;
/// Training sets that run or wait: their spines are in memory.
const TRAINING_QUEUE: usize = 16;
/// Reads of rows as of a time at the same time; each works on all cores that are idle.
const ROWS_AS_OF: usize = 8;

/// The places of a node, shared by all transports.
pub struct Admission {
    training_queue: Arc<Semaphore>,
    training_sets: Arc<Semaphore>,
    windows: Arc<Semaphore>,
    rows_as_of: Arc<Semaphore>,
}

/// Held while the work runs.
pub type Place = OwnedSemaphorePermit;

impl Default for Admission {
    fn default() -> Admission {
        let places = |count| Arc::new(Semaphore::new(count));
        Admission {
            training_queue: places(TRAINING_QUEUE),
            training_sets: places(TRAINING_SETS),
            windows: places(Admission::WINDOWS),
            rows_as_of: places(ROWS_AS_OF),
        }
    }
}

impl Admission {
    /// Reads of windows from history at the same time: each may hold many events.
    pub const WINDOWS: usize = 2;

    /// A place in the queue of training sets; refused where it is full.
    pub fn queue_training(&self) -> Result<Place, DoorError> {
        Arc::clone(&self.training_queue)
            .try_acquire_owned()
            .map_err(|_| DoorError::Busy("too many training sets are being built or wait"))
    }

    pub async fn training_set(&self) -> Result<Place, DoorError> {
        next(&self.training_sets).await
    }

    pub async fn windows(&self) -> Result<Place, DoorError> {
        next(&self.windows).await
    }

    pub async fn rows_as_of(&self) -> Result<Place, DoorError> {
        next(&self.rows_as_of).await
    }
}

/// The next free place, in the order of arrival.
async fn next(places: &Arc<Semaphore>) -> Result<Place, DoorError> {
    Arc::clone(places).acquire_owned().await.map_err(|_| DoorError::Stopping)
}
