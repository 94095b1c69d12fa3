//! Work on all cores.

use std::{
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicIsize, AtomicUsize, Ordering},
    },
    thread::{self, Scope},
};

use crate::offline::OfflineError;

/// Cores that nothing works on. All that runs side by side, or one inside the other, takes threads out of this one number:
/// together they are as many as there are cores, and none is left idle while another has work to give away.
static IDLE: LazyLock<AtomicIsize> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    AtomicIsize::new(cores as isize - 1)
});

/// A core taken out of [`IDLE`].
struct Core;

impl Core {
    fn take() -> Option<Core> {
        let taken = |idle: isize| (idle > 0).then_some(idle - 1);
        IDLE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok().map(|_| Core)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        IDLE.fetch_add(1, Ordering::Relaxed);
    }
}

/// The core of a thread that waits for others. Taken back even where somebody is at work on it: the thread goes on.
struct Lent;

impl Lent {
    fn new() -> Lent {
        IDLE.fetch_add(1, Ordering::Relaxed);
        Lent
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        IDLE.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Job<'a, T, S, N, W> {
    items: &'a [T],
    next: AtomicUsize,
    /// Threads that may still be added.
    room: AtomicUsize,
    new_state: N,
    work: W,
    done: Mutex<Vec<Result<S, OfflineError>>>,
}

/// Runs `work` for each item on all cores that are idle (`most` at most), each thread with a state of its own; returns the
/// states.
pub(super) fn in_parallel<T: Sync, S: Send>(
    items: &[T],
    most: usize,
    new_state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<(), OfflineError> + Sync,
) -> Result<Vec<S>, OfflineError> {
    let room = AtomicUsize::new(most.saturating_sub(1));
    let job = Job { items, next: AtomicUsize::new(0), room, new_state, work, done: Mutex::default() };
    let mut lent = None;
    thread::scope(|scope| {
        job.take_part(scope);
        lent = Some(Lent::new());
    });
    drop(lent);
    job.done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
}

/// What `work` makes of each item, in the items' order; on all cores that are idle, `most` at most.
pub(super) fn map_in_parallel<T: Sync, R: Send>(
    items: &[T],
    most: usize,
    work: impl Fn(&T) -> Result<R, OfflineError> + Sync,
) -> Result<Vec<R>, OfflineError> {
    let numbered: Vec<(usize, &T)> = items.iter().enumerate().collect();
    let made = in_parallel(&numbered, most, Vec::new, |made: &mut Vec<(usize, R)>, (number, item)| {
        made.push((*number, work(item)?));
        Ok(())
    })?;
    let mut made: Vec<(usize, R)> = made.into_iter().flatten().collect();
    made.sort_unstable_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}

impl<T, S, N, W> Job<'_, T, S, N, W>
where
    T: Sync,
    S: Send,
    N: Fn() -> S + Sync,
    W: Fn(&mut S, &T) -> Result<(), OfflineError> + Sync,
{
    fn take_part<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut state = None;
        let result = loop {
            let Some(item) = self.next_item(scope) else { break Ok(()) };
            let state = state.get_or_insert_with(&self.new_state);
            if let Err(error) = (self.work)(state, item) {
                break Err(error);
            }
        };
        if let Some(state) = state {
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push(result.map(|()| state));
        }
    }

    /// Where there are more items after the next one, and a core is idle, another thread takes part.
    fn next_item<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Option<&'scope T> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        if at + 1 < self.items.len()
            && let Some(core) = self.helper()
        {
            scope.spawn(move || {
                let _core = core;
                self.take_part(scope);
            });
        }
        self.items.get(at)
    }

    fn helper(&self) -> Option<Core> {
        let core = Core::take()?;
        let less = |room: usize| room.checked_sub(1);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok().map(|_| core)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn each_item_is_worked_on_once_and_answers_keep_the_order_one_inside_the_other() {
        let items: Vec<usize> = (0..50).collect();
        let squares = map_in_parallel(&items, usize::MAX, |outer| {
            let inner = map_in_parallel(&items, usize::MAX, |inner| Ok(outer * inner))?;
            assert_eq!(inner, items.iter().map(|inner| outer * inner).collect::<Vec<_>>());
            Ok(inner.len() * outer)
        });
        assert_eq!(squares.unwrap(), items.iter().map(|outer| outer * 50).collect::<Vec<_>>());
        assert!(map_in_parallel(&[] as &[u8], 1, |_| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn there_are_no_more_states_than_allowed() {
        let made = AtomicUsize::new(0);
        let new_state = || made.fetch_add(1, Ordering::Relaxed);
        let states = in_parallel(&[0; 100], 1, new_state, |_, _| {
            thread::yield_now();
            Ok(())
        });
        assert_eq!(states.unwrap(), [0]);
    }

    #[test]
    fn an_error_is_the_answer() {
        let failed = AtomicBool::new(false);
        let answer = map_in_parallel(&[0; 20], usize::MAX, |_| match failed.swap(true, Ordering::Relaxed) {
            true => Ok(()),
            false => Err(OfflineError::corrupt(std::path::Path::new("it"), "broken")),
        });
        assert!(matches!(answer, Err(OfflineError::Corrupt { .. })));
    }
}
