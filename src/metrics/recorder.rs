//! The process's one recorder, and the handle that renders it.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{
    names::{ALL, BUILD_INFO, Kind},
    process,
};
use larder_model::error::{Code, Coded};

/// Latencies from 50 µs to 10 s: an online read is well below a millisecond, a training set is not.
const SECONDS: [f64; 17] = [
    50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0, 2.0,
    5.0, 10.0,
];

/// Sizes of groups.
const COUNTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// A histogram keeps every sample until it is drained; a scrape drains, and so does this, for nodes that nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders what was recorded so far. Cheap to clone.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("metrics cannot be recorded: {0}")]
    Build(#[from] metrics_exporter_prometheus::BuildError),
    #[error("the thread that drains the metrics did not start: {0}")]
    Thread(#[from] std::io::Error),
}

impl Coded for MetricsError {
    fn code(&self) -> Code {
        Code::Internal
    }
}

impl MetricsHandle {
    /// The scrape's answer, in Prometheus's text format (`text/plain; version=0.0.4`).
    pub fn render(&self) -> String {
        let mut text = self.0.render();
        text.push_str(&process::text());
        text
    }
}

/// Installs the process's recorder, or gives a further handle to it where that is done already (several nodes in one
/// test process share it).
///
/// # Errors
/// Where something else has installed a recorder, or no thread can be started.
pub fn install() -> Result<MetricsHandle, MetricsError> {
    static INSTALLED: Mutex<Option<MetricsHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = builder()?.install_recorder()?;
    describe();
    let upkeep = handle.clone();
    thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(move || {
        loop {
            thread::sleep(UPKEEP);
            upkeep.run_upkeep();
        }
    })?;
    Ok(installed.insert(MetricsHandle(handle)).clone())
}

fn builder() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    let histograms = ALL.iter().filter(|metric| metric.kind == Kind::Histogram);
    histograms.into_iter().try_fold(PrometheusBuilder::new(), |builder, metric| {
        let buckets: &[f64] = if metric.unit == metrics::Unit::Seconds { &SECONDS } else { &COUNTS };
        builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
    })
}

fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use metrics::{counter, histogram};

    use super::*;
    use crate::{COMMIT_GROUP_SIZE, INGEST_ROWS, ONLINE_SECONDS};

    #[test]
    fn what_is_recorded_is_rendered_with_help_and_buckets() {
        let recorder = builder().unwrap().build_recorder();
        let handle = MetricsHandle(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            describe();
            counter!(INGEST_ROWS, "table" => "weather", "result" => "accepted").increment(3);
            histogram!(ONLINE_SECONDS).record(0.000_07);
            histogram!(COMMIT_GROUP_SIZE, "shard" => "0").record(3.0);
        });
        let text = handle.render();
        for line in [
            "# HELP larder_ingest_rows_total Rows received, by what became of them",
            "# TYPE larder_ingest_rows_total counter",
            "larder_ingest_rows_total{table=\"weather\",result=\"accepted\"} 3",
            "# TYPE larder_online_seconds histogram",
            "larder_online_seconds_bucket{le=\"0.00005\"} 0",
            "larder_online_seconds_bucket{le=\"0.0001\"} 1",
            "larder_online_seconds_bucket{le=\"10\"} 1",
            "larder_commit_group_size_bucket{shard=\"0\",le=\"4\"} 1",
            "larder_build_info{version=",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn a_second_install_shares_the_first_recorder() {
        let first = install().unwrap();
        let second = install().unwrap();
        counter!("larder_test_only_total").increment(1);
        assert!(first.render().contains("larder_test_only_total 1"));
        assert!(second.render().contains("larder_test_only_total 1"));
    }
}
