//! HTTP: the accept loop, the edge that every request passes, and how errors look on the wire.
//!
//! `server` knows connections and nothing of routes, `workers` are the threads that they are served on; `edge` wraps any
//! router with what every route needs (request ids, limits, deadlines, caught panics, metrics, problems), with `site` and
//! `accepts` for what other sites' pages may send; `body` reads bodies, within the `budget` of bytes in flight that answers
//! (`held`) are counted in too, and at the `pace` that clients must keep; `aside` works on large bodies elsewhere;
//! `problem` is the only place where error codes become statuses. `router` lists the routes, one file each for their handlers.

mod accepts;
mod admin;
mod answer_arrow;
mod answer_json;
mod aside;
mod backfill;
mod body;
mod budget;
mod caller;
mod complete;
mod declared;
mod definitions;
mod docs;
mod edge;
mod explain;
mod extract;
mod health;
mod held;
mod ingestion;
mod job_request;
mod jobs;
mod materialize;
mod media;
mod online;
mod openapi;
mod pace;
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
mod site;
mod sql;
mod stall;
mod state;
#[cfg(test)]
mod tests;
mod times;
mod training;
mod workers;

pub use budget::Budget;
pub use problem::{Problem, ProblemBody};
pub use request_id::RequestId;
pub use router::serve;
pub use state::{App, Readiness};
pub use workers::{Seats, Workers};
