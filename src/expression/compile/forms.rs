//! What SQL has a grammar of its own for: BETWEEN, IN, LIKE, CASE, CAST, intervals.

use arrow::array::AsArray;
use sqlparser::ast::{self, CaseWhen, CastKind, Expr, Spanned, TypedString, Value, ValueWithSpan};

use crate::{
    compile::{
        literal,
        lower::{Lowering, Refused, place},
        meet::{coerced, comparable, met},
        types::{casts, is_array, is_text},
    },
    error::{Place, Reason},
    kernels::{Members, like_pattern},
    node::{Kind, Node},
};
use larder_model::DataType;

impl Lowering<'_> {
    /// `TIMESTAMP '…'` and its like: a cast.
    pub(super) fn typed_text(&mut self, typed: &TypedString, at: Place) -> Result<Node, Refused> {
        let text = Expr::Value(typed.value.clone());
        self.cast(&CastKind::Cast, &text, &typed.data_type, at)
    }

    pub(super) fn between(
        &mut self,
        input: &Expr,
        low: &Expr,
        high: &Expr,
        at: Place,
    ) -> Result<Node, Refused> {
        let nodes = vec![self.lower(input)?, self.lower(low)?, self.lower(high)?];
        let parts = Box::new(comparable(nodes, at)?);
        Ok(Node::new(Kind::Between(parts), DataType::Bool))
    }

    pub(super) fn in_list(&mut self, needle: &Expr, list: &[Expr], at: Place) -> Result<Node, Refused> {
        let mut nodes = vec![self.lower(needle)?];
        for item in list {
            nodes.push(self.lower(item)?);
        }
        let mut nodes = met(nodes, at)?.into_iter();
        let needle = nodes.next().map(Box::new).ok_or((Reason::Empty, at))?;
        if is_array(&needle.data_type) {
            return Err((Reason::Types("IN does not take arrays".to_owned()), at));
        }
        let (constants, others): (Vec<Node>, Vec<Node>) =
            nodes.partition(|node| node.constant().is_some_and(|constant| constant.null_count() == 0));
        let arrays: Vec<_> = constants.iter().filter_map(|node| node.constant().cloned()).collect();
        let (members, others) = match Members::of(&arrays) {
            Some(members) => (Some(members), others),
            None => (None, constants.into_iter().chain(others).collect()),
        };
        Ok(Node::new(Kind::In { needle, members, others }, DataType::Bool))
    }

    pub(super) fn like(
        &mut self,
        input: &Expr,
        pattern: &Expr,
        escape: Option<&ValueWithSpan>,
        ignore_case: bool,
    ) -> Result<Node, Refused> {
        let at = place(pattern.span());
        let input = self.text(input, "LIKE")?;
        let pattern = self.lower(pattern)?;
        let pattern = match pattern
            .constant()
            .filter(|constant| is_text(&pattern.data_type) && constant.null_count() == 0)
        {
            Some(constant) => constant.as_string::<i32>().value(0).to_owned(),
            None => return Err((Reason::Types("LIKE takes a constant pattern in quotes".to_owned()), at)),
        };
        let escape = match escape.map(|escape| &escape.value) {
            None => None,
            Some(Value::SingleQuotedString(escape)) if escape.chars().count() == 1 => escape.chars().next(),
            Some(_) => return Err((Reason::Syntax("ESCAPE takes one character".to_owned()), at)),
        };
        let pattern = like_pattern(&pattern, escape, ignore_case)
            .map_err(|reason| (Reason::Syntax(reason.to_owned()), at))?;
        Ok(Node::new(Kind::Like { input: Box::new(input), pattern }, DataType::Bool))
    }

    pub(super) fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        at: Place,
    ) -> Result<Node, Refused> {
        let mut whens = Vec::with_capacity(conditions.len() + 1);
        let mut thens = Vec::with_capacity(conditions.len() + 1);
        if let Some(operand) = operand {
            whens.push(self.lower(operand)?);
        }
        for CaseWhen { condition, result } in conditions {
            whens.push(match operand {
                Some(_) => self.lower(condition)?,
                None => self.boolean(condition)?,
            });
            thens.push(self.lower(result)?);
        }
        thens.push(match otherwise {
            Some(otherwise) => self.lower(otherwise)?,
            None => Node::new(Kind::Null, DataType::Bool),
        });
        let mut whens = met(whens, at)?.into_iter();
        let operand = match operand {
            Some(_) => whens.next().map(Box::new),
            None => None,
        };
        if operand.as_ref().is_some_and(|operand| is_array(&operand.data_type)) {
            return Err((Reason::Types("CASE does not compare arrays".to_owned()), at));
        }
        let mut thens = met(thens, at)?;
        let otherwise = thens.pop().map(Box::new).ok_or((Reason::Empty, at))?;
        let data_type = otherwise.data_type.clone();
        Ok(Node::new(Kind::Case { operand, branches: whens.zip(thens).collect(), otherwise }, data_type))
    }

    pub(super) fn cast(
        &mut self,
        kind: &CastKind,
        inner: &Expr,
        to: &ast::DataType,
        at: Place,
    ) -> Result<Node, Refused> {
        let to = model_type(to).ok_or_else(|| {
            let reason = format!(
                "`{to}` is no type for CAST; known: boolean, int, bigint, real, double, varchar, timestamp, bytea \
                 (or bool, int32, int64, float32, float64, string)"
            );
            (Reason::Types(reason), at)
        })?;
        let lenient = !matches!(kind, CastKind::Cast | CastKind::DoubleColon);
        let inner = self.lower(inner)?;
        if inner.is_null() {
            return Ok(literal::null(&to));
        }
        if !casts(&inner.data_type, &to) {
            let reason = match to {
                DataType::Timestamp => format!(
                    "CAST does not make a timestamp of {}; to_timestamp_micros(…), _millis or _seconds do of an int64",
                    inner.data_type
                ),
                _ => format!("CAST does not make {to} of {}", inner.data_type),
            };
            return Err((Reason::Types(reason), at));
        }
        Ok(Node::new(Kind::Cast { input: Box::new(inner), lenient }, to))
    }

    pub(super) fn shifted(
        &mut self,
        timestamp: &Expr,
        interval: &ast::Interval,
        forward: bool,
        at: Place,
    ) -> Result<Node, Refused> {
        let timestamp = coerced(self.lower(timestamp)?, &DataType::Timestamp).map_err(|found| {
            (Reason::Types(format!("an INTERVAL moves a timestamp, not {}", found.data_type)), at)
        })?;
        let interval = literal::interval(interval).map_err(|reason| (Reason::Syntax(reason), at))?;
        Ok(Node::new(Kind::Shift { timestamp: Box::new(timestamp), interval, forward }, DataType::Timestamp))
    }
}

fn model_type(data_type: &ast::DataType) -> Option<DataType> {
    use ast::DataType as Sql;
    Some(match data_type {
        Sql::Bool | Sql::Boolean => DataType::Bool,
        Sql::Int(None) | Sql::Integer(None) | Sql::Int4(None) | Sql::Int32 => DataType::Int32,
        Sql::BigInt(None) | Sql::Int64 => DataType::Int64,
        Sql::Real | Sql::Float4 | Sql::Float32 | Sql::Float(ast::ExactNumberInfo::None) => DataType::Float32,
        Sql::Double(ast::ExactNumberInfo::None) | Sql::DoublePrecision | Sql::Float8 | Sql::Float64 => {
            DataType::Float64
        }
        Sql::Text | Sql::String(None) | Sql::Varchar(None) => DataType::String,
        Sql::Timestamp(None, _) => DataType::Timestamp,
        Sql::Bytea | Sql::Bytes(None) => DataType::Bytes,
        _ => return None,
    })
}
