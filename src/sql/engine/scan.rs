//! A table of the catalog as DataFusion reads it: in portions, only the columns asked for, without what the event time
//! excludes.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::SchemaRef,
};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{DataFusionError, Result, ScalarValue, tree_node::TreeNodeRecursion},
    datasource::{TableProvider, TableType},
    execution::TaskContext,
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};

use crate::{
    offline::{self, History, OfflineError, Portion, Visible},
    sql::{
        engine::{errors, session::Sessions},
        query::Control,
    },
};

/// A view's or a source's rows, or the newest of each entity.
pub(super) struct HistoryTable {
    pub table: String,
    pub schema: SchemaRef,
    pub event_time: String,
    pub latest: bool,
    /// None: it can only be planned with.
    pub rows: Option<Rows>,
}

#[derive(Clone)]
pub(super) struct Rows {
    pub history: Arc<History>,
    pub visible: Visible,
    pub control: Arc<Control>,
}

impl fmt::Debug for HistoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryTable").field("table", &self.table).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for HistoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Row groups are left out by their event times; what is read may still have rows that the filter excludes. The newest
    /// version is chosen before anything is filtered.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let usable = |filter: &&Expr| match !self.latest && bound(filter, &self.event_time).is_some() {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(usable).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.rows.clone();
        let rows =
            rows.ok_or_else(|| DataFusionError::Internal(format!("`{}` has no rows here", self.table)))?;
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let mut work = Vec::new();
        if !self.latest {
            let times = filters.iter().filter_map(|filter| bound(filter, &self.event_time));
            let times = times.fold(i64::MIN..=rows.visible.until, |a, b| {
                *a.start().max(b.start())..=*a.end().min(b.end())
            });
            let portions = rows.history.portions(&times).map_err(errors::external)?;
            work = divide(portions, session.config().target_partitions());
        }
        let partitions = Partitioning::UnknownPartitioning(work.len().max(1));
        let equivalence = EquivalenceProperties::new(Arc::clone(&schema));
        let properties =
            PlanProperties::new(equivalence, partitions, EmissionType::Incremental, Boundedness::Bounded);
        Ok(Arc::new(HistoryScan {
            table: self.table.clone(),
            schema,
            rows,
            latest: self.latest,
            work: Arc::new(work),
            limit: limit.filter(|_| filters.is_empty()),
            properties: Arc::new(properties),
        }))
    }
}

/// The event times that a condition lets pass, where it compares the event time with a constant.
fn bound(filter: &Expr, event_time: &str) -> Option<RangeInclusive<i64>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
    let (time, op) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) if column.name == event_time => (micros(value)?, *op),
        (Expr::Literal(value, _), Expr::Column(column)) if column.name == event_time => {
            (micros(value)?, op.swap()?)
        }
        _ => return None,
    };
    Some(match op {
        Operator::Eq => time..=time,
        Operator::Lt | Operator::LtEq => i64::MIN..=time,
        Operator::Gt | Operator::GtEq => time..=i64::MAX,
        _ => return None,
    })
}

fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampMicrosecond(Some(time), _) => Some(*time),
        _ => None,
    }
}

/// Portions for each of at most `most` partitions, about as many rows in each.
fn divide(mut portions: Vec<Portion>, most: usize) -> Vec<Vec<Portion>> {
    let parts = portions.len().min(most);
    let mut divided: Vec<(u64, Vec<Portion>)> = (0..parts).map(|_| (0, Vec::new())).collect();
    if most > 1 {
        portions.sort_by_key(|portion| std::cmp::Reverse(portion.rows()));
    }
    for portion in portions {
        if let Some((rows, part)) = divided.iter_mut().min_by_key(|(rows, _)| *rows) {
            *rows += portion.rows().max(1);
            part.push(portion);
        }
    }
    divided.into_iter().map(|(_, part)| part).collect()
}

struct HistoryScan {
    table: String,
    schema: SchemaRef,
    rows: Rows,
    latest: bool,
    /// By partition; of the newest versions there is one, which reads all.
    work: Arc<Vec<Vec<Portion>>>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for HistoryScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryScan").field("table", &self.table).finish_non_exhaustive()
    }
}

impl DisplayAs for HistoryScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "HistoryScan: table={}, columns=[{}]", self.table, columns.join(", "))?;
        match self.latest {
            true => Ok(()),
            false => write!(f, ", portions={}", self.work.iter().map(Vec::len).sum::<usize>()),
        }
    }
}

impl ExecutionPlan for HistoryScan {
    fn name(&self) -> &str {
        "HistoryScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reading = Reading {
            rows: self.rows.clone(),
            columns: self.schema.fields().iter().map(|field| field.name().clone()).collect(),
            schema: Arc::clone(&self.schema),
            latest: self.latest,
            work: Arc::clone(&self.work),
            partition,
            next: 0,
            open: None,
            rest: None,
            left: self.limit.unwrap_or(usize::MAX),
        };
        let stream = futures_util::stream::iter(reading);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream)))
    }
}

/// The rows of one partition.
struct Reading {
    rows: Rows,
    columns: Vec<String>,
    schema: SchemaRef,
    latest: bool,
    work: Arc<Vec<Vec<Portion>>>,
    partition: usize,
    /// The portion that comes next.
    next: usize,
    open: Option<offline::Rows>,
    /// What is left of the batch that was read last.
    rest: Option<RecordBatch>,
    left: usize,
}

impl Reading {
    fn step(&mut self) -> Result<Option<RecordBatch>> {
        self.rows.control.check().map_err(errors::external)?;
        loop {
            if let Some(batch) = self.rest.take().filter(|batch| batch.num_rows() > 0) {
                let given = batch.num_rows().min(Sessions::BATCH_ROWS).min(self.left);
                if given == 0 {
                    return Ok(None);
                }
                self.left -= given;
                self.rest = Some(batch.slice(given, batch.num_rows() - given));
                return Ok(Some(batch.slice(0, given)));
            }
            match self.open.as_mut().and_then(Iterator::next) {
                Some(batch) => self.rest = Some(reshape(&batch.map_err(errors::external)?, &self.schema)?),
                None => match self.open_next().map_err(errors::external)? {
                    Some(rows) => self.open = Some(rows),
                    None => return Ok(None),
                },
            }
        }
    }

    fn open_next(&mut self) -> Result<Option<offline::Rows>, OfflineError> {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let Rows { history, visible, .. } = &self.rows;
        let at = self.next;
        self.next = at.saturating_add(1);
        match (self.latest, self.work.get(self.partition).and_then(|portions| portions.get(at))) {
            (true, _) if at == 0 => history.latest(&columns, *visible).map(Some),
            (true, _) | (false, None) => Ok(None),
            (false, Some(portion)) => history.read(portion, &columns, *visible).map(Some),
        }
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            self.left = 0;
        }
        step
    }
}

/// In the definition's types: before its first rows the table may be narrower.
fn reshape(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        columns.push(match column.data_type() == field.data_type() {
            true => Arc::clone(column),
            false => cast(column, field.data_type())?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
