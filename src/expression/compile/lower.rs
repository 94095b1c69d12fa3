//! From the syntax tree to the typed one: names and types are checked, casts put in, constant parts computed.

use sqlparser::{
    ast::{BinaryOperator, Expr, Ident, Spanned, UnaryOperator, Value, ValueWithSpan},
    tokenizer::Span,
};

use crate::{
    compile::{
        literal,
        meet::{arithmetic, coerced, comparable, fold, listed},
        tokens::{MAX_DEPTH, MAX_NODES},
    },
    error::{Place, Reason},
    kernels::{Comparison, Connective, Operator},
    node::{Kind, Node},
};
use larder_format::did_you_mean;
use larder_model::{Column, DataType};

/// What is wrong, and where.
pub(super) type Refused = (Reason, Place);

pub(super) struct Lowering<'a> {
    pub inputs: &'a [Column],
    /// Positions of the inputs in use, in the order in which the text names them first.
    pub used: Vec<usize>,
    /// How often columns were named so far.
    references: usize,
    nodes: usize,
    depth: usize,
}

pub(super) fn place(span: Span) -> Place {
    (span.start.line, span.start.column)
}

impl<'a> Lowering<'a> {
    pub fn new(inputs: &'a [Column]) -> Self {
        Self { inputs, used: Vec::new(), references: 0, nodes: 0, depth: 0 }
    }

    pub fn lower(&mut self, expr: &Expr) -> Result<Node, Refused> {
        if let Expr::Nested(inner) = expr {
            return self.lower(inner);
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err((Reason::TooLarge(MAX_NODES), (0, 0)));
        }
        if self.depth == MAX_DEPTH {
            return Err((Reason::TooDeep(MAX_DEPTH), place(expr.span())));
        }
        self.depth += 1;
        let references = self.references;
        let node = self.operation(expr)?;
        self.depth -= 1;
        if references == self.references { fold(node, place(expr.span())) } else { Ok(node) }
    }

    fn operation(&mut self, expr: &Expr) -> Result<Node, Refused> {
        let at = place(expr.span());
        match expr {
            Expr::Identifier(name) => self.column(name),
            Expr::Value(value) => constant(value),
            Expr::TypedString(typed) => self.typed_text(typed, at),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, at),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, at),
            Expr::IsNull(inner) => Ok(is_null(self.lower(inner)?)),
            Expr::IsNotNull(inner) => Ok(not(is_null(self.lower(inner)?))),
            Expr::IsUnknown(inner) => Ok(is_null(self.boolean(inner)?)),
            Expr::IsNotUnknown(inner) => Ok(not(is_null(self.boolean(inner)?))),
            Expr::IsTrue(inner) => Ok(certain(self.boolean(inner)?)),
            Expr::IsNotTrue(inner) => Ok(not(certain(self.boolean(inner)?))),
            Expr::IsFalse(inner) => Ok(certain(not(self.boolean(inner)?))),
            Expr::IsNotFalse(inner) => Ok(not(certain(not(self.boolean(inner)?)))),
            Expr::IsDistinctFrom(left, right) => self.comparison(left, Comparison::Distinct, right, at),
            Expr::IsNotDistinctFrom(left, right) => {
                Ok(not(self.comparison(left, Comparison::Distinct, right, at)?))
            }
            Expr::InList { expr, list, negated } => Ok(negated_if(*negated, self.in_list(expr, list, at)?)),
            Expr::Between { expr, negated, low, high } => {
                Ok(negated_if(*negated, self.between(expr, low, high, at)?))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                Ok(negated_if(*negated, self.like(expr, pattern, escape_char.as_ref(), false)?))
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                Ok(negated_if(*negated, self.like(expr, pattern, escape_char.as_ref(), true)?))
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), at)
            }
            Expr::Cast { kind, expr, data_type, array: false, format: None } => {
                self.cast(kind, expr, data_type, at)
            }
            Expr::Extract { .. } | Expr::Substring { .. } | Expr::Trim { .. } | Expr::Function(_) => {
                self.call(expr, at)
            }
            Expr::Interval(_) => {
                Err((Reason::Types("an INTERVAL is added to or taken from a timestamp".to_owned()), at))
            }
            Expr::Tuple(_) => {
                Err((Reason::NotAllowed { what: "a list in parentheses".to_owned(), instead: "" }, at))
            }
            other => Err((Reason::NotAllowed { what: format!("`{other}`"), instead: "" }, at)),
        }
    }

    fn column(&mut self, name: &Ident) -> Result<Node, Refused> {
        let wanted = match name.quote_style {
            Some(_) => name.value.clone(),
            None => name.value.to_lowercase(),
        };
        let Some(input) = self.inputs.iter().position(|input| input.name == wanted) else {
            let known = || self.inputs.iter().map(|input| input.name.as_str());
            let hint = match did_you_mean(&wanted, known()) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!("; the columns are {}", listed(known())),
            };
            return Err((Reason::UnknownColumn { name: wanted, hint }, place(name.span)));
        };
        self.references += 1;
        let index = self.used.iter().position(|used| *used == input).unwrap_or_else(|| {
            self.used.push(input);
            self.used.len() - 1
        });
        Ok(Node::new(Kind::Column(index), self.inputs[input].data_type.clone()))
    }

    fn unary(&mut self, operator: UnaryOperator, inner: &Expr, at: Place) -> Result<Node, Refused> {
        match (operator, inner) {
            (UnaryOperator::Not, _) => Ok(not(self.boolean(inner)?)),
            // The least int64 has no positive form.
            (UnaryOperator::Minus, Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. })) => {
                literal::number(&format!("-{digits}")).map_err(|reason| (Reason::Syntax(reason), at))
            }
            (UnaryOperator::Minus, _) => {
                let inner = self.lower(inner)?;
                arithmetic(Operator::Multiply, inner, literal::integer(-1), "-", at)
            }
            (UnaryOperator::Plus, _) => {
                let inner = self.lower(inner)?;
                arithmetic(Operator::Multiply, inner, literal::integer(1), "+", at)
            }
            (other, _) => Err((Reason::NotAllowed { what: format!("`{other}`"), instead: "" }, at)),
        }
    }

    fn binary(
        &mut self,
        left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
        at: Place,
    ) -> Result<Node, Refused> {
        let operator = match operator {
            BinaryOperator::And => return self.connective(left, Connective::And, right),
            BinaryOperator::Or => return self.connective(left, Connective::Or, right),
            BinaryOperator::StringConcat => return self.joined(left, right),
            BinaryOperator::Eq => return self.comparison(left, Comparison::Equal, right, at),
            BinaryOperator::NotEq => return self.comparison(left, Comparison::NotEqual, right, at),
            BinaryOperator::Lt => return self.comparison(left, Comparison::Less, right, at),
            BinaryOperator::LtEq => return self.comparison(left, Comparison::LessOrEqual, right, at),
            BinaryOperator::Gt => return self.comparison(left, Comparison::Greater, right, at),
            BinaryOperator::GtEq => return self.comparison(left, Comparison::GreaterOrEqual, right, at),
            BinaryOperator::Plus => Operator::Add,
            BinaryOperator::Minus => Operator::Subtract,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Remainder,
            other => return Err((Reason::NotAllowed { what: format!("`{other}`"), instead: "" }, at)),
        };
        match (left, operator, right) {
            (_, Operator::Add | Operator::Subtract, Expr::Interval(interval)) => {
                self.shifted(left, interval, operator == Operator::Add, at)
            }
            (Expr::Interval(interval), Operator::Add, _) => self.shifted(right, interval, true, at),
            _ => {
                let (left, right) = (self.lower(left)?, self.lower(right)?);
                arithmetic(operator, left, right, operator.symbol(), at)
            }
        }
    }

    fn connective(&mut self, left: &Expr, connective: Connective, right: &Expr) -> Result<Node, Refused> {
        let (left, right) = (Box::new(self.boolean(left)?), Box::new(self.boolean(right)?));
        Ok(Node::new(Kind::Connect { connective, left, right }, DataType::Bool))
    }

    fn comparison(
        &mut self,
        left: &Expr,
        comparison: Comparison,
        right: &Expr,
        at: Place,
    ) -> Result<Node, Refused> {
        let nodes = vec![self.lower(left)?, self.lower(right)?];
        let [left, right] = comparable(nodes, at)?.map(Box::new);
        Ok(Node::new(Kind::Compare { comparison, left, right }, DataType::Bool))
    }

    /// A condition.
    pub fn boolean(&mut self, expr: &Expr) -> Result<Node, Refused> {
        let node = self.lower(expr)?;
        coerced(node, &DataType::Bool).map_err(|found| {
            (
                Reason::Types(format!("a condition is wanted here, not {}", found.data_type)),
                place(expr.span()),
            )
        })
    }

    pub fn text(&mut self, expr: &Expr, what: &str) -> Result<Node, Refused> {
        let node = self.lower(expr)?;
        coerced(node, &DataType::String).map_err(|found| {
            let reason = format!("`{what}` takes text, not {}; CAST(… AS string) makes it", found.data_type);
            (Reason::Types(reason), place(expr.span()))
        })
    }

    fn joined(&mut self, left: &Expr, right: &Expr) -> Result<Node, Refused> {
        let (left, right) = (self.text(left, "||")?, self.text(right, "||")?);
        let parts = match left {
            // a || b || c in one go.
            Node { kind: Kind::Concat { mut parts, skip_nulls: false }, .. } => {
                parts.push(right);
                parts
            }
            left => vec![left, right],
        };
        Ok(Node::new(Kind::Concat { parts, skip_nulls: false }, DataType::String))
    }
}

fn constant(value: &ValueWithSpan) -> Result<Node, Refused> {
    let at = place(value.span);
    match &value.value {
        Value::Number(digits, false) => {
            literal::number(digits).map_err(|reason| (Reason::Syntax(reason), at))
        }
        Value::SingleQuotedString(text) => Ok(literal::text(text)),
        Value::Boolean(value) => Ok(literal::boolean(*value)),
        Value::Null => Ok(Node::new(Kind::Null, DataType::Bool)),
        other => Err((Reason::NotAllowed { what: format!("`{other}`"), instead: "" }, at)),
    }
}

fn is_null(inner: Node) -> Node {
    let inner = if inner.is_null() { literal::null(&DataType::Bool) } else { inner };
    Node::new(Kind::IsNull(Box::new(inner)), DataType::Bool)
}

fn not(inner: Node) -> Node {
    Node::new(Kind::Not(Box::new(inner)), DataType::Bool)
}

fn negated_if(negated: bool, inner: Node) -> Node {
    if negated { not(inner) } else { inner }
}

/// `IS TRUE`: false where it is null.
fn certain(inner: Node) -> Node {
    Node::new(Kind::Coalesce(vec![inner, literal::boolean(false)]), DataType::Bool)
}
