//! Places for queries: few run at the same time, and short ones do not wait behind long ones.
//!
//! A query takes a long place where one is free. Where none is, it starts in the place for short ones and keeps it for
//! [`SHORT`]; a query that is not done by then starts again in a long place, in the order of arrival. So a dashboard's
//! `count(*)` waits for a quarter of a second at most per query before it, however many cross joins of others are pending, and
//! a query on a node with free places runs once. What waits holds its text and nothing else.

use std::{future::Future, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{model::Duration, sql::SqlError};

/// Time that a query has in the place for short ones.
const SHORT: Duration = Duration::from_millis(250);
/// Queries that may wait, for each that may run.
const WAITING: usize = 32;

/// Held by a query while it runs.
pub(super) type Place = OwnedSemaphorePermit;

#[derive(Clone)]
pub(super) struct Places {
    long: Arc<Semaphore>,
    /// None where only one query may run at all.
    short: Option<Arc<Semaphore>>,
    waiting: Arc<Semaphore>,
    patience: Duration,
}

impl Places {
    /// `concurrency` queries run at the same time; none waits longer than `patience`.
    pub fn new(concurrency: usize, patience: Duration) -> Places {
        let short = (concurrency > 1).then(|| Arc::new(Semaphore::new(1)));
        let long = concurrency - usize::from(short.is_some());
        let waiting = concurrency.saturating_mul(WAITING).min(Semaphore::MAX_PERMITS);
        Places {
            long: Arc::new(Semaphore::new(long)),
            short,
            waiting: Arc::new(Semaphore::new(waiting)),
            patience,
        }
    }

    /// Runs `query` with the place that it holds and the time that it has there, where less than its own; a query for which
    /// that is too little gives [`SqlError::Timeout`] and runs again. [`SqlError::Overloaded`] where too many wait, or too long.
    pub async fn run<T, F>(&self, query: impl Fn(Place, Option<Duration>) -> F) -> Result<T, SqlError>
    where
        F: Future<Output = Result<T, SqlError>>,
    {
        if let Ok(place) = Arc::clone(&self.long).try_acquire_owned() {
            return query(place, None).await;
        }
        let _seat = self.waiting.try_acquire().map_err(|_| SqlError::Overloaded)?;
        if let Some(short) = &self.short {
            match query(self.next(short).await?, Some(SHORT)).await {
                Err(SqlError::Timeout { .. }) => {}
                done => return done,
            }
        }
        query(self.next(&self.long).await?, None).await
    }

    /// The next place of `places`, in the order of arrival.
    async fn next(&self, places: &Arc<Semaphore>) -> Result<Place, SqlError> {
        let place = tokio::time::timeout(self.patience.std(), Arc::clone(places).acquire_owned()).await;
        place.map_err(|_| SqlError::Overloaded)?.map_err(|_| SqlError::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::poll_fn, pin::pin, task::Poll};

    use futures_util::FutureExt;

    use super::*;

    const PATIENT: Duration = Duration::from_millis(3_600_000);

    fn in_runtime(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    async fn done(place: Place, _: Option<Duration>) -> Result<bool, SqlError> {
        drop(place);
        Ok(true)
    }

    /// Not done within the time of a short one.
    async fn long(place: Place, has: Option<Duration>) -> Result<bool, SqlError> {
        drop(place);
        if has.is_some() { Err(SqlError::Timeout { limit: String::new() }) } else { Ok(true) }
    }

    #[test]
    fn a_short_query_passes_long_ones_which_run_in_their_order() {
        in_runtime(async {
            let places = Places::new(2, PATIENT);
            let held = RefCell::new(None);
            let keep = async |place, has: Option<Duration>| {
                assert_eq!(has, None, "a free long place is taken at once");
                *held.borrow_mut() = Some(place);
                Ok(true)
            };
            places.run(keep).await.unwrap();
            let mut waiting = pin!(places.run(long));
            poll_fn(|context| Poll::Ready(waiting.poll_unpin(context).is_pending().then_some(())))
                .await
                .expect("the only long place is taken");
            assert!(places.run(done).now_or_never().expect("the short place is free").unwrap());
            held.borrow_mut().take();
            assert!(waiting.await.unwrap());
        });
    }

    #[test]
    fn a_query_is_refused_after_its_patience_or_where_many_wait() {
        in_runtime(async {
            let places = Places::new(1, Duration::ZERO);
            let only = Arc::clone(&places.long).try_acquire_owned().unwrap();
            assert!(matches!(places.run(done).await, Err(SqlError::Overloaded)));
            let seats = places.waiting.try_acquire_many(WAITING as u32).unwrap();
            let patient = Places { patience: PATIENT, ..places.clone() };
            assert!(matches!(patient.run(done).now_or_never(), Some(Err(SqlError::Overloaded))));
            drop((only, seats));
            assert!(places.run(done).await.unwrap(), "a single place is for all");
        });
    }
}
