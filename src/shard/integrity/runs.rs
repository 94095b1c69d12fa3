//! Runs of batch feature views after rows were lost: their records may speak of rows that are gone.

use crate::{
    model::{BatchId, TableId, Timestamp},
    registry::FeatureView,
    shard::{
        ShardError,
        run_log::{encode, records},
        store::Store,
    },
};

/// What a repair did to the runs of a view.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct MendedRuns {
    pub table: String,
    /// Moments whose runs are done again once the node is started: rows of theirs are lost, or they were under way and
    /// what they read has changed.
    pub again: Vec<Timestamp>,
    /// Records that could not be read, and are gone: whether their runs were done is not known.
    pub unreadable: Vec<String>,
    /// Rows are lost of runs that cannot be told. The moments in doubt are to be asked for.
    pub in_doubt: bool,
}

/// Records of a table that cannot be read, in words.
pub(super) fn unreadable(store: &Store, table: TableId) -> Result<Vec<String>, ShardError> {
    Ok(records(store, table)?.into_iter().filter_map(|(_, run)| run.err()).collect())
}

/// What a table has lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub batches: Vec<BatchId>,
    /// There are others, which cannot be read.
    pub in_doubt: bool,
}

/// Has runs of a batch feature view done again that have lost a batch, and, where rows of any table are lost, those that
/// have only some of their parts: what they read has changed. Forgets records that cannot be read.
pub(super) fn mend_runs(
    store: &Store,
    view: &FeatureView,
    losses: &Losses,
    any_lost: bool,
) -> Result<Option<MendedRuns>, ShardError> {
    let table = view.schema.table;
    let mut mended =
        MendedRuns { table: view.name.clone(), in_doubt: losses.in_doubt, ..MendedRuns::default() };
    let mut batch = store.db.batch();
    for (key, run) in records(store, table)? {
        match run {
            Ok(mut run)
                if run.is_in(table, &losses.batches) || any_lost && run.is_open() && run.parts > 0 =>
            {
                run.begin_anew("rows were lost, and `larder repair` has it done again");
                mended.again.push(run.moment);
                batch.insert(&store.meta, key, encode(&run));
            }
            Ok(_) => {}
            Err(why) => {
                mended.unreadable.push(why);
                batch.remove(&store.meta, key);
            }
        }
    }
    batch.commit()?;
    let nothing = mended.again.is_empty() && mended.unreadable.is_empty() && !mended.in_doubt;
    Ok((!nothing).then_some(mended))
}
