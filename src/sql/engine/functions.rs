//! The functions that a query may call: DataFusion's, without those that make much of little.
//!
//! DataFusion counts what its operators hold, not what a function makes. So functions whose result can be far larger than
//! what they are given are left out, or measured before they are called.

use std::sync::Arc;

use arrow::{array::Array, compute::kernels::concat_elements::concat_elements_utf8, datatypes::DataType};
use datafusion::{
    common::{DFSchema, DataFusionError, Result, ScalarValue, cast::as_string_array},
    execution::SessionStateDefaults,
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

/// Bytes of one result of a function that is measured.
const MAX_RESULT: usize = 64 << 20;

/// Of these a few bytes make gigabytes, or a few kilobytes take minutes; or they tell of files.
const LEFT_OUT: [&str; 18] = [
    "repeat",
    "lpad",
    "rpad",
    "range",
    "generate_series",
    "array_repeat",
    "array_resize",
    "array_replace",
    "array_replace_n",
    "array_replace_all",
    "array_transform",
    "levenshtein",
    "input_file_name",
    "file_row_index",
    "arrow_metadata",
    "with_metadata",
    "version",
    "uuid",
];

pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    let all = SessionStateDefaults::default_scalar_functions().into_iter();
    let kept = all.filter(|function| !LEFT_OUT.contains(&function.name()));
    kept.map(|function| match (function.name(), measure_of(function.name())) {
        (_, Some(measure)) => Arc::new(ScalarUDF::from(Measured { inner: function, measure })),
        // As in expressions.
        ("signum", _) => Arc::new(function.as_ref().clone().with_aliases(["sign"])),
        _ => function,
    })
    .collect()
}

fn measure_of(name: &str) -> Option<Measure> {
    Some(match name {
        "concat" | "concat_ws" => Measure::Sum,
        "replace" => Measure::Replace,
        "regexp_replace" => Measure::Substitute,
        "to_char" => Measure::Format,
        "array_to_string" => Measure::Join,
        _ => return None,
    })
}

/// How large a result may become at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    /// As all arguments together, the first one between any two.
    Sum,
    /// (text, part, new): each part becomes a new one.
    Replace,
    /// (text, pattern, new): a match between any two characters, and the whole text in each.
    Substitute,
    /// (time, format).
    Format,
    /// (list, separator).
    Join,
}

impl Measure {
    fn of(self, args: &ScalarFunctionArgs) -> usize {
        let rows = args.number_rows;
        let total = |at: usize| args.args.get(at).map_or(0, |value| total(value, rows));
        let longest = |at: usize| args.args.get(at).map_or(0, longest);
        match self {
            Measure::Sum => {
                let all: usize = (0..args.args.len()).map(total).sum();
                all.saturating_add(total(0).saturating_mul(args.args.len()))
            }
            Measure::Replace => {
                let parts = total(0) / shortest(args.args.get(1)).max(1) + rows;
                total(0).saturating_add(parts.saturating_mul(longest(2)))
            }
            Measure::Substitute => (total(0) + rows).saturating_mul(longest(2) + 1),
            Measure::Format => rows.saturating_mul(longest(1).saturating_mul(16) + 64),
            Measure::Join => total(0).saturating_mul(longest(1) / 4 + 2),
        }
    }
}

/// Bytes of a value in all rows.
fn total(value: &ColumnarValue, rows: usize) -> usize {
    match value {
        ColumnarValue::Array(array) => array.to_data().get_slice_memory_size().unwrap_or(usize::MAX),
        ColumnarValue::Scalar(scalar) => bytes(scalar).saturating_mul(rows),
    }
}

fn bytes(scalar: &ScalarValue) -> usize {
    match scalar {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_ref().map_or(0, String::len)
        }
        other => other.size(),
    }
}

/// Bytes of the longest text.
fn longest(value: &ColumnarValue) -> usize {
    match value {
        ColumnarValue::Scalar(scalar) => bytes(scalar),
        ColumnarValue::Array(array) => match as_string_array(array) {
            Ok(texts) => texts.offsets().lengths().max().unwrap_or(0),
            Err(_) => array.to_data().get_slice_memory_size().unwrap_or(usize::MAX),
        },
    }
}

fn shortest(value: Option<&ColumnarValue>) -> usize {
    match value {
        Some(ColumnarValue::Scalar(scalar)) => bytes(scalar),
        Some(ColumnarValue::Array(array)) => {
            as_string_array(array).map_or(0, |texts| texts.offsets().lengths().min().unwrap_or(0))
        }
        None => 0,
    }
}

fn too_large() -> DataFusionError {
    DataFusionError::ResourcesExhausted("the result of a text function has become too large".to_owned())
}

/// A function that is called only where its result is small enough.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Measured {
    inner: Arc<ScalarUDF>,
    measure: Measure,
}

impl ScalarUDFImpl for Measured {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<arrow::datatypes::FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.measure.of(&args) > MAX_RESULT {
            true => Err(too_large()),
            false => self.inner.invoke_with_args(args),
        }
    }
}

/// Makes `||` a function that is measured.
#[derive(Debug)]
pub(super) struct ConcatPlanner;

impl ExprPlanner for ConcatPlanner {
    fn plan_binary_op(
        &self,
        expression: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_plain = |side: &Expr| Ok::<_, DataFusionError>(!side.get_type(schema)?.is_nested());
        if expression.op != BinaryOperator::StringConcat
            || !is_plain(&expression.left)?
            || !is_plain(&expression.right)?
        {
            return Ok(PlannerResult::Original(expression));
        }
        let call = ScalarFunction::new_udf(
            Arc::new(ScalarUDF::from(Concat::default())),
            vec![expression.left, expression.right],
        );
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// `a || b`: null where either is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Concat {
    signature: Signature,
}

impl Default for Concat {
    fn default() -> Self {
        Concat { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Concat {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Utf8; types.len()])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if Measure::Sum.of(&args) > MAX_RESULT {
            return Err(too_large());
        }
        let all_scalars = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("`||` has two sides".to_owned()));
        };
        let joined = concat_elements_utf8(as_string_array(left)?, as_string_array(right)?)?;
        match all_scalars && joined.len() == 1 {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?)),
            false => Ok(ColumnarValue::Array(Arc::new(joined))),
        }
    }
}
