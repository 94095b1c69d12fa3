//! From text to tree: tokens and syntax ([`tokens`]), names and types ([`lower`], [`forms`], [`calls`]), constants computed.

mod calls;
mod forms;
mod functions;
mod literal;
mod lower;
mod meet;
mod tokens;
mod types;

use std::thread;

pub use tokens::{MAX_DEPTH, MAX_LENGTH, MAX_NODES};

use crate::{
    compile::{
        lower::{Lowering, Refused},
        meet::coerced,
        tokens::parse,
    },
    error::{ExpressionError, Reason},
    node::Node,
};
use larder_model::{Column, DataType};

/// Stack of the thread that compiles. sqlparser takes up to 21 KiB a level in a development build (measured with calls
/// within calls), which is 1.4 MiB at [`MAX_DEPTH`].
const STACK: usize = 8 << 20;

/// The tree of `text`, and the inputs that it reads, in the order of [`Kind::Column`](super::node::Kind::Column).
///
/// Texts come from outside, so they are compiled in a thread of their own: how deep the caller's stack is already does not
/// matter, and a panic of the parser (none is known) would be this text's error.
pub(super) fn compile(
    text: &str,
    inputs: &[Column],
    expected: Option<&DataType>,
) -> Result<(Node, Vec<Column>), ExpressionError> {
    let defect = |what: &str| ExpressionError::new(Reason::Internal(what.to_owned()), "", (0, 0));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        let compiling = thread
            .spawn_scoped(scope, || compile_here(text, inputs, expected))
            .map_err(|error| defect(&error.to_string()))?;
        compiling.join().unwrap_or_else(|_| Err(defect("panic")))
    })
}

fn compile_here(
    text: &str,
    inputs: &[Column],
    expected: Option<&DataType>,
) -> Result<(Node, Vec<Column>), ExpressionError> {
    let parsed = parse(text, inputs)?;
    let mut lowering = Lowering::new(inputs);
    let node = lowering.lower(&parsed).and_then(|node| finished(node, expected));
    let node = node.map_err(|(reason, at)| ExpressionError::new(reason, text, at))?;
    Ok((node, lowering.used.iter().map(|used| inputs[*used].clone()).collect()))
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
