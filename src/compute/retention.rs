//! Which versions of an entity may be forgotten, so that nobody who reads from the horizon on can tell.
//!
//! A version that counts at the horizon (now − retention) goes on counting however old it is, as it does in the online store: a
//! read at a moment from the horizon on, of what was known at a moment from the horizon on, answers as if nothing had been
//! forgotten. So a version goes when the next of its entity is by the horizon there to be seen in its place, or when it
//! is older than every ttl that it is read by.
//!
//! A tombstone that is the newest stays: an older version that arrives late must not count.

/// When a version is there to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Microseconds, as are all times here.
    pub event_time: i64,
    pub accepted_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    pub time: i64,
    /// The longest by which the versions are read; none where one is without.
    pub ttl: Option<i64>,
}

impl Horizon {
    /// `next`: the next version of the same entity in the order of (event time, seq), or any later one.
    pub fn forgets(&self, version: Stamp, next: Option<Stamp>) -> bool {
        let superseded = next.is_some_and(|next| next.event_time.max(next.accepted_at) <= self.time);
        superseded || self.expires(version.event_time)
    }

    /// Whether versions of that event time have a value at no moment from the horizon on.
    pub fn expires(&self, event_time: i64) -> bool {
        self.ttl.is_some_and(|ttl| self.time.saturating_sub(event_time) > ttl)
    }

    /// The later of the two; what was forgotten stays so.
    pub fn later(self, other: Option<Horizon>) -> Horizon {
        other.filter(|other| other.time > self.time).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct Version {
        stamp: Stamp,
        deleted: bool,
        value: u8,
    }

    /// The value at `at` of what was known at `known`; `versions` in order of (event time, seq).
    fn value(versions: &[Version], at: i64, known: i64, ttl: Option<i64>) -> Option<u8> {
        let seen = |version: &&Version| version.stamp.event_time <= at && version.stamp.accepted_at <= known;
        let newest = versions.iter().rfind(seen)?;
        let within = ttl.is_none_or(|ttl| at - newest.stamp.event_time <= ttl);
        (within && !newest.deleted).then_some(newest.value)
    }

    fn versions() -> impl Strategy<Value = Vec<Version>> {
        let version = (-20_i64..20, 0_i64..20, any::<bool>(), any::<u8>());
        proptest::collection::vec(version, 0..12).prop_map(|mut versions| {
            // The order of acceptance is that of arrival; the sort keeps it among equal event times.
            let mut accepted = 0;
            for version in &mut versions {
                accepted += version.1 / 4;
                version.1 = accepted;
            }
            versions.sort_by_key(|version| version.0);
            versions
                .into_iter()
                .map(|(event_time, accepted_at, deleted, value)| Version {
                    stamp: Stamp { event_time, accepted_at },
                    deleted,
                    value,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn reads_from_the_horizon_on_answer_as_if_nothing_was_forgotten(
            versions in versions(),
            time in -25_i64..40,
            ttl in proptest::option::of(0_i64..30),
            late in -25_i64..25,
        ) {
            let horizon = Horizon { time, ttl };
            let next = |at: usize| versions.get(at + 1).map(|version| version.stamp);
            let kept: Vec<Version> = (0..versions.len())
                .filter(|&at| !horizon.forgets(versions[at].stamp, next(at)))
                .map(|at| versions[at])
                .collect();
            // What arrives late, after the horizon, comes to the same.
            let late = Version { stamp: Stamp { event_time: late, accepted_at: time.max(20) + 1 }, deleted: false, value: 0 };
            let with = |versions: &[Version]| {
                let mut versions = versions.to_vec();
                let at = versions.partition_point(|version| version.stamp.event_time <= late.stamp.event_time);
                versions.insert(at, late);
                versions
            };
            for at in time..time + 40 {
                for known in [time, time + 5, i64::MAX] {
                    prop_assert_eq!(value(&kept, at, known, ttl), value(&versions, at, known, ttl));
                    prop_assert_eq!(value(&with(&kept), at, known, ttl), value(&with(&versions), at, known, ttl));
                }
            }
            // And no more is kept than that takes, where all was accepted by the horizon.
            if versions.iter().all(|version| version.stamp.accepted_at <= time) {
                let old = kept.iter().filter(|version| version.stamp.event_time <= time).count();
                prop_assert!(old <= 1);
            }
        }
    }
}
