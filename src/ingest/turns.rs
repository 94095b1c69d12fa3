//! Batches that are stored in an order: each may name the one before it.
//!
//! A client that waits for every answer leaves the node idle while it decodes, or the shard while it syncs. One that sends
//! the next batch meanwhile, and says which it comes after, loses nothing: it is decoded at once and waits here until the
//! one before is on its way to the shard, which takes them in that order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tokio::sync::watch;

use crate::model::TableId;

type Key = (TableId, String);

/// Batches with an Idempotency-Key that are not handed to their shards yet. Cheap to clone.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<Key, Pending>>>);

struct Pending {
    seen: watch::Receiver<()>,
    /// The key of the batch that it comes after.
    after: Option<String>,
}

/// Batches that wait for each other: none of them would ever be stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle;

/// Held until the batch is handed over, or given up.
pub struct Turn {
    turns: Turns,
    key: Key,
    over: watch::Sender<()>,
}

impl Turns {
    /// # Errors
    /// [`Circle`] where the batch that this one comes after comes, by way of others or not, after this one.
    pub fn begin(&self, table: TableId, key: &str, after: Option<&str>) -> Result<Turn, Circle> {
        let (over, seen) = watch::channel(());
        let mut pending = self.lock();
        let mut before = after.map(ToOwned::to_owned);
        while let Some(earlier) = before {
            if earlier == key {
                return Err(Circle);
            }
            before = pending.get(&(table, earlier)).and_then(|batch| batch.after.clone());
        }
        let key = (table, key.to_owned());
        pending.insert(key.clone(), Pending { seen, after: after.map(ToOwned::to_owned) });
        Ok(Turn { turns: self.clone(), key, over })
    }

    /// Returns when no batch under this key is on its way any more.
    pub async fn wait(&self, table: TableId, key: &str) {
        let seen = self.lock().get(&(table, key.to_owned())).map(|batch| batch.seen.clone());
        if let Some(mut seen) = seen {
            // Nothing is ever sent: it ends when the turn does.
            let _ = seen.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        // A repeat of the request may have taken the place.
        let mine = turns.get(&self.key).is_some_and(|batch| batch.seen.same_channel(&self.over.subscribe()));
        if mine {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    const TABLE: TableId = TableId(7);

    fn is_ready(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_wait_ends_with_the_turn_and_not_before() {
        let turns = Turns::default();
        assert!(is_ready(pin!(turns.wait(TABLE, "a"))), "nobody to wait for");
        let first = turns.begin(TABLE, "a", None).unwrap();
        let mut waits = pin!(turns.wait(TABLE, "a"));
        assert!(!is_ready(waits.as_mut()));
        assert!(is_ready(pin!(turns.wait(TABLE, "b"))) && is_ready(pin!(turns.wait(TableId(8), "a"))));
        drop(first);
        assert!(is_ready(waits));
        assert!(turns.lock().is_empty());
    }

    #[test]
    fn batches_that_wait_for_each_other_are_found() {
        let turns = Turns::default();
        let _a = turns.begin(TABLE, "a", Some("b")).unwrap();
        assert_eq!(turns.begin(TABLE, "b", Some("a")).err(), Some(Circle));
        let b = turns.begin(TABLE, "b", Some("c")).unwrap();
        assert_eq!(turns.begin(TABLE, "c", Some("a")).err(), Some(Circle), "by way of b");
        assert!(turns.begin(TableId(8), "c", Some("a")).is_ok(), "another table's");
        assert!(turns.begin(TABLE, "d", Some("a")).is_ok());
        drop(b);
        assert!(turns.begin(TABLE, "c", Some("a")).is_ok(), "b is gone");
    }

    #[test]
    fn a_repeat_is_waited_for_when_the_first_is_over() {
        let turns = Turns::default();
        let first = turns.begin(TABLE, "a", None).unwrap();
        let repeat = turns.begin(TABLE, "a", None).unwrap();
        drop(first);
        let mut waits = pin!(turns.wait(TABLE, "a"));
        assert!(!is_ready(waits.as_mut()));
        drop(repeat);
        assert!(is_ready(waits));
        assert!(turns.lock().is_empty());
    }
}
