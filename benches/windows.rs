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

use std::{fs::File, path::Path, sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::concat_batches,
    datatypes::{Int64Type, Schema, TimestampMicrosecondType},
};
use larder::{
    compute::window::{Function, Mode, Window},
    model::{Column, DataType, TableId, TableSchema, encode_keys},
    offline::{
        Aggregation, EventSeries, Grouping, History, NoTail, OfflineOptions, OfflineStore, SpineKeys,
        WindowJoin, window_join,
    },
};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};

/// Rows of one append.
const PORTION: usize = 1_000_000;
const WINDOWS: [&str; 4] = ["1h", "24h", "7d", "30d"];
const MEMORY: usize = 1 << 30;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", events, table] => load(Path::new(events), Path::new(table)),
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

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.with_batch_size(1 << 16).build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn load(events: &Path, table: &Path) {
    let schema = schema();
    let store = OfflineStore::open(table, OfflineOptions::default()).unwrap();
    let table = store.table(&schema).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(events).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut waiting, mut rows, mut seq) = (Vec::new(), 0, 0);
    for (number, file) in files.iter().enumerate() {
        let batch = read(file);
        let mut columns: Vec<ArrayRef> = ["event_time", "entity_id", "amount", "item"]
            .map(|name| Arc::clone(batch.column_by_name(name).unwrap()))
            .to_vec();
        let seqs = Int64Array::from_iter_values((seq..).take(batch.num_rows()));
        columns.push(Arc::new(seqs));
        columns.push(Arc::clone(&columns[0]));
        columns.push(Arc::new(BooleanArray::from(vec![false; batch.num_rows()])));
        seq += batch.num_rows() as i64;
        rows += batch.num_rows();
        waiting.push(RecordBatch::try_new(Arc::clone(schema.offline()), columns).unwrap());
        if rows >= PORTION || number + 1 == files.len() {
            table.append(&schema, std::mem::take(&mut waiting), seq as u64).unwrap();
            rows = 0;
        }
    }
    println!("{seq} events in {} segments", table.snapshot().segments.len());
}

fn run(spine: &Path, table: &Path, wanted: &str, out: Option<&Path>) {
    let started = Instant::now();
    let schema = schema();
    let store = OfflineStore::open(table, OfflineOptions::default()).unwrap();
    let table = store.table(&schema).unwrap();
    let history = History::open(&table, &NoTail, &schema).unwrap();
    let spine = read(spine);
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
    let seconds = started.elapsed().as_secs_f64();
    let (cpu, peak, rows) = (cpu(), status("VmHWM:"), spine.num_rows());
    println!("{{\"seconds\":{seconds:.3},\"cpu\":{cpu:.2},\"peak_kib\":{peak},\"rows\":{rows}}}");

    if let Some(out) = out {
        let rows = spine.column_by_name("row_id").unwrap().as_primitive::<Int64Type>().clone();
        let named = std::iter::once(("row_id".to_owned(), Arc::new(rows) as ArrayRef));
        let batch = RecordBatch::try_from_iter(named.chain(names.into_iter().zip(columns))).unwrap();
        let schema: Arc<Schema> = batch.schema();
        let mut writer = ArrowWriter::try_new(File::create(out).unwrap(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// Seconds of this process on all cores: fields 14 and 15 of `/proc/self/stat`, in hundredths of a second.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// A line of `/proc/self/status`, in KiB.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
