//! What must hold between a table's state, its outbox and its Delta log (durability.md: invariants 1, 2, 4 and 5).

use std::ops::Range;

use fjall::OwnedWriteBatch as WriteBatch;

use crate::{
    model::TableId,
    shard::{
        ShardError, TableState,
        blob::Blob,
        integrity::Mark,
        record,
        row::Row,
        shard::load_state,
        store::{Store, key_number, numbered_key},
    },
};

/// A table as the two stores have it.
#[derive(Debug)]
pub struct Findings {
    pub state: TableState,
    /// Rows of the outbox that are in no segment, in runs without a gap.
    pub unsealed: Vec<Range<u64>>,
    pub problems: Vec<String>,
}

/// Compares a table's state, outbox, segments (`sealed`: rows below it are there) and watermark.
pub fn examine(
    store: &Store,
    table: TableId,
    sealed: u64,
    mark: Option<Mark>,
) -> Result<Findings, ShardError> {
    let mut found = match load_state(store, table) {
        Ok(state) => Findings { state, unsealed: Vec::new(), problems: Vec::new() },
        Err(ShardError::Damaged(why)) => {
            Findings { state: TableState::default(), unsealed: Vec::new(), problems: vec![why] }
        }
        Err(other) => return Err(other),
    };
    let next = found.state.next_seq;
    let mark = mark.unwrap_or_default();
    if next < mark.next_seq {
        found.problems.push(format!("rows {next} to {} were acknowledged and are missing", mark.next_seq));
    } else if found.state.commits < mark.commits {
        found.problems.push(format!(
            "commits {} to {} were acknowledged and are missing; they brought no row of history",
            found.state.commits, mark.commits
        ));
    } else if next == mark.next_seq && mark.last_crc.is_some_and(|crc| crc != found.state.last_crc) {
        found.problems.push(format!("the batch before row {next} is not the one that was acknowledged"));
    }
    if sealed > next {
        found.problems.push(format!(
            "the offline store holds rows up to {sealed}, the online store knows of {next} only"
        ));
    }
    read_outbox(store, table, sealed, &mut found)?;
    let first = found.unsealed.first().map_or(next, |range| range.start);
    if first > sealed {
        found.problems.push(format!("rows {sealed} to {first} are in neither segment nor outbox"));
    }
    Ok(found)
}

/// Every blob is whole, stands under its own number, and follows the one before it; the last is the state's.
fn read_outbox(store: &Store, table: TableId, sealed: u64, found: &mut Findings) -> Result<(), ShardError> {
    let state = found.state;
    let mut chain = None;
    for guard in store.outbox.range(numbered_key(table, state.truncated)..=numbered_key(table, u64::MAX)) {
        let (key, bytes) = guard.into_inner()?;
        let number = key_number(&key).unwrap_or_default();
        let blob = match Blob::open(&bytes) {
            Some(blob) if blob.header.first_seq == number => blob,
            _ => {
                found.problems.push(format!("the outbox blob of row {number} fails its checksum"));
                continue;
            }
        };
        if chain.is_some_and(|crc| blob.header.prev_crc != crc) {
            found.problems.push(format!("the outbox has a gap before row {number}"));
        }
        chain = Some(blob.crc);
        let (start, end) = (number.max(sealed), blob.end_seq());
        match found.unsealed.last_mut() {
            _ if end <= sealed => {}
            Some(last) if last.end == start => last.end = end,
            _ => found.unsealed.push(start..end),
        }
    }
    let end = found.unsealed.last().map_or(0, |range| range.end);
    if end > state.next_seq {
        found
            .problems
            .push(format!("the outbox holds rows up to {end}, the state knows of {}", state.next_seq));
    }
    if chain.is_some_and(|crc| crc != state.last_crc) {
        found.problems.push("the outbox does not end with the batch that the state names".to_owned());
    }
    Ok(())
}

/// Online rows with a seq that was never given out, of how many rows there are. Reads all of them.
pub fn rows_beyond(store: &Store, table: TableId, next_seq: u64) -> Result<(u64, u64), ShardError> {
    let (mut beyond, mut rows) = (0, 0);
    for guard in store.rows.prefix(table.0.to_be_bytes()) {
        let (_, row) = guard.into_inner()?;
        rows += 1;
        let seq = Row(&row).seq();
        // Rows of a view without history have no number.
        beyond += u64::from(seq > 0 && seq >= next_seq);
    }
    Ok((beyond, rows))
}

/// Adds to `batch` the removal of the first `most` of the outbox's blobs that begin below `up_to`, and notes in `state` how
/// far it came.
pub fn push_truncation(
    store: &Store,
    table: TableId,
    state: &mut TableState,
    up_to: u64,
    most: usize,
    batch: &mut WriteBatch,
) -> Result<(), ShardError> {
    if up_to <= state.truncated {
        return Ok(());
    }
    let mut end = up_to;
    let below = numbered_key(table, state.truncated)..numbered_key(table, up_to);
    for (removed, guard) in store.outbox.range(below).enumerate() {
        let key = guard.key()?;
        if removed == most {
            end = key_number(&key).unwrap_or(up_to);
            break;
        }
        batch.remove(&store.outbox, key);
    }
    state.truncated = end;
    batch.insert(&store.tables, table.0.to_be_bytes(), record::encode(state));
    Ok(())
}
