//! Windowed aggregates: what they mean and how they are computed, once, for every path.
//!
//! A [`Window`] says which events count at a moment; a [`Function`] says what is made of them.

mod function;
mod span;

pub use function::{Function, FunctionError, MAX_N};
pub use span::{Mode, Span, Window, WindowError};
