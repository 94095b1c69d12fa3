//! Windows over a source's history, as a training set needs them: one run of larder for `scripts/bench/windows`, which
//! compares it with other software.
//!
//! ```text
//! windows load EVENTS TABLE            Parquet files of events, in order of their names, into a table
//! windows run SPINE TABLE WANTED [OUT]  windows at the spine's times; prints seconds and memory as JSON
//! ```
//!
//! `WANTED` is `basic` (sum, count, mean, max) or `distinct` (and an approximate distinct count).

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

mod common;

use std::{path::Path, sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use larder::{
    compute::window::{Function, Mode, Window},
    model::{Column, DataType, TableId, TableSchema, encode_keys},
    offline::{
        Aggregation, EventSeries, Grouping, History, NoTail, OfflineOptions, OfflineStore, SpineKeys,
        WindowJoin, window_join,
    },
};

const WINDOWS: [&str; 4] = ["1h", "24h", "7d", "30d"];
const MEMORY: usize = 1 << 30;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", events, table] => {
            let rows = common::load(Path::new(events), Path::new(table), &schema());
            println!("{rows} events");
        }
        ["run", spine, table, wanted] => run(Path::new(spine), Path::new(table), wanted, None),
        ["run", spine, table, wanted, out] => {
            run(Path::new(spine), Path::new(table), wanted, Some(Path::new(out)));
        }
        // `cargo bench` without arguments: there is nothing to measure without data.
        _ => println!("see scripts/bench/windows"),
    }
}

fn column(name: &str, data_type: DataType) -> Column {
    Column { name: name.to_owned(), data_type }
}

fn schema() -> TableSchema {
    let columns = vec![
        column("entity_id", DataType::Int64),
        column("amount", DataType::Float64),
        column("item", DataType::Int64),
    ];
    TableSchema::source(TableId(1), "events", 1, "event_time", columns, None)
}

fn run(spine: &Path, table: &Path, wanted: &str, out: Option<&Path>) {
    let started = Instant::now();
    let schema = schema();
    let store = OfflineStore::open(table, OfflineOptions::default()).unwrap();
    let table = store.table(&schema).unwrap();
    let history = History::open(&table, &NoTail, &schema).unwrap();
    let spine = common::read(spine);
    let at = spine.schema_ref().index_of("entity_id").unwrap();
    let (bytes, offsets) = encode_keys(&spine, &[at], |_, _| {});
    let times = spine.column_by_name("event_time").unwrap().as_primitive::<TimestampMicrosecondType>();

    let of = |name: &str, data_type| EventSeries { column: Some(column(name, data_type)), filter: None };
    let mut names = Vec::new();
    let mut aggregations = Vec::new();
    for length in WINDOWS {
        let window = Window::new(Mode::Exact, length.parse().unwrap()).unwrap();
        let mut add = |events, function: Function, name: &str| {
            names.push(format!("w{length}__{name}"));
            aggregations.push(Aggregation { events, function, window });
        };
        add(of("amount", DataType::Float64), Function::Sum, "sum");
        add(of("amount", DataType::Float64), Function::Count, "count");
        add(of("amount", DataType::Float64), Function::Mean, "mean");
        add(of("amount", DataType::Float64), Function::Max, "max");
        if wanted == "distinct" {
            add(of("item", DataType::Int64), Function::ApproxCountDistinct, "distinct");
        }
    }
    let keys = [column("entity_id", DataType::Int64)];
    let request = WindowJoin {
        history: &history,
        times: times.values(),
        groupings: &[Grouping {
            keys: &keys,
            spine: SpineKeys { bytes: &bytes, offsets: &offsets },
            aggregations: &aggregations,
        }],
        lag: 0,
        known_at: None,
        by_then: false,
        watch: None,
        memory: MEMORY,
    };
    let columns = window_join(&request).unwrap().remove(0);
    common::print_figures(started, spine.num_rows());

    if let Some(out) = out {
        let rows = spine.column_by_name("row_id").unwrap().as_primitive::<Int64Type>().clone();
        let named = std::iter::once(("row_id".to_owned(), Arc::new(rows) as ArrayRef));
        let batch = RecordBatch::try_from_iter(named.chain(names.into_iter().zip(columns))).unwrap();
        common::write(out, &batch);
    }
}
