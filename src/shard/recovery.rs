//! What must hold when a node starts: the invariants of every table, and nothing acknowledged is missing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clock::Clock,
    metrics,
    model::TableId,
    registry::Catalog,
    shard::{
        CommittedTables, ShardError,
        invariants::{examine, push_truncation},
        store::{Store, key_table, numbered_key},
    },
};

/// Publishes each table's committed state, truncates what a segment already holds, and lists what does not fit. Where
/// it lists anything, no write may be taken.
///
/// `sealed`: the number of rows that each table's Delta log holds.
pub fn recover(
    store: &Store,
    committed: &CommittedTables,
    clock: &Clock,
    catalog: &Catalog,
    sealed: &BTreeMap<TableId, u64>,
) -> Result<Vec<String>, ShardError> {
    let mut violations = store.watermark.unreadable();
    violations.extend(registry_behind(store, catalog));
    let marks = store.watermark.tables();
    for table in known_tables(store, sealed)? {
        let in_segments = sealed.get(&table).copied().unwrap_or(0);
        let mut found = examine(store, table, in_segments, marks.get(&table).copied())?;
        if found.problems.is_empty() {
            let mut batch = store.db.batch();
            push_truncation(store, table, &mut found.state, in_segments, usize::MAX, &mut batch)?;
            batch.commit()?;
        }
        let name = table_name(catalog, table);
        violations.extend(found.problems.into_iter().map(|problem| format!("table {name}: {problem}")));
        let shared = committed.of(table);
        shared.publish(&found.state, 0);
        shared.seal(in_segments.min(found.state.next_seq), clock.now());
        if !marks.contains_key(&table) && violations.is_empty() {
            // A directory of a larder that had no watermark, or one that lost it: from here on it counts.
            store.watermark.note(table, &found.state, true);
        }
    }
    if violations.is_empty() && store.watermark.registry() == 0 && catalog.version > 0 {
        store.watermark.note_registry(catalog.version);
    }
    metrics::record_invariant_violations(violations.len());
    Ok(violations)
}

pub(super) fn registry_behind(store: &Store, catalog: &Catalog) -> Option<String> {
    let acknowledged = store.watermark.registry();
    (catalog.version < acknowledged).then(|| {
        format!("the registry: version {acknowledged} was acknowledged, {} is there", catalog.version)
    })
}

/// Tables of which anything at all is known.
pub(super) fn known_tables(
    store: &Store,
    sealed: &BTreeMap<TableId, u64>,
) -> Result<BTreeSet<TableId>, ShardError> {
    let mut tables: BTreeSet<TableId> = stored_tables(store)?.into_iter().collect();
    tables.extend(sealed.iter().filter(|(_, sealed)| **sealed > 0).map(|(table, _)| *table));
    tables.extend(store.watermark.tables().into_keys());
    // Those that only the outbox knows lie between the others.
    let mut from = 0;
    let known: Vec<TableId> = tables.iter().copied().collect();
    for next in known.into_iter().map(|table| table.0).chain([u32::MAX]) {
        while from < next {
            let begin = numbered_key(TableId(from), 0);
            let Some(guard) = store.outbox.range(begin..numbered_key(TableId(next), 0)).next() else { break };
            let Some(table) = key_table(&guard.key()?) else { break };
            tables.insert(table);
            from = table.0.saturating_add(1);
        }
        from = next.saturating_add(1);
    }
    Ok(tables)
}

/// As people know it.
pub(super) fn table_name(catalog: &Catalog, table: TableId) -> String {
    match catalog.newest_schema(table) {
        Some(schema) => format!("`{}`", schema.name),
        None => table.0.to_string(),
    }
}

/// All tables that have a stored state.
fn stored_tables(store: &Store) -> Result<Vec<TableId>, ShardError> {
    let mut tables = Vec::new();
    for guard in store.tables.iter() {
        let key = guard.key()?;
        if let Ok(bytes) = <[u8; 4]>::try_from(key.as_ref()) {
            tables.push(TableId(u32::from_be_bytes(bytes)));
        }
    }
    Ok(tables)
}
