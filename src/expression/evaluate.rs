//! Evaluation of the tree, a column at a time.

use arrow::{array::ArrayRef, error::ArrowError};

use crate::{
    kernels::{
        Comparison, Connective, Values, arithmetic, cast, choose, coalesce, compare, concat, connect,
        contains, like, measure, missing, negate, null_if, replace, shift,
    },
    node::{Kind, Node},
};

impl Node {
    /// `columns`: one for each of the expression's, of `rows` values each. An error is a defect, not a matter of data: what
    /// data can do wrong is in [`Values::failed`].
    pub fn evaluate(&self, columns: &[ArrayRef], rows: usize) -> Result<Values, ArrowError> {
        Batch { columns, rows }.of(self)
    }
}

struct Batch<'a> {
    columns: &'a [ArrayRef],
    rows: usize,
}

/// The operands are evaluated in functions of their own, so that the frame of [`Batch::of`], of which there is one for each
/// level of the tree, stays small.
impl Batch<'_> {
    fn of(&self, node: &Node) -> Result<Values, ArrowError> {
        let rows = self.rows;
        match &node.kind {
            Kind::Null => Err(ArrowError::InvalidArgumentError("a null without a type".to_owned())),
            Kind::Constant(array) => Ok(Values::constant(array.clone())),
            Kind::Column(index) => Ok(Values::of(self.columns[*index].clone())),
            Kind::Cast { input, lenient } => {
                self.one(input, |input| cast(input, &node.data_type, *lenient).map(Values::one_nan))
            }
            Kind::Not(input) => self.one(input, negate),
            Kind::IsNull(input) => self.one(input, missing),
            Kind::Like { input, pattern } => self.one(input, |input| like(input, pattern)),
            Kind::Shift { timestamp, interval, forward } => self.one(timestamp, |timestamp| {
                shift(timestamp, &Values::constant(interval.clone()), *forward, rows)
            }),
            Kind::Arithmetic { operator, left, right } => self.two(left, right, |left, right| {
                arithmetic(*operator, left, right, rows).map(Values::one_nan)
            }),
            Kind::Compare { comparison, left, right } => {
                self.two(left, right, |left, right| compare(*comparison, left, right, rows))
            }
            Kind::Connect { connective, left, right } => {
                self.two(left, right, |left, right| connect(*connective, left, right, rows))
            }
            Kind::Measure { measure: kind, left, right } => {
                self.two(left, right, |left, right| measure(*kind, left, right, rows))
            }
            Kind::NullIf { value, other } => self.two(value, other, |value, other| {
                null_if(value, &compare(Comparison::Equal, value, other, rows)?, rows)
            }),
            Kind::Between(parts) => self.three(parts, |input, low, high| {
                let above = compare(Comparison::GreaterOrEqual, input, low, rows)?;
                let below = compare(Comparison::LessOrEqual, input, high, rows)?;
                connect(Connective::And, &above, &below, rows)
            }),
            Kind::Replace(parts) => self.three(parts, |input, from, to| replace(input, from, to, rows)),
            Kind::Concat { parts, skip_nulls } => self.all(parts, |parts| concat(parts, *skip_nulls, rows)),
            Kind::Call(call) => self.all(&call.arguments, |arguments| {
                call.evaluate(arguments, &node.data_type, rows).map(Values::one_nan)
            }),
            Kind::In { needle, members, others } => self.one(needle, |needle| {
                self.all(others, |others| contains(needle, members.as_ref(), others, rows))
            }),
            Kind::Coalesce(choices) => self.coalesce(choices),
            Kind::Case { operand, branches, otherwise } => self.case(operand.as_deref(), branches, otherwise),
        }
    }

    fn one(
        &self,
        input: &Node,
        operation: impl FnOnce(&Values) -> Result<Values, ArrowError>,
    ) -> Result<Values, ArrowError> {
        operation(&self.of(input)?)
    }

    fn two(
        &self,
        left: &Node,
        right: &Node,
        operation: impl FnOnce(&Values, &Values) -> Result<Values, ArrowError>,
    ) -> Result<Values, ArrowError> {
        operation(&self.of(left)?, &self.of(right)?)
    }

    fn three(
        &self,
        [first, second, third]: &[Node; 3],
        operation: impl FnOnce(&Values, &Values, &Values) -> Result<Values, ArrowError>,
    ) -> Result<Values, ArrowError> {
        operation(&self.of(first)?, &self.of(second)?, &self.of(third)?)
    }

    fn all(
        &self,
        nodes: &[Node],
        operation: impl FnOnce(&[Values]) -> Result<Values, ArrowError>,
    ) -> Result<Values, ArrowError> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            values.push(self.of(node)?);
        }
        operation(&values)
    }

    fn coalesce(&self, choices: &[Node]) -> Result<Values, ArrowError> {
        let Some((last, before)) = choices.split_last() else {
            return Err(ArrowError::InvalidArgumentError("COALESCE of nothing".to_owned()));
        };
        let mut rest = self.of(last)?;
        for choice in before.iter().rev() {
            rest = coalesce(&self.of(choice)?, &rest, self.rows)?;
        }
        Ok(rest)
    }

    fn case(
        &self,
        operand: Option<&Node>,
        branches: &[(Node, Node)],
        otherwise: &Node,
    ) -> Result<Values, ArrowError> {
        let operand = operand.map(|operand| self.of(operand)).transpose()?;
        let mut rest = self.of(otherwise)?;
        for (when, then) in branches.iter().rev() {
            let mut condition = self.of(when)?;
            if let Some(operand) = &operand {
                condition = compare(Comparison::Equal, operand, &condition, self.rows)?;
            }
            rest = choose(&condition, &self.of(then)?, &rest, self.rows)?;
        }
        Ok(rest)
    }
}
