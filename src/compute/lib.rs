//! Pure kernels: the same code answers online, builds training sets and backfills. Nothing here does I/O.

pub mod as_of;
mod key_index;
pub mod retention;
mod spine;
pub mod window;

pub use key_index::KeyIndex;
