//! Every metric's name, kind, unit, labels and meaning: declared here and nowhere else.

use metrics::Unit;

/// What a metric is, as the recorder and the documentation need to know it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! declare {
    ($($(#[doc = $help:literal])+ $constant:ident = $kind:ident $name:literal $unit:ident [$($label:ident),*];)+) => {
        $($(#[doc = $help])+ pub const $constant: &str = $name;)+

        /// All metrics, in the order of their declaration.
        pub const ALL: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &[$(stringify!($label)),*],
            help: concat!($($help),+).trim_ascii(),
        }),+];
    };
}

declare! {
    /// Rows received, by what became of them: accepted, late, deduplicated, quarantined or rejected.
    INGEST_ROWS = Counter "larder_ingest_rows_total" Count [table, result];
    /// Batches acknowledged.
    INGEST_BATCHES = Counter "larder_ingest_batches_total" Count [table];
    /// Time from a batch's last byte to its acknowledgement.
    INGEST_SECONDS = Histogram "larder_ingest_seconds" Seconds [table];

    /// Online reads answered. Service is `-` for a read that lists its features.
    ONLINE_REQUESTS = Counter "larder_online_requests_total" Count [service];
    /// Time from a parsed online read to its values.
    ONLINE_SECONDS = Histogram "larder_online_seconds" Seconds [];
    /// Values served, by status.
    ONLINE_VALUES = Counter "larder_online_values_total" Count [view, status];
    /// Rows looked up in the cache: hit or miss.
    ONLINE_CACHE = Counter "larder_online_cache_total" Count [result];

    /// Memory of the online store's parts, each of which a setting bounds: memtables, block_cache or row_cache.
    ONLINE_MEMORY_BYTES = Gauge "larder_online_memory_bytes" Bytes [part];
    /// Memory held by writes between acceptance and acknowledgement, all shards together.
    INGEST_IN_FLIGHT_BYTES = Gauge "larder_ingest_in_flight_bytes" Bytes [];
    /// Writes that wait for a shard.
    SHARD_QUEUE_REQUESTS = Gauge "larder_shard_queue_requests" Count [shard];
    /// Time of one commit, sync included.
    COMMIT_SECONDS = Histogram "larder_commit_seconds" Seconds [shard];
    /// Requests that one commit took together.
    COMMIT_GROUP_SIZE = Histogram "larder_commit_group_size" Count [shard];
    /// Time of one sync of the journal.
    FSYNC_SECONDS = Histogram "larder_fsync_seconds" Seconds [];
    /// Acknowledged rows that no segment holds yet.
    OUTBOX_ROWS = Gauge "larder_outbox_rows" Count [table];
    /// Age of the oldest acknowledged row that no segment holds yet.
    OUTBOX_AGE_SECONDS = Gauge "larder_outbox_age_seconds" Seconds [table];

    /// Time since the newest event time of a view.
    VIEW_STALENESS_SECONDS = Gauge "larder_view_staleness_seconds" Seconds [view];
    /// Values ingested, nulls included.
    VIEW_VALUES = Counter "larder_view_values_total" Count [view, feature];
    /// Nulls ingested; over `larder_view_values_total` this is the null rate.
    VIEW_NULLS = Counter "larder_view_nulls_total" Count [view, feature];

    /// Time to seal a segment: write, sync and commit.
    SEAL_SECONDS = Histogram "larder_seal_seconds" Seconds [];
    /// Segments of a table.
    SEGMENTS = Gauge "larder_segments" Count [table];
    /// Rows in a table's segments.
    OFFLINE_ROWS = Gauge "larder_offline_rows" Count [table];
    /// Merges of small segments.
    COMPACTIONS = Counter "larder_compactions_total" Count [];
    /// Spine rows of training sets answered.
    TRAINING_ROWS = Counter "larder_training_rows_total" Count [];
    /// Time to build a training set.
    TRAINING_SECONDS = Histogram "larder_training_seconds" Seconds [];
    /// Jobs for training sets that ended, by result: done, failed or cancelled.
    SET_JOBS = Counter "larder_training_set_jobs_total" Count [result];
    /// Time that a job for a training set took.
    SET_JOB_SECONDS = Histogram "larder_training_set_job_seconds" Seconds [];

    /// SQL queries, by result: done or failed.
    SQL_QUERIES = Counter "larder_sql_queries_total" Count [result];
    /// Time of a SQL query.
    SQL_SECONDS = Histogram "larder_sql_seconds" Seconds [];

    /// Runs of batch feature views, by result: done or failed (an attempt).
    RUNS = Counter "larder_runs_total" Count [view, result];
    /// Time of an attempt at a run.
    RUN_SECONDS = Histogram "larder_run_seconds" Seconds [view];
    /// Rows that runs have materialised.
    RUN_ROWS = Counter "larder_run_rows_total" Count [view];
    /// When a run last succeeded, in seconds since the epoch.
    RUN_LAST_SUCCESS = Gauge "larder_run_last_success_timestamp_seconds" Seconds [view];

    /// Requests answered. Route is the pattern, or `unmatched`.
    HTTP_REQUESTS = Counter "larder_http_requests_total" Count [route, method, status];
    /// Time from a request's head to its answer's head.
    HTTP_SECONDS = Histogram "larder_http_seconds" Seconds [route];
    /// Connections open.
    HTTP_CONNECTIONS = Gauge "larder_http_connections" Count [];
    /// Connections turned away because `server.max_connections` were open.
    HTTP_REFUSED_CONNECTIONS = Counter "larder_http_refused_connections_total" Count [];

    /// Events of history that backfills have looked at.
    BACKFILL_EVENTS = Counter "larder_backfill_events_total" Count [view];
    /// Backups taken, by result: done or failed.
    BACKUPS = Counter "larder_backups_total" Count [result];
    /// Files whose content is not what was written. Anything but 0 wants a person: see `/v1/admin/scrub`.
    CORRUPT_FILES = Gauge "larder_corrupt_files" Count [table];

    /// Restarts of actors after a panic.
    ACTOR_RESTARTS = Counter "larder_actor_restarts_total" Count [actor];
    /// Durability invariants found broken. Anything but 0 wants a person.
    INVARIANT_VIOLATIONS = Counter "larder_invariant_violations_total" Count [];
    /// Bytes free where the data directory is.
    STORAGE_FREE_BYTES = Gauge "larder_storage_free_bytes" Bytes [];
    /// Always 1; the label says which build this is.
    BUILD_INFO = Gauge "larder_build_info" Count [version];
    /// The registry's version.
    REGISTRY_VERSION = Gauge "larder_registry_version" Count [];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions_and_are_unique() {
        let mut seen = HashSet::new();
        for metric in ALL {
            let Metric { name, kind, unit, help, .. } = *metric;
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("larder_"), "{name}");
            assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(unit == Unit::Seconds, name.ends_with("_seconds"), "{name}");
            assert_eq!(unit == Unit::Bytes, name.ends_with("_bytes"), "{name}");
            assert!(help.ends_with(|c: char| c == '.' || c.is_alphanumeric()), "{name}: {help}");
        }
    }
}
