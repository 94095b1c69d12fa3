//! Work that may wait: writing out, sealing, merging. It runs on threads that the system puts after those that answer.

use rustix::process::{getpriority_process, setpriority_process};

/// How much nicer such a thread is than the process: beside a thread that answers it gets about a fifth of a core.
const NICER: i32 = 7;
/// The nicest that there is.
const NICEST: i32 = 19;

/// From now on this thread, and each that it starts, may wait for others. There is no way back without privileges, so a
/// thread says it of itself where it begins.
pub fn may_wait() {
    // On Linux `None`, the calling process, is the calling thread.
    let lowered = getpriority_process(None).and_then(|now| {
        let nice = NICEST.min(now + NICER);
        setpriority_process(None, nice)
    });
    if let Err(error) = lowered {
        tracing::debug!(%error, "a thread whose work may wait has the priority of all others");
    }
}

/// The work of a new thread, which may wait.
pub fn waiting<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    move || {
        may_wait();
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_those_it_starts_wait_and_others_do_not() {
        let before = getpriority_process(None).unwrap();
        let nice = std::thread::spawn(waiting(|| {
            let of_a_child = std::thread::spawn(|| getpriority_process(None).unwrap()).join().unwrap();
            (getpriority_process(None).unwrap(), of_a_child)
        }));
        let (own, of_a_child) = nice.join().unwrap();
        assert_eq!((own, of_a_child), (19.min(before + NICER), own));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn the_nicest_stays_what_it_is() {
        let nice = std::thread::spawn(|| {
            for _ in 0..4 {
                may_wait();
            }
            getpriority_process(None).unwrap()
        });
        assert_eq!(nice.join().unwrap(), 19);
    }
}
