//! First pass of a join: which version answers each question. Only what choosing takes is read (keys, event time, seq,
//! tombstone, and acceptance where it counts), row group by row group on all cores.

use arrow::{array::RecordBatch, compute::partition};

use crate::{
    compute::as_of::{Place, Rows, Seen, Sweep, Version},
    model::{ACCEPTED_AT, encode_keys, row_keys},
    offline::{
        AsOf, OfflineError,
        evolve::conform,
        layout::Layout,
        parallel::{in_parallel, map_in_parallel},
        segment_read::{Footer, GroupBounds},
        table::STEP,
    },
};

/// A row group to look through.
struct Task<'a> {
    footer: &'a Footer,
    source: u32,
    group: usize,
    bounds: GroupBounds,
}

/// The newest version for each question, in the order of [`Spine::questions`](crate::compute::as_of::Spine::questions).
/// Sources are the segments in the snapshot's order, then the tail's batches. `sweeps` may there be at a time.
pub(super) fn choose(request: &AsOf<'_>, sweeps: usize) -> Result<Vec<Option<Version>>, OfflineError> {
    let (history, spine) = (request.history, request.spine);
    let layout = &history.layout;
    let Some(latest) = spine.latest() else { return Ok(Vec::new()) };
    let known_at = request.known_at.unwrap_or(i64::MAX);
    let seen = Seen { known_at, before: history.before, by_then: request.by_then };
    let target = layout.choosing(&history.schema, seen.looks_at_acceptance())?;
    let segments = &history.snapshot.segments;

    let early = |bounds: Option<(i64, i64)>| bounds.is_none_or(|(earliest, _)| earliest <= latest);
    let candidates: Vec<usize> = (0..segments.len()).filter(|&i| early(segments[i].event_time)).collect();
    let footers = map_in_parallel(&candidates, usize::MAX, |&segment| {
        Ok((segment as u32, Footer::read(&segments[segment])?))
    })?;
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for (source, footer) in &footers {
        for (group, bounds) in footer.groups(layout).into_iter().enumerate() {
            let asked = bounds.key.as_ref().is_none_or(|(low, high)| spine.asks_within(low, high));
            if asked && early(bounds.event_time) {
                tasks.push(Task { footer, source: *source, group, bounds });
            }
        }
    }
    // Large ones first, so that no core is left with one at the end.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.bounds.rows));

    let new_sweep = || Sweep::new(spine, seen);
    let mut swept = in_parallel(&tasks, sweeps, new_sweep, |sweep, task| {
        let mut row = task.bounds.first_row as u32;
        for batch in task.footer.rows(&target, Some(task.group), STEP)? {
            let batch = batch?;
            offer(layout, sweep, &batch, Place { source: task.source, row })?;
            row += batch.num_rows() as u32;
        }
        Ok(())
    })?
    .into_iter();
    let mut best = swept.next().unwrap_or_else(new_sweep);
    swept.for_each(|sweep| best.merge(sweep));

    let tail: Vec<RecordBatch> = (history.tail.iter().map(|batch| conform(batch, &target)))
        .collect::<Result<_, _>>()
        .map_err(OfflineError::columns(&layout.table))?;
    offer_tail(layout, &mut best, &tail, segments.len() as u32)?;
    Ok(best.finish())
}

/// Gives the rows of the tail to the sweep. They are in order of acceptance, and are put in a segment's order first: out of
/// order, the sweep would go through all later questions of a key for each row.
fn offer_tail(
    layout: &Layout,
    sweep: &mut Sweep<'_>,
    tail: &[RecordBatch],
    first_source: u32,
) -> Result<(), OfflineError> {
    let (mut batches, mut asked) = (Vec::new(), Vec::new());
    for (number, batch) in tail.iter().enumerate() {
        let first = Place { source: first_source + number as u32, row: 0 };
        let rows = rows_of(layout, batch, first)?;
        // A key that cannot be encoded is empty, and cannot be asked for.
        let (bytes, offsets) = encode_keys(batch, &layout.key_indices(batch.schema_ref())?, |_, _| {});
        for (row, ends) in offsets.windows(2).enumerate() {
            if let Some(rank) = sweep.rank(&bytes[ends[0] as usize..ends[1] as usize]) {
                asked.push((rank, rows.event_times[row], rows.seqs[row], number as u32, row as u32));
            }
        }
        batches.push(rows);
    }
    asked.sort_unstable();
    for (rank, _, _, batch, row) in asked {
        sweep.offer_rank(rank, &batches[batch as usize], row as usize..row as usize + 1);
    }
    Ok(())
}

fn rows_of<'a>(layout: &Layout, batch: &'a RecordBatch, first: Place) -> Result<Rows<'a>, OfflineError> {
    let accepted = batch.column_by_name(ACCEPTED_AT).is_some();
    Ok(Rows {
        event_times: layout.event_times(batch)?,
        seqs: layout.seqs(batch)?,
        accepted_at: if accepted { layout.accepted_at(batch)? } else { &[] },
        deleted: layout.deleted(batch)?,
        first,
    })
}

/// Gives a batch's rows to the sweep, one run of equal keys after the other.
fn offer(
    layout: &Layout,
    sweep: &mut Sweep<'_>,
    batch: &RecordBatch,
    first: Place,
) -> Result<(), OfflineError> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let rows = rows_of(layout, batch, first)?;
    let keys = layout.key_indices(batch.schema_ref())?;
    let columns: Vec<_> = keys.iter().map(|&index| batch.column(index).clone()).collect();
    let runs = partition(&columns).map_err(OfflineError::columns(&layout.table))?;
    let mut bytes = Vec::new();
    for run in runs.ranges() {
        bytes.clear();
        // A key that cannot be encoded cannot be asked for.
        if row_keys(batch, &keys, run.start, &mut bytes).is_ok() {
            sweep.offer(&bytes, &rows, run);
        }
    }
    Ok(())
}
