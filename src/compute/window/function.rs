//! What is made of a window's events.

use std::fmt;

use larder_model::DataType;

/// An aggregate function. Nulls are skipped by all of them.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "function", rename_all = "snake_case")]
pub enum Function {
    /// Of events, or of a column's values that are not null.
    Count,
    Sum,
    Mean,
    Min,
    Max,
    /// Of a sample: divided by n − 1; null below two values.
    Stddev,
    Variance,
    /// By (event time, seq).
    First,
    Last,
    /// The first `n`, ascending by (event time, seq).
    FirstN {
        n: u32,
    },
    /// The last `n`, ascending by (event time, seq).
    LastN {
        n: u32,
    },
    /// Exact up to 512 different values; beyond that HyperLogLog with 4,096 registers: standard error 1.6 %.
    ApproxCountDistinct,
    /// The value at rank floor(`p` · (n − 1)), by DDSketch within 1 %. `p` in 0..=1; NaNs do not count.
    ApproxPercentile {
        p: f64,
    },
    /// Seconds from the last event (with a value, where a column is given) to `t`.
    TimeSinceLast,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    #[error("`{0}` needs a `column`")]
    NoColumn(Function),
    #[error("`{function}` cannot be computed of {found}; it takes {takes}")]
    Column { function: Function, found: DataType, takes: &'static str },
}

impl Eq for Function {}

/// The most values that `first_n` and `last_n` keep.
pub const MAX_N: u32 = 1000;

impl Function {
    pub fn name(self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Mean => "mean",
            Function::Min => "min",
            Function::Max => "max",
            Function::Stddev => "stddev",
            Function::Variance => "variance",
            Function::First => "first",
            Function::Last => "last",
            Function::FirstN { .. } => "first_n",
            Function::LastN { .. } => "last_n",
            Function::ApproxCountDistinct => "approx_count_distinct",
            Function::ApproxPercentile { .. } => "approx_percentile",
            Function::TimeSinceLast => "time_since_last",
        }
    }

    /// The type of the result, given that of the column.
    pub fn result(self, column: Option<&DataType>) -> Result<DataType, FunctionError> {
        use DataType::{Array, Float32, Float64, Int32, Int64};
        let Some(column) = column else {
            return match self {
                Function::Count => Ok(Int64),
                Function::TimeSinceLast => Ok(Float64),
                other => Err(FunctionError::NoColumn(other)),
            };
        };
        let refuse = |takes| FunctionError::Column { function: self, found: column.clone(), takes };
        let number = matches!(column, Int32 | Int64 | Float32 | Float64);
        let scalar = !matches!(column, Array(_) | DataType::Vector(_));
        match self {
            Function::Count => Ok(Int64),
            Function::TimeSinceLast => Ok(Float64),
            Function::Sum if number => Ok(if matches!(column, Int32 | Int64) { Int64 } else { Float64 }),
            Function::Mean | Function::Stddev | Function::Variance | Function::ApproxPercentile { .. }
                if number =>
            {
                Ok(Float64)
            }
            Function::Min | Function::Max
                if number || matches!(column, DataType::Timestamp | DataType::String) =>
            {
                Ok(column.clone())
            }
            Function::First | Function::Last if scalar => Ok(column.clone()),
            Function::FirstN { .. } | Function::LastN { .. } if scalar => Ok(Array(Box::new(column.clone()))),
            Function::ApproxCountDistinct if scalar => Ok(Int64),
            Function::Min | Function::Max => Err(refuse("numbers, timestamps and strings")),
            Function::Sum
            | Function::Mean
            | Function::Stddev
            | Function::Variance
            | Function::ApproxPercentile { .. } => Err(refuse("numbers")),
            _ => Err(refuse("anything but arrays")),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_types_of_the_contract() {
        let of = |function: Function, column: &str| function.result(Some(&column.parse().unwrap()));
        assert_eq!(of(Function::Sum, "int32"), Ok(DataType::Int64));
        assert_eq!(of(Function::Sum, "float32"), Ok(DataType::Float64));
        assert_eq!(of(Function::Max, "float32"), Ok(DataType::Float32));
        assert_eq!(of(Function::LastN { n: 3 }, "string").unwrap().to_string(), "array<string>");
        assert!(of(Function::Mean, "string").is_err() && of(Function::Last, "array<int64>").is_err());
        assert_eq!(Function::Count.result(None), Ok(DataType::Int64));
        assert_eq!(Function::Sum.result(None), Err(FunctionError::NoColumn(Function::Sum)));
    }

    #[test]
    fn the_written_form_reads_back() {
        for function in [Function::Count, Function::LastN { n: 2 }, Function::ApproxPercentile { p: 0.9 }] {
            let text = serde_json::to_string(&function).unwrap();
            assert_eq!(serde_json::from_str::<Function>(&text).unwrap(), function);
        }
        assert_eq!(
            serde_json::to_string(&Function::LastN { n: 2 }).unwrap(),
            r#"{"function":"last_n","n":2}"#
        );
    }
}
