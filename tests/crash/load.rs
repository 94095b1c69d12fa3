//! Writers over HTTP, while something happens to the node.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::oracle::{Oracle, WRITERS, send};

/// How many answers of each status there were; 0 stands for none.
pub type Statuses = BTreeMap<u16, u64>;

/// Writers write as fast as they are answered, until `meanwhile` is done.
pub fn load_while(base: &str, oracle: &Oracle, meanwhile: impl FnOnce()) -> Statuses {
    let done = AtomicBool::new(false);
    let statuses = Mutex::new(Statuses::new());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (done, statuses) = (&done, &statuses);
            scope.spawn(move || {
                let client =
                    reqwest::blocking::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
                while !done.load(Ordering::SeqCst) {
                    let status = write_one(&client, base, oracle, writer);
                    *statuses.lock().unwrap().entry(status).or_default() += 1;
                    if status != 200 {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        // Also when it panics, or the scope would wait for ever.
        let stop = Stop(&done);
        meanwhile();
        drop(stop);
    });
    statuses.into_inner().unwrap()
}

fn write_one(client: &reqwest::blocking::Client, base: &str, oracle: &Oracle, writer: i64) -> u16 {
    let batch = oracle.next_batch(writer);
    let (status, sent) = send(client, base, batch);
    match status {
        200 => oracle.acknowledge(batch),
        // Refused before anything was stored.
        429 => {}
        0 if !sent => {}
        _ => oracle.unknown(batch),
    }
    status
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
