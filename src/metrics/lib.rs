//! What the node counts and measures, and the text that Prometheus scrapes.
//!
//! Names are declared once, in `names.rs`; everyone else writes `counter!(INGEST_ROWS, "table" => …)` with these
//! constants. Process figures (memory, file descriptors, processor time) are read from /proc at each scrape.

mod names;
mod process;
mod record;
mod recorder;

pub use names::*;
pub use record::*;
pub use recorder::{MetricsError, MetricsHandle, install};
