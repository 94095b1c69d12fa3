//! Second pass of a join: the wanted columns of the rows chosen, and of no others, column by column on all cores. Of what is
//! read no more than a column for each core is in memory beside the answer.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array,
    },
    buffer::BooleanBuffer,
    compute::{concat, filter, take},
    datatypes::{DataType, FieldRef, Schema, SchemaRef},
    error::ArrowError,
};

use crate::{
    compute::as_of::{Place, Spine},
    offline::{
        ByteBudget, History, OfflineError, evolve::conform, parallel::map_in_parallel, picked::Picked,
        segment_read::Footer, table::STEP,
    },
};

/// For the rows of a spine where their values are: the values of all parts, end to end, are taken at `positions`.
pub(super) struct Places<'a> {
    history: &'a History,
    parts: Vec<Part<'a>>,
    positions: UInt32Array,
}

/// Some rows of a source: of the `stretches` that are read those whose bits are set.
struct Part<'a> {
    source: Source<'a>,
    stretches: Vec<Range<usize>>,
    bits: BooleanBuffer,
}

enum Source<'a> {
    Segment(Footer),
    /// A batch of the tail.
    Tail(&'a RecordBatch),
}

impl<'a> Places<'a> {
    /// `chosen` is in the order of [`Spine::questions`]; where it says none, the answers will be null.
    pub fn of(
        history: &'a History,
        spine: &Spine,
        chosen: impl Iterator<Item = Option<Place>> + Clone,
    ) -> Result<Places<'a>, OfflineError> {
        let picked = pick(history, chosen.clone().flatten())?;
        let firsts = picked.iter().scan(0, |next, rows| Some(std::mem::replace(next, *next + rows.len())));
        let firsts: Vec<usize> = firsts.collect();
        const NOWHERE: u32 = u32::MAX;
        let mut positions = vec![NOWHERE; spine.rows()];
        for ((row, _), place) in spine.questions().zip(chosen) {
            if let Some(Place { source, row: of_source }) = place {
                let source = source as usize;
                positions[row] = (firsts[source] + picked[source].place(of_source)) as u32;
            }
        }
        let found = BooleanBuffer::collect_bool(positions.len(), |row| positions[row] != NOWHERE);
        let positions = UInt32Array::new(positions.into(), Some(found.into()));
        Ok(Places { history, parts: parts(history, &picked)?, positions })
    }

    /// The columns `wanted`, as long as the spine.
    ///
    /// A row of many bytes may be wanted by many rows of the spine: where strings, lists and vectors come to more than is left
    /// of `budget`, it is an error before they are copied.
    pub fn fetch(&self, wanted: &SchemaRef, budget: &ByteBudget) -> Result<RecordBatch, OfflineError> {
        // Texts and lists first: they take the most memory on the way, and the answer is small yet.
        let mut order: Vec<usize> = (0..wanted.fields().len()).collect();
        order.sort_by_key(|&field| wanted.field(field).data_type().primitive_width().is_some());
        let columns = map_in_parallel(&order, usize::MAX, |&field| {
            let values = self.values(&wanted.fields()[field])?;
            if !budget.take(taken_bytes(&values, &self.positions)) {
                let table = self.history.layout.table.clone();
                return Err(OfflineError::TooLarge { table, limit: budget.limit() });
            }
            Ok((field, take(&values, &self.positions, None).map_err(|error| self.wrong(error))?))
        })?;
        let columns: BTreeMap<usize, ArrayRef> = columns.into_iter().collect();
        let nullable = wanted.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(self.positions.len()));
        RecordBatch::try_new_with_options(schema, columns.into_values().collect(), &options)
            .map_err(|error| self.wrong(error))
    }

    /// The values of one column in all parts.
    fn values(&self, field: &FieldRef) -> Result<ArrayRef, OfflineError> {
        let target = Arc::new(Schema::new(vec![Arc::clone(field)]));
        let read = map_in_parallel(&self.parts, usize::MAX, |part| self.read(part, &target))?;
        let none = new_empty_array(field.data_type());
        let pieces = std::iter::once(&none).chain(read.iter().flatten()).map(|piece| piece.as_ref());
        concat(&pieces.collect::<Vec<&dyn Array>>()).map_err(|error| self.wrong(error))
    }

    fn read(&self, part: &Part<'_>, target: &SchemaRef) -> Result<Vec<ArrayRef>, OfflineError> {
        let mut at = 0;
        let mut pick = |batch: RecordBatch| {
            let bits = part.bits.slice(at, batch.num_rows());
            at += batch.num_rows();
            filter(batch.column(0), &BooleanArray::from(bits)).map_err(|error| self.wrong(error))
        };
        match &part.source {
            Source::Segment(footer) => {
                let batches = footer.picked(target, part.stretches.iter().cloned(), STEP)?;
                let picked = batches.map(|batch| pick(batch?)).collect::<Result<_, _>>()?;
                if at != part.bits.len() {
                    let why = "it has fewer rows than its footer says";
                    return Err(OfflineError::corrupt(&footer.segment.path, why));
                }
                Ok(picked)
            }
            Source::Tail(batch) => {
                let batch = conform(batch, target).map_err(|error| self.wrong(error))?;
                part.stretches.iter().map(|rows| pick(batch.slice(rows.start, rows.len()))).collect()
            }
        }
    }

    fn wrong(&self, error: ArrowError) -> OfflineError {
        OfflineError::columns(&self.history.layout.table)(error)
    }
}

/// Bytes that strings, lists and vectors take when they are taken at `positions`; single numbers are not counted.
fn taken_bytes(values: &ArrayRef, positions: &UInt32Array) -> usize {
    let sum = |length: &dyn Fn(usize) -> usize| -> usize {
        positions.iter().flatten().map(|position| length(position as usize)).sum()
    };
    match values.data_type() {
        DataType::Utf8 => {
            let offsets = values.as_string::<i32>().offsets();
            sum(&|row| (offsets[row + 1] - offsets[row]) as usize)
        }
        DataType::Binary => {
            let offsets = values.as_binary::<i32>().offsets();
            sum(&|row| (offsets[row + 1] - offsets[row]) as usize)
        }
        DataType::List(item) => {
            // Texts within lists are counted by their mean.
            let items = values.as_list::<i32>();
            let offsets = items.offsets();
            let width = item
                .data_type()
                .primitive_width()
                .unwrap_or_else(|| items.values().get_buffer_memory_size() / items.values().len().max(1) + 1);
            sum(&|row| (offsets[row + 1] - offsets[row]) as usize * width)
        }
        DataType::FixedSizeList(item, length) => {
            let width = item.data_type().primitive_width().unwrap_or_default();
            (positions.len() - positions.null_count()) * *length as usize * width
        }
        _ => 0,
    }
}

/// The rows chosen of each source.
fn pick(history: &History, chosen: impl Iterator<Item = Place>) -> Result<Vec<Picked>, OfflineError> {
    let segments = &history.snapshot.segments;
    let of_segments = segments.iter().map(|segment| segment.rows as usize);
    let of_tail = history.tail.iter().map(RecordBatch::num_rows);
    let mut picked: Vec<Picked> = of_segments.chain(of_tail).map(Picked::of).collect();
    for Place { source, row } in chosen {
        if !picked[source as usize].put(row) {
            let why = "it has more rows than the table's log says";
            return Err(OfflineError::corrupt(&segments[source as usize].path, why));
        }
    }
    picked.iter_mut().for_each(Picked::count);
    Ok(picked)
}

/// Where the rows picked are to be read, in the order of the sources.
fn parts<'a>(history: &'a History, picked: &[Picked]) -> Result<Vec<Part<'a>>, OfflineError> {
    let segments = &history.snapshot.segments;
    let used: Vec<usize> = (0..picked.len()).filter(|&source| !picked[source].is_empty()).collect();
    map_in_parallel(&used, usize::MAX, |&source| {
        let rows = &picked[source];
        let of_tail = || Source::Tail(&history.tail[source - segments.len()]);
        let segment = segments.get(source).map(Footer::read_with_offsets).transpose()?;
        let source = segment.map_or_else(of_tail, Source::Segment);
        Ok(Part { source, stretches: rows.stretches(), bits: rows.bits() })
    })
}
