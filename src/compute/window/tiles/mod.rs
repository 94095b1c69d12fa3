//! What is kept of one entity's events so that its aggregates can be read at any moment from now on: tiles.
//!
//! The state is in two parts. The *base* holds a tile for each step of each window's grid: the partial state of the
//! events in it. The *head* holds the newest events as they came; it grows by appending and is folded into the base once
//! in a while. What lies in the future when it is folded stays an event, so tiles never hold an event that is not over:
//! a read at a moment from the last fold on needs no tile cut in two.
//!
//! What a read makes of the tiles is kept in memory beside the base, so that the reads that follow add the newest events to it.
//!
//! Size: the base has at most (longest window / hop + 2) tiles for each distinct (state, column, filter, hop), the events of
//! the longest exact window, and events yet to come. Tiles that no window can reach any more go with the next fold.

mod base;
mod event;
mod fold;
mod layout;
mod middle;
mod read;
#[cfg(test)]
mod tests;

pub use base::{base_version, folded_at};
pub use event::{EventWriter, set_seq};
pub use fold::rebuild;
pub use layout::{Input, Layout, Measure};
pub use middle::Folded;
pub use read::read;
