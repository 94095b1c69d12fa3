//! Rows on their way in: bytes decoded into canonical Arrow, checked against the features' rules.

pub mod decode;
mod validate;

pub use validate::{Violation, retain, validate};
