//! Operations that give up a whole array for one bad value.

use arrow::{
    array::{Array, ArrayRef, new_null_array},
    compute::concat,
    datatypes::DataType as Arrow,
    error::ArrowError,
};

use crate::kernels::values::{Values, either, rows_set};

/// Calls for all rows at once; where that fails, for each row alone, so that a bad row costs only itself its value.
/// `call` is given the arguments and their number of rows.
pub(crate) fn whole_or_each<E>(
    arguments: &[Values],
    rows: usize,
    data_type: &Arrow,
    call: impl Fn(&[Values], usize) -> Result<ArrayRef, E>,
) -> Result<Values, ArrowError> {
    let before =
        arguments.iter().fold(None, |failed, argument| either(failed.as_ref(), argument.failed.as_ref()));
    if let Ok(made) = call(arguments, rows) {
        return Values::masked(made, before);
    }
    let none = new_null_array(data_type, 1);
    let mut made = Vec::with_capacity(rows);
    let mut failed = Vec::new();
    for row in 0..rows {
        let alone: Vec<Values> = arguments.iter().map(|argument| argument.row(row)).collect();
        made.push(call(&alone, 1).unwrap_or_else(|_| {
            failed.push(row);
            none.clone()
        }));
    }
    if rows == 0 {
        return Ok(Values::of(new_null_array(data_type, 0)));
    }
    let made = concat(&made.iter().map(|array| array as &dyn Array).collect::<Vec<_>>())?;
    Values::masked(made, either(before.as_ref(), rows_set(rows, &failed).as_ref()))
}
