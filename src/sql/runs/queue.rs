//! The runs of one view: what is due, what comes next, what is kept.

use std::collections::BTreeMap;

use crate::{
    model::Timestamp,
    shard::{Cause, Run, RunState},
};

/// Finished runs that are kept of a view.
const KEPT: usize = 500;

/// How a view's runs are, as it is shown.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Overview {
    pub view: String,
    pub schedule: String,
    /// When the next run is due.
    pub next: Option<Timestamp>,
    /// `failing`: the last attempt failed, and there will be another; `failed`: none.
    pub state: &'static str,
    /// The greatest moment of a run that succeeded, and when it did.
    pub last_success: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    /// Newest first.
    pub runs: Vec<Run>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    runs: BTreeMap<u64, Run>,
    /// One past the greatest number of a run that is being stored.
    held: u64,
    /// Holds that were not released.
    holds: usize,
}

impl Queue {
    pub fn new(runs: impl Iterator<Item = Run>) -> Queue {
        Queue { runs: runs.map(|run| (run.number, run)).collect(), held: 0, holds: 0 }
    }

    pub fn next_number(&self) -> u64 {
        self.runs.last_key_value().map_or(1, |(last, _)| last + 1).max(self.held)
    }

    /// Keeps the numbers of `runs` from being given again until they are stored.
    pub fn hold(&mut self, runs: &[Run]) {
        self.held = self.next_number() + runs.len() as u64;
        self.holds += 1;
    }

    pub fn release(&mut self) {
        self.holds -= 1;
        if self.holds == 0 {
            self.held = 0;
        }
    }

    /// Runs that are still to be done, with those that are being stored.
    pub fn pending(&self) -> usize {
        let stored = self.runs.values().filter(|run| run.is_open()).count();
        let next = self.runs.last_key_value().map_or(1, |(last, _)| last + 1);
        stored + self.held.saturating_sub(next) as usize
    }

    pub fn set(&mut self, run: Run) {
        self.runs.insert(run.number, run);
    }

    pub fn remove(&mut self, number: u64) {
        self.runs.remove(&number);
    }

    /// The newest moment for which the schedule has made a run.
    pub fn last_scheduled(&self) -> Option<Timestamp> {
        let scheduled = self.runs.values().filter(|run| run.cause == Cause::Schedule);
        scheduled.map(|run| run.moment).max()
    }

    /// Has runs that wait for their next attempt wait no longer.
    pub fn hurry(&mut self) {
        self.runs.values_mut().for_each(|run| run.next_try = None);
    }

    /// Whether a run of a moment up to `moment` is still to be done.
    pub fn waits_for(&self, moment: Timestamp) -> bool {
        self.runs.values().any(|run| run.is_open() && run.moment <= moment)
    }

    /// The run that comes next, where its time has come: the one of the least moment. One that waits for its next attempt
    /// holds up those after it, so that an incremental query leaves nothing out.
    pub fn next(&self, now: Timestamp) -> Option<&Run> {
        let open = self.runs.values().filter(|run| run.is_open());
        open.min_by_key(|run| (run.moment, run.number)).filter(|run| run.next_try.is_none_or(|at| at <= now))
    }

    /// Up to which moment before `moment` runs of the same query have succeeded.
    pub fn covered(&self, query: u64, moment: Timestamp) -> Option<Timestamp> {
        let done = self.runs.values().filter(|run| run.state == RunState::Done && run.query == Some(query));
        done.map(|run| run.moment).filter(|done| *done < moment).max()
    }

    /// Finished runs that are too many; never the one by which it is known what was due last.
    pub fn surplus(&self) -> Vec<u64> {
        let last = self.last_scheduled();
        let finished = self.runs.values().filter(|run| !run.is_open());
        let spare = finished.filter(|run| run.cause != Cause::Schedule || Some(run.moment) != last);
        let numbers: Vec<u64> = spare.map(|run| run.number).collect();
        let surplus = numbers.len().saturating_sub(KEPT);
        numbers[..surplus].to_vec()
    }

    pub fn overview(&self, view: &str, schedule: &str, next: Option<Timestamp>) -> Overview {
        let successes = self.runs.values().filter(|run| run.state == RunState::Done);
        let newest = self.runs.values().next_back();
        let state = match newest {
            _ if self.runs.values().any(|run| run.state == RunState::Running) => "running",
            _ if self.runs.values().any(|run| run.is_open() && run.attempts > 0) => "failing",
            _ if self.runs.values().any(Run::is_open) => "queued",
            Some(run) if run.state == RunState::Failed => "failed",
            _ => "idle",
        };
        Overview {
            view: view.to_owned(),
            schedule: schedule.to_owned(),
            next,
            state,
            last_success: successes.clone().map(|run| run.moment).max(),
            last_success_at: successes.filter_map(|run| run.finished).max(),
            runs: self.runs.values().rev().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64, moment: i64, state: RunState) -> Run {
        let mut run = Run::queued(number, Timestamp::from_micros(moment), Cause::Schedule);
        run.state = state;
        run.query = Some(7);
        run
    }

    #[test]
    fn pending_are_open_runs_and_those_that_are_being_stored() {
        let mut queue = Queue::new([run(1, 10, RunState::Done), run(2, 20, RunState::Queued)].into_iter());
        assert_eq!(queue.pending(), 1);
        queue.hold(&[run(3, 30, RunState::Queued), run(4, 40, RunState::Queued)]);
        assert_eq!(queue.pending(), 3);
        queue.set(run(3, 30, RunState::Queued));
        queue.set(run(4, 40, RunState::Queued));
        queue.release();
        assert_eq!(queue.pending(), 3);
    }

    #[test]
    fn the_oldest_moment_comes_first_and_waits_for_its_time() {
        let mut queue = Queue::new([run(1, 30, RunState::Queued), run(2, 10, RunState::Queued)].into_iter());
        let now = Timestamp::from_micros(100);
        assert_eq!(queue.next(now).unwrap().number, 2);
        queue.set(Run { next_try: Some(Timestamp::from_micros(101)), ..run(2, 10, RunState::Queued) });
        assert!(queue.next(now).is_none());
        queue.set(run(2, 10, RunState::Failed));
        assert_eq!(queue.next(now).unwrap().number, 1);
        assert!(queue.waits_for(now) && !queue.waits_for(Timestamp::from_micros(29)));
    }

    #[test]
    fn an_incremental_run_goes_on_where_the_last_before_it_ended() {
        let queue = Queue::new(
            [run(1, 10, RunState::Done), run(2, 20, RunState::Done), run(3, 30, RunState::Failed)]
                .into_iter(),
        );
        let covered = |moment| queue.covered(7, Timestamp::from_micros(moment)).map(Timestamp::micros);
        assert_eq!([covered(10), covered(20), covered(40)], [None, Some(10), Some(20)]);
        assert_eq!(queue.covered(8, Timestamp::from_micros(40)), None);
    }

    #[test]
    fn history_is_bounded_and_keeps_what_was_due_last() {
        let due = run(1, 1_000, RunState::Done);
        let asked = (2..700).map(|n| Run { cause: Cause::Request, ..run(n, 5, RunState::Done) });
        let queue = Queue::new(std::iter::once(due).chain(asked));
        let surplus = queue.surplus();
        assert_eq!(surplus.len(), 698 - KEPT);
        assert!(!surplus.contains(&1));
    }
}
