//! Why values are what they are: for each the version or the events that made it, and the decision about its age.
//!
//! Nothing is decided here a second time. Values and statuses are those of the read that is explained; versions are chosen
//! by the same join, and events are those that the window join itself counts.

mod answer;
mod computed;
mod events;
mod versions;
mod window;

pub use answer::{Explained, Explanation, How, explain};
pub use computed::{ExpressionInput, FromExpression};
pub use events::{EventList, EventLists, ListedEvent};
pub use versions::{FromVersion, VersionSeen};
pub use window::{FromWindow, StateRead};
