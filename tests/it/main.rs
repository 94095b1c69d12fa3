//! Everything that needs a running node, and the rules of the house.
#![allow(clippy::unwrap_used)]

mod ahead;
mod as_of;
mod backup;
mod bad_input;
#[cfg(feature = "sql")]
mod batch;
mod bounds;
mod clean_stop;
mod command_line;
mod damage;
mod delta_filters;
mod delta_readers;
mod doctor;
mod documents;
mod doors;
mod edge;
mod explain;
mod files;
mod flights;
mod format;
mod formats;
mod frames;
mod fuzz_frames;
mod hostile_expressions;
mod layers;
mod leaks;
#[cfg(feature = "sql")]
mod lost_runs;
mod manual;
mod merge;
mod on_demand;
mod online;
mod operations;
mod random_frames;
mod registry;
mod retention;
#[cfg(feature = "sql")]
mod run_turns;
mod scrub;
#[cfg(feature = "sql")]
mod sql;
#[cfg(feature = "sql")]
mod sql_values;
mod support;
mod times;
mod training_sets;
mod windows;
#[cfg(not(feature = "sql"))]
mod without_sql;
mod writes;
