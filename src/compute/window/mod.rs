//! Windowed aggregates: what they mean and how they are computed, once, for every path.
//!
//! A [`Window`] says which events count at a moment; a [`Function`] says what is made of them. The online store puts
//! tiles together, each the [`State`] of some events; training sets and backfills let a window [`slide`] over sorted
//! events. Both give the same bits, because a state depends on the set of its events alone: sums are exact, sketches
//! do not know an order.

mod codec;
mod datum;
mod distinct;
mod edge;
mod exact_sum;
mod function;
mod percentile;
mod series;
mod slide;
mod slide_distinct;
mod slide_extreme;
mod slide_percentile;
mod span;
mod state;
mod sums;
#[cfg(test)]
mod tests;
pub mod tiles;

pub use codec::MalformedState;
pub use datum::{Class, Datum, Output};
pub use function::{Function, FunctionError, MAX_N};
pub use series::{Series, Values};
pub use slide::{Slider, slide};
pub use span::{Mode, Span, Window, WindowError};
pub use state::{Event, State, StateKind};
