//! What happened, in the words of the layer that saw it.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::names::*;

fn seconds_of_micros(micros: i64) -> f64 {
    micros as f64 / 1e6
}

pub fn record_rejected(table: &str, rows: u64) {
    counter!(INGEST_ROWS, "table" => table.to_owned(), "result" => "rejected").increment(rows);
}

pub fn record_in_flight(bytes: usize) {
    gauge!(INGEST_IN_FLIGHT_BYTES).set(bytes as f64);
}

/// `part`: of the online store.
pub fn record_memory(part: &'static str, bytes: u64) {
    gauge!(ONLINE_MEMORY_BYTES, "part" => part).set(bytes as f64);
}

/// Writes that wait for a shard.
pub fn record_queued(shard: usize, requests: usize) {
    gauge!(SHARD_QUEUE_REQUESTS, "shard" => shard.to_string()).set(requests as f64);
}

pub fn record_commit(shard: &str, took: Duration, group: usize) {
    histogram!(COMMIT_SECONDS, "shard" => shard.to_owned()).record(took);
    histogram!(COMMIT_GROUP_SIZE, "shard" => shard.to_owned()).record(group as f64);
}

pub fn record_fsync(took: Duration) {
    histogram!(FSYNC_SECONDS).record(took);
}

/// `age`: of the oldest row that no segment holds, µs.
pub fn record_outbox(table: &str, rows: u64, age: i64) {
    gauge!(OUTBOX_ROWS, "table" => table.to_owned()).set(rows as f64);
    gauge!(OUTBOX_AGE_SECONDS, "table" => table.to_owned()).set(seconds_of_micros(age));
}

/// `age`: of the newest event time, µs.
pub fn record_staleness(view: &str, age: i64) {
    gauge!(VIEW_STALENESS_SECONDS, "view" => view.to_owned()).set(seconds_of_micros(age));
}

pub fn record_seal(took: Duration) {
    histogram!(SEAL_SECONDS).record(took);
}

pub fn record_segments(table: &str, segments: usize, rows: u64) {
    gauge!(SEGMENTS, "table" => table.to_owned()).set(segments as f64);
    gauge!(OFFLINE_ROWS, "table" => table.to_owned()).set(rows as f64);
}

pub fn record_compaction() {
    counter!(COMPACTIONS).increment(1);
}

pub fn record_set_job(result: &'static str, took: Duration) {
    counter!(SET_JOBS, "result" => result).increment(1);
    histogram!(SET_JOB_SECONDS).record(took.as_secs_f64());
}

pub fn record_training(rows: usize, took: Duration) {
    counter!(TRAINING_ROWS).increment(rows as u64);
    histogram!(TRAINING_SECONDS).record(took);
}

pub fn record_sql(done: bool, took: Duration) {
    counter!(SQL_QUERIES, "result" => if done { "done" } else { "failed" }).increment(1);
    histogram!(SQL_SECONDS).record(took);
}

/// `now`: µs.
pub fn record_run(view: &str, done: bool, rows: u64, took: Duration, now: i64) {
    let result = if done { "done" } else { "failed" };
    counter!(RUNS, "view" => view.to_owned(), "result" => result).increment(1);
    histogram!(RUN_SECONDS, "view" => view.to_owned()).record(took);
    if done {
        counter!(RUN_ROWS, "view" => view.to_owned()).increment(rows);
        gauge!(RUN_LAST_SUCCESS, "view" => view.to_owned()).set(seconds_of_micros(now));
    }
}

pub fn record_backfilled(view: &str, events: u64) {
    counter!(BACKFILL_EVENTS, "view" => view.to_owned()).increment(events);
}

pub fn record_backup(done: bool) {
    counter!(BACKUPS, "result" => if done { "done" } else { "failed" }).increment(1);
}

/// Also with 0, so that the metric is there to be watched.
pub fn record_corrupt_files(table: &str, files: usize) {
    gauge!(CORRUPT_FILES, "table" => table.to_owned()).set(files as f64);
}

pub fn record_restart(actor: &str) {
    counter!(ACTOR_RESTARTS, "actor" => actor.to_owned()).increment(1);
}

/// Also with 0, so that the metric is there to be watched.
pub fn record_invariant_violations(count: usize) {
    counter!(INVARIANT_VIOLATIONS).increment(count as u64);
}

pub fn record_free_bytes(bytes: u64) {
    gauge!(STORAGE_FREE_BYTES).set(bytes as f64);
}

pub fn record_registry_version(version: u64) {
    gauge!(REGISTRY_VERSION).set(version as f64);
}
