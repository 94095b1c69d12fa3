//! Turns: the order in which the runs of different views are executed by the one thread there is.
//!
//! Within a view the run of the least moment comes first. Between views, scheduled and requested runs alternate while both
//! wait, and among runs of the same cause the views take turns. So a thousand runs that were requested of one view's past
//! delay the due run of another by the run in progress and one more, and due runs never starve what was requested.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    model::{TableId, Timestamp},
    shard::{Cause, Run},
};

/// Which views have had their turn, and when.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By view, the number of its last turn.
    last: BTreeMap<TableId, u64>,
    taken: u64,
    /// Of the run that had the last turn.
    cause: Option<Cause>,
}

/// The least has the next turn.
pub(super) type Rank = (bool, Reverse<bool>, u64, Timestamp);

impl Turns {
    pub fn rank(&self, view: TableId, run: &Run) -> Rank {
        let repeated = self.cause == Some(run.cause);
        // On the first turn no cause is repeated: what is due goes first.
        let scheduled = Reverse(run.cause == Cause::Schedule);
        (repeated, scheduled, self.last.get(&view).copied().unwrap_or(0), run.moment)
    }

    pub fn take(&mut self, view: TableId, run: &Run) {
        self.taken += 1;
        self.last.insert(view, self.taken);
        self.cause = Some(run.cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requested runs of the past, by view, and scheduled ones; a turn takes the least moment of a view, as its queue does.
    struct Waiting {
        turns: Turns,
        views: BTreeMap<u32, Vec<Run>>,
    }

    impl Waiting {
        fn new() -> Waiting {
            Waiting { turns: Turns::default(), views: BTreeMap::new() }
        }

        fn add(&mut self, view: u32, cause: Cause, moments: impl Iterator<Item = i64>) {
            let run = |moment| Run::queued(1, Timestamp::from_micros(moment), cause);
            self.views.entry(view).or_default().extend(moments.map(run));
        }

        /// The view and the cause of the run that comes next.
        fn next(&mut self) -> Option<(u32, Cause)> {
            let least = |runs: &Vec<Run>| runs.iter().min_by_key(|run| run.moment).cloned();
            let first = self.views.iter().filter_map(|(view, runs)| Some((*view, least(runs)?)));
            let (view, run) = first.min_by_key(|(view, run)| self.turns.rank(TableId(*view), run))?;
            self.turns.take(TableId(view), &run);
            self.views.get_mut(&view).unwrap().retain(|other| other.moment != run.moment);
            Some((view, run.cause))
        }
    }

    #[test]
    fn a_due_run_waits_for_one_requested_run_at_most() {
        for turns_before in 0..5 {
            let mut waiting = Waiting::new();
            (1..=5).for_each(|view| waiting.add(view, Cause::Request, 0..975));
            for _ in 0..turns_before {
                waiting.next().unwrap();
            }
            waiting.add(6, Cause::Schedule, 1000..1001);
            let order: Vec<u32> = (0..2).map(|_| waiting.next().unwrap().0).collect();
            assert!(order.contains(&6), "{order:?}");
        }
    }

    #[test]
    fn due_runs_do_not_starve_what_was_requested() {
        let mut waiting = Waiting::new();
        waiting.add(1, Cause::Request, 0..10);
        (2..=4).for_each(|view| waiting.add(view, Cause::Schedule, 1000..1010));
        let order: Vec<u32> = std::iter::from_fn(|| waiting.next()).map(|(view, _)| view).collect();
        assert_eq!(order[..8], [2, 1, 3, 1, 4, 1, 2, 1]);
        assert_eq!(order.len(), 40);
    }

    #[test]
    fn views_take_turns() {
        let mut waiting = Waiting::new();
        waiting.add(1, Cause::Request, 0..975);
        for _ in 0..100 {
            assert_eq!(waiting.next(), Some((1, Cause::Request)));
        }
        waiting.add(2, Cause::Request, 5000..5003);
        let order: Vec<u32> = (0..7).map(|_| waiting.next().unwrap().0).collect();
        assert_eq!(order, [2, 1, 2, 1, 2, 1, 1]);
    }
}
