//! A timestamp plus or minus an interval.

use arrow::{compute::kernels::numeric, error::ArrowError};

use crate::kernels::{each_row::whole_or_each, values::Values};
use larder_model::DataType;

/// Months and days by the calendar, in UTC. A time beyond what the calendar has is a failure.
pub(crate) fn shift(
    timestamps: &Values,
    interval: &Values,
    forward: bool,
    rows: usize,
) -> Result<Values, ArrowError> {
    let shifted = |timestamps: &Values| match forward {
        true => numeric::add(timestamps, interval),
        false => numeric::sub(timestamps, interval),
    };
    let arguments = std::slice::from_ref(timestamps);
    whole_or_each(arguments, rows, &DataType::arrow_timestamp(), |arguments, _| shifted(&arguments[0]))
}
