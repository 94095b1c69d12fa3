//! Logs to standard error, and spans to an OpenTelemetry collector where that is configured.
//!
//! A collector that is slow or away costs spans, never requests: finished spans go to a bounded queue that a thread of its
//! own empties, what does not fit is dropped, and the wait at the end is bounded.

mod export;
mod subscriber;

pub use subscriber::{TelemetryError, TelemetryGuard, init};
