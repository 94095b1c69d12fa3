//! Runs of batch feature views: each computes the view's rows as of one moment and writes them as everyone writes.
//!
//! A run is a record in the online store, from the time that it is due or asked for. It is written part by part; the record
//! says how many parts there are, and changes in the same atomic batch as the part's rows. So a run that is broken off goes
//! on where it was: the parts still to come are computed again of the same input (`_seq` of each table is bounded when a run
//! starts), in the same order.
//!
//! One thread executes all runs, in turns between the views: see [`turns`].

mod error;
mod jobs;
mod output;
mod queue;
mod turns;
mod worker;

pub use error::RunError;
pub use jobs::{Origin, Runs};
pub use queue::Overview;
pub(super) use worker::parameters;
