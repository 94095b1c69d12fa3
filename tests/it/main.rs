//! Everything that needs a running node, and the rules of the house.
#![allow(clippy::unwrap_used)]

mod backup;
mod bad_input;
mod batch;
mod damage;
mod delta_readers;
mod doctor;
mod explain;
mod flights;
mod format;
mod formats;
mod hostile_expressions;
mod layers;
mod leaks;
mod on_demand;
mod online;
mod operations;
mod registry;
mod scrub;
mod sql;
mod support;
mod training_sets;
mod windows;
mod writes;
