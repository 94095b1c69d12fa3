//! The parts of a history that can matter, to be read on all cores.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::offline::{
    History, OfflineError,
    evolve::conform,
    parallel::{in_parallel, map_in_parallel},
    segment_read::Footer,
};

/// Rows that are read at a time.
const STEP: usize = 1 << 16;

/// Event times from the first on, before the second, in microseconds.
pub(super) type Times = std::ops::Range<i64>;

/// What is to be read, in order of event time as far as that is known.
pub(super) struct Tasks<'a> {
    history: &'a History,
    footers: Vec<Footer>,
    tasks: Vec<Task>,
    /// The parts' event times do not overlap and each is in order: an event's place says all about its order.
    pub ordered: bool,
}

/// A row group of a segment, or a batch of the tail.
#[derive(Clone, Copy)]
enum Task {
    Group { footer: usize, group: usize, rows: u64 },
    Tail(usize),
}

impl<'a> Tasks<'a> {
    pub fn new(history: &'a History, times: &Times) -> Result<Tasks<'a>, OfflineError> {
        let within = |bounds: Option<(i64, i64)>| {
            bounds.is_none_or(|(least, greatest)| least < times.end && greatest >= times.start)
        };
        let mut segments: Vec<_> =
            history.snapshot.segments.iter().filter(|segment| within(segment.event_time)).collect();
        segments.sort_by_key(|segment| segment.event_time);
        let apart = segments.is_sorted_by(|before, after| match (before.event_time, after.event_time) {
            (Some((_, end)), Some((start, _))) => end < start,
            _ => false,
        });
        let footers = map_in_parallel(&segments, usize::MAX, |segment| Footer::read(segment))?;
        let mut tasks = Vec::new();
        for (footer, it) in footers.iter().enumerate() {
            for (group, bounds) in it.groups(&history.layout).into_iter().enumerate() {
                if within(bounds.event_time) {
                    tasks.push(Task::Group { footer, group, rows: bounds.rows });
                }
            }
        }
        tasks.extend((0..history.tail.len()).map(Task::Tail));
        Ok(Tasks { history, footers, tasks, ordered: apart && history.tail.is_empty() })
    }

    /// Gives `work` each part's rows, batch by batch, in the shape of `target`. A part's number says where it stands in
    /// the order; each thread has a state of its own.
    pub fn run<S: Send>(
        &self,
        target: &SchemaRef,
        new_state: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, usize, RecordBatch) -> Result<(), OfflineError> + Sync,
    ) -> Result<Vec<S>, OfflineError> {
        let mut numbered: Vec<(usize, Task)> = self.tasks.iter().copied().enumerate().collect();
        // Large ones first, so that no core is left with one at the end.
        numbered.sort_by_key(|(_, task)| std::cmp::Reverse(self.rows(*task)));
        in_parallel(&numbered, usize::MAX, new_state, |state, &(number, task)| match task {
            Task::Group { footer, group, .. } => {
                let batches = self.footers[footer].rows(target, Some(group), STEP)?;
                batches.into_iter().try_for_each(|batch| work(state, number, batch?))
            }
            Task::Tail(at) => {
                let batch = conform(&self.history.tail[at], target);
                let batch = batch.map_err(OfflineError::columns(&self.history.layout.table))?;
                (0..batch.num_rows()).step_by(STEP).try_for_each(|from| {
                    work(state, number, batch.slice(from, STEP.min(batch.num_rows() - from)))
                })
            }
        })
    }

    fn rows(&self, task: Task) -> u64 {
        match task {
            Task::Group { rows, .. } => rows,
            Task::Tail(at) => self.history.tail[at].num_rows() as u64,
        }
    }
}
