//! Putting a table's state, outbox and online rows back into agreement after rows were lost.

use std::ops::Range;

use crate::{
    model::TableId,
    shard::{
        ShardError, StoredAnswer, TableState, answers,
        blob::{self, Blob, BlobHeader},
        integrity::Mark,
        invariants::{examine, rows_beyond},
        record,
        row::{Row, set_seq},
        store::{Store, numbered_key},
    },
};

/// Rows that moved to other numbers.
struct Moved {
    from: Range<u64>,
    to: u64,
}

/// Makes the invariants hold for a table: what the outbox still has follows the segments without a gap, under new
/// numbers where rows before it are lost. Returns the ranges of acknowledged rows, by their old numbers, that are
/// neither in a segment nor in the outbox.
pub(super) fn mend_table(
    store: &Store,
    table: TableId,
    sealed: u64,
    mark: Option<Mark>,
) -> Result<Vec<Range<u64>>, ShardError> {
    let found = examine(store, table, sealed, mark)?;
    let next = found.state.next_seq;
    if found.problems.is_empty() && rows_beyond(store, table, next)?.0 == 0 {
        return Ok(Vec::new());
    }
    let base = sealed;
    let there = found.unsealed.iter().filter(|range| range.end > base);
    let there: Vec<_> = there.map(|range| range.start.max(base)..range.end).collect();
    let end = there.last().map_or(base, |range| range.end);
    let acknowledged = mark.map_or(0, |mark| mark.next_seq).max(next).max(end);
    let lost = gaps(base..acknowledged, &there);

    // In two batches: in one, a key's removal and its new value would be of the same age.
    let (mut removals, mut batch) = (store.db.batch(), store.db.batch());
    let mut state = TableState { last_crc: 0, truncated: 0, ..found.state };
    let mut moved: Vec<Moved> = Vec::new();
    let mut to = base;
    for guard in store.outbox.prefix(table.0.to_be_bytes()) {
        let (key, bytes) = guard.into_inner()?;
        removals.remove(&store.outbox, key);
        let Some(old) = Blob::open(&bytes).filter(|blob| blob.end_seq() > base) else { continue };
        let start = old.header.first_seq.max(base);
        let header = BlobHeader {
            prev_crc: state.last_crc,
            first_seq: to - (start - old.header.first_seq),
            ..old.header
        };
        let (bytes, crc) = renumbered(&old, header);
        moved.push(Moved { from: old.header.first_seq..old.end_seq(), to: header.first_seq });
        batch.insert(&store.outbox, numbered_key(table, header.first_seq), bytes);
        state.last_crc = crc;
        state.accepted_at = state.accepted_at.max(old.header.accepted_at.micros());
        to = header.end_seq();
    }
    state.next_seq = to;
    let bytes = record::encode(&state);
    batch.insert(&store.tables, table.0.to_be_bytes(), bytes);
    for guard in store.rows.prefix(table.0.to_be_bytes()) {
        let (key, row) = guard.into_inner()?;
        let seq = Row(&row).seq();
        let new = number(seq, base, to, &moved);
        if new != seq {
            let mut row = row.to_vec();
            set_seq(&mut row, new);
            batch.insert(&store.rows, key, row);
        }
    }
    for guard in store.batches.prefix(table.0.to_be_bytes()) {
        let (key, value) = guard.into_inner()?;
        // Whoever sends a lost batch again must not be told that it is there.
        if answers::read(&value).is_ok_and(|stored| is_lost(&stored, &lost)) {
            batch.remove(&store.batches, key);
        }
    }
    removals.commit()?;
    batch.commit()?;
    Ok(lost)
}

/// The stretches of `whole` that are in none of `parts`, which are in order.
pub(super) fn gaps(whole: Range<u64>, parts: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut at = whole.start;
    for part in parts {
        if part.start > at {
            found.push(at..part.start.min(whole.end));
        }
        at = at.max(part.end);
    }
    if at < whole.end {
        found.push(at..whole.end);
    }
    found
}

fn is_lost(stored: &StoredAnswer, lost: &[Range<u64>]) -> bool {
    let end = stored.answer.next_seq;
    let start = end.saturating_sub(stored.answer.accepted);
    lost.iter().any(|range| range.start < end && start < range.end)
}

/// A row whose history is lost keeps its value online, under the newest number that there is.
fn number(seq: u64, base: u64, end: u64, moved: &[Moved]) -> u64 {
    let of_blob = moved.iter().find(|moved| moved.from.contains(&seq));
    match of_blob {
        _ if seq < base => seq,
        Some(moved) => moved.to + (seq - moved.from.start),
        None => end.saturating_sub(1),
    }
}

fn renumbered(old: &Blob<'_>, header: BlobHeader) -> (Vec<u8>, u32) {
    let mut entries = Vec::with_capacity(blob::TARGET);
    for (offset, (key, row)) in old.entries().enumerate() {
        let start = blob::open_entry(key, &mut entries);
        let at = entries.len();
        entries.extend_from_slice(row);
        set_seq(&mut entries[at..], header.first_seq + offset as u64);
        blob::close_entry(start, key.len(), &mut entries);
    }
    blob::encode(&header, &entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_no_part_covers() {
        assert_eq!(gaps(0..10, &[0..3, 5..7]), [3..5, 7..10]);
        assert_eq!(gaps(4..30, &[0..3, 5..20]), [4..5, 20..30]);
        assert!(gaps(4..4, &[]).is_empty());
        assert_eq!(gaps(0..2, &[]).first(), Some(&(0..2)));
    }
}
