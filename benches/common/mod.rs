//! What the measured runs of `scripts/bench` have in common: Parquet files into a table, and what a run took.

#![allow(dead_code)]

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch},
    compute::concat_batches,
};
use larder::{
    model::{ACCEPTED_AT, DELETED, SEQ, TableSchema},
    offline::{OfflineOptions, OfflineStore},
};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};

/// Rows of one append.
const PORTION: usize = 1_000_000;

pub fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.with_batch_size(1 << 16).build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

pub fn write(path: &Path, batch: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// The Parquet files in `from`, in order of their names, into the table of `schema` in `store`: numbered in that order, and
/// accepted at their column [`ACCEPTED_AT`], or where there is none at their event time. Returns how many rows there are.
pub fn load(from: &Path, store: &Path, schema: &TableSchema) -> usize {
    let store = OfflineStore::open(store, OfflineOptions::default()).unwrap();
    let table = store.table(schema).unwrap();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut waiting, mut rows, mut seq) = (Vec::new(), 0, 0);
    for (number, file) in files.iter().enumerate() {
        let batch = read(file);
        let column = |name: &str| -> ArrayRef {
            match name {
                SEQ => Arc::new(Int64Array::from_iter_values((seq..).take(batch.num_rows()))),
                DELETED => Arc::new(BooleanArray::from(vec![false; batch.num_rows()])),
                ACCEPTED_AT => {
                    let accepted = batch.column_by_name(ACCEPTED_AT);
                    Arc::clone(accepted.or_else(|| batch.column_by_name(&schema.event_time)).unwrap())
                }
                name => Arc::clone(batch.column_by_name(name).unwrap()),
            }
        };
        let columns = schema.offline().fields().iter().map(|field| column(field.name())).collect();
        let batch = RecordBatch::try_new(Arc::clone(schema.offline()), columns).unwrap();
        seq += batch.num_rows() as i64;
        rows += batch.num_rows();
        waiting.push(batch);
        if rows >= PORTION || number + 1 == files.len() {
            table.append(schema, std::mem::take(&mut waiting), seq as u64).unwrap();
            rows = 0;
        }
    }
    while table.compact().unwrap().merged > 0 {}
    seq as usize
}

/// Prints as JSON: seconds since `started`, seconds of all cores, the greatest resident set in KiB, rows.
pub fn print_figures(started: Instant, rows: usize) {
    let seconds = started.elapsed().as_secs_f64();
    let (cpu, peak) = (cpu(), status("VmHWM:"));
    println!("{{\"seconds\":{seconds:.3},\"cpu\":{cpu:.2},\"peak_kib\":{peak},\"rows\":{rows}}}");
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
