//! Columns that rows leave out: nulls that nobody has sent.

use std::{collections::HashMap, sync::Arc};

/// For each row the columns that it does not name. Most bodies leave out nothing, or the same columns in all rows: a set of
/// columns is kept once.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    /// Positions of columns, ascending.
    sets: Vec<Arc<[u32]>>,
    known: HashMap<Arc<[u32]>, u32>,
    /// For each row one more than the position of its set; 0, and no entry, where it has all columns.
    of_row: Vec<u32>,
    /// The set of the row before: most senders repeat it.
    last: u32,
}

impl LeftOut {
    /// The same columns in all rows.
    pub fn same(columns: &[u32], rows: usize) -> LeftOut {
        let mut left_out = LeftOut::default();
        if !columns.is_empty() {
            let set = left_out.set(columns);
            left_out.of_row = vec![set; rows];
        }
        left_out
    }

    /// Notes the columns of a row; rows come in ascending order.
    pub fn push(&mut self, row: usize, columns: &[u32]) {
        let set = self.set(columns);
        self.of_row.resize(row, 0);
        self.of_row.push(set);
    }

    fn set(&mut self, columns: &[u32]) -> u32 {
        let last = (self.last as usize).checked_sub(1).and_then(|at| self.sets.get(at));
        if last.is_some_and(|last| last.as_ref() == columns) {
            return self.last;
        }
        self.last = match self.known.get(columns) {
            Some(set) => *set,
            None => {
                let set: Arc<[u32]> = columns.into();
                self.sets.push(Arc::clone(&set));
                let number = self.sets.len() as u32;
                self.known.insert(set, number);
                number
            }
        };
        self.last
    }

    /// The columns that a row leaves out, ascending.
    pub fn of(&self, row: usize) -> &[u32] {
        let set = self.of_row.get(row).and_then(|set| (*set as usize).checked_sub(1));
        set.and_then(|set| self.sets.get(set)).map_or(&[], |set| set.as_ref())
    }

    /// The same with the columns numbered from `first` on; none lies before it.
    pub fn from_column(&self, first: u32) -> LeftOut {
        let shift = |set: &Arc<[u32]>| set.iter().map(|column| column - first).collect::<Arc<[u32]>>();
        let sets: Vec<_> = self.sets.iter().map(shift).collect();
        let known = sets.iter().cloned().zip(1..).collect();
        LeftOut { sets, known, of_row: self.of_row.clone(), last: self.last }
    }

    /// How many rows leave out a column.
    pub fn rows(&self) -> usize {
        self.of_row.iter().filter(|set| **set != 0).count()
    }

    /// Takes some rows to have all columns.
    pub fn forget(&mut self, has_all: impl Fn(usize) -> bool) {
        for (row, set) in self.of_row.iter_mut().enumerate() {
            *set = if has_all(row) { 0 } else { *set };
        }
    }

    /// Takes out rows, which then have no number.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut row = 0;
        self.of_row.retain(|_| {
            row += 1;
            keep(row - 1)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_sets() {
        let mut left_out = LeftOut::default();
        assert_eq!((left_out.rows(), left_out.of(0)), (0, [].as_slice()));
        left_out.push(1, &[2, 3]);
        left_out.push(2, &[2, 3]);
        left_out.push(4, &[0]);
        left_out.push(5, &[2, 3]);
        let all: Vec<&[u32]> = (0..7).map(|row| left_out.of(row)).collect();
        assert_eq!(all, [&[] as &[u32], &[2, 3], &[2, 3], &[], &[0], &[2, 3], &[]]);
        assert_eq!((left_out.rows(), left_out.sets.len()), (4, 2));
        left_out.retain(|row| row != 1 && row != 3);
        let all: Vec<&[u32]> = (0..5).map(|row| left_out.of(row)).collect();
        assert_eq!(all, [&[] as &[u32], &[2, 3], &[0], &[2, 3], &[]]);
        let same = LeftOut::same(&[1], 2);
        assert_eq!((same.of(0), same.of(1), same.of(2), same.rows()), (&[1u32][..], &[1u32][..], &[][..], 2));
        assert_eq!(LeftOut::same(&[], 9).rows(), 0);
    }
}
