//! Conditions on queries in SQL's three-valued logic.
//!
//! DataFusion makes joins of `IN`, `ANY` and `ALL`, and these lose nulls: `3 NOT IN (SELECT id FROM u WHERE u.g = v.g)` keeps the
//! rows for which the query gives a null. Where it makes a difference whether a condition is false or unknown, it is written
//! with EXISTS instead, which is never unknown; outside of WHERE, where DataFusion has no EXISTS, as a count. Where it moves a condition on the outer query past something that sees
//! all rows (an aggregate without groups, a window, a LIMIT), the answer would be wrong, and the query is refused.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DFSchema, DataFusionError, ExprSchema, Result, ScalarValue, Spans,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_aggregate::count::count_all,
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, SkipType, Subquery,
        expr::{Case, Exists, InSubquery, SetComparison, SetQuantifier},
        lit,
        logical_plan::Filter,
        utils::{conjunction, merge_schema, split_conjunction_owned},
    },
    optimizer::AnalyzerRule,
};

use crate::sql::{SqlError, engine::errors};

/// Comes before everything else.
#[derive(Debug)]
pub(super) struct ThreeValued;

impl AnalyzerRule for ThreeValued {
    fn name(&self) -> &str {
        "three_valued"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewritten).map(|plan| plan.data)
    }
}

fn rewritten(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    match plan {
        LogicalPlan::Filter(filter) => {
            let conditions = split_conjunction_owned(filter.predicate);
            let conditions = conditions.into_iter().map(|condition| condition_of_rows(condition, &schema));
            let predicate = conjunction(conditions.collect::<Result<Vec<_>>>()?).unwrap_or_else(|| lit(true));
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
        }
        // Their names are the query's columns.
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
            let names = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&plan);
            plan.map_expressions(|expression| {
                let name = names.save(&expression);
                Ok(exact(expression, &schema, Place::Values)?
                    .update_data(|expression| name.restore(expression)))
            })
        }
        plan => plan.map_expressions(|expression| exact(expression, &schema, Place::Values)),
    }
}

/// A condition that rows have to meet: false and unknown are the same.
fn condition_of_rows(condition: Expr, schema: &DFSchema) -> Result<Expr> {
    match condition {
        Expr::InSubquery(InSubquery { expr, subquery, negated: true }) => not_in(*expr, &subquery, schema),
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(InSubquery { expr, subquery, negated: false }) => {
                not_in(*expr, &subquery, schema)
            }
            inner => Ok(exact(Expr::Not(Box::new(inner)), schema, Place::Rows)?.data),
        },
        Expr::SetComparison(SetComparison {
            expr,
            subquery,
            op: Operator::NotEq,
            quantifier: SetQuantifier::All,
        }) => not_in(*expr, &subquery, schema),
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let set = Set::new(*expr, &subquery, schema)?;
            match quantifier {
                SetQuantifier::Any => set.exists(Some(set.compared(op))),
                SetQuantifier::All => Ok(!set.exists(Some(Expr::IsNotTrue(Box::new(set.compared(op)))))?),
            }
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated: false }) => {
            let set = Set::new(*expr, &subquery, schema)?;
            set.exists(Some(set.compared(Operator::Eq)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (condition_of_rows(*left, schema)?, condition_of_rows(*right, schema)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        other => Ok(exact(other, schema, Place::Rows)?.data),
    }
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a condition that rows have to meet.
    Rows,
    /// Among values: a column of the answer, a key of a group.
    Values,
}

/// An expression with all conditions on queries in it as they are: true, false or unknown.
fn exact(expression: Expr, schema: &DFSchema, place: Place) -> Result<Transformed<Expr>> {
    let rewritten = expression.transform_up(|part| three_valued(part, schema))?;
    match place {
        Place::Rows => Ok(rewritten),
        Place::Values => rewritten.transform_data(|expression| {
            expression.transform_up(|part| match part {
                Expr::Exists(exists) => counted(exists).map(Transformed::yes),
                other => Ok(Transformed::no(other)),
            })
        }),
    }
}

/// `EXISTS (query)` as `(SELECT count(*) FROM query) > 0`.
fn counted(Exists { subquery, negated }: Exists) -> Result<Expr> {
    let rows = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    let rows = rows.aggregate(Vec::<Expr>::new(), [count_all()])?.build()?;
    let count = Expr::ScalarSubquery(Subquery { subquery: Arc::new(rows), ..subquery });
    Ok(if negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) })
}

fn three_valued(part: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(Transformed::yes(match part {
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let set = Set::new(*expr, &subquery, schema)?;
            let found = set.exists(Some(set.compared(Operator::Eq)))?;
            let unknown = set.unknown()?;
            case(found, !negated, unknown, negated)
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let set = Set::new(*expr, &subquery, schema)?;
            let compared = set.compared(op);
            let unknown = set.exists(Some(Expr::IsNull(Box::new(compared.clone()))))?;
            match quantifier {
                SetQuantifier::Any => case(set.exists(Some(compared))?, true, unknown, false),
                SetQuantifier::All => {
                    let found = set.exists(Some(Expr::IsFalse(Box::new(compared))))?;
                    case(found, false, unknown, true)
                }
            }
        }
        Expr::Exists(exists) => {
            check(&exists.subquery, Form::Exists)?;
            Expr::Exists(exists)
        }
        Expr::ScalarSubquery(subquery) => {
            check(&subquery, Form::Scalar)?;
            Expr::ScalarSubquery(subquery)
        }
        other => return Ok(Transformed::no(other)),
    }))
}

/// `value` where `found`, else null where `unknown`, else `otherwise`.
fn case(found: Expr, value: bool, unknown: Expr, otherwise: bool) -> Expr {
    let null = Expr::Literal(ScalarValue::Boolean(None), None);
    Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(found), Box::new(lit(value))), (Box::new(unknown), Box::new(null))],
        else_expr: Some(Box::new(lit(otherwise))),
    })
}

/// The rows for which `value NOT IN (query)` is true, in parts that become joins on equality.
fn not_in(value: Expr, subquery: &Subquery, schema: &DFSchema) -> Result<Expr> {
    let set = Set::new(value, subquery, schema)?;
    let mut condition = !set.exists(Some(set.compared(Operator::Eq)))?;
    if set.may_have_nulls {
        condition = condition.and(!set.exists(Some(Expr::IsNull(Box::new(set.column()))))?);
    }
    if set.value.nullable(schema)? {
        let known = Expr::IsNotNull(Box::new(set.value.clone()));
        condition = condition.and(known.or(!set.exists(None)?));
    }
    Ok(condition)
}

/// The column of a query under this name, which no table has.
const VALUE: &str = "__value";

/// A value, and the query whose one column it is compared with.
struct Set {
    value: Expr,
    /// The value as the query sees it.
    outer: Expr,
    query: LogicalPlan,
    may_have_nulls: bool,
}

impl Set {
    fn new(value: Expr, subquery: &Subquery, schema: &DFSchema) -> Result<Set> {
        check(subquery, Form::Set)?;
        let outer = value.clone().transform_up(|part| match part {
            Expr::Column(column) => {
                let field = Arc::clone(schema.field_from_column(&column)?);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        let query = subquery.subquery.as_ref().clone();
        let columns = query.schema().columns();
        let [column] = columns.as_slice() else {
            return Err(refused(format!(
                "a query that a value is compared with has one column, this one has {}",
                columns.len()
            )));
        };
        let may_have_nulls = query.schema().field(0).is_nullable();
        let query =
            LogicalPlanBuilder::from(query).project([Expr::Column(column.clone()).alias(VALUE)])?.build()?;
        let set = Set { value, outer: outer.data, query, may_have_nulls };
        set.check_names(subquery)?;
        Ok(set)
    }

    fn column(&self) -> Expr {
        Expr::Column(Column::new_unqualified(VALUE))
    }

    fn compared(&self, op: Operator) -> Expr {
        Expr::BinaryExpr(BinaryExpr::new(Box::new(self.outer.clone()), op, Box::new(self.column())))
    }

    /// Whether the query has a row that meets the condition.
    fn exists(&self, condition: Option<Expr>) -> Result<Expr> {
        let mut plan = LogicalPlanBuilder::from(self.query.clone());
        if let Some(condition) = condition {
            plan = plan.filter(condition)?;
        }
        let mut plan = plan.build()?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        if outer_ref_columns.is_empty() {
            // The same for all rows: one of them says it.
            plan = LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?;
        }
        let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() };
        Ok(Expr::Exists(Exists { subquery, negated: false }))
    }

    /// Whether equality is unknown for a row of the query.
    fn unknown(&self) -> Result<Expr> {
        let null_in_set = self.exists(Some(Expr::IsNull(Box::new(self.column()))))?;
        Ok(null_in_set.or(Expr::IsNull(Box::new(self.value.clone())).and(self.exists(None)?)))
    }

    /// The join that comes of it tells columns apart by their names alone.
    fn check_names(&self, subquery: &Subquery) -> Result<()> {
        if subquery.outer_ref_columns.is_empty() {
            return Ok(());
        }
        let mut inner = Vec::new();
        self.query.apply(|node| {
            if let LogicalPlan::Filter(filter) = node
                && filter.predicate.contains_outer()
            {
                inner.extend(filter.predicate.column_refs().into_iter().cloned());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match self.value.column_refs().into_iter().find(|column| inner.contains(column)) {
            None => Ok(()),
            Some(column) => Err(refused(format!(
                "`{column}` is a column of both the query and the one within it; give one of the tables another name with AS"
            ))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Exists,
    /// IN, ANY, ALL.
    Set,
    Scalar,
}

fn refused(reason: String) -> DataFusionError {
    errors::external(SqlError::query(reason))
}

fn refers_out(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}

/// Refuses what would be moved past something that sees all rows.
fn check(subquery: &Subquery, form: Form) -> Result<()> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(());
    }
    let within = "a query within a condition that refers to the query around it";
    let mut aggregates = 0;
    subquery.subquery.apply(|node| {
        match node {
            LogicalPlan::Aggregate(aggregate) if refers_out(&aggregate.input) => {
                aggregates += 1;
                let groupless = aggregate.group_expr.is_empty()
                    || aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
                if groupless && (form != Form::Scalar || aggregates > 1) {
                    return Err(refused(format!(
                        "{within} cannot aggregate all its rows there; compare the aggregate, as in \
                         (SELECT count(*) FROM …) > 0"
                    )));
                }
            }
            LogicalPlan::Window(window) if refers_out(&window.input) => {
                return Err(refused(format!(
                    "{within} cannot have window functions; join the tables instead"
                )));
            }
            LogicalPlan::Limit(limit) if refers_out(&limit.input) => {
                let skips = !matches!(limit.get_skip_type()?, SkipType::Literal(0));
                if form != Form::Exists || skips {
                    return Err(refused(format!(
                        "{within} cannot have LIMIT or OFFSET; count its rows instead"
                    )));
                }
            }
            LogicalPlan::Join(join) if form == Form::Exists && refers_out(node) => {
                for side in [&join.left, &join.right] {
                    let limited = side.exists(|part| Ok(matches!(part, LogicalPlan::Limit(_))))?;
                    if limited {
                        return Err(refused(format!("{within} cannot join what has a LIMIT; use WITH")));
                    }
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
