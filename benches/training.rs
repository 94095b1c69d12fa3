//! Point-in-time joins, as a training set needs them: one run of larder for `scripts/bench/run training`, which compares
//! it with other software.
//!
//! ```text
//! training load ROWS STORE VIEW             Parquet files of feature rows into the table of one view
//! training run SPINE STORE VIEWS TTL [OUT]  all features of VIEWS views at the spine's times; TTL such as 1d, or none
//! training decode STORE VIEWS               the floor: all columns of all rows read and decoded, on all cores
//! ```

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use larder::{
    model::{Column, DataType, Duration, TableId, TableSchema, encode_keys},
    offline::{
        AsOf, ByteBudget, History, NoTail, OfflineOptions, OfflineStore, SpineKeys, as_of_joins, spines,
    },
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", rows, store, view] => {
            let rows = common::load(Path::new(rows), Path::new(store), &schema(view.parse().unwrap()));
            println!("{rows} rows");
        }
        ["run", spine, store, views, ttl] => run(spine, store, views.parse().unwrap(), ttl, None),
        ["run", spine, store, views, ttl, out] => run(spine, store, views.parse().unwrap(), ttl, Some(out)),
        ["decode", store, views] => decode(store, views.parse().unwrap()),
        // `cargo bench` without arguments: there is nothing to measure without data.
        _ => println!("see scripts/bench/run training"),
    }
}

/// Ten floats, two integers, one text.
fn schema(view: u32) -> TableSchema {
    let column = |name: &str, data_type| Column { name: name.to_owned(), data_type };
    let mut columns: Vec<Column> = (0..10).map(|i| column(&format!("f{i}"), DataType::Float64)).collect();
    columns.extend(["i0", "i1"].map(|name| column(name, DataType::Int64)));
    columns.push(column("s0", DataType::String));
    let keys = vec![column("entity_id", DataType::Int64)];
    TableSchema::feature_view(TableId(view + 1), &format!("view{view}"), 1, keys, columns)
}

fn run(spine: &str, store: &str, views: u32, ttl: &str, out: Option<&str>) {
    let started = Instant::now();
    let ttl = (ttl != "none").then(|| ttl.parse::<Duration>().unwrap().micros());
    let spine = common::read(Path::new(spine));
    let at = spine.schema_ref().index_of("entity_id").unwrap();
    let (bytes, offsets) = encode_keys(&spine, &[at], |_, _| {});
    let times = spine.column_by_name("event_time").unwrap().as_primitive::<TimestampMicrosecondType>();
    let store = OfflineStore::open(Path::new(store), OfflineOptions::default()).unwrap();
    let spines = spines(&[SpineKeys { bytes: &bytes, offsets: &offsets }], times.values()).unwrap();
    drop((bytes, offsets));
    let schemas: Vec<TableSchema> = (0..views).map(schema).collect();
    let histories =
        schemas.iter().map(|schema| History::open(&store.table(schema).unwrap(), &NoTail, schema).unwrap());
    let histories: Vec<History> = histories.collect();
    let names: Vec<&str> = schemas[0].columns.iter().map(|column| column.name.as_str()).collect();
    let joins = histories.iter().map(|history| AsOf {
        history,
        spine: &spines[0],
        ttl,
        known_at: None,
        by_then: false,
        columns: &names,
        budget: ByteBudget::unlimited(),
    });
    let joined = as_of_joins(&joins.collect::<Vec<_>>()).unwrap();
    let columns: Vec<(String, ArrayRef)> = (joined.iter().enumerate())
        .flat_map(|(view, features)| {
            let named = names.iter().map(move |name| format!("view{view}__{name}"));
            named.zip(features.columns().iter().cloned())
        })
        .collect();
    common::print_figures(started, spine.num_rows());
    if let Some(out) = out {
        let rows = ("row_id".to_owned(), Arc::clone(spine.column_by_name("row_id").unwrap()));
        common::write(
            Path::new(out),
            &RecordBatch::try_from_iter([rows].into_iter().chain(columns)).unwrap(),
        );
    }
}

fn decode(store: &str, views: u32) {
    let started = Instant::now();
    let store = OfflineStore::open(Path::new(store), OfflineOptions::default()).unwrap();
    let mut segments = Vec::new();
    for view in 0..views {
        segments.extend(store.table(&schema(view)).unwrap().snapshot().segments.iter().cloned());
    }
    let (next, rows) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(segment) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let file = std::fs::File::open(&segment.path).unwrap();
                    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
                    for batch in reader.with_batch_size(1 << 13).build().unwrap() {
                        rows.fetch_add(batch.unwrap().num_rows(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    common::print_figures(started, rows.into_inner());
}
