//! The typed tree that an expression is compiled to.

use arrow::array::ArrayRef;
use regex::Regex;

use crate::kernels::{Call, Comparison, Connective, Measure, Members, Operator};
use larder_model::DataType;

#[derive(Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub data_type: DataType,
}

/// Operands have the types that the operation needs: [`lower`](super::lower) has put the casts in.
#[derive(Debug)]
pub(super) enum Kind {
    /// NULL before it has met a type; only while compiling, where [`Node::data_type`] then means nothing.
    Null,
    /// An array of one value.
    Constant(ArrayRef),
    /// Position in [`Expression::columns`](super::Expression::columns).
    Column(usize),
    Cast {
        input: Box<Node>,
        lenient: bool,
    },
    /// Days, months and nanoseconds in an array of one value, added to (or taken from) a timestamp.
    Shift {
        timestamp: Box<Node>,
        interval: ArrayRef,
        forward: bool,
    },
    Arithmetic {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    Compare {
        comparison: Comparison,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// The input, the low end, the high end.
    Between(Box<[Node; 3]>),
    Connect {
        connective: Connective,
        left: Box<Node>,
        right: Box<Node>,
    },
    Not(Box<Node>),
    IsNull(Box<Node>),
    In {
        needle: Box<Node>,
        members: Option<Members>,
        others: Vec<Node>,
    },
    Like {
        input: Box<Node>,
        pattern: Regex,
    },
    Case {
        operand: Option<Box<Node>>,
        branches: Vec<(Node, Node)>,
        otherwise: Box<Node>,
    },
    Coalesce(Vec<Node>),
    NullIf {
        value: Box<Node>,
        other: Box<Node>,
    },
    Concat {
        parts: Vec<Node>,
        skip_nulls: bool,
    },
    /// The input, what to look for, what to put there.
    Replace(Box<[Node; 3]>),
    Measure {
        measure: Measure,
        left: Box<Node>,
        right: Box<Node>,
    },
    Call(Call),
}

impl Node {
    pub fn new(kind: Kind, data_type: DataType) -> Node {
        Node { kind, data_type }
    }

    pub fn constant(&self) -> Option<&ArrayRef> {
        match &self.kind {
            Kind::Constant(array) => Some(array),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }
}
