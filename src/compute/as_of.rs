//! Point-in-time selection: for each (key, time) of a spine, the newest version of that key at that time.
//!
//! The rule (semantics.md): the version with the greatest `(event_time, seq)` among those with
//! `event_time + lag <= t` and, where asked, `accepted_at <= known_at`; a tombstone means no value; the age limit
//! is checked after the choice.
//!
//! The spine is put in order once, by key and time. History is then offered in any number of pieces, in any order,
//! from any number of threads: each thread's [`Sweep`] keeps the best version seen so far for each spine row, and
//! sweeps are merged at the end. History that comes sorted by (key, time, seq) is walked side by side with the
//! spine, without hashing; unsorted history gives the same answer, slower.

use std::ops::Range;

use arrow::array::BooleanArray;

pub use crate::spine::Spine;

/// Where a version's row is: row `row` of source `source`; the caller numbers its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub source: u32,
    pub row: u32,
}

/// One version of a key, without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Microseconds.
    pub event_time: i64,
    pub seq: i64,
    pub place: Place,
    pub deleted: bool,
}

impl Version {
    fn order(&self) -> (i64, i64) {
        (self.event_time, self.seq)
    }
}

/// What became of one spine row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// There is a version; its values may be null.
    Present = 0,
    /// No version at or before the time, or the newest is a tombstone.
    NotFound = 1,
    /// The newest version is older than the age limit.
    OutsideMaxAge = 2,
}

/// The outcome at time `t` (microseconds) when `newest` is the version chosen for it.
pub fn judge(newest: Option<&Version>, t: i64, ttl: Option<i64>) -> Outcome {
    newest.map_or(Outcome::NotFound, |version| age_judgement(version.deleted, version.event_time, t, ttl))
}

/// The same for the parts of a version that the online store keeps.
pub fn age_judgement(deleted: bool, event_time: i64, t: i64, ttl: Option<i64>) -> Outcome {
    if deleted {
        Outcome::NotFound
    } else if ttl.is_some_and(|ttl| t.saturating_sub(event_time) > ttl) {
        Outcome::OutsideMaxAge
    } else {
        Outcome::Present
    }
}

/// Rows of history, column by column; slices are equally long.
pub struct Rows<'a> {
    pub event_times: &'a [i64],
    pub seqs: &'a [i64],
    /// Not looked at, and may be empty, where [`Seen::looks_at_acceptance`] is false.
    pub accepted_at: &'a [i64],
    pub deleted: &'a BooleanArray,
    /// Where the first of them is; the others follow it.
    pub first: Place,
}

impl Rows<'_> {
    fn version(&self, row: usize) -> Version {
        Version {
            event_time: self.event_times[row],
            seq: self.seqs[row],
            place: Place { source: self.first.source, row: self.first.row + row as u32 },
            deleted: self.deleted.value(row),
        }
    }
}

/// Which versions there are for a join.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Those accepted later (microseconds) are not.
    pub known_at: i64,
    /// Those with this seq or a higher one are not.
    pub before: i64,
    /// Those accepted after a question's own time are not there for that question.
    pub by_then: bool,
}

impl Seen {
    pub const ALL: Seen = Seen { known_at: i64::MAX, before: i64::MAX, by_then: false };

    pub fn looks_at_acceptance(&self) -> bool {
        self.known_at != i64::MAX || self.by_then
    }

    fn has(&self, rows: &Rows<'_>, row: usize) -> bool {
        (self.known_at == i64::MAX || rows.accepted_at[row] <= self.known_at) && rows.seqs[row] < self.before
    }
}

/// The best version seen so far for each question. One per thread.
pub struct Sweep<'a> {
    spine: &'a Spine,
    seen: Seen,
    best: Vec<Option<Version>>,
    held: Option<Held>,
    /// Rank of the key offered last, or of the next one asked for.
    near: usize,
}

/// The newest version of the current key so far, and the first slot that it may answer.
struct Held {
    key: u32,
    version: Version,
    slot: usize,
}

impl<'a> Sweep<'a> {
    pub fn new(spine: &'a Spine, seen: Seen) -> Self {
        Self { spine, seen, best: vec![None; spine.times.len()], held: None, near: 0 }
    }

    /// Takes `range` of `rows`, all of them versions of `key`.
    pub fn offer(&mut self, key: &[u8], rows: &Rows<'_>, range: Range<usize>) {
        if let Some(rank) = self.rank(key) {
            self.offer_rank(rank, rows, range);
        }
    }

    /// The number of a key in the order of keys; none where no row of the spine asks for it. Fast for the next key asked for.
    pub fn rank(&mut self, key: &[u8]) -> Option<u32> {
        self.near = self.spine.first_not_below(key, self.near);
        let asked = self.near < self.spine.keys() && self.spine.key(self.near) == key;
        asked.then_some(self.near as u32)
    }

    /// The same as [`Sweep::offer`] of the key of that rank.
    pub fn offer_rank(&mut self, key: u32, rows: &Rows<'_>, range: Range<usize>) {
        let slots = self.spine.slots(key);
        if self.held.as_ref().is_some_and(|held| held.key != key) {
            self.release();
        }
        if self.seen.by_then {
            return self.seed(slots, rows, range);
        }
        for row in range {
            if !self.seen.has(rows, row) {
                continue;
            }
            let time = rows.event_times[row];
            match &mut self.held {
                Some(held) if (time, rows.seqs[row]) > held.version.order() => {
                    while held.slot < slots.end && self.spine.times[held.slot] < time {
                        keep(&mut self.best[held.slot], held.version);
                        held.slot += 1;
                    }
                    held.version = rows.version(row);
                }
                _ => {
                    // The first of its key, or out of order: it starts a new ascent.
                    self.release();
                    let before = self.spine.times[slots.clone()].partition_point(|&t| t < time);
                    self.held = Some(Held { key, version: rows.version(row), slot: slots.start + before });
                }
            }
        }
    }

    /// Notes each version at the first of its key's slots that it may answer; [`Sweep::finish`] takes it on from there.
    /// A version that was accepted late begins later than its event time says.
    fn seed(&mut self, slots: Range<usize>, rows: &Rows<'_>, range: Range<usize>) {
        let times = &self.spine.times[slots.clone()];
        for row in range.filter(|row| self.seen.has(rows, *row)) {
            let accepted = rows.accepted_at[row].saturating_sub(self.spine.lag);
            let first = times.partition_point(|&t| t < rows.event_times[row].max(accepted));
            if first < times.len() {
                keep(&mut self.best[slots.start + first], rows.version(row));
            }
        }
    }

    /// Takes what another sweep over the same spine has found.
    pub fn merge(&mut self, mut other: Sweep<'_>) {
        other.release();
        self.release();
        for (mine, theirs) in self.best.iter_mut().zip(other.best) {
            if let Some(version) = theirs {
                keep(mine, version);
            }
        }
    }

    /// The newest version for each question, in the order of [`Spine::questions`].
    pub fn finish(mut self) -> Vec<Option<Version>> {
        self.release();
        if self.seen.by_then {
            self.carry();
        }
        self.best
    }

    /// What answers a slot answers the later ones of its key too, where nothing newer does.
    fn carry(&mut self) {
        for key in 0..self.spine.keys() as u32 {
            let mut newest = None;
            for best in &mut self.best[self.spine.slots(key)] {
                if let Some(version) = newest {
                    keep(best, version);
                }
                newest = *best;
            }
        }
    }

    /// The held version answers all later slots of its key too.
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            for best in &mut self.best[held.slot..self.spine.slots(held.key).end] {
                keep(best, held.version);
            }
        }
    }
}

fn keep(best: &mut Option<Version>, version: Version) {
    if best.is_none_or(|best| best.order() < version.order()) {
        *best = Some(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    struct Row {
        key: u8,
        time: i64,
        accepted: i64,
        deleted: bool,
    }

    fn row() -> impl Strategy<Value = Row> {
        (0..4u8, -6..6i64, -6..10i64, prop::bool::weighted(0.2))
            .prop_map(|(key, time, accepted, deleted)| Row { key, time, accepted, deleted })
    }

    /// Row number = seq. The rule, word for word.
    fn naive(
        rows: &[Row],
        key: Option<u8>,
        t: i64,
        ttl: Option<i64>,
        lag: i64,
        seen: Seen,
    ) -> (Option<i64>, Outcome) {
        let newest = rows
            .iter()
            .enumerate()
            .filter(|(seq, row)| {
                Some(row.key) == key
                    && row.time + lag <= t
                    && row.accepted <= seen.known_at
                    && (*seq as i64) < seen.before
                    && (!seen.by_then || row.accepted <= t)
            })
            .max_by_key(|(seq, row)| (row.time, *seq));
        match newest {
            None => (None, Outcome::NotFound),
            Some((seq, row)) if row.deleted => (Some(seq as i64), Outcome::NotFound),
            Some((seq, row)) if ttl.is_some_and(|ttl| t - row.time > ttl) => {
                (Some(seq as i64), Outcome::OutsideMaxAge)
            }
            Some((seq, _)) => (Some(seq as i64), Outcome::Present),
        }
    }

    /// Offers `order` (seqs) to a sweep, in batches of `step`, and run by run within a batch.
    fn offer(sweep: &mut Sweep<'_>, rows: &[Row], order: &[usize], step: usize, source: u32) {
        for (batch, seqs) in order.chunks(step).enumerate() {
            let times: Vec<i64> = seqs.iter().map(|&s| rows[s].time).collect();
            let accepted: Vec<i64> = seqs.iter().map(|&s| rows[s].accepted).collect();
            let deleted: BooleanArray = seqs.iter().map(|&s| Some(rows[s].deleted)).collect();
            let numbers: Vec<i64> = seqs.iter().map(|&s| s as i64).collect();
            let columns = Rows {
                event_times: &times,
                seqs: &numbers,
                accepted_at: &accepted,
                deleted: &deleted,
                first: Place { source, row: (batch * step) as u32 },
            };
            let mut start = 0;
            while start < seqs.len() {
                let key = rows[seqs[start]].key;
                let length = seqs[start..].iter().take_while(|&&s| rows[s].key == key).count();
                sweep.offer(&[key], &columns, start..start + length);
                start += length;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_split_and_order_of_history_gives_the_naive_answer(
            rows in prop::collection::vec(row(), 0..40),
            questions in prop::collection::vec((prop::option::weighted(0.9, 0..5u8), -8..8i64), 0..20),
            ttl in prop::option::of(0..6i64),
            lag in 0..4i64,
            known_at in prop::option::of(0..10i64),
            before in prop_oneof![Just(i64::MAX), 0..40i64],
            by_then: bool,
            cut in 0..40usize,
            sorted: bool,
            step in 1..9usize,
        ) {
            let bytes: Vec<u8> = questions.iter().filter_map(|q| q.0).collect();
            let mut offsets = vec![0u32];
            for (key, _) in &questions {
                offsets.push(offsets[offsets.len() - 1] + u32::from(key.is_some()));
            }
            let times: Vec<i64> = questions.iter().map(|q| q.1).collect();
            let spine = Spine::new(&bytes, &offsets, &times, lag);
            let seen = Seen { known_at: known_at.unwrap_or(i64::MAX), before, by_then };

            let cut = cut.min(rows.len());
            let mut parts = [(0..cut).collect::<Vec<_>>(), (cut..rows.len()).collect()];
            let mut sweeps = Vec::new();
            for (source, part) in parts.iter_mut().enumerate() {
                if sorted {
                    part.sort_by_key(|&s| (rows[s].key, rows[s].time, s));
                }
                let mut sweep = Sweep::new(&spine, seen);
                offer(&mut sweep, &rows, part, step, source as u32);
                sweeps.push(sweep);
            }
            let second = sweeps.pop().unwrap();
            let mut first = sweeps.pop().unwrap();
            first.merge(second);

            let mut answers = vec![None; questions.len()];
            for ((row, t), newest) in spine.questions().zip(first.finish()) {
                prop_assert_eq!(t, questions[row].1);
                answers[row] = newest;
            }
            for ((&(key, t), newest), row) in questions.iter().zip(answers).zip(0..) {
                let (seq, outcome) = naive(&rows, key, t, ttl, lag, seen);
                prop_assert_eq!(newest.map(|v| v.seq), seq, "spine row {}", row);
                prop_assert_eq!(judge(newest.as_ref(), t, ttl), outcome);
                if let Some(v) = newest {
                    prop_assert_eq!(parts[v.place.source as usize][v.place.row as usize], v.seq as usize);
                }
            }
        }
    }

    #[test]
    fn the_age_limit_is_inclusive() {
        let version = Version { event_time: 10, seq: 0, place: Place { source: 0, row: 0 }, deleted: false };
        assert_eq!(judge(Some(&version), 15, Some(5)), Outcome::Present);
        assert_eq!(judge(Some(&version), 16, Some(5)), Outcome::OutsideMaxAge);
        assert_eq!(judge(Some(&version), 10, Some(0)), Outcome::Present);
        assert_eq!(judge(None, 10, None), Outcome::NotFound);
    }
}
