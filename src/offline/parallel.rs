//! Work on all cores.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::offline::OfflineError;

/// Runs `work` for each item on all cores (`most` at most), each thread with a state of its own; returns the states.
pub(super) fn in_parallel<T: Sync, S: Send>(
    items: &[T],
    most: usize,
    new_state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<(), OfflineError> + Sync,
) -> Result<Vec<S>, OfflineError> {
    let cores = thread::available_parallelism().map_or(1, usize::from).min(most).min(items.len());
    let next = AtomicUsize::new(0);
    let run = || {
        let mut state = new_state();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(&mut state, item)?;
        }
        Ok(state)
    };
    if cores <= 1 {
        return if items.is_empty() { Ok(Vec::new()) } else { run().map(|state| vec![state]) };
    }
    thread::scope(|scope| {
        let threads: Vec<_> = (1..cores).map(|_| scope.spawn(run)).collect();
        let mut states = vec![run()];
        for thread in threads {
            states.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        states.into_iter().collect()
    })
}
