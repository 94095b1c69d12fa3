//! The threads that serve connections.
//!
//! Each runs a runtime of its own, and a connection stays with the thread that it was given to: a request is read, answered
//! and written where it arrived, and no thread has to wake another. A shared runtime answered 64,800 small reads a second where
//! these answer 70,500 (benches/RESULTS.md).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// Threads for blocking work (training sets, ingestion's decoding), of all workers together.
const BLOCKING_THREADS: usize = 512;

/// Dropping it ends the threads, once the blocking work that they began is done.
pub struct Workers {
    seats: Seats,
    /// Each ends when its sender is dropped.
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Where connections can be served; cheap to clone.
#[derive(Clone)]
pub struct Seats(Arc<[Worker]>);

struct Worker {
    runtime: Handle,
    connections: AtomicUsize,
}

/// A connection's place on a thread, free again when dropped.
pub(super) struct Seat {
    workers: Seats,
    index: usize,
}

impl Workers {
    pub fn start(count: usize) -> io::Result<Workers> {
        let count = count.max(1);
        let (mut threads, mut workers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS.div_ceil(count))
                .thread_name("larder-blocking")
                .build()?;
            workers.push(Worker { runtime: runtime.handle().clone(), connections: AtomicUsize::new(0) });
            let (stop, stopped) = oneshot::channel::<()>();
            let work = move || {
                // An error means that the sender is gone: a reason to stop, too.
                let _ = runtime.block_on(stopped);
            };
            let join = std::thread::Builder::new().name("larder-worker".to_owned()).spawn(work)?;
            threads.push((stop, join));
        }
        Ok(Workers { seats: Seats(workers.into()), threads })
    }

    pub fn seats(&self) -> Seats {
        self.seats.clone()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // All are told before the first is waited for.
        let (stop, threads): (Vec<_>, Vec<_>) = std::mem::take(&mut self.threads).into_iter().unzip();
        drop(stop);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Seats {
    /// On the thread that has the fewest connections.
    pub(super) fn take(&self) -> Seat {
        let load = |worker: &Worker| worker.connections.load(Ordering::Relaxed);
        let least = self.0.iter().enumerate().min_by_key(|(_, worker)| load(worker));
        let index = least.map_or(0, |(index, _)| index);
        self.0[index].connections.fetch_add(1, Ordering::Relaxed);
        Seat { workers: self.clone(), index }
    }
}

impl Seat {
    pub(super) fn runtime(&self) -> Handle {
        self.workers.0[self.index].runtime.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.workers.0[self.index].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_over_the_threads() {
        let workers = Workers::start(3).unwrap();
        let seats = workers.seats();
        let taken: Vec<Seat> = (0..6).map(|_| seats.take()).collect();
        let mut places: Vec<usize> = taken.iter().map(|seat| seat.index).collect();
        places.sort_unstable();
        assert_eq!(places, [0, 0, 1, 1, 2, 2]);
        let mut taken = taken;
        taken.retain(|seat| seat.index != 1);
        assert_eq!(seats.take().index, 1);
    }

    #[test]
    fn dropping_waits_for_blocking_work() {
        let workers = Workers::start(1).unwrap();
        let (begun, wait) = std::sync::mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        workers.seats().take().runtime().spawn_blocking(move || {
            begun.send(()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            counted.fetch_add(1, Ordering::Relaxed);
        });
        wait.recv().unwrap();
        drop(workers);
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
}
