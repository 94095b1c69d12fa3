//! From text to tree: tokens and syntax ([`tokens`]), names and types ([`lower`], [`forms`], [`calls`]), constants computed.

mod calls;
mod forms;
mod functions;
mod literal;
mod lower;
mod meet;
mod tokens;
mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use tokens::{MAX_DEPTH, MAX_LENGTH, MAX_NODES};

use crate::{
    expression::{
        compile::{
            lower::{Lowering, Refused},
            meet::coerced,
            tokens::parse,
        },
        error::{ExpressionError, Reason},
        node::Node,
    },
    model::{Column, DataType},
};

/// The tree of `text`, and the inputs that it reads, in the order of [`Kind::Column`](super::node::Kind::Column).
pub(super) fn compile(
    text: &str,
    inputs: &[Column],
    expected: Option<&DataType>,
) -> Result<(Node, Vec<Column>), ExpressionError> {
    // Texts come from outside. No panic of the parser is known; if there is one, it is this text's error.
    catch_unwind(AssertUnwindSafe(|| {
        let parsed = parse(text, inputs)?;
        let mut lowering = Lowering::new(inputs);
        let node = lowering.lower(&parsed).and_then(|node| finished(node, expected));
        let node = node.map_err(|(reason, at)| ExpressionError::new(reason, text, at))?;
        Ok((node, lowering.used.iter().map(|used| inputs[*used].clone()).collect()))
    }))
    .unwrap_or_else(|_| Err(ExpressionError::new(Reason::Internal("panic".to_owned()), "", (0, 0))))
}

fn finished(node: Node, expected: Option<&DataType>) -> Result<Node, Refused> {
    match expected {
        None if node.is_null() => {
            let reason = "NULL alone has no type; CAST(NULL AS …) gives it one".to_owned();
            Err((Reason::Types(reason), (0, 0)))
        }
        None => Ok(node),
        Some(expected) => coerced(node, expected).map_err(|node| {
            (Reason::ResultType { found: node.data_type, expected: expected.clone() }, (0, 0))
        }),
    }
}
