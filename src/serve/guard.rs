//! The leak guard: which features of a training set would have had values that nobody had at the row's time.
//!
//! Two ways in which a value comes too late. A source's `availability_lag` says that its events are not there before it has
//! passed; training always leaves those out, and the guard counts the rows for which that made a difference. And larder
//! knows when it accepted each version: one that came after the row's time can be counted, or left out as well.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    offline::{Watch, Watched},
    registry::Resolved,
};

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LeakGuard {
    /// Nothing is counted.
    #[default]
    Off,
    /// Counts what the availability lag holds back.
    Lag,
    /// Counts also what was accepted only after the row's time.
    Report,
    /// Counts both, and leaves out what was accepted after the row's time.
    Exclude,
}

impl LeakGuard {
    pub fn is_off(&self) -> bool {
        *self == LeakGuard::Off
    }

    /// Whether acceptance is looked at.
    pub fn counts_acceptance(self) -> bool {
        matches!(self, LeakGuard::Report | LeakGuard::Exclude)
    }

    pub fn excludes(self) -> bool {
        self == LeakGuard::Exclude
    }
}

/// Rows of the spine for which a feature's value would have been made of what was not available yet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Leak {
    /// As in references: `view:feature`.
    pub feature: String,
    /// Some event was within its source's availability lag.
    pub within_lag: u64,
    /// Some version or event was accepted after the row's time.
    pub accepted_later: u64,
}

/// What is counted while a training set is made: by group, and by the feature's position in its view.
#[derive(Debug, Default)]
pub struct Leaks {
    pub guard: LeakGuard,
    counts: Mutex<BTreeMap<(usize, usize), (u64, u64)>>,
}

impl Leaks {
    pub fn new(guard: LeakGuard) -> Leaks {
        Leaks { guard, counts: Mutex::default() }
    }

    pub fn add(&self, group: usize, feature: usize, within_lag: u64, accepted_later: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = counts.entry((group, feature)).or_default();
        *counted = (counted.0 + within_lag, counted.1 + accepted_later);
    }

    /// Every feature that was looked up; nothing where the guard is off.
    pub fn finish(self, resolved: &Resolved) -> Vec<Leak> {
        let counts = self.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let leaks = counts.into_iter().map(|((group, feature), (within_lag, accepted_later))| {
            let group = &resolved.groups[group];
            let feature = format!("{}:{}", group.alias, group.view.features[feature].name);
            Leak { feature, within_lag, accepted_later }
        });
        leaks.collect()
    }
}

/// Adds the counts of another part of the same training set.
pub fn add_leaks(sum: &mut Vec<Leak>, part: Vec<Leak>) {
    if sum.is_empty() {
        *sum = part;
        return;
    }
    for (sum, part) in sum.iter_mut().zip(part) {
        sum.within_lag += part.within_lag;
        sum.accepted_later += part.accepted_later;
    }
}

/// Counts windows with events that came too late: per grouping and aggregation.
pub struct WindowLeaks(Vec<Vec<[AtomicU64; 2]>>);

impl WindowLeaks {
    /// `aggregations` of each grouping.
    pub fn new(aggregations: impl Iterator<Item = usize>) -> WindowLeaks {
        WindowLeaks(aggregations.map(|count| (0..count).map(|_| Default::default()).collect()).collect())
    }

    /// Within the lag, accepted later.
    pub fn of(&self, grouping: usize, aggregation: usize) -> (u64, u64) {
        let [lag, later] = &self.0[grouping][aggregation];
        (lag.load(Ordering::Relaxed), later.load(Ordering::Relaxed))
    }
}

impl Watch for WindowLeaks {
    fn window(&self, grouping: usize, aggregations: &[usize], window: &Watched<'_>) {
        let held_back = !window.held_back.is_empty();
        let later = window.accepted[window.within.clone()].iter().any(|&at| at > window.t);
        for &aggregation in aggregations {
            let [lag, accepted] = &self.0[grouping][aggregation];
            lag.fetch_add(held_back.into(), Ordering::Relaxed);
            accepted.fetch_add(later.into(), Ordering::Relaxed);
        }
    }
}
