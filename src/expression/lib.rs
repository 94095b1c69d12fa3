//! SQL scalar expressions over named, typed columns: the `filter` of an aggregate, the features of an on-demand view.
//!
//! The text is checked, parsed by sqlparser and typed into a tree of `node`s by `compile`, and evaluated over columns by
//! `evaluate` with `kernels`. Functions come from DataFusion's library; the evaluation is ours, because DataFusion's gives
//! up a whole batch for one bad row, wraps integers, divides floats to infinity, and decides by the rest of the batch which
//! side of an `AND` it evaluates.
//!
//! # What an expression means
//!
//! SQL's three-valued logic, with one addition: an operation that has no result **fails** for its row, and for its row
//! alone. A failed value is null and is reported. It spreads like null does: what is made of it is failed as well, except
//! that `AND` and `OR` may be decided by their other side, and that `CASE` and `COALESCE` do not look at what they do not
//! need: `CASE WHEN b = 0 THEN NULL ELSE a / b END` never fails. The order of the operands of `AND` and `OR` does not matter.
//!
//! What fails:
//! - division by zero, of floats as well, and the remainder;
//! - integers that leave their type, whether by arithmetic or by `CAST`;
//! - whatever makes an infinity or a NaN of finite numbers, and arguments outside of a function's domain: `sqrt(-1)`, `ln(0)`,
//!   `1e308 * 10`. An infinity that was stored is a value and is carried on;
//! - a `CAST` of text that does not say a value of that type (`TRY_CAST` gives null instead, and does not fail);
//! - text that grows beyond [`MAX_TEXT`] bytes by `||`, `concat` or `replace`;
//! - vectors of different lengths, with null elements, or, for `cosine_similarity`, without a direction.
//!
//! The value of a row does not depend on the other rows of its batch. Constant parts are computed when the expression is
//! compiled; one that fails is an error there.
//!
//! # What there is
//!
//! `+ - * / %`, `||`, comparisons, `IS [NOT] NULL|TRUE|FALSE|UNKNOWN|DISTINCT FROM`, `AND OR NOT`, `IN` lists, `BETWEEN`, `LIKE` and
//! `ILIKE` of a constant pattern, `CASE`, `CAST`, `TRY_CAST`, `::`, `EXTRACT`, `SUBSTRING`, `TRIM`, `timestamp ± INTERVAL '…'`, and the
//! functions that `compile::functions` lists. Texts come from outside: at most [`MAX_LENGTH`] bytes, [`MAX_NODES`] parts,
//! [`MAX_DEPTH`] levels, checked before the parser; whatever compiles takes memory and time linear in its text and its rows.
//!
//! # Types
//!
//! Numbers meet in the narrowest of `int32`, `int64`, `float64` that has both; `float32` meets `float32` only, else it is
//! `float64`. A number in the text takes the type of what it meets if it has exactly that value there, so that `x + 1` has the
//! type of `x`. Integers divide to integers. Text in quotes that meets a timestamp is one (without a zone: UTC). Nothing
//! else is converted without a `CAST`. NaN equals NaN and is greater than all; `-0.0` equals `0.0`.

mod compile;
mod error;
mod evaluate;
#[allow(clippy::module_inception)]
mod expression;
mod kernels;
mod node;
#[cfg(test)]
mod tests;

pub use compile::{MAX_DEPTH, MAX_LENGTH, MAX_NODES};
pub use error::{ExpressionError, Reason};
pub use expression::{Evaluated, Expression};
pub use kernels::MAX_TEXT;
