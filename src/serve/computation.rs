//! On-demand features: expressions over a request's columns and over what was looked up; the same code online and in
//! training.

use std::sync::{Arc, OnceLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Scalar, new_null_array},
    buffer::BooleanBuffer,
    compute::{concat, is_null, kernels::zip::zip},
    datatypes::{
        DataType as Arrow, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};

use crate::{
    expression::Evaluated,
    model::{DataType, Timestamp, Value},
    registry::{FeatureView, Operand, RequestColumn, Resolved},
    serve::{ServeError, Served, aggregates::value_at},
    shard::{Cell, ColumnBuilder},
};

/// The on-demand features of a request, each after those that it needs.
#[derive(Debug)]
pub struct Computation {
    /// What each row of the request has to bring.
    pub request: Vec<RequestColumn>,
    /// The on-demand views, each once.
    pub views: Vec<Arc<FeatureView>>,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub struct Step {
    /// Position in [`Computation::views`].
    pub view: usize,
    /// Position in the view's features.
    pub feature: usize,
    pub operands: Vec<Operand>,
}

/// The values of one step.
#[derive(Debug)]
pub struct Computed {
    /// Null where the expression failed, and where it is null.
    evaluated: Evaluated,
    /// With the feature's default where the expression is null: what others compute from it, and what a training set holds.
    pub values: ArrayRef,
    /// The same, of types that a cell cannot borrow; made when the first is asked for.
    lists: OnceLock<Vec<Value>>,
}

impl Computation {
    pub fn new(resolved: &Resolved) -> Computation {
        let mut views: Vec<Arc<FeatureView>> = Vec::new();
        let steps = resolved.computation.steps.iter().map(|step| {
            let view = &resolved.groups[step.group].view;
            let known = views.iter().position(|known| Arc::ptr_eq(known, view));
            Step {
                view: known.unwrap_or_else(|| {
                    views.push(Arc::clone(view));
                    views.len() - 1
                }),
                feature: step.feature,
                operands: step.operands.clone(),
            }
        });
        let steps = steps.collect();
        Computation { request: resolved.computation.request.clone(), views, steps }
    }

    /// `request` and `inputs`: columns of `rows` values each, in the order of the plan's. Texts and lists of more than
    /// `most` bytes in all are an error.
    pub fn evaluate(
        &self,
        request: &[ArrayRef],
        inputs: &[ArrayRef],
        rows: usize,
        most: usize,
    ) -> Result<Vec<Computed>, ServeError> {
        let mut computed: Vec<Computed> = Vec::with_capacity(self.steps.len());
        let mut bytes = 0;
        let mut operands = Vec::new();
        for step in &self.steps {
            operands.clear();
            operands.extend(step.operands.iter().map(|operand| match operand {
                Operand::Request(column) => Arc::clone(&request[*column]),
                Operand::Input(column) => Arc::clone(&inputs[*column]),
                Operand::Step(before) => Arc::clone(&computed[*before].values),
            }));
            let view = &self.views[step.view];
            let evaluated = expression(view, step.feature, &operands, rows, most.saturating_sub(bytes))?;
            bytes += variable_bytes(&evaluated.values);
            computed.push(finished(evaluated, view, step.feature)?);
        }
        Ok(computed)
    }
}

/// Rows that are evaluated at a time: what comes of them on the way is gone before the next are.
const PART_ROWS: usize = 8192;

/// The expression's values for all rows, a part of them at a time.
fn expression(
    view: &FeatureView,
    feature: usize,
    operands: &[ArrayRef],
    rows: usize,
    most: usize,
) -> Result<Evaluated, ServeError> {
    let Some(Ok(expression)) = view.on_demand().map(|on_demand| on_demand.expression(feature)) else {
        // Of such a view nothing is resolved.
        let values = new_null_array(&view.features[feature].data_type.arrow(), rows);
        return Ok(Evaluated { values, failed: Some(BooleanBuffer::new_set(rows)) });
    };
    if rows <= PART_ROWS {
        let evaluated = expression.evaluate_columns(operands, rows);
        return fits(variable_bytes(&evaluated.values), most).map(|()| evaluated);
    }
    let (mut parts, mut failed, mut bytes) = (Vec::new(), BooleanBufferBuilder::new(rows), 0);
    for begin in (0..rows).step_by(PART_ROWS) {
        let length = PART_ROWS.min(rows - begin);
        let slices: Vec<ArrayRef> = operands.iter().map(|operand| operand.slice(begin, length)).collect();
        let evaluated = expression.evaluate_columns(&slices, length);
        bytes += variable_bytes(&evaluated.values);
        fits(bytes, most)?;
        match &evaluated.failed {
            Some(buffer) => failed.append_buffer(buffer),
            None => failed.append_n(length, false),
        }
        parts.push(evaluated.values);
    }
    let values = concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())?;
    Ok(Evaluated { values, failed: Some(failed.finish()).filter(|failed| failed.count_set_bits() > 0) })
}

fn fits(bytes: usize, most: usize) -> Result<(), ServeError> {
    match bytes > most {
        true => Err(ServeError::TooMany { what: "bytes of on-demand features", given: bytes, limit: most }),
        false => Ok(()),
    }
}

/// Bytes of values that may have any length.
pub(super) fn variable_bytes(array: &ArrayRef) -> usize {
    match array.data_type().is_primitive() || *array.data_type() == Arrow::Boolean {
        true => 0,
        // Of the slice alone: a part of a column shares its memory.
        false => array.to_data().get_slice_memory_size().unwrap_or(usize::MAX),
    }
}

fn finished(evaluated: Evaluated, view: &FeatureView, feature: usize) -> Result<Computed, ServeError> {
    let definition = &view.features[feature];
    let values = match &definition.default {
        Some(default) => with_default(&evaluated, &definition.data_type, default)?,
        None => Arc::clone(&evaluated.values),
    };
    Ok(Computed { evaluated, values, lists: OnceLock::new() })
}

impl Computed {
    pub fn has_failed(&self, row: usize) -> bool {
        self.evaluated.has_failed(row)
    }

    /// How many rows failed.
    pub fn failures(&self) -> usize {
        self.evaluated.failed.as_ref().map_or(0, BooleanBuffer::count_set_bits)
    }

    /// The value without its default; none where it is null, or where the row failed.
    pub fn value(&self, row: usize, data_type: &DataType) -> Option<Served<'_>> {
        let array = &self.evaluated.values;
        if array.is_null(row) {
            return None;
        }
        Some(Served::Cell(match array.data_type() {
            Arrow::Boolean => Cell::Bool(array.as_boolean().value(row)),
            Arrow::Int32 => Cell::Int32(array.as_primitive::<Int32Type>().value(row)),
            Arrow::Int64 => Cell::Int64(array.as_primitive::<Int64Type>().value(row)),
            Arrow::Float32 => Cell::Float32(array.as_primitive::<Float32Type>().value(row)),
            Arrow::Float64 => Cell::Float64(array.as_primitive::<Float64Type>().value(row)),
            Arrow::Timestamp(..) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                Cell::Timestamp(Timestamp::from_micros(micros))
            }
            Arrow::Utf8 if *data_type == DataType::Json => Cell::Json(array.as_string::<i32>().value(row)),
            Arrow::Utf8 => Cell::String(array.as_string::<i32>().value(row)),
            Arrow::Binary => Cell::Bytes(array.as_binary::<i32>().value(row)),
            _ => {
                let vector = DataType::Array(Box::new(DataType::Float32));
                let list = if matches!(data_type, DataType::Vector(_)) { &vector } else { data_type };
                let all = || (0..array.len()).map(|row| value_at(array, row, list)).collect();
                return self.lists.get_or_init(all).get(row).map(Served::Value);
            }
        }))
    }
}

/// The default wherever the expression is null; a row that failed stays null.
fn with_default(
    evaluated: &Evaluated,
    data_type: &DataType,
    default: &Value,
) -> Result<ArrayRef, ServeError> {
    if evaluated.values.null_count() == 0 {
        return Ok(Arc::clone(&evaluated.values));
    }
    let mut builder = ColumnBuilder::with_capacity(data_type, 1);
    builder.push_value(default);
    let mut nulls = is_null(&evaluated.values)?;
    if let Some(failed) = &evaluated.failed {
        nulls = BooleanArray::new(nulls.values() & &!failed, None);
    }
    Ok(zip(&nulls, &Scalar::new(builder.finish()), &evaluated.values)?)
}
