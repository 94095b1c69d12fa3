//! From a text to rows.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use chrono::DateTime;
use datafusion::{
    common::{
        ScalarValue, TableReference,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, Volatility},
    physical_plan::execute_stream,
    prelude::{SQLOptions, SessionContext},
};
use futures_util::StreamExt;
use tokio::runtime::{Builder, Runtime};

use crate::{
    registry::Catalog,
    sql::{
        Inputs, SqlError, SqlLimits, SqlQuery,
        engine::{errors, parameters, session::Sessions, tables::Tables, text, time, watch::watched},
        query::{Control, Scope, Take},
    },
};

/// Stack of the threads that operators run on: expressions are recursive.
const STACK: usize = 32 << 20;

pub(in crate::sql) struct Engine {
    inputs: Inputs,
    sessions: Sessions,
    memory: usize,
    runtime: Option<Runtime>,
}

impl Engine {
    pub fn new(inputs: Inputs, limits: &SqlLimits) -> Result<Engine, SqlError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores)
            .thread_name("larder-sql")
            .thread_stack_size(STACK)
            .build()
            .map_err(|error| SqlError::Internal(format!("no threads for SQL: {error}")))?;
        let (sessions, memory) = (Sessions::new(cores, limits.memory), limits.memory);
        Ok(Engine { inputs, sessions, memory, runtime: Some(runtime) })
    }

    /// Gives `take` the answer's schema, and then its rows; blocks until the end.
    pub fn run(
        &self,
        query: &SqlQuery,
        scope: &Scope,
        control: &Arc<Control>,
        take: &mut Take<'_>,
    ) -> Result<(), SqlError> {
        let catalog = self.inputs.catalog.current();
        let tables = Tables::with_rows(&catalog, &self.inputs, scope, control);
        // The same rows in the same order each time, where a repeat has to give the same.
        let parallel = matches!(scope, Scope::Everything);
        let mut state = self.sessions.open(parallel)?;
        if matches!(scope, Scope::Everything) {
            let now = DateTime::from_timestamp_micros(self.inputs.clock.now().micros());
            state.execution_props_mut().query_execution_start_time = now;
        }
        let plan = plan(&state, query, &tables)?;
        let running = |error| errors::running(error, self.memory);
        let plan = state.optimize(&plan).map_err(errors::planning)?;
        check_literals(&plan, self.memory)?;
        let schema = plain(plan.schema().as_arrow());
        take(&schema, None)?;
        control.check()?;
        let Some(runtime) = &self.runtime else { return Err(SqlError::Cancelled) };
        runtime.block_on(async {
            let physical =
                state.query_planner().create_physical_plan(&plan, &state).await.map_err(running)?;
            let physical = watched(physical, control, self.memory).map_err(running)?;
            let mut rows = execute_stream(physical, state.task_ctx()).map_err(running)?;
            while let Some(batch) = rows.next().await {
                take(&schema, Some(plainly(&batch.map_err(running)?, &schema)?))?;
            }
            Ok(())
        })
    }

    /// The names of the tables that a text reads.
    pub fn reads(text: &str) -> Result<Vec<String>, SqlError> {
        Ok(text::parse(text)?.tables)
    }

    /// The columns that a query gives, in a catalog whose tables need not have rows yet. The same rows have to give the
    /// same answer each time.
    pub fn columns(&self, catalog: &Catalog, query: &SqlQuery) -> Result<SchemaRef, SqlError> {
        let state = self.sessions.open(false)?;
        let plan = plan(&state, query, &Tables::without_rows(catalog))?;
        check_deterministic(&plan)?;
        let plan = state.optimize(&plan).map_err(errors::planning)?;
        Ok(plain(plan.schema().as_arrow()))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn plan(state: &SessionState, query: &SqlQuery, tables: &Tables<'_>) -> Result<LogicalPlan, SqlError> {
    let mut parsed = text::parse(&query.text)?;
    if state.execution_props().query_execution_start_time.is_none() {
        parsed.check_clock()?;
    }
    parameters::put_in(&mut parsed.statement, &query.parameters)?;
    let context = SessionContext::new_with_state(state.clone());
    for name in &parsed.tables {
        let table = tables.get(name)?;
        context.register_table(TableReference::bare(name.as_str()), table).map_err(errors::planning)?;
    }
    // Nothing of this waits: tables are in memory.
    let plan =
        futures_util::future::FutureExt::now_or_never(context.state().statement_to_plan(parsed.statement));
    let plan = plan.unwrap_or_else(|| Err(datafusion::common::DataFusionError::Plan("it waits".to_owned())));
    let plan = plan.map_err(errors::planning)?;
    let only_reads =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    only_reads.verify_plan(&plan).map_err(errors::planning)?;
    let schema = plan.schema().as_arrow();
    for (at, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..at].iter().any(|other| other.name() == field.name()) {
            return Err(SqlError::query(format!(
                "two columns are named `{}`; give one another name with AS",
                field.name()
            )));
        }
    }
    Ok(plan)
}

/// Refuses texts in quotes that would fill the memory, each repeated in every row of a batch.
fn check_literals(plan: &LogicalPlan, memory: usize) -> Result<(), SqlError> {
    let mut most = 0;
    let counted = plan.apply_with_subqueries(|node| {
        let mut bytes = 0;
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = part {
                    bytes += text.len();
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        most = most.max(bytes);
        Ok(TreeNodeRecursion::Continue)
    });
    counted.map_err(errors::planning)?;
    match most.saturating_mul(Sessions::BATCH_ROWS) > memory {
        true => Err(SqlError::query("its texts in quotes are too long to be repeated in each row")),
        false => Ok(()),
    }
}

fn check_deterministic(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = None;
    let checked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    found = Some(call.func.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    checked.map_err(errors::planning)?;
    match found {
        Some(name) => Err(SqlError::query(format!(
            "`{name}` is not deterministic, and a run that is repeated has to give the same rows; use $as_of for the time of \
             the run"
        ))),
        None => Ok(()),
    }
}

/// The columns as they are given out: intervals and untyped nulls, which most formats lack, as text; times in UTC.
fn plain(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Interval(_) | DataType::Duration(_) | DataType::Null => {
            Field::new(field.name(), DataType::Utf8, true)
        }
        DataType::Timestamp(unit, None) => {
            Field::new(field.name(), DataType::Timestamp(*unit, Some(time::UTC.into())), true)
        }
        data_type => Field::new(field.name(), data_type.clone(), true),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn plainly(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let failed = |error: arrow::error::ArrowError| SqlError::Failed(error.to_string());
    let column = |(column, field): (&arrow::array::ArrayRef, &Arc<Field>)| match column.data_type()
        == field.data_type()
    {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()).map_err(failed),
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<Vec<_>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(failed)
}
