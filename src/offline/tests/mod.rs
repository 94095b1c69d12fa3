//! Fixtures: a small feature view, rows of it, an outbox.

mod crash;
mod join;
mod restate;
mod retention;
mod table;
mod windows;

use std::sync::{Arc, Mutex};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType as Arrow, Float64Type, Int64Type, TimestampMicrosecondType},
};
use proptest::prelude::*;

use crate::{
    model::{Column, DataType, SEQ, TableId, TableSchema},
    offline::{History, OfflineOptions, OfflineStore, Table, Tail, TailError, TailRows, seqs::rows_from},
};

/// One accepted row; its `_seq` is its place in the list.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    key: (String, i64),
    time: i64,
    accepted: i64,
    /// `x` is none for a null, and of no account in a tombstone.
    x: Option<i32>,
    deleted: bool,
}

fn row() -> impl Strategy<Value = Row> {
    (
        0..4usize,
        0..2i64,
        -20..20i64,
        0..30i64,
        prop::option::weighted(0.8, any::<i32>()),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(name, n, time, accepted, x, deleted)| Row {
            key: (["", "a", "b", "a\0"][name].to_owned(), n),
            time,
            accepted,
            x: x.filter(|_| !deleted),
            deleted,
        })
}

fn column(name: &str, data_type: DataType) -> Column {
    Column { name: name.to_owned(), data_type }
}

/// Version 1 has `x: int32`; version 2 has `x: float64` and `y: string`, which is the text of `x`.
fn schema(version: u32) -> TableSchema {
    let keys = vec![column("name", DataType::String), column("n", DataType::Int64)];
    let columns = match version {
        1 => vec![column("x", DataType::Int32)],
        _ => vec![column("x", DataType::Float64), column("y", DataType::String)],
    };
    TableSchema::feature_view(TableId(7), "view", version, keys, columns)
}

fn batch(schema: &TableSchema, rows: &[Row], first_seq: u64) -> RecordBatch {
    let times = |f: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(f)).with_timezone("UTC"))
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.key.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.key.1))),
        times(|r| r.time),
    ];
    if schema.version == 1 {
        columns.push(Arc::new(rows.iter().map(|r| r.x).collect::<Int32Array>()));
    } else {
        columns.push(Arc::new(rows.iter().map(|r| r.x.map(f64::from)).collect::<Float64Array>()));
        columns.push(Arc::new(rows.iter().map(|r| r.x.map(|x| x.to_string())).collect::<StringArray>()));
    }
    columns.push(Arc::new(Int64Array::from_iter_values((first_seq as i64..).take(rows.len()))));
    columns.push(times(|r| r.accepted));
    columns.push(Arc::new(BooleanArray::from(rows.iter().map(|r| r.deleted).collect::<Vec<_>>())));
    RecordBatch::try_new(Arc::clone(schema.offline()), columns).unwrap()
}

/// Acknowledged rows, sealed or not.
#[derive(Default)]
struct Outbox(Mutex<Vec<RecordBatch>>);

impl Outbox {
    fn push(&self, batch: RecordBatch) {
        self.0.lock().unwrap().push(batch);
    }
}

impl Tail for Outbox {
    fn tail(&self, table: TableId, from_seq: u64, _: Option<&[&str]>) -> Result<TailRows, TailError> {
        assert_eq!(table, TableId(7));
        let layout = crate::offline::layout::Layout::of(&schema(1));
        Ok(rows_from(&layout, &self.0.lock().unwrap(), from_seq).unwrap().0.into())
    }
}

/// Small enough that a few rows fill segments, row groups and pages.
fn options() -> OfflineOptions {
    OfflineOptions {
        segment_rows: 12,
        row_group_rows: 4,
        page_rows: 2,
        compact_min_segments: 2,
        checkpoint_commits: 3,
        ..OfflineOptions::default()
    }
}

fn open(dir: &std::path::Path) -> Arc<Table> {
    OfflineStore::open(dir, options()).unwrap().table(&schema(1)).unwrap()
}

/// A row as it is read back: seq, key, time, `x` as a number, `y` where the history has it.
type Read = (i64, (String, i64), i64, Option<f64>, Option<String>, bool);

/// All rows of a history in order of `_seq`.
fn contents(history: &History) -> Vec<Read> {
    let names: Vec<&str> = history.schema().fields().iter().map(|f| f.name().as_str()).collect();
    let mut rows = Vec::new();
    for batch in history.scan(&names).unwrap() {
        let batch = batch.unwrap();
        let of = |name: &str| batch.column_by_name(name).unwrap();
        let x = arrow::compute::cast(of("x"), &Arrow::Float64).unwrap();
        let y = batch.column_by_name("y");
        for i in 0..batch.num_rows() {
            rows.push((
                of(SEQ).as_primitive::<Int64Type>().value(i),
                (
                    of("name").as_string::<i32>().value(i).to_owned(),
                    of("n").as_primitive::<Int64Type>().value(i),
                ),
                of("event_time").as_primitive::<TimestampMicrosecondType>().value(i),
                x.as_primitive::<Float64Type>().iter().nth(i).unwrap(),
                y.and_then(|y| y.as_string::<i32>().iter().nth(i).unwrap().map(str::to_owned)),
                of("_deleted").as_boolean().value(i),
            ));
        }
    }
    rows.sort_by_key(|row| row.0);
    rows
}

/// What `contents` is to be when rows from `y_from` on were written with version 2.
fn expected(rows: &[Row], y_from: usize) -> Vec<Read> {
    let read = |(seq, row): (usize, &Row)| {
        let y = row.x.filter(|_| seq >= y_from).map(|x| x.to_string());
        (seq as i64, row.key.clone(), row.time, row.x.map(f64::from), y, row.deleted)
    };
    rows.iter().enumerate().map(read).collect()
}
