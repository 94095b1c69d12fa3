//! The operations: each takes whole columns, gives one, and says which rows failed.

mod arithmetic;
mod call;
mod cast;
mod choose;
mod compare;
mod each_row;
mod logic;
mod member;
mod shift;
mod text;
mod values;
mod vectors;

pub use text::MAX_TEXT;

pub(super) use arithmetic::{Operator, arithmetic};
pub(super) use call::Call;
pub(super) use cast::cast;
pub(super) use choose::{choose, coalesce, null_if};
pub(super) use compare::{Comparison, compare};
pub(super) use logic::{Connective, connect, missing, negate};
pub(super) use member::{Members, contains};
pub(super) use shift::shift;
pub(super) use text::{concat, like, like_pattern, replace};
pub(super) use values::Values;
pub(super) use vectors::{Measure, measure};
