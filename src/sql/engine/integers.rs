//! Integer arithmetic that fails where its result leaves the type, as that of expressions does; DataFusion's wraps around.
//!
//! Once types are coerced, `+ - *` and the unary minus of integers become functions. Before: the planner would have to guess
//! the types; after: the optimizer would have folded constants, which wraps.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Datum, Scalar},
    compute::kernels::numeric::{add, mul, neg, sub},
    datatypes::DataType,
    error::ArrowError,
};
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility, expr::ScalarFunction, expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

/// Comes after the coercion of types.
#[derive(Debug)]
pub(super) struct CheckIntegers;

impl AnalyzerRule for CheckIntegers {
    fn name(&self) -> &str {
        "check_integers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(checked_plan).map(|plan| plan.data)
    }
}

fn checked_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let checked = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let checked = expression.transform_up(|expression| checked(expression, &schema))?;
        Ok(checked.update_data(|expression| name.restore(expression)))
    })?;
    checked.map_data(LogicalPlan::recompute_schema)
}

fn checked(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_integer = |expression: &Expr| Ok::<_, DataFusionError>(expression.get_type(schema)?.is_integer());
    let (operation, operands) = match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if Operation::of(op).is_some() && is_integer(&left)? && is_integer(&right)? =>
        {
            (Operation::of(op).unwrap_or(Operation::Add), vec![*left, *right])
        }
        Expr::Negative(inner) if is_integer(&inner)? => (Operation::Negate, vec![*inner]),
        other => return Ok(Transformed::no(other)),
    };
    let function = Arc::new(ScalarUDF::from(Checked::new(operation)));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, operands))))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Negate,
}

impl Operation {
    fn of(operator: Operator) -> Option<Operation> {
        Some(match operator {
            Operator::Plus => Operation::Add,
            Operator::Minus => Operation::Subtract,
            Operator::Multiply => Operation::Multiply,
            _ => return None,
        })
    }

    fn symbol(self) -> &'static str {
        match self {
            Operation::Add => "+",
            Operation::Subtract | Operation::Negate => "-",
            Operation::Multiply => "*",
        }
    }

    fn compute(self, operands: &[&dyn Datum]) -> Result<ArrayRef, ArrowError> {
        match (self, operands) {
            (Operation::Add, [left, right]) => add(*left, *right),
            (Operation::Subtract, [left, right]) => sub(*left, *right),
            (Operation::Multiply, [left, right]) => mul(*left, *right),
            (Operation::Negate, [operand]) => neg(operand.get().0),
            _ => Err(ArrowError::InvalidArgumentError(format!("operands of `{}`", self.symbol()))),
        }
    }
}

/// One operation on integers of one type, which is the result's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    fn new(operation: Operation) -> Checked {
        let operands = if operation == Operation::Negate { 1 } else { 2 };
        Checked { operation, signature: Signature::any(operands, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.operation.symbol()
    }

    /// As the operator would be named.
    fn schema_name(&self, operands: &[Expr]) -> Result<String> {
        Ok(match operands {
            [operand] => format!("(- {})", operand.schema_name()),
            [left, right] => format!("{} {} {}", left.schema_name(), self.name(), right.schema_name()),
            _ => self.name().to_owned(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types
            .first()
            .cloned()
            .ok_or_else(|| DataFusionError::Internal("an operator without operands".to_owned()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalars = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let operands = args.args.iter().map(operand).collect::<Result<Vec<_>>>()?;
        let operands: Vec<&dyn Datum> = operands.iter().map(Box::as_ref).collect();
        let made = self.operation.compute(&operands).map_err(|error| out_of_range(error, &operands))?;
        match all_scalars && made.len() == 1 {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?)),
            false => Ok(ColumnarValue::Array(made)),
        }
    }
}

/// Arrow's error in the words of those who wrote the query.
fn out_of_range(error: ArrowError, operands: &[&dyn Datum]) -> DataFusionError {
    let (ArrowError::ArithmeticOverflow(text), Some(operand)) = (&error, operands.first()) else {
        return error.into();
    };
    let computed = text.strip_prefix("Overflow happened on: ").unwrap_or(text);
    let data_type = operand.get().0.data_type().to_string().to_lowercase();
    DataFusionError::Execution(format!("{computed} is out of the range of {data_type}"))
}

fn operand(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => Box::new(Scalar::new(scalar.to_array()?)),
    })
}
