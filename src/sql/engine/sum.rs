//! Sums of integers that fail where they leave int64; DataFusion's wrap around. Summed as decimals of 38 digits, so only the
//! sum itself has to fit, in whatever order it is made.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray},
    compute::{CastOptions, cast, cast_with_options},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF,
        SetMonotonicity, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

/// Holds the sum of 2⁶³ integers.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// `function`, or where it is DataFusion's sum, one that is checked.
pub(super) fn checked(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match function.name() {
        "sum" => Arc::new(AggregateUDF::from(CheckedSum(function))),
        _ => function,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum(Arc<AggregateUDF>);

/// With the result in the wide type, where it is an integer.
fn widened(field: &FieldRef) -> Option<FieldRef> {
    field.data_type().is_integer().then(|| Arc::new(Field::new(field.name(), WIDE, true)))
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let return_field = widened(&args.return_field).unwrap_or_else(|| Arc::clone(&args.return_field));
        self.0.inner().state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match widened(&args.return_field) {
            None => self.0.accumulator(args),
            Some(return_field) => {
                let data_type = args.return_field.data_type().clone();
                let inner = self.0.accumulator(AccumulatorArgs { return_field, ..args })?;
                Ok(Box::new(Narrowed { inner, data_type }))
            }
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match widened(&args.return_field) {
            None => self.0.create_groups_accumulator(args),
            Some(return_field) => {
                let data_type = args.return_field.data_type().clone();
                let inner = self.0.create_groups_accumulator(AccumulatorArgs { return_field, ..args })?;
                Ok(Box::new(Narrowed { inner, data_type }))
            }
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match widened(&args.return_field) {
            // Distinct ones of a window that moves are made for integers alone.
            Some(return_field) if !args.is_distinct => {
                let data_type = args.return_field.data_type().clone();
                let inner = self.0.create_sliding_accumulator(AccumulatorArgs { return_field, ..args })?;
                Ok(Box::new(Narrowed { inner, data_type }))
            }
            Some(_) => Err(DataFusionError::Plan(
                "sum(DISTINCT …) of integers over a window that moves is not supported; sum a float, or GROUP BY".to_owned(),
            )),
            None => self.0.create_sliding_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.0.inner().set_monotonicity(data_type)
    }
}

/// An accumulator of the wide type behind values and a result of `data_type`.
#[derive(Debug)]
struct Narrowed<A> {
    inner: A,
    data_type: DataType,
}

fn wide(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    Ok(values.iter().map(|values| cast(values, &WIDE)).collect::<Result<_, _>>()?)
}

impl<A> Narrowed<A> {
    /// The sums in their own type; an error where one does not fit.
    fn narrow(&self, sums: &ArrayRef) -> Result<ArrayRef> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(sums, &self.data_type, &options).map_err(|_| {
            let name = if self.data_type.is_signed_integer() { "int64" } else { "uint64" };
            DataFusionError::Execution(format!(
                "a sum is out of the range of {name}; sum floats, as in sum(CAST(x AS DOUBLE))"
            ))
        })
    }
}

impl Accumulator for Narrowed<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&wide(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.inner.evaluate()?;
        ScalarValue::try_from_array(&self.narrow(&sum.to_array()?)?, 0)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&wide(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

impl GroupsAccumulator for Narrowed<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.inner.update_batch(&wide(values)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.inner.evaluate(emit_to)?;
        self.narrow(&sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&wide(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
