//! What is asked of a shard's window states, beside the events that change them.

use std::collections::BTreeMap;

use crate::{
    model::TableId,
    shard::{BackfillStep, Shard, ShardError, TableState, shard::load_state, store::Store},
};

impl Shard {
    /// Compares the window states with the definitions; see [`StreamKeeper::reconcile`](super::StreamKeeper::reconcile).
    pub fn reconcile(&mut self) -> Result<(), ShardError> {
        let (tables, store) = (&self.tables, &self.store);
        self.keeper.reconcile(|table| next_seq(tables, store, table))
    }

    /// Stores a portion of a backfill.
    pub fn backfill(&mut self, step: BackfillStep) -> Result<(), ShardError> {
        self.reconcile()?;
        self.keeper.backfill(step, &self.cache, &self.clock)
    }

    /// Begins a view's window state anew, beside the one that serves; returns the new one's number, `None` where the
    /// view has no state in this shard.
    pub fn rebuild_stream(&mut self, view: TableId) -> Result<Option<u32>, ShardError> {
        self.reconcile()?;
        let (tables, store) = (&self.tables, &self.store);
        self.keeper.rebuild(view, |table| next_seq(tables, store, table))
    }

    /// Removes up to `limit` keys of window states that nothing uses any more.
    pub fn remove_dropped_streams(&mut self, limit: usize) -> Result<(), ShardError> {
        self.keeper.remove_dropped(limit)
    }
}

fn next_seq(
    tables: &BTreeMap<TableId, TableState>,
    store: &Store,
    table: TableId,
) -> Result<u64, ShardError> {
    match tables.get(&table) {
        Some(state) => Ok(state.next_seq),
        None => Ok(load_state(store, table)?.next_seq),
    }
}
