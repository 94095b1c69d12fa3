//! Times in queries: one type, UTC microseconds, as the tables have it; and the time at which a query began.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        planner::TypePlanner,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
    sql::sqlparser::ast::DataType as SqlType,
};

/// The session's zone.
pub(super) const UTC: &str = "UTC";

/// `TIMESTAMP`, with or without a zone, is a moment: text without a zone says it in UTC.
#[derive(Debug)]
pub(super) struct Moments;

impl TypePlanner for Moments {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let unit = match sql_type {
            SqlType::Timestamp(Some(0), _) => TimeUnit::Second,
            SqlType::Timestamp(Some(3), _) => TimeUnit::Millisecond,
            SqlType::Timestamp(Some(9), _) => TimeUnit::Nanosecond,
            SqlType::Timestamp(None | Some(6), _)
            | SqlType::TimestampNtz(_)
            | SqlType::Datetime(None | Some(6)) => TimeUnit::Microsecond,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", DataType::Timestamp(unit, Some(UTC.into())), true))))
    }
}

/// The time at which the query began: the same wherever it is named. DataFusion's counts nanoseconds, for which event
/// times after the year 2262 are out of range.
pub(super) fn now() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Now {
        signature: Signature::nullary(Volatility::Stable),
        aliases: ["current_timestamp", "localtimestamp"].map(str::to_owned),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    signature: Signature,
    aliases: [String; 2],
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())))
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match context.query_execution_start_time() {
            None => ExprSimplifyResult::Original(args),
            Some(began) => {
                let micros = Some(began.timestamp_micros());
                let began = ScalarValue::TimestampMicrosecond(micros, Some(UTC.into()));
                ExprSimplifyResult::Simplified(Expr::Literal(began, None))
            }
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("now() is known before a query runs".to_owned()))
    }
}
