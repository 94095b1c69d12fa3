//! What types cannot say: ranges, and values that must fit each other.

use tracing_subscriber::EnvFilter;

use super::{Config, DurabilityMode, Size};
use crate::model::{Duration, MAX_KEY_STRING};

/// Pairs of a dotted key and what would be right there. Empty for a sound configuration.
pub(super) fn complaints(config: &Config) -> Vec<(&'static str, String)> {
    let Config { server, data, durability, online, ingest, offline, limits, log, tracing, origins: _ } =
        config;
    let mut wrong = Vec::new();
    let mut check = |right: bool, key: &'static str, reason: &str| {
        if !right {
            wrong.push((key, reason.to_owned()));
        }
    };

    for (key, time) in [
        ("server.first_byte_timeout", server.first_byte_timeout),
        ("server.header_timeout", server.header_timeout),
        ("server.stall_timeout", server.stall_timeout),
        ("server.read_timeout", server.read_timeout),
        ("server.write_timeout", server.write_timeout),
        ("ingest.idempotency_window", ingest.idempotency_window),
        ("offline.seal_after", offline.seal_after),
        ("limits.sql_timeout", limits.sql_timeout),
    ] {
        check(time > Duration::ZERO, key, "must be longer than 0s");
    }
    for (key, size) in [
        ("online.cache_bytes", online.cache_bytes),
        ("online.block_cache_bytes", online.block_cache_bytes),
        ("ingest.max_in_flight_bytes", ingest.max_in_flight_bytes),
        ("offline.seal_bytes", offline.seal_bytes),
        ("limits.body_bytes", limits.body_bytes),
        ("limits.min_rate_bytes", limits.min_rate_bytes),
        ("limits.string_bytes", limits.string_bytes),
        ("limits.array_bytes", limits.array_bytes),
        ("limits.key_bytes", limits.key_bytes),
        ("limits.answer_bytes", limits.answer_bytes),
        ("limits.training_answer_bytes", limits.training_answer_bytes),
        ("ingest.quarantine_bytes", ingest.quarantine_bytes),
        ("limits.sql_answer_bytes", limits.sql_answer_bytes),
        ("limits.training_set_bytes", limits.training_set_bytes),
    ] {
        check(size.bytes() > 0, key, "must be more than 0B");
    }
    for (key, count) in [
        ("server.max_connections", server.max_connections),
        ("offline.seal_rows", offline.seal_rows),
        ("offline.segment_rows", offline.segment_rows),
        ("limits.json_rows", limits.json_rows),
        ("limits.json_depth", limits.json_depth),
        ("limits.entities_per_read", limits.entities_per_read),
        ("limits.features_per_read", limits.features_per_read),
        ("limits.sql_rows", limits.sql_rows),
        ("limits.sql_concurrency", limits.sql_concurrency),
    ] {
        check(count > 0, key, "must be at least 1");
    }

    check(
        server.workers <= 1024,
        "server.workers",
        "must be at most 1024; 0 means as many as there are cores",
    );
    check(
        server.hosts.iter().all(|host| is_host(host)),
        "server.hosts",
        "must be names alone, as in larder.example.com: no scheme, no port, no path",
    );
    check(
        server.origins.iter().all(|origin| is_origin(origin)),
        "server.origins",
        "must be origins, as in https://ml.example.com or http://localhost:3000: a scheme, a name, nothing behind",
    );
    check(!data.dir.as_os_str().is_empty(), "data.dir", "must name a directory");
    check(
        durability.mode != DurabilityMode::Interval || durability.interval > Duration::ZERO,
        "durability.interval",
        "must be longer than 0s in mode \"interval\"; for a sync with every commit set durability.mode = \"fsync\"",
    );
    check((1..=64).contains(&online.shards), "online.shards", "must be from 1 to 64");
    check(
        (mib(1)..=mib(1024)).contains(&online.memtable_bytes),
        "online.memtable_bytes",
        "must be from 1MiB to 1GiB",
    );
    check(
        online.max_journal_bytes >= mib(64),
        "online.max_journal_bytes",
        "must be at least 64MiB, the least that the store accepts",
    );
    check(
        ingest.max_in_flight_bytes >= limits.body_bytes,
        "ingest.max_in_flight_bytes",
        "must be at least limits.body_bytes, or the largest allowed body could never be accepted",
    );
    check(
        offline.segment_rows >= offline.seal_rows,
        "offline.segment_rows",
        "must be at least offline.seal_rows: a merged segment holds what was sealed",
    );
    check(offline.compact_segments >= 2, "offline.compact_segments", "must be at least 2: merging takes two");
    check(
        offline.scrub_bytes_per_second <= mib(1024),
        "offline.scrub_bytes_per_second",
        "must be at most 1GiB: what a second reads is read at once, and sealing waits for it",
    );
    check(
        limits.bytes_in_flight >= limits.body_bytes,
        "limits.bytes_in_flight",
        "must be at least limits.body_bytes, or the largest allowed body could never be accepted",
    );
    check(limits.decompression_ratio >= 1, "limits.decompression_ratio", "must be at least 1");
    check(
        limits.string_bytes <= limits.body_bytes,
        "limits.string_bytes",
        "must be at most limits.body_bytes",
    );
    check(
        limits.key_bytes <= Size::from_bytes(MAX_KEY_STRING as u64),
        "limits.key_bytes",
        "must be at most 1KiB: the store's keys are short",
    );
    check(
        (Size::from_bytes(1 << 10)..=mib(1)).contains(&limits.header_bytes),
        "limits.header_bytes",
        "must be from 1KiB to 1MiB",
    );
    check(
        (Size::from_bytes(256)..=Size::from_bytes(32 << 10)).contains(&limits.url_bytes),
        "limits.url_bytes",
        "must be from 256B to 32KiB",
    );
    check(limits.sql_memory >= mib(16), "limits.sql_memory", "must be at least 16MiB");
    check((0.0..=1.0).contains(&tracing.sample_ratio), "tracing.sample_ratio", "must be from 0.0 to 1.0");
    check(!tracing.service_name.is_empty(), "tracing.service_name", "must not be empty");
    check(
        tracing.endpoint.starts_with("http://"),
        "tracing.endpoint",
        "must begin with http://; a collector behind TLS is reached through one on this machine",
    );
    if let Err(error) = EnvFilter::builder().parse(&log.level) {
        let reason = format!(
            "{error}; write a level (error, warn, info, debug, trace) or directives as in info,larder::http=debug"
        );
        check(false, "log.level", &reason);
    }
    wrong
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', '@']))
}

const fn mib(n: u64) -> Size {
    Size::from_bytes(n << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, change: impl FnOnce(&mut Config)) {
        let mut config = Config::default();
        assert_eq!(complaints(&config), []);
        change(&mut config);
        let wrong = complaints(&config);
        assert_eq!(wrong.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key], "{wrong:?}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        check("server.read_timeout", |c| c.server.read_timeout = Duration::ZERO);
        check("server.max_connections", |c| c.server.max_connections = 0);
        check("online.shards", |c| c.online.shards = 0);
        check("online.shards", |c| c.online.shards = 65);
        check("online.max_journal_bytes", |c| c.online.max_journal_bytes = mib(1));
        check("offline.compact_segments", |c| c.offline.compact_segments = 1);
        check("offline.scrub_bytes_per_second", |c| c.offline.scrub_bytes_per_second = mib(1025));
        check("tracing.sample_ratio", |c| c.tracing.sample_ratio = 1.5);
        check("tracing.sample_ratio", |c| c.tracing.sample_ratio = f64::NAN);
        check("tracing.endpoint", |c| c.tracing.endpoint = "collector:4318".into());
        check("log.level", |c| c.log.level = "larder=loud".into());
        check("data.dir", |c| c.data.dir = "".into());
        check("server.hosts", |c| c.server.hosts = vec!["http://larder".into()]);
        check("server.origins", |c| c.server.origins = vec!["ml.example.com".into()]);
        check("server.origins", |c| c.server.origins = vec!["https://ml.example.com/".into()]);
    }

    #[test]
    fn values_that_do_not_fit_each_other_are_named() {
        check("ingest.max_in_flight_bytes", |c| c.ingest.max_in_flight_bytes = mib(15));
        check("limits.bytes_in_flight", |c| c.limits.bytes_in_flight = mib(15));
        check("offline.segment_rows", |c| c.offline.segment_rows = 1);
        check("durability.interval", |c| {
            c.durability.mode = DurabilityMode::Interval;
            c.durability.interval = Duration::ZERO;
        });
    }
}
