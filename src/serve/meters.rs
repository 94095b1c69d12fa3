//! What online reads count. To look a metric up by its labels costs as much as to read a row, so a plan keeps the handles.

use std::{sync::OnceLock, time::Duration};

use metrics::{Counter, Histogram, counter, histogram};

use crate::{
    metrics::{ONLINE_CACHE, ONLINE_REQUESTS, ONLINE_SECONDS, ONLINE_VALUES},
    serve::Status,
};

/// The handles of one plan, each made when it is first needed.
#[derive(Default)]
pub struct Meters {
    /// The feature service, or "-".
    service: String,
    reads: OnceLock<(Counter, Histogram)>,
    cache: OnceLock<[Counter; 2]>,
    /// By place: see [`Tally`].
    values: Vec<ViewMeter>,
}

struct ViewMeter {
    view: String,
    statuses: [OnceLock<Counter>; Status::ALL.len()],
}

/// How many values of each view have each status. A view's place: that of its group in the plan, and for on-demand views,
/// which come after all groups, that among the computation's views.
pub struct Tally(Vec<[u64; Status::ALL.len()]>);

impl Tally {
    pub(super) fn new(places: usize) -> Tally {
        Tally(vec![[0; Status::ALL.len()]; places])
    }

    pub(super) fn add(&mut self, place: usize, status: Status) {
        self.0[place][status as usize] += 1;
    }
}

impl Meters {
    /// `views`: their names, by place.
    pub(super) fn new(service: &str, views: impl Iterator<Item = String>) -> Meters {
        let meter = |view| ViewMeter { view, statuses: Default::default() };
        Meters { service: service.to_owned(), values: views.map(meter).collect(), ..Meters::default() }
    }

    pub(super) fn places(&self) -> usize {
        self.values.len()
    }

    /// One read, and what its values were.
    pub fn record(&self, took: Duration, tally: &Tally) {
        let (reads, seconds) = self.reads.get_or_init(|| {
            let reads = counter!(ONLINE_REQUESTS, "service" => self.service.clone());
            (reads, histogram!(ONLINE_SECONDS))
        });
        reads.increment(1);
        seconds.record(took);
        for (meter, counts) in self.values.iter().zip(&tally.0) {
            for ((handle, status), &count) in meter.statuses.iter().zip(Status::ALL).zip(counts) {
                if count > 0 {
                    let labels = || [("view", meter.view.clone()), ("status", status.as_str().to_owned())];
                    handle.get_or_init(|| counter!(ONLINE_VALUES, &labels())).increment(count);
                }
            }
        }
    }

    /// Lookups that the cache answered, and that it did not.
    pub(super) fn record_cache(&self, hits: u64, misses: u64) {
        let handles = self.cache.get_or_init(|| {
            [counter!(ONLINE_CACHE, "result" => "hit"), counter!(ONLINE_CACHE, "result" => "miss")]
        });
        handles[0].increment(hits);
        handles[1].increment(misses);
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Meters").field(&self.service).finish()
    }
}
