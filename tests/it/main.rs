//! Everything that needs a running node, and the rules of the house.
#![allow(clippy::unwrap_used)]

mod backup;
mod bad_input;
mod crash;
mod delta_readers;
mod flights;
mod formats;
mod layers;
mod online;
mod operations;
mod registry;
mod scrub;
mod support;
mod writes;
