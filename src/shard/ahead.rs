//! Versions of an entity whose time has not come, kept beside the one that counts now: for views without history, which have
//! no other place for them.
//!
//! ```text
//! the newest version, its flags saying that others follow   the next older   …   the one that counts
//! u32 length of each, in this order                          u32 number of versions
//! ```
//! All little-endian. An entity with one version has its plain row. Read as a plain row, the whole is the newest version: so it
//! is everywhere that does not look for others.

use crate::{
    model::Timestamp,
    shard::{
        cache::StoredRow,
        row::{Row, set_followed},
    },
};

/// Versions yet to come that an entity may have.
pub const MOST_AHEAD: usize = 16;

/// What is stored of an entity, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Versions(Vec<Vec<u8>>);

impl Versions {
    pub fn read(stored: &[u8]) -> Versions {
        let mut versions: Vec<Vec<u8>> = parts(stored).map(<[u8]>::to_vec).collect();
        if let Some(newest) = versions.first_mut() {
            set_followed(newest, false);
        }
        Versions(versions)
    }

    /// Adds a version, in place of one with its event time, and forgets what no read from `now` on can see. Returns whether
    /// the version is there.
    pub fn insert(&mut self, row: &[u8], now: i64) -> bool {
        let time = Row(row).event_time();
        let at = self.0.partition_point(|version| Row(version).event_time() > time);
        match self.0.get_mut(at) {
            Some(same) if Row(same).event_time() == time => *same = row.to_vec(),
            _ => self.0.insert(at, row.to_vec()),
        }
        self.0.truncate(self.ahead(now) + 1);
        at < self.0.len()
    }

    /// How many are yet to come.
    pub fn ahead(&self, now: i64) -> usize {
        self.0.partition_point(|version| Row(version).event_time().micros() > now)
    }

    /// The newest at or before a time.
    pub fn at(&self, time: i64) -> Option<&[u8]> {
        let at = self.ahead(time);
        self.0.get(at).map(Vec::as_slice)
    }

    pub fn encode(&self) -> Vec<u8> {
        if let [only] = &self.0[..] {
            return only.clone();
        }
        let mut out = self.0.concat();
        set_followed(&mut out, true);
        let numbers = self.0.iter().map(Vec::len).chain([self.0.len()]);
        numbers.for_each(|number| out.extend_from_slice(&(number as u32).to_le_bytes()));
        out
    }
}

/// The version that counts at `now`; the newest where none does yet.
#[inline]
pub fn version_at(stored: StoredRow, now: Timestamp) -> StoredRow {
    // Nearly every row of every read.
    if Row(&stored).event_time() <= now { stored } else { followed_at(stored, now) }
}

#[cold]
fn followed_at(stored: StoredRow, now: Timestamp) -> StoredRow {
    if !Row(&stored).is_followed() {
        return stored;
    }
    let version = parts(&stored).find(|version| Row(version).event_time() <= now).map(StoredRow::read);
    version.unwrap_or(stored)
}

/// The versions of what is stored, newest first; all of it where it is not as it should be.
fn parts(stored: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lengths = if Row(stored).is_followed() { lengths(stored) } else { None };
    let mut rest = stored;
    lengths.unwrap_or_else(|| vec![stored.len()]).into_iter().map(move |length| {
        let (part, after) = rest.split_at(length);
        rest = after;
        part
    })
}

fn lengths(stored: &[u8]) -> Option<Vec<usize>> {
    let (rest, count) = stored.split_last_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    let (rows, lengths) = rest.split_at_checked(rest.len().checked_sub(count.checked_mul(4)?)?)?;
    let lengths: Vec<usize> =
        lengths.chunks_exact(4).map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize).collect();
    (lengths.iter().sum::<usize>() == rows.len()).then_some(lengths)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::shard::row::encode_tombstone;

    fn row(time: i64, number: u8) -> Vec<u8> {
        let mut row = Vec::new();
        encode_tombstone(7, Timestamp::from_micros(time), &mut row);
        row.extend(std::iter::repeat_n(number, usize::from(number % 5)));
        row
    }

    /// Whether `row`, or nothing, is what counts.
    fn counts(stored: &[u8], now: i64, row: Option<&Vec<u8>>) -> bool {
        let mut version = version_at(StoredRow::read(stored), Timestamp::from_micros(now)).to_vec();
        let is_there = Row(&version).event_time().micros() <= now;
        set_followed(&mut version, false);
        row.map_or(!is_there, |row| is_there && version.starts_with(row))
    }

    proptest! {
        /// Against a map of all versions by time, while time passes.
        #[test]
        fn the_version_that_counts_is_the_newest_by_then(
            steps in proptest::collection::vec((0_i64..4, -6_i64..12, any::<u8>()), 1..40),
            later in 0_i64..20,
        ) {
            let (mut now, mut all, mut stored) = (10, BTreeMap::new(), None::<Vec<u8>>);
            for (passed, offset, number) in steps {
                now += passed;
                let new = row(now + offset, number);
                let mut versions = stored.as_deref().map(Versions::read).unwrap_or_default();
                let kept = versions.insert(&new, now);
                all.insert(now + offset, new);
                let newest = all.range(..=now).next_back().map(|(time, _)| *time);
                prop_assert_eq!(kept, newest.is_none_or(|newest| now + offset >= newest));
                prop_assert_eq!(versions.ahead(now), all.range(now + 1..).count());
                stored = Some(versions.encode());
                for moment in [now, now + later] {
                    let naive = all.range(..=moment).next_back().map(|(_, row)| row);
                    prop_assert!(counts(stored.as_ref().unwrap(), moment, naive));
                }
                prop_assert_eq!(Versions::read(stored.as_ref().unwrap()), versions);
            }
        }

        #[test]
        fn bytes_that_are_no_versions_are_one_row(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(flags) = bytes.get_mut(20) {
                *flags |= 2;
            }
            let parts: Vec<&[u8]> = parts(&bytes).collect();
            prop_assert!(parts.concat().len() <= bytes.len());
            version_at(StoredRow::read(&bytes), Timestamp::from_micros(0));
        }
    }
}
