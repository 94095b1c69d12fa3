//! From the syntax tree to the typed one: names and types are checked, casts put in, constant parts computed.

use sqlparser::{
    ast::{
        self, BinaryOperator, CaseWhen, CastKind, Expr, Ident, Spanned, TypedString, UnaryOperator, Value,
        ValueWithSpan,
    },
    tokenizer::Span,
};

use crate::{
    expression::{
        arithmetic::Operator,
        compare::Comparison,
        error::Reason,
        literal,
        logic::Connective,
        member::Members,
        node::{Kind, Node},
        text::like_pattern,
        tokens::{MAX_DEPTH, MAX_NODES},
        types::{casts, common, is_array, is_number, is_text, widens},
    },
    format::did_you_mean,
    model::{Column, DataType},
};

/// What is wrong, and line and character from 1; zeros where that is not known.
pub(super) type Refused = (Reason, (u64, u64));

pub(super) struct Lowering<'a> {
    pub inputs: &'a [Column],
    /// Positions of the inputs in use, in the order in which the text names them first.
    pub used: Vec<usize>,
    /// How often columns were named so far.
    references: usize,
    nodes: usize,
    depth: usize,
}

pub(super) fn place(span: Span) -> (u64, u64) {
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
            Expr::Extract { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Position { .. }
            | Expr::Function(_) => self.call(expr, at),
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

    /// `TIMESTAMP '…'` and its like: a cast.
    fn typed_text(&mut self, typed: &TypedString, at: (u64, u64)) -> Result<Node, Refused> {
        let text = Expr::Value(typed.value.clone());
        self.cast(&CastKind::Cast, &text, &typed.data_type, at)
    }

    fn unary(&mut self, operator: UnaryOperator, inner: &Expr, at: (u64, u64)) -> Result<Node, Refused> {
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
        at: (u64, u64),
    ) -> Result<Node, Refused> {
        let operator = match operator {
            BinaryOperator::And => return self.connective(left, Connective::And, right),
            BinaryOperator::Or => return self.connective(left, Connective::Or, right),
            BinaryOperator::StringConcat => return self.joined(left, right, at),
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
        at: (u64, u64),
    ) -> Result<Node, Refused> {
        let nodes = vec![self.lower(left)?, self.lower(right)?];
        let [left, right] = comparable(nodes, at)?;
        Ok(Node::new(Kind::Compare { comparison, left, right }, DataType::Bool))
    }

    fn between(&mut self, input: &Expr, low: &Expr, high: &Expr, at: (u64, u64)) -> Result<Node, Refused> {
        let nodes = vec![self.lower(input)?, self.lower(low)?, self.lower(high)?];
        let [input, low, high] = comparable(nodes, at)?;
        Ok(Node::new(Kind::Between { input, low, high }, DataType::Bool))
    }

    fn in_list(&mut self, needle: &Expr, list: &[Expr], at: (u64, u64)) -> Result<Node, Refused> {
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

    fn like(
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
            Some(constant) => arrow::array::AsArray::as_string::<i32>(constant).value(0).to_owned(),
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

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        at: (u64, u64),
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

    fn cast(
        &mut self,
        kind: &CastKind,
        inner: &Expr,
        to: &ast::DataType,
        at: (u64, u64),
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

    fn joined(&mut self, left: &Expr, right: &Expr, at: (u64, u64)) -> Result<Node, Refused> {
        let (left, right) = (self.text(left, "||")?, self.text(right, "||")?);
        let _ = at;
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

    fn shifted(
        &mut self,
        timestamp: &Expr,
        interval: &ast::Interval,
        forward: bool,
        at: (u64, u64),
    ) -> Result<Node, Refused> {
        let timestamp = coerced(self.lower(timestamp)?, &DataType::Timestamp).map_err(|found| {
            (Reason::Types(format!("an INTERVAL moves a timestamp, not {}", found.data_type)), at)
        })?;
        let interval = literal::interval(interval).map_err(|reason| (Reason::Syntax(reason), at))?;
        Ok(Node::new(Kind::Shift { timestamp: Box::new(timestamp), interval, forward }, DataType::Timestamp))
    }
}

/// A few of the names.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const LISTED: usize = 12;
    let mut names: Vec<&str> = names.take(LISTED + 1).collect();
    if names.len() > LISTED {
        names[LISTED] = "…";
    }
    names.join(", ")
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

/// The constant that `node`, which reads no column, has for every row.
pub(super) fn fold(node: Node, at: (u64, u64)) -> Result<Node, Refused> {
    if matches!(node.kind, Kind::Constant(_) | Kind::Null) {
        return Ok(node);
    }
    let values = node.evaluate(&[], 1).map_err(|error| (Reason::Internal(error.to_string()), at))?;
    if values.failed.is_some_and(|failed| failed.count_set_bits() > 0) {
        let what = "division by zero, overflow, or text that is no value of the type";
        return Err((Reason::AlwaysFails(what), at));
    }
    Ok(literal::constant(values.array, node.data_type))
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

pub(super) fn arithmetic(
    operator: Operator,
    left: Node,
    right: Node,
    symbol: &str,
    at: (u64, u64),
) -> Result<Node, Refused> {
    let types = format!("`{symbol}` takes numbers, not {} and {}", shown(&left), shown(&right));
    let hint = match (&left.data_type, &right.data_type) {
        (DataType::Timestamp, DataType::Timestamp) => {
            "; the seconds between two times are extract(epoch from a) - extract(epoch from b)"
        }
        (DataType::Timestamp, _) => "; add an INTERVAL to a timestamp",
        (DataType::String, DataType::String) if operator == Operator::Add => "; `||` joins texts",
        _ => "",
    };
    let refused = || (Reason::Types(format!("{types}{hint}")), at);
    let mut nodes = met(vec![left, right], at).map_err(|_| refused())?.into_iter();
    let (Some(left), Some(right)) = (nodes.next(), nodes.next()) else {
        return Err(refused());
    };
    if !is_number(&left.data_type) {
        return Err(refused());
    }
    let data_type = left.data_type.clone();
    Ok(Node::new(Kind::Arithmetic { operator, left: Box::new(left), right: Box::new(right) }, data_type))
}

fn comparable<const N: usize>(nodes: Vec<Node>, at: (u64, u64)) -> Result<[Box<Node>; N], Refused> {
    let nodes = met(nodes, at)?;
    if nodes.iter().any(|node| is_array(&node.data_type)) {
        return Err((Reason::Types("arrays cannot be compared".to_owned()), at));
    }
    let boxed: Vec<Box<Node>> = nodes.into_iter().map(Box::new).collect();
    boxed.try_into().map_err(|_| (Reason::Empty, at))
}

pub(super) fn shown(node: &Node) -> String {
    if node.is_null() { "null".to_owned() } else { node.data_type.to_string() }
}

/// The same nodes, all of the one type in which they meet; bool where all are NULL.
pub(super) fn met(nodes: Vec<Node>, at: (u64, u64)) -> Result<Vec<Node>, Refused> {
    let mut meeting: Option<DataType> = None;
    // What is written in the text adapts to what is not.
    let (constants, others): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().filter(|node| !node.is_null()).partition(|node| node.constant().is_some());
    for node in others.into_iter().chain(constants) {
        meeting = Some(match meeting {
            None => node.data_type.clone(),
            Some(meeting) if literal::adapted(node, &meeting).is_some() => meeting,
            Some(meeting) => common(&meeting, &node.data_type).ok_or_else(|| {
                let types = listed(nodes.iter().map(shown).collect::<Vec<_>>().iter().map(String::as_str));
                let hint = match (&meeting, &node.data_type) {
                    (DataType::Timestamp, DataType::String) if node.constant().is_some() => {
                        "; write the time as '2024-05-01T12:00:00Z'"
                    }
                    _ => "; CAST one of them",
                };
                (Reason::Types(format!("these types do not meet: {types}{hint}")), at)
            })?,
        });
    }
    let meeting = meeting.unwrap_or(DataType::Bool);
    nodes
        .into_iter()
        .map(|node| coerced(node, &meeting).map_err(|node| (Reason::Types(shown(&node)), at)))
        .collect()
}

/// `node` as one of type `to`, where that loses nothing; itself where it would.
pub(super) fn coerced(node: Node, to: &DataType) -> Result<Node, Node> {
    if node.is_null() {
        return Ok(literal::null(to));
    }
    if node.data_type == *to {
        return Ok(node);
    }
    if let Some(adapted) = literal::adapted(&node, to) {
        return Ok(adapted);
    }
    if !widens(&node.data_type, to) {
        return Err(node);
    }
    if node.data_type.arrow() == to.arrow() {
        return Ok(Node::new(node.kind, to.clone()));
    }
    let constant = node.constant().is_some();
    let cast = Node::new(Kind::Cast { input: Box::new(node), lenient: false }, to.clone());
    match constant {
        true => fold(cast, (0, 0)).map_err(|_| literal::null(to)),
        false => Ok(cast),
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
