//! Decoded tails, shared. Readers that ask for the same unsealed rows at the same time hold one copy of them: sixty reads
//! as of a past moment over 400,000 rows decode these once, not sixty times. Nothing is kept when nobody reads.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use arrow::{array::AsArray, array::RecordBatch, datatypes::Int64Type};

use crate::{
    model::{SEQ, TableId},
    offline::TailRows,
    shard::ShardError,
};

/// Batches of one shared tail: each commit between two readers adds one, and beyond this all are decoded anew as one.
const MOST_BATCHES: usize = 64;

/// A table, and the columns that are decoded (none: all).
type Key = (TableId, Option<Vec<String>>);

/// The tails that readers hold now; clones share them.
#[derive(Clone, Default)]
pub(super) struct SharedTails(Arc<Mutex<HashMap<Key, Arc<Mutex<LastTail>>>>>);

/// The tail that was decoded last: rows with `from <= _seq < end`.
#[derive(Default)]
struct LastTail {
    from: u64,
    end: u64,
    rows: Weak<Vec<RecordBatch>>,
}

impl SharedTails {
    /// The rows from `from` on: those that other readers hold, and what was acknowledged since, as `read` decodes it from
    /// a `_seq` on. Readers of the same tail wait for each other. `next_seq` is one past the newest acknowledged row.
    pub fn get(
        &self,
        table: TableId,
        from: u64,
        columns: Option<&[&str]>,
        next_seq: impl Fn() -> u64,
        read: impl Fn(u64) -> Result<Vec<RecordBatch>, ShardError>,
    ) -> Result<TailRows, ShardError> {
        let tail = self.tail((table, columns.map(names)));
        let mut last = lock(&tail);
        // Asked with the lock held and before reading: every row that was acknowledged before the call is below it.
        let next = next_seq();
        let known = last.rows.upgrade().filter(|rows| last.from == from && rows.len() < MOST_BATCHES);
        let rows = match known {
            Some(rows) if last.end >= next => return Ok(rows),
            Some(rows) => rows.iter().cloned().chain(read(last.end)?).collect(),
            None => read(from)?,
        };
        let end = rows.last().and_then(last_seq).map_or(next, |seq| next.max(seq + 1));
        let rows = Arc::new(rows);
        *last = LastTail { from, end, rows: Arc::downgrade(&rows) };
        Ok(rows)
    }

    fn tail(&self, key: Key) -> Arc<Mutex<LastTail>> {
        let mut tails = lock(&self.0);
        // A tail that only the map knows is locked by nobody.
        tails.retain(|_, tail| Arc::strong_count(tail) > 1 || lock(tail).rows.strong_count() > 0);
        Arc::clone(tails.entry(key).or_default())
    }
}

/// One spelling for each set of columns.
fn names(columns: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn last_seq(batch: &RecordBatch) -> Option<u64> {
    let seqs = batch.column_by_name(SEQ)?.as_primitive_opt::<Int64Type>()?;
    seqs.values().last().and_then(|seq| u64::try_from(*seq).ok())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        sync::Barrier,
        thread,
    };

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    const TABLE: TableId = TableId(3);

    fn rows(seqs: std::ops::Range<u64>) -> Vec<RecordBatch> {
        let seqs: ArrayRef = Arc::new(Int64Array::from_iter_values(seqs.map(|seq| seq as i64)));
        vec![RecordBatch::try_from_iter([(SEQ, seqs)]).unwrap()]
    }

    fn seqs(tail: &TailRows) -> Vec<i64> {
        let of = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        tail.iter().flat_map(of).collect()
    }

    #[test]
    fn only_new_rows_are_decoded_while_somebody_reads_and_nothing_is_kept_afterwards() {
        let (tails, next, read) = (SharedTails::default(), Cell::new(10), RefCell::new(Vec::new()));
        let get = |from: u64, columns: Option<&[&str]>| {
            let decode = |from| {
                read.borrow_mut().push(from);
                Ok(rows(from..next.get()))
            };
            tails.get(TABLE, from, columns, || next.get(), decode).unwrap()
        };
        let first = get(2, None);
        assert!(Arc::ptr_eq(&first, &get(2, None)), "one copy for both");
        next.set(13);
        let second = get(2, None);
        assert_eq!((seqs(&first), seqs(&second)), ((2..10).collect(), (2..13).collect()));
        assert_eq!(*read.borrow(), [2, 10]);
        // Rows were sealed, or other columns are wanted: not the same rows.
        assert_eq!(seqs(&get(5, None)), (5..13).collect::<Vec<_>>());
        let both = get(5, Some(&["a", "b"]));
        assert!(Arc::ptr_eq(&both, &get(5, Some(&["b", "a"]))));
        assert_eq!(*read.borrow(), [2, 10, 5, 5]);
        drop((first, second, both));
        get(5, None);
        assert_eq!(*read.borrow(), [2, 10, 5, 5, 5], "nobody held it");
        assert_eq!(lock(&tails.0).len(), 1, "what nobody reads is forgotten");
    }

    #[test]
    fn many_small_commits_become_one_batch() {
        let (tails, next) = (SharedTails::default(), Cell::new(1));
        let mut held = Vec::new();
        for end in 1..300 {
            next.set(end);
            let tail = tails.get(TABLE, 0, None, || end, |from| Ok(rows(from..end))).unwrap();
            assert_eq!(seqs(&tail), (0..end as i64).collect::<Vec<_>>());
            assert!(tail.len() <= MOST_BATCHES);
            held.push(tail);
        }
    }

    #[test]
    fn readers_at_the_same_time_decode_once() {
        let (tails, barrier, decoded) = (SharedTails::default(), Barrier::new(20), Mutex::new(0));
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let decode = |from| {
                        *decoded.lock().unwrap() += 1;
                        Ok(rows(from..50))
                    };
                    let tail = tails.get(TABLE, 0, None, || 50, decode).unwrap();
                    barrier.wait();
                    assert_eq!(seqs(&tail).len(), 50);
                });
            }
        });
        assert_eq!(*decoded.lock().unwrap(), 1);
    }

    #[test]
    fn an_error_is_not_remembered() {
        let tails = SharedTails::default();
        let damaged = |_| Err(ShardError::Damaged("torn".to_owned()));
        assert!(tails.get(TABLE, 0, None, || 5, damaged).is_err());
        assert_eq!(seqs(&tails.get(TABLE, 0, None, || 5, |from| Ok(rows(from..5))).unwrap()).len(), 5);
    }
}
