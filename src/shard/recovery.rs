//! What must hold between the two stores when a node starts (durability.md: invariants 1, 2 and 4).

use crate::{
    clock::Clock,
    metrics,
    model::TableId,
    shard::{
        CommittedTables, ShardError,
        shard::{first_in_outbox, load_state, stored_tables},
        store::{Store, numbered_key},
    },
};

/// Publishes each table's committed state, truncates what a segment already holds, and lists what does not fit.
///
/// `sealed_seq(table)` is the number of rows that the table's Delta log holds.
pub fn recover(
    store: &Store,
    committed: &CommittedTables,
    clock: &Clock,
    sealed_seq: impl Fn(TableId) -> u64,
) -> Result<Vec<String>, ShardError> {
    let mut violations = Vec::new();
    for table in stored_tables(store)? {
        let state = load_state(store, table)?;
        let in_segments = sealed_seq(table);
        let sealed = in_segments;
        let mut batch = store.db.batch();
        for guard in store.outbox.range(numbered_key(table, 0)..numbered_key(table, in_segments)) {
            batch.remove(&store.outbox, guard.key()?);
        }
        batch.commit()?;
        if in_segments > state.next_seq {
            violations.push(format!(
                "table {}: the offline store holds rows up to {in_segments}, the online store knows of {} only",
                table.0, state.next_seq
            ));
        }
        let first = first_in_outbox(store, table)?.unwrap_or(state.next_seq);
        if first > sealed {
            violations.push(format!(
                "table {}: rows {sealed} to {first} are in neither segment nor outbox",
                table.0
            ));
        }
        let shared = committed.of(table);
        shared.publish(&state, 0);
        shared.seal(sealed.min(state.next_seq), clock.now());
    }
    metrics::record_invariant_violations(violations.len());
    Ok(violations)
}
