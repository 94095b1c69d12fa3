//! The join: passes over the history, answers partition by partition, and back into the spine's order.

use std::sync::{Mutex, PoisonError};

use arrow::{
    array::{Array, ArrayRef, UInt32Array},
    compute::{concat, take},
    datatypes::SchemaRef,
};

use crate::offline::{
    OfflineError,
    parallel::{in_parallel, map_in_parallel},
    windows::{
        WindowJoin,
        collect::{Batch, Piece},
        evaluate::{Evaluator, Program},
        plan::Reads,
        questions::Questions,
        tasks::{Tasks, Times},
    },
};

/// Per grouping a column for each of its aggregations, in the spine's order and in the type of `Function::result`.
pub fn window_join(request: &WindowJoin<'_>) -> Result<Vec<Vec<ArrayRef>>, OfflineError> {
    let table = &request.history.layout.table;
    let mut reads = Reads::default();
    let programs = request.groupings.iter().map(|it| Program::new(table, it.aggregations, &mut reads));
    let programs = programs.collect::<Result<Vec<_>, _>>()?;
    let questions: Vec<Questions> = request
        .groupings
        .iter()
        .map(|it| {
            let windows = it.aggregations.iter().map(|aggregation| aggregation.window);
            // Who watches sees also the events that the lag holds back.
            let lag = if request.watch.is_some() { 0 } else { request.lag };
            Questions::new(it.spine, request.times, windows, lag)
        })
        .collect();
    let times = questions.iter().map(Questions::times);
    let times = times.reduce(|all, it| all.start.min(it.start)..all.end.max(it.end)).unwrap_or(0..0);
    let tasks = Tasks::new(request.history, &times)?;
    let keys = request.groupings.iter().flat_map(|grouping| grouping.keys);
    let scan = Scan {
        request,
        target: {
            let seqs = !tasks.ordered || request.history.before != i64::MAX || request.watch.is_some();
            let accepted = request.known_at.is_some() || request.looks_closer();
            reads.schema(request.history, keys, seqs, accepted)?
        },
        tasks,
        reads: &reads,
        programs: &programs,
        questions: &questions,
        times,
    };

    let mut parts: Vec<Vec<(usize, Vec<ArrayRef>)>> = programs.iter().map(|_| Vec::new()).collect();
    let partitions = questions.iter().map(Questions::partitions).max().unwrap_or(0);
    let mut from = 0;
    while from < partitions {
        let (pieces, end) = scan.pass(from, partitions)?;
        for (grouping, pieces) in pieces.iter().enumerate() {
            parts[grouping].extend(scan.evaluate(grouping, pieces, from..end)?);
        }
        from = end;
    }
    parts
        .into_iter()
        .zip(&programs)
        .zip(&questions)
        .map(|((parts, program), questions)| in_spine_order(parts, program, questions, table))
        .collect()
}

struct Scan<'a> {
    request: &'a WindowJoin<'a>,
    /// The columns that are read.
    target: SchemaRef,
    tasks: Tasks<'a>,
    reads: &'a Reads,
    programs: &'a [Program],
    questions: &'a [Questions],
    times: Times,
}

/// What is kept in a pass, by partition.
struct Kept {
    bytes: Vec<usize>,
    /// Partitions from here on are let go.
    end: usize,
}

impl WindowJoin<'_> {
    /// Whether it matters when an event was accepted.
    fn looks_closer(&self) -> bool {
        self.by_then || self.watch.is_some()
    }
}

impl Kept {
    /// Lets go of the last partitions until the rest fits `limit`, but never of the one at `from`.
    fn fit(&mut self, from: usize, limit: usize) {
        let mut total: usize = self.bytes[from..self.end].iter().sum();
        while total > limit && self.end > from + 1 {
            self.end -= 1;
            total -= self.bytes[self.end];
        }
    }
}

/// What one thread has collected.
struct Collected {
    /// Per grouping.
    pieces: Vec<Vec<Piece>>,
    batches: usize,
    end: usize,
}

impl Collected {
    fn truncate(&mut self, end: usize) {
        if end < self.end {
            self.pieces.iter_mut().flatten().for_each(|piece| piece.truncate(end));
            self.end = end;
        }
    }
}

impl Scan<'_> {
    /// Reads the history and keeps the events of the partitions `from..end`, as many as fit; per grouping, in the
    /// history's order.
    fn pass(&self, from: usize, partitions: usize) -> Result<(Vec<Vec<Piece>>, usize), OfflineError> {
        let request = self.request;
        let order = (!self.tasks.ordered || request.watch.is_some(), request.looks_closer());
        let kept = Mutex::new(Kept { bytes: vec![0; partitions], end: partitions });
        let kept_now = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let new_state = || Collected {
            pieces: request.groupings.iter().map(|_| Vec::new()).collect(),
            batches: 0,
            end: partitions,
        };
        let collected = self.tasks.run(&self.target, new_state, |state, number, batch| {
            let end = kept_now().end;
            state.truncate(end);
            state.batches += 1;
            let batch = Batch::new(request.history, batch, self.reads, request.known_at)?;
            for (grouping, it) in request.groupings.iter().enumerate() {
                let (questions, program) = (&self.questions[grouping], &self.programs[grouping]);
                let (bytes, offsets) = batch.keys(it.keys)?;
                let (starts, events) =
                    batch.pick(&program.series, order, &self.times, end, |row, time| {
                        let key = &bytes[offsets[row] as usize..offsets[row + 1] as usize];
                        let entity = questions.asked(key, time)?;
                        Some((questions.partition(entity), entity))
                            .filter(|(partition, _)| *partition >= from)
                    })?;
                if events.times.is_empty() {
                    continue;
                }
                let each = events.bytes().div_ceil(events.times.len());
                let mut kept = kept_now();
                for (partition, range) in starts.windows(2).enumerate() {
                    kept.bytes[partition] += (range[1] - range[0]) as usize * each;
                }
                kept.fit(from, request.memory);
                drop(kept);
                state.pieces[grouping].push(Piece { order: (number, state.batches), starts, events });
            }
            Ok(())
        })?;
        let end = kept_now().end;
        let mut pieces: Vec<Vec<Piece>> = request.groupings.iter().map(|_| Vec::new()).collect();
        for mut state in collected {
            state.truncate(end);
            pieces.iter_mut().zip(state.pieces).for_each(|(all, some)| all.extend(some));
        }
        pieces.iter_mut().for_each(|pieces| pieces.sort_by_key(|piece| piece.order));
        Ok((pieces, end))
    }

    fn evaluate(
        &self,
        grouping: usize,
        pieces: &[Piece],
        partitions: std::ops::Range<usize>,
    ) -> Result<Vec<(usize, Vec<ArrayRef>)>, OfflineError> {
        let (program, questions) = (&self.programs[grouping], &self.questions[grouping]);
        let mut partitions: Vec<usize> = partitions.filter(|at| *at < questions.partitions()).collect();
        // Large ones first, so that no core is left with one at the end.
        let events =
            |partition: usize| pieces.iter().map(|piece| piece.range(partition).len()).sum::<usize>();
        partitions.sort_by_cached_key(|partition| std::cmp::Reverse(events(*partition)));
        let table = &self.request.history.layout.table;
        let new_state = || {
            let evaluator = Evaluator::new(program, self.reads, questions, (self.request, grouping), table);
            (evaluator, Vec::new())
        };
        let done = in_parallel(&partitions, usize::MAX, new_state, |(evaluator, done), &partition| {
            done.push((partition, evaluator.partition(pieces, partition)?));
            Ok(())
        })?;
        Ok(done.into_iter().flat_map(|(_, done)| done).collect())
    }
}

/// Columns by slot become columns by the spine's row.
fn in_spine_order(
    mut parts: Vec<(usize, Vec<ArrayRef>)>,
    program: &Program,
    questions: &Questions,
    table: &str,
) -> Result<Vec<ArrayRef>, OfflineError> {
    if parts.is_empty() {
        return Ok(program.empty());
    }
    parts.sort_by_key(|(partition, _)| *partition);
    let slots = UInt32Array::from(questions.slots.clone());
    // Column by column, so that each is there twice only while its turn lasts.
    let mut by_column: Vec<Vec<ArrayRef>> = program.empty().iter().map(|_| Vec::new()).collect();
    for (_, columns) in parts {
        by_column.iter_mut().zip(columns).for_each(|(parts, part)| parts.push(part));
    }
    let by_column: Vec<Mutex<Vec<ArrayRef>>> = by_column.into_iter().map(Mutex::new).collect();
    map_in_parallel(&by_column, usize::MAX, |parts| {
        let parts = std::mem::take(&mut *parts.lock().unwrap_or_else(PoisonError::into_inner));
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
        let column = concat(&parts).and_then(|whole| take(&whole, &slots, None));
        column.map_err(OfflineError::columns(table))
    })
}
