//! Counters and latencies of requests, by route.
//!
//! Looking a metric up by its labels costs as much as answering a small request, so the handles are kept.

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use hashbrown::{Equivalent, HashMap};
use metrics::{Counter, Histogram};

use crate::metrics::{HTTP_REQUESTS, HTTP_SECONDS};

/// The route of a request that no route matched.
pub(super) const UNMATCHED: &str = "unmatched";

#[derive(Default)]
pub(super) struct Requests(RwLock<HashMap<Series, (Counter, Histogram)>>);

#[derive(Hash, PartialEq, Eq)]
struct Series {
    route: String,
    method: &'static str,
    status: u16,
}

/// A borrowed [`Series`]; the fields hash in the same order.
#[derive(Hash)]
struct Wanted<'a> {
    route: &'a str,
    method: &'static str,
    status: u16,
}

impl Equivalent<Series> for Wanted<'_> {
    fn equivalent(&self, key: &Series) -> bool {
        self.route == key.route && self.method == key.method && self.status == key.status
    }
}

impl Requests {
    pub(super) fn record(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let wanted = Wanted { route, method: known(method), status: status.as_u16() };
        let record = |(counter, histogram): &(Counter, Histogram)| {
            counter.increment(1);
            histogram.record(took.as_secs_f64());
        };
        if let Some(handles) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&wanted) {
            return record(handles);
        }
        let Wanted { method, status, .. } = wanted;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        record(all.entry(Series { route: route.to_owned(), method, status }).or_insert_with(|| {
            let (counted, timed) = (route.to_owned(), route.to_owned());
            (
                metrics::counter!(HTTP_REQUESTS, "route" => counted, "method" => method, "status" => status.to_string()),
                metrics::histogram!(HTTP_SECONDS, "route" => timed),
            )
        }));
    }
}

/// Clients may invent methods, but not metrics.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn each_series_is_made_once_and_counts_all() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let requests = Requests::default();
            let invented = Method::from_bytes(b"BREW").unwrap();
            for _ in 0..3 {
                requests.record("/v1/info", &Method::GET, StatusCode::OK, Duration::from_millis(1));
                requests.record(UNMATCHED, &invented, StatusCode::NOT_FOUND, Duration::from_millis(1));
            }
            assert_eq!(requests.0.read().unwrap().len(), 2);
        });
        let text = recorder.handle().render();
        for line in [
            r#"larder_http_requests_total{route="/v1/info",method="GET",status="200"} 3"#,
            r#"larder_http_requests_total{route="unmatched",method="OTHER",status="404"} 3"#,
            r#"larder_http_seconds_count{route="/v1/info"} 3"#,
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
    }
}
