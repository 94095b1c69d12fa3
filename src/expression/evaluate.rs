//! Evaluation of the tree, a column at a time.

use arrow::{array::ArrayRef, error::ArrowError};

use crate::expression::{
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
        let of = |node: &Node| node.evaluate(columns, rows);
        match &self.kind {
            Kind::Null => Err(ArrowError::InvalidArgumentError("a null without a type".to_owned())),
            Kind::Constant(array) => Ok(Values::constant(array.clone())),
            Kind::Column(index) => Ok(Values::of(columns[*index].clone())),
            Kind::Cast { input, lenient } => cast(&of(input)?, &self.data_type, *lenient),
            Kind::Shift { timestamp, interval, forward } => {
                shift(&of(timestamp)?, &Values::constant(interval.clone()), *forward, rows)
            }
            Kind::Arithmetic { operator, left, right } => {
                arithmetic(*operator, &of(left)?, &of(right)?, rows)
            }
            Kind::Compare { comparison, left, right } => compare(*comparison, &of(left)?, &of(right)?, rows),
            Kind::Connect { connective, left, right } => connect(*connective, &of(left)?, &of(right)?, rows),
            Kind::Not(input) => negate(&of(input)?),
            Kind::IsNull(input) => missing(&of(input)?),
            Kind::Like { input, pattern } => like(&of(input)?, pattern),
            Kind::NullIf { value, other } => {
                let value = of(value)?;
                null_if(&value, &compare(Comparison::Equal, &value, &of(other)?, rows)?, rows)
            }
            Kind::Replace(arguments) => {
                let [input, from, to] = arguments.as_ref();
                replace(&of(input)?, &of(from)?, &of(to)?, rows)
            }
            Kind::Measure { measure: kind, left, right } => measure(*kind, &of(left)?, &of(right)?, rows),
            Kind::Concat { parts, skip_nulls } => concat(&all(parts, columns, rows)?, *skip_nulls, rows),
            Kind::Call(call) => call.evaluate(&all(&call.arguments, columns, rows)?, &self.data_type, rows),
            Kind::In { needle, members, others } => {
                contains(&of(needle)?, members.as_ref(), &all(others, columns, rows)?, rows)
            }
            Kind::Between { input, low, high } => {
                let input = of(input)?;
                let above = compare(Comparison::GreaterOrEqual, &input, &of(low)?, rows)?;
                let below = compare(Comparison::LessOrEqual, &input, &of(high)?, rows)?;
                connect(Connective::And, &above, &below, rows)
            }
            Kind::Coalesce(choices) => {
                let Some((last, before)) = choices.split_last() else {
                    return Err(ArrowError::InvalidArgumentError("COALESCE of nothing".to_owned()));
                };
                before.iter().rev().try_fold(of(last)?, |rest, choice| coalesce(&of(choice)?, &rest, rows))
            }
            Kind::Case { operand, branches, otherwise } => {
                let operand = operand.as_deref().map(of).transpose()?;
                branches.iter().rev().try_fold(of(otherwise)?, |rest, (when, then)| {
                    let when = of(when)?;
                    let condition = match &operand {
                        Some(operand) => compare(Comparison::Equal, operand, &when, rows)?,
                        None => when,
                    };
                    choose(&condition, &of(then)?, &rest, rows)
                })
            }
        }
    }
}

fn all(nodes: &[Node], columns: &[ArrayRef], rows: usize) -> Result<Vec<Values>, ArrowError> {
    nodes.iter().map(|node| node.evaluate(columns, rows)).collect()
}
