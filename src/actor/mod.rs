//! What every actor shares: how it is addressed across restarts, how its death is noticed, how it is observed.
//!
//! The registry's actor is here, since the registry itself is a package that knows of no actors. This folder, `node/` and
//! the `actor.rs` of each module are the only places that name actix.

mod death;
mod link;
pub mod registry;

#[cfg(feature = "failpoints")]
pub use death::Panic;
pub use death::{DeathWatch, Died};
pub use link::Link;
