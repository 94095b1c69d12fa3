//! The point-in-time join of a table's history to a spine.
//!
//! Two passes. The first reads only what choosing takes (keys, event time, seq, acceptance, tombstone), row group by
//! row group on all cores, and keeps the best version for each spine row. The second reads the wanted columns of the
//! rows chosen, and of no others. Memory follows the spine, not the history.

use arrow::{
    array::{
        ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, new_null_array,
    },
    compute::{concat_batches, interleave, partition},
    datatypes::SchemaRef,
};

use crate::{
    compute::as_of::{Outcome, Place, Rows, Seen, Spine, Sweep, Version, judge},
    model::{encode_keys, row_keys},
    offline::{
        History, OfflineError,
        evolve::conform,
        layout::Layout,
        parallel::in_parallel,
        picked::Picked,
        segment_read::{Footer, GroupBounds},
        table::STEP,
    },
};

/// Spine rows that all threads' sweeps together hold (32 bytes each), beyond those of one.
const MOST_SLOTS: usize = 1 << 24;

/// Encoded entity keys, one for each spine row, as `model::encode_keys` gives them: row `i` is
/// `bytes[offsets[i]..offsets[i + 1]]`; an empty one has no value.
#[derive(Clone, Copy)]
pub struct SpineKeys<'a> {
    pub bytes: &'a [u8],
    pub offsets: &'a [u32],
}

/// A point-in-time question for every row of a spine.
pub struct AsOf<'a> {
    pub history: &'a History,
    pub keys: SpineKeys<'a>,
    /// Microseconds; as many as there are keys.
    pub times: &'a [i64],
    /// Versions older than this (microseconds) at a row's time are not used.
    pub ttl: Option<i64>,
    /// A version counts from its event time + `lag` (microseconds) on.
    pub lag: i64,
    /// Versions accepted later (microseconds) are not seen.
    pub known_at: Option<i64>,
    /// Nor those accepted after the time of the row that asks.
    pub by_then: bool,
    /// Wanted columns of the table.
    pub columns: &'a [&'a str],
}

/// One answer for each spine row, in the spine's order.
pub struct AsOfResult {
    /// The wanted columns; null where the outcome is not [`Outcome::Present`].
    pub features: RecordBatch,
    /// The event time of the version, null where there is none.
    pub event_times: TimestampMicrosecondArray,
    pub outcomes: Vec<Outcome>,
}

/// A row group to look through.
struct Task<'a> {
    footer: &'a Footer,
    source: u32,
    group: usize,
    bounds: GroupBounds,
}

/// For each spine row the values of the newest version at its time.
pub fn as_of_join(request: &AsOf<'_>) -> Result<AsOfResult, OfflineError> {
    let history = request.history;
    let wanted = history.layout.project(&history.schema, request.columns)?;
    let spine = Spine::new(request.keys.bytes, request.keys.offsets, request.times, request.lag);
    let newest = choose(request, &spine)?;
    drop(spine);

    let judged =
        newest.iter().zip(request.times).map(|(version, &t)| judge(version.as_ref(), t, request.ttl));
    let outcomes: Vec<Outcome> = judged.collect();
    let reported = newest.iter().zip(&outcomes).map(|(version, outcome)| match outcome {
        Outcome::NotFound => None,
        Outcome::Present | Outcome::OutsideMaxAge => version.map(|version| version.event_time),
    });
    let event_times = reported.collect::<Int64Array>().reinterpret_cast().with_timezone("UTC");
    let chosen: Vec<Option<Place>> = newest
        .iter()
        .zip(&outcomes)
        .map(|(version, outcome)| {
            version.filter(|_| *outcome == Outcome::Present).map(|version| version.place)
        })
        .collect();
    drop(newest);
    let features = fetch(history, &wanted, &chosen)?;
    Ok(AsOfResult { features, event_times, outcomes })
}

/// First pass: the newest version for each spine row. Sources are the segments in the snapshot's order, then the
/// tail's batches.
pub(super) fn choose(request: &AsOf<'_>, spine: &Spine) -> Result<Vec<Option<Version>>, OfflineError> {
    let history = request.history;
    let layout = &history.layout;
    let Some(latest) = spine.latest() else { return Ok(vec![None; request.times.len()]) };
    let target = layout.choosing(&history.schema)?;
    let segments = &history.snapshot.segments;

    let early = |bounds: Option<(i64, i64)>| bounds.is_none_or(|(earliest, _)| earliest <= latest);
    let candidates: Vec<usize> = (0..segments.len()).filter(|&i| early(segments[i].event_time)).collect();
    let footers =
        in_parallel(&candidates, usize::MAX, Vec::new, |footers: &mut Vec<(u32, Footer)>, &segment| {
            footers.push((segment as u32, Footer::read(&segments[segment])?));
            Ok(())
        })?;
    let footers: Vec<_> = footers.into_iter().flatten().collect();
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

    let known_at = request.known_at.unwrap_or(i64::MAX);
    let seen = Seen { known_at, before: history.before, by_then: request.by_then };
    let new_sweep = || Sweep::new(spine, seen);
    let mut sweeps =
        in_parallel(&tasks, MOST_SLOTS / request.times.len().max(1) + 1, new_sweep, |sweep, task| {
            let mut row = task.bounds.first_row as u32;
            for batch in task.footer.rows(&target, Some(task.group), STEP)? {
                let batch = batch?;
                offer(layout, sweep, &batch, Place { source: task.source, row })?;
                row += batch.num_rows() as u32;
            }
            Ok(())
        })?
        .into_iter();
    let mut best = sweeps.next().unwrap_or_else(new_sweep);
    sweeps.for_each(|sweep| best.merge(sweep));

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
    Ok(Rows {
        event_times: layout.event_times(batch)?,
        seqs: layout.seqs(batch)?,
        accepted_at: layout.accepted_at(batch)?,
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

/// Second pass: the values at the places chosen.
pub(super) fn fetch(
    history: &History,
    wanted: &SchemaRef,
    chosen: &[Option<Place>],
) -> Result<RecordBatch, OfflineError> {
    let layout = &history.layout;
    let segments = &history.snapshot.segments;
    let sources = segments.len() + history.tail.len();
    let mut picked: Vec<Picked> = segments.iter().map(|segment| Picked::of(segment.rows as usize)).collect();
    let mut of_tail = vec![false; history.tail.len()];
    for place in chosen.iter().flatten() {
        let source = place.source as usize;
        match picked.get_mut(source).map(|picked| picked.put(place.row)) {
            Some(true) => {}
            Some(false) => {
                let why = "it has more rows than the table's log says";
                return Err(OfflineError::corrupt(&segments[source].path, why));
            }
            None => of_tail[source - segments.len()] = true,
        }
    }
    picked.iter_mut().for_each(Picked::count);

    let used: Vec<usize> = (0..segments.len()).filter(|&source| !picked[source].is_empty()).collect();
    let read = in_parallel(&used, usize::MAX, Vec::new, |parts: &mut Vec<(usize, RecordBatch)>, &source| {
        let footer = Footer::read_with_offsets(&segments[source])?;
        let batches =
            footer.picked(wanted, picked[source].runs().into_iter(), STEP)?.collect::<Result<Vec<_>, _>>()?;
        let rows = concat_batches(wanted, &batches).map_err(OfflineError::columns(&layout.table))?;
        if rows.num_rows() != picked[source].len() {
            return Err(OfflineError::corrupt(
                &segments[source].path,
                "it has fewer rows than its footer says",
            ));
        }
        parts.push((source, rows));
        Ok(())
    })?;

    // Part 0 is a null; after it come the sources that are used. `part_of[source]` is its number.
    let mut parts: Vec<RecordBatch> = Vec::new();
    let mut part_of = vec![0; sources];
    for (source, rows) in read.into_iter().flatten() {
        parts.push(rows);
        part_of[source] = parts.len();
    }
    for (source, batch) in (segments.len()..).zip(&history.tail) {
        if of_tail[source - segments.len()] {
            parts.push(conform(batch, wanted).map_err(OfflineError::columns(&layout.table))?);
            part_of[source] = parts.len();
        }
    }
    let position = |place: &Place| {
        let source = place.source as usize;
        // Of a segment only the rows picked were read; a tail batch is there as a whole.
        let row = match source < segments.len() {
            true => picked[source].place(place.row),
            false => place.row as usize,
        };
        (part_of[source], row)
    };
    let positions: Vec<(usize, usize)> =
        chosen.iter().map(|place| place.as_ref().map_or((0, 0), position)).collect();
    let indices: Vec<usize> = (0..wanted.fields().len()).collect();
    let gathered =
        in_parallel(&indices, usize::MAX, Vec::new, |columns: &mut Vec<(usize, ArrayRef)>, &index| {
            let null = new_null_array(wanted.field(index).data_type(), 1);
            let values = parts.iter().map(|part| part.column(index).as_ref());
            let values: Vec<_> = std::iter::once(null.as_ref()).chain(values).collect();
            let column = interleave(&values, &positions).map_err(OfflineError::columns(&layout.table))?;
            columns.push((index, column));
            Ok(())
        })?;
    let mut columns: Vec<(usize, ArrayRef)> = gathered.into_iter().flatten().collect();
    columns.sort_unstable_by_key(|(index, _)| *index);
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let nullable = wanted.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(nullable.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(chosen.len()));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(OfflineError::columns(&layout.table))
}
