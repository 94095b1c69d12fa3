//! HTTP: the accept loop, the edge that every request passes, and how errors look on the wire.
//!
//! `server` knows connections and nothing of routes, `workers` are the threads that they are served on; `edge` wraps any
//! router with what every route needs (request ids, limits, deadlines, caught panics, metrics, problems); `body` reads bodies;
//! `problem` is the only place where error codes become statuses. `router` lists the routes, one file each for their handlers.

mod admin;
mod answer_arrow;
mod answer_json;
mod backfill;
mod body;
mod complete;
mod definitions;
mod docs;
mod edge;
mod explain;
mod extract;
mod health;
mod ingestion;
mod job_request;
mod materialize;
mod media;
mod online;
mod problem;
mod quarantine;
mod references;
mod request_id;
mod requests;
mod router;
mod server;
mod set_data;
mod set_jobs;
mod sets;
mod sql;
mod stall;
mod state;
#[cfg(test)]
mod tests;
mod times;
mod training;
mod workers;

pub use problem::{Problem, ProblemBody};
pub use request_id::RequestId;
pub use router::serve;
pub use state::{App, Readiness};
pub use workers::{Seats, Workers};
