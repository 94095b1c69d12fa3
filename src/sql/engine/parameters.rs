//! Values in the place of `$name`, before anything is planned, so that they have their types; and `%` in the place of `mod`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use datafusion::sql::{
    parser::Statement,
    sqlparser::ast::{
        BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
        FunctionArguments, Ident, ObjectName, Statement as SqlStatement, Value, VisitMut, VisitorMut,
    },
};

use crate::{
    model::Timestamp,
    sql::{SqlError, query::Parameter},
};

/// Every placeholder needs a value; a value that no placeholder wants is an error unless it is one of larder's own.
pub(super) fn put_in(
    statement: &mut Statement,
    values: &BTreeMap<String, Parameter>,
) -> Result<(), SqlError> {
    let query = match statement {
        Statement::Explain(explain) => return put_in(&mut explain.statement, values),
        Statement::Statement(statement) => match statement.as_mut() {
            SqlStatement::Query(query) => query,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let mut putting = Putting { values, missing: BTreeSet::new() };
    let _: ControlFlow<()> = query.visit(&mut putting);
    match putting.missing.first() {
        None => Ok(()),
        Some(name) if values.is_empty() => {
            Err(SqlError::query(format!("`${name}` has no value; give it in `parameters`")))
        }
        Some(name) => {
            let known: Vec<String> = values.keys().map(|name| format!("${name}")).collect();
            Err(SqlError::query(format!("`${name}` has no value; known: {}", known.join(", "))))
        }
    }
}

struct Putting<'a> {
    values: &'a BTreeMap<String, Parameter>,
    missing: BTreeSet<String>,
}

impl VisitorMut for Putting<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expression
            && let Value::Placeholder(name) = &value.value
        {
            let name = name.trim_start_matches('$').to_owned();
            match self.values.get(&name) {
                Some(value) => *expression = literal(value),
                None => {
                    self.missing.insert(name);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// `mod(a, b)`, which expressions have: `a % b`.
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression
            && function.name.to_string().eq_ignore_ascii_case("mod")
            && let FunctionArguments::List(arguments) = &function.args
            && let [
                FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
            ] = arguments.args.as_slice()
        {
            let side = |side: &Expr| Box::new(Expr::Nested(Box::new(side.clone())));
            let remainder =
                Expr::BinaryOp { left: side(left), op: BinaryOperator::Modulo, right: side(right) };
            *expression = Expr::Nested(Box::new(remainder));
        }
        ControlFlow::Continue(())
    }
}

fn literal(value: &Parameter) -> Expr {
    let value = match value {
        Parameter::Null => Value::Null,
        Parameter::Bool(value) => Value::Boolean(*value),
        Parameter::Int(value) => Value::Number(value.to_string(), false),
        Parameter::Float(value) => Value::Number(format!("{value:e}"), false),
        Parameter::Text(text) => Value::SingleQuotedString(text.clone()),
        Parameter::Time(micros) => return time(Timestamp::from_micros(*micros)),
    };
    Expr::value(value)
}

/// In the one timestamp type of the tables.
fn time(at: Timestamp) -> Expr {
    let text = |text: String| {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::SingleQuotedString(text))))
    };
    let args = vec![text(at.to_string()), text("Timestamp(µs, \"UTC\")".to_owned())];
    let args = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("arrow_cast")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
