//! A call of a function of DataFusion's library.

use std::sync::{Arc, LazyLock};

use arrow::{array::ArrayRef, datatypes::FieldRef, error::ArrowError};
use datafusion_common::{DataFusionError, ScalarValue, config::ConfigOptions};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use crate::{
    kernels::{
        cast::{cast, infinite},
        each_row::whole_or_each,
        values::{Values, either},
    },
    node::Node,
};
use larder_model::DataType;

static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(Arc::default);

#[derive(Debug)]
pub(crate) struct Call {
    pub function: Arc<ScalarUDF>,
    pub arguments: Vec<Node>,
    /// For each argument its value, where it is constant: some functions insist.
    pub constants: Vec<Option<ScalarValue>>,
    pub fields: Vec<FieldRef>,
    pub returns: FieldRef,
}

impl Call {
    /// `data_type`: what the function's own result is cast to.
    pub fn evaluate(
        &self,
        arguments: &[Values],
        data_type: &DataType,
        rows: usize,
    ) -> Result<Values, ArrowError> {
        let made = whole_or_each(arguments, rows, self.returns.data_type(), |arguments, rows| {
            self.invoke(arguments, rows)
        })?;
        let Some(mut infinite) = infinite(&made.array) else {
            return cast(&made, data_type, false);
        };
        // What was infinite before is carried on.
        for argument in arguments {
            if let Some(before) = self::infinite(&argument.array) {
                infinite = match argument.constant {
                    true => return cast(&made, data_type, false),
                    false => &infinite & &!&before,
                };
            }
        }
        let failed = either(made.failed.as_ref(), Some(&infinite));
        cast(&Values::masked(made.array, failed)?, data_type, false)
    }

    fn invoke(&self, arguments: &[Values], rows: usize) -> Result<ArrayRef, DataFusionError> {
        let args = arguments.iter().zip(&self.constants).map(|(argument, constant)| match constant {
            Some(constant) => ColumnarValue::Scalar(constant.clone()),
            None => ColumnarValue::Array(argument.array.clone()),
        });
        let args = ScalarFunctionArgs {
            args: args.collect(),
            arg_fields: self.fields.clone(),
            number_rows: rows,
            return_field: self.returns.clone(),
            config_options: OPTIONS.clone(),
        };
        self.function.invoke_with_args(args)?.to_array(rows)
    }
}
