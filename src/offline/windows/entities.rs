//! All events of a source, entity by entity: what backfills are made from.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    compute::{KeyIndex, window::Series},
    model::Column,
    offline::{
        History, OfflineError,
        windows::{
            EventSeries,
            collect::{Batch, Piece},
            partition::{Compact, Ordered},
            plan::Reads,
            tasks::Tasks,
        },
    },
};

/// The events of a source by entity.
pub struct EntityEvents<'a> {
    pub history: &'a History,
    /// The source's columns that are the entity's join keys, in the entity's order and types. An event without one of
    /// them belongs to no entity.
    pub keys: &'a [Column],
    pub series: &'a [EventSeries],
    /// Event times from the first on, before the second (microseconds).
    pub times: Range<i64>,
    /// Events with this `_seq` or a later one are left out.
    pub before_seq: Option<u64>,
    /// Only entities whose key's hash is `.0` modulo `.1`. All events of these are in memory at once: about 20 bytes
    /// each, and 8 more (or the text's length and 4) for each column.
    pub partition: (u64, u64),
}

/// Entities are ordered in so many steps, each with memory of its own.
const STEPS: u64 = 256;

/// One thread's share: entities are numbered by each thread on its own.
#[derive(Default)]
struct Share {
    entities: KeyIndex,
    pieces: Vec<Piece>,
    batches: usize,
}

/// Calls `visit(key, series)` for each entity that has events, in no order that is promised. `series` has one series for
/// each of the request's: the events that count for it.
pub fn for_each_entity<E: From<OfflineError>>(
    request: &EntityEvents<'_>,
    mut visit: impl FnMut(&[u8], &[Series<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    let history = request.history;
    let table = &history.layout.table;
    let mut reads = Reads::default();
    let plans = request.series.iter().map(|series| reads.add(table, series));
    let plans = plans.collect::<Result<Vec<_>, _>>()?;
    let target = reads.schema(history, request.keys, true, false)?;
    let (part, parts) = (request.partition.0, request.partition.1.max(1));
    let step = |hash: u64| (hash / parts % STEPS) as usize;
    let before = request.before_seq.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let tasks = Tasks::new(history, &request.times)?;
    let shares = tasks.run(&target, Share::default, |share, number, batch| {
        let seqs = history.layout.seqs(&batch)?.to_vec();
        let batch = Batch::new(history, batch, &reads, None)?;
        let (bytes, offsets) = batch.keys(request.keys)?;
        let Share { entities, pieces, batches } = share;
        *batches += 1;
        let (starts, events) = batch.pick(&plans, true, &request.times, STEPS as usize, |row, _| {
            let key = &bytes[offsets[row] as usize..offsets[row + 1] as usize];
            let hash = xxh3_64(key);
            let wanted = !key.is_empty() && seqs[row] < before && hash % parts == part;
            wanted.then(|| (step(hash), entities.insert(key)))
        })?;
        if !events.times.is_empty() {
            pieces.push(Piece { order: (number, *batches), starts, events });
        }
        Ok(())
    })?;

    // One numbering for all, in which a step's entities follow each other.
    let mut by_step: Vec<Vec<(usize, u32)>> = vec![Vec::new(); STEPS as usize];
    for (number, share) in shares.iter().enumerate() {
        let ids = 0..share.entities.len() as u32;
        ids.for_each(|id| by_step[step(xxh3_64(share.entities.key(id)))].push((number, id)));
    }
    let mut entities = KeyIndex::new();
    let mut ids: Vec<Vec<u32>> = shares.iter().map(|share| vec![0; share.entities.len()]).collect();
    let mut ends = Vec::with_capacity(by_step.len());
    for known in by_step {
        for (share, id) in known {
            ids[share][id as usize] = entities.insert(shares[share].entities.key(id));
        }
        ends.push(entities.len() as u32);
    }
    let mut pieces = Vec::new();
    for (mut share, ids) in shares.into_iter().zip(ids) {
        let of = share.pieces.iter_mut().flat_map(|piece| &mut piece.events.entities);
        of.for_each(|entity| *entity = ids[*entity as usize]);
        pieces.append(&mut share.pieces);
    }
    pieces.sort_by_key(|piece| piece.order);

    let mut ordered = Ordered::default();
    let mut compacts: Vec<Compact> = plans.iter().map(|_| Compact::default()).collect();
    let mut first = 0;
    for (step, end) in ends.into_iter().enumerate() {
        ordered.load(table, &pieces, step, first..end, &reads)?;
        for entity in first..end {
            let rows = ordered.rows(entity);
            let series = plans.iter().zip(&mut compacts);
            let series: Vec<Series<'_>> =
                series.map(|(plan, compact)| ordered.series(rows.clone(), *plan, compact)).collect();
            visit(entities.key(entity), &series)?;
        }
        first = end;
    }
    Ok(())
}
