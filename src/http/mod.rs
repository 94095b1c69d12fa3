//! HTTP: the accept loop, the edge that every request passes, and how errors look on the wire.
//!
//! `server` knows connections and nothing of routes; `edge` wraps any router with what every route needs (request ids,
//! limits, whole bodies, deadlines, caught panics, metrics, problems); `body` reads bodies; `problem` is the only place where error codes
//! become statuses.

pub mod body;
pub mod edge;
mod problem;
mod request_id;
mod requests;
pub mod server;
mod stall;
#[cfg(test)]
mod tests;

pub use problem::Problem;
pub use request_id::RequestId;
