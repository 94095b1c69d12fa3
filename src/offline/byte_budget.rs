//! Bytes that values without a small fixed size (strings, lists, vectors) of one answer may come to, in all its views together.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[derive(Debug)]
pub struct ByteBudget {
    limit: usize,
    left: AtomicUsize,
}

impl ByteBudget {
    pub const fn new(limit: usize) -> ByteBudget {
        ByteBudget { limit, left: AtomicUsize::new(limit) }
    }

    /// Refuses nothing.
    pub fn unlimited() -> &'static ByteBudget {
        static UNLIMITED: ByteBudget = ByteBudget::new(usize::MAX);
        &UNLIMITED
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn left(&self) -> usize {
        self.left.load(Relaxed)
    }

    /// Takes `bytes` for good; false, with nothing taken, where so many are not left.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        self.limit == usize::MAX
            || self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_until_there_are_none() {
        let budget = ByteBudget::new(10);
        assert!(budget.take(6) && !budget.take(5) && budget.take(4) && budget.take(0) && !budget.take(1));
        assert_eq!((budget.left(), budget.limit()), (0, 10));
        let unlimited = ByteBudget::unlimited();
        assert!(unlimited.take(usize::MAX) && unlimited.take(usize::MAX));
    }
}
