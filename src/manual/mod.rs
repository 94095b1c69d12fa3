//! The manual: one page for each question that a user has, compiled into the binary.
//!
//! `larder manual` prints it, `GET /docs/` serves it, and rustdoc shows it: each page documents a module in [`pages`].

mod page;
pub mod pages;
mod search;

pub use page::{Page, find};
pub use pages::PAGES;
pub use search::{Hit, search};
