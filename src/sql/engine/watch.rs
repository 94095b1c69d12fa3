//! Ends a query between any two batches of any of its operators, and refuses batches that have become too large.

use std::{fmt, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::{
    common::{
        DataFusionError, Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::TaskContext,
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
        stream::RecordBatchStreamAdapter,
    },
};
use futures_util::StreamExt;

use crate::sql::{engine::errors, query::Control};

/// The plan with each operator watched.
pub(super) fn watched(
    plan: Arc<dyn ExecutionPlan>,
    control: &Arc<Control>,
    batch_bytes: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let watch = |input| -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        Ok(Transformed::yes(Arc::new(Watch { input, control: Arc::clone(control), batch_bytes })))
    };
    plan.transform_up(watch).map(|plan| plan.data)
}

struct Watch {
    input: Arc<dyn ExecutionPlan>,
    control: Arc<Control>,
    batch_bytes: usize,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl DisplayAs for Watch {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl ExecutionPlan for Watch {
    fn name(&self) -> &str {
        "Watch"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.input.as_ref())
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => {
                let (control, batch_bytes) = (Arc::clone(&self.control), self.batch_bytes);
                Ok(Arc::new(Watch { input, control, batch_bytes }))
            }
            _ => Err(DataFusionError::Internal("a watch has one input".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (schema, control, most) = (rows.schema(), Arc::clone(&self.control), self.batch_bytes);
        let watched = rows.map(move |batch| {
            control.check().map_err(errors::external)?;
            let batch = batch?;
            match bytes(&batch) > most {
                true => Err(DataFusionError::ResourcesExhausted("a batch has become too large".to_owned())),
                false => Ok(batch),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, watched)))
    }
}

/// Of the rows that are in the batch, not of what their buffers hold besides.
fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX)).sum()
}
