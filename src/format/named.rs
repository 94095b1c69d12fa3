//! Columns that rows name: null in a column that a row leaves out is a null that nobody has sent.

use std::{collections::HashMap, sync::Arc};

/// For each row the columns that it names. Most bodies name all of them, or the same in all rows: a set of columns is kept once.
/// What is kept grows with the body, not with the columns that it leaves out.
#[derive(Debug, Clone, Default)]
pub struct NamedColumns {
    /// Positions of columns, ascending.
    sets: Vec<Arc<[u32]>>,
    known: HashMap<Arc<[u32]>, u32>,
    /// For each row one more than the position of its set; 0, and no entry, where it names all columns.
    of_row: Vec<u32>,
    /// The set of the row before: most senders repeat it.
    last: u32,
}

impl NamedColumns {
    /// The same columns in all rows, and not all.
    pub fn same(columns: &[u32], rows: usize) -> NamedColumns {
        let mut named = NamedColumns::default();
        let set = named.set(columns);
        named.of_row = vec![set; rows];
        named
    }

    /// Notes the columns of a row that leaves some out; rows come in ascending order.
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

    /// The columns that a row names, ascending; `None` where it names all.
    pub fn of(&self, row: usize) -> Option<&[u32]> {
        let set = (*self.of_row.get(row)? as usize).checked_sub(1)?;
        self.sets.get(set).map(AsRef::as_ref)
    }

    pub fn has(&self, row: usize, column: usize) -> bool {
        self.of(row).is_none_or(|named| named.binary_search(&(column as u32)).is_ok())
    }

    /// How many rows leave out a column.
    pub fn incomplete(&self) -> usize {
        self.of_row.iter().filter(|set| **set != 0).count()
    }

    /// The same of the columns from `first` on, numbered from there.
    pub fn from_column(&self, first: u32) -> NamedColumns {
        let shift = |set: &Arc<[u32]>| set.iter().filter_map(|column| column.checked_sub(first)).collect();
        let sets: Vec<Arc<[u32]>> = self.sets.iter().map(shift).collect();
        NamedColumns { sets, known: HashMap::new(), of_row: self.of_row.clone(), last: 0 }
    }

    /// Takes some rows to name all columns.
    pub fn complete(&mut self, names_all: impl Fn(usize) -> bool) {
        for (row, set) in self.of_row.iter_mut().enumerate() {
            *set = if names_all(row) { 0 } else { *set };
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

    fn all(named: &NamedColumns, rows: usize) -> Vec<Option<&[u32]>> {
        (0..rows).map(|row| named.of(row)).collect()
    }

    #[test]
    fn rows_keep_their_sets() {
        let mut named = NamedColumns::default();
        assert_eq!((named.incomplete(), named.of(0), named.has(9, 9)), (0, None, true));
        named.push(1, &[2, 3]);
        named.push(2, &[2, 3]);
        named.push(4, &[0]);
        named.push(5, &[2, 3]);
        let (a, b): (Option<&[u32]>, Option<&[u32]>) = (Some(&[2, 3]), Some(&[0]));
        assert_eq!(all(&named, 7), [None, a, a, None, b, a, None]);
        assert_eq!((named.incomplete(), named.sets.len()), (4, 2));
        assert!(named.has(1, 3) && !named.has(1, 0) && named.has(0, 7));
        let shifted = named.from_column(2);
        assert_eq!((shifted.of(1), shifted.of(4)), (Some(&[0, 1][..]), Some(&[][..])));
        named.retain(|row| row != 1 && row != 3);
        assert_eq!(all(&named, 5), [None, a, b, a, None]);
        named.complete(|row| row == 1);
        assert_eq!(all(&named, 4), [None, None, b, a]);
        let same = NamedColumns::same(&[1], 2);
        assert_eq!((same.of(1), same.of(2), same.incomplete()), (Some(&[1][..]), None, 2));
    }
}
