//! A spine's questions about one grouping, by entity.

use crate::{
    compute::{KeyIndex, window::Window},
    offline::SpineKeys,
};

/// At most so many partitions of the entities.
const PARTITIONS: usize = 256;

/// The spine's rows in order of (entity, time): *slots*.
pub(super) struct Questions {
    entities: KeyIndex,
    /// The slots of entity `e` are `starts[e]..starts[e + 1]`.
    pub starts: Vec<u32>,
    /// Per slot.
    pub times: Vec<i64>,
    /// Per row of the spine its slot.
    pub slots: Vec<u32>,
    /// Per entity the event times that its questions can see: from, before.
    seen: Vec<(i64, i64)>,
    /// A partition has 2^`shift` entities whose numbers follow each other.
    shift: u32,
}

impl Questions {
    pub fn new(
        keys: SpineKeys<'_>,
        times: &[i64],
        windows: impl Iterator<Item = Window> + Clone,
        lag: i64,
    ) -> Questions {
        let mut entities = KeyIndex::new();
        let key = |row: usize| &keys.bytes[keys.offsets[row] as usize..keys.offsets[row + 1] as usize];
        let of: Vec<u32> = (0..times.len()).map(|row| entities.insert(key(row))).collect();
        let mut starts = vec![0u32; entities.len() + 1];
        of.iter().for_each(|&entity| starts[entity as usize + 1] += 1);
        for entity in 1..starts.len() {
            starts[entity] += starts[entity - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![0u32; times.len()];
        for (row, &entity) in of.iter().enumerate() {
            rows[next[entity as usize] as usize] = row as u32;
            next[entity as usize] += 1;
        }
        drop(next);
        for range in starts.windows(2) {
            rows[range[0] as usize..range[1] as usize].sort_by_key(|&row| times[row as usize]);
        }
        let mut slots = vec![0u32; times.len()];
        rows.iter().zip(0..).for_each(|(&row, slot)| slots[row as usize] = slot);
        let times: Vec<i64> = rows.iter().map(|&row| times[row as usize]).collect();
        let seen = starts.windows(2).map(|range| match &times[range[0] as usize..range[1] as usize] {
            [] => (i64::MAX, i64::MIN),
            of @ [first, ..] => {
                let last = of[of.len() - 1];
                let spans = |t: i64| windows.clone().map(move |window| window.span(t).available(t, lag));
                (
                    spans(*first).map(|span| span.start.unwrap_or(i64::MIN)).min().unwrap_or(i64::MAX),
                    spans(last).map(|span| span.end).max().unwrap_or(i64::MIN),
                )
            }
        });
        let seen = seen.collect();
        let shift = entities.len().div_ceil(PARTITIONS).next_power_of_two().ilog2();
        Questions { entities, starts, times, slots, seen, shift }
    }

    /// The entity with this key, where some question can see its event of this time.
    pub fn asked(&self, key: &[u8], time: i64) -> Option<u32> {
        if key.is_empty() {
            return None;
        }
        let entity = self.entities.get(key)?;
        let (from, before) = self.seen[entity as usize];
        (from <= time && time < before).then_some(entity)
    }

    /// The event times that any question can see; empty where there is no question.
    pub fn times(&self) -> std::ops::Range<i64> {
        let from = self.seen.iter().map(|seen| seen.0).min().unwrap_or(i64::MAX);
        from..self.seen.iter().map(|seen| seen.1).max().unwrap_or(i64::MIN)
    }

    pub fn partitions(&self) -> usize {
        self.entities.len().div_ceil(1 << self.shift)
    }

    pub fn partition(&self, entity: u32) -> usize {
        (entity >> self.shift) as usize
    }

    /// The entities of a partition.
    pub fn members(&self, partition: usize) -> std::ops::Range<u32> {
        let first = partition << self.shift;
        first as u32..(first + (1 << self.shift)).min(self.entities.len()) as u32
    }
}
