//! The text of a query, checked before and after the parser: short, shallow, one statement that reads.
//!
//! sqlparser takes up to 21 KiB of stack a level, and what follows (planner, optimizer, expressions) is recursive too; some of
//! what the parser tries is tried again when it fails, which nests. So nesting is bounded here.

use std::{any::TypeId, collections::HashMap, ops::ControlFlow};

use datafusion::{
    common::TableReference,
    sql::{
        parser::{DFParserBuilder, Statement},
        resolve::resolve_table_references,
        sqlparser::{
            ast::{
                Expr, ObjectName, Query, SetExpr, Statement as SqlStatement, TableFactor, Value,
                ValueWithSpan, Visit, Visitor,
            },
            dialect::Dialect,
            keywords::Keyword,
            tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError},
        },
    },
};

use crate::sql::{SqlError, engine::errors};

/// Bytes of a query's text.
const MAX_TEXT: usize = 64 << 10;
const MAX_TOKENS: usize = 10_000;
/// Nesting of parentheses and brackets …
const MAX_PARENTHESES: usize = 50;
/// … of CASE …
const MAX_CASES: usize = 50;
/// … and of expressions: a chain of operators nests as well.
const MAX_EXPRESSION: usize = 250;
/// Nesting of queries within expressions: the optimizer goes into each of them anew at every level.
const MAX_SUBQUERIES: usize = 5;
/// Queries within the query, and set operations.
const MAX_QUERIES: usize = 100;
/// Tables, those of a WITH as often as it is named: each time it is planned.
const MAX_TABLES: usize = 64;
/// Bytes of a text in quotes: it may be repeated in each row.
const MAX_LITERAL: usize = 4096;

/// SQL's core. Larger dialects try more than one reading of a call's arguments, and that at each level of nesting.
#[derive(Debug)]
struct Selects;

impl Dialect for Selects {
    fn dialect(&self) -> TypeId {
        TypeId::of::<Self>()
    }

    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || c == '_'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_dollar_placeholder(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }
}

/// A checked statement.
pub(super) struct Parsed {
    pub statement: Statement,
    /// The names of the tables that it reads, each once.
    pub tables: Vec<String>,
    /// A function of it that asks for the time.
    pub clock: Option<&'static str>,
}

impl Parsed {
    /// Refuses a query that asks for the time where its answer has to be the same each time.
    pub fn check_clock(&self) -> Result<(), SqlError> {
        self.clock.map_or(Ok(()), |name| Err(SqlError::query(unsteady(name))))
    }
}

pub(super) fn parse(text: &str) -> Result<Parsed, SqlError> {
    if text.len() > MAX_TEXT {
        return Err(SqlError::query(format!("it has {} bytes; at most {MAX_TEXT} are allowed", text.len())));
    }
    let dialect = Selects;
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        let TokenizerError { message, location } = error;
        SqlError::Query { reason: message, at: Some((location.line, location.column)) }
    })?;
    check_tokens(&tokens)?;
    let parser = DFParserBuilder::new(tokens).with_dialect(&dialect);
    let mut parser = parser.with_recursion_limit(MAX_EXPRESSION).build().map_err(errors::planning)?;
    let mut statements = parser.parse_statements().map_err(errors::planning)?;
    let statement = match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => statement,
        (None, _) => return Err(SqlError::query("it is empty; write a SELECT")),
        (Some(_), more) => {
            return Err(SqlError::query(format!("it has {} statements; send one at a time", more + 1)));
        }
    };
    let clock = check_statement(&statement)?;
    let (tables, _) = resolve_table_references(&statement, true).map_err(errors::planning)?;
    let tables = tables.into_iter().map(table_name).collect::<Result<_, _>>()?;
    Ok(Parsed { statement, tables, clock })
}

fn table_name(reference: TableReference) -> Result<String, SqlError> {
    match reference {
        TableReference::Bare { table } => Ok(table.to_string()),
        other => Err(SqlError::query(format!(
            "unknown table `{other}`; tables have one name each, without a schema: a feature view's or a source's"
        ))),
    }
}

fn check_tokens(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let (mut parentheses, mut cases, mut count) = (0_usize, 0_usize, 0_usize);
    let mut significant =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    while let Some(token) = significant.next() {
        let refuse = |reason: String| {
            let at = Some((token.span.start.line, token.span.start.column));
            Err(SqlError::Query { reason, at })
        };
        count += 1;
        if count > MAX_TOKENS {
            return refuse(format!("it has more than {MAX_TOKENS} words and signs"));
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => parentheses += 1,
            Token::RParen | Token::RBracket | Token::RBrace => parentheses = parentheses.saturating_sub(1),
            Token::Word(word) => match word.keyword {
                Keyword::CASE => cases += 1,
                Keyword::END => cases = cases.saturating_sub(1),
                // sqlparser reads what follows twice, and that at each level of nesting.
                Keyword::INTERVAL
                    if !matches!(
                        significant.peek().map(|t| &t.token),
                        Some(Token::SingleQuotedString(_))
                    ) =>
                {
                    return refuse("INTERVAL takes text in quotes, as in INTERVAL '90 minutes'".to_owned());
                }
                Keyword::POSITION if matches!(significant.peek().map(|t| &t.token), Some(Token::LParen)) => {
                    return refuse("write strpos(text, part) for POSITION".to_owned());
                }
                _ => {}
            },
            Token::SingleQuotedString(text) if text.len() > MAX_LITERAL => {
                return refuse(format!("a text in quotes has more than {MAX_LITERAL} bytes"));
            }
            _ => {}
        }
        if parentheses > MAX_PARENTHESES {
            return refuse(format!(
                "it is nested deeper than {MAX_PARENTHESES} levels; use WITH for parts of it"
            ));
        }
        if cases > MAX_CASES {
            return refuse(format!("CASE is nested deeper than {MAX_CASES} levels"));
        }
    }
    Ok(())
}

const READ_ONLY: &str =
    "only a SELECT (also WITH, VALUES or EXPLAIN) can be sent here: this reads, and changes nothing";

/// Gives the function, if there is one, by which the statement asks for the time.
fn check_statement(statement: &Statement) -> Result<Option<&'static str>, SqlError> {
    match statement {
        Statement::Explain(explain) => match explain.statement.as_ref() {
            Statement::Explain(_) => Err(SqlError::query("EXPLAIN of an EXPLAIN")),
            explained => check_statement(explained),
        },
        Statement::Statement(statement) => match statement.as_ref() {
            SqlStatement::Query(query) => {
                let mut limits = Limits::default();
                match query.visit(&mut limits) {
                    ControlFlow::Continue(()) => Ok(limits.clock),
                    ControlFlow::Break(reason) => Err(SqlError::query(reason)),
                }
            }
            _ => Err(SqlError::query(READ_ONLY)),
        },
        _ => Err(SqlError::query(READ_ONLY)),
    }
}

/// Counts what a tree is made of.
#[derive(Default)]
struct Limits {
    depth: usize,
    /// Depth of queries within expressions.
    subqueries: usize,
    queries: usize,
    /// Tables of each query that is open.
    open: Vec<usize>,
    /// The name that a query has in a WITH, by its address.
    names: HashMap<usize, String>,
    /// Tables of each query that has such a name.
    named: HashMap<String, usize>,
    /// A function that asks for the time.
    clock: Option<&'static str>,
}

fn unsteady(name: &str) -> String {
    format!(
        "`{name}` is not deterministic, and these rows have to be the same whenever they are computed; use $as_of: in a batch view the \
         time of the run, elsewhere a parameter, as in {{\"parameters\": {{\"as_of\": \"2024-05-01T00:00:00Z\"}}}}"
    )
}

fn is_subquery(expression: &Expr) -> bool {
    matches!(expression, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. })
}

/// Functions that give the time of the query.
fn clock(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 5] = ["now", "current_timestamp", "current_date", "current_time", "today"];
    NAMES.into_iter().find(|known| name.eq_ignore_ascii_case(known))
}

/// Functions that give something else each time, of DataFusion and of other databases.
fn not_deterministic(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 11] = [
        "localtimestamp",
        "localtime",
        "getdate",
        "sysdate",
        "random",
        "rand",
        "uuid",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "newid",
    ];
    NAMES.into_iter().find(|known| name.eq_ignore_ascii_case(known))
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl Limits {
    /// Counts tables of the query that is open.
    fn tables(&mut self, more: usize) -> ControlFlow<String> {
        let Some(tables) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *tables += more;
        match *tables > MAX_TABLES {
            true => ControlFlow::Break(format!(
                "it reads more than {MAX_TABLES} tables, counting those of a WITH each time"
            )),
            false => ControlFlow::Continue(()),
        }
    }

    /// Set operations are a chain that nests.
    fn body(&mut self, mut body: &SetExpr) -> ControlFlow<String> {
        loop {
            match body {
                SetExpr::SetOperation { left, .. } => {
                    self.queries += 1;
                    if self.queries > MAX_QUERIES {
                        return ControlFlow::Break(format!(
                            "it has more than {MAX_QUERIES} queries within it"
                        ));
                    }
                    body = left;
                }
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                    return ControlFlow::Break(READ_ONLY.to_owned());
                }
                _ => return ControlFlow::Continue(()),
            }
        }
    }
}

impl Visitor for Limits {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        self.queries += 1;
        if self.queries > MAX_QUERIES {
            return ControlFlow::Break(format!("it has more than {MAX_QUERIES} queries within it"));
        }
        if let Some(with) = &query.with {
            if with.recursive {
                return ControlFlow::Break("WITH RECURSIVE is not supported".to_owned());
            }
            for part in &with.cte_tables {
                self.names.insert(address(&part.query), part.alias.name.value.to_lowercase());
            }
        }
        self.open.push(0);
        self.body(&query.body)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let tables = self.open.pop().unwrap_or(0);
        match self.names.remove(&address(query)) {
            Some(name) => {
                self.named.insert(name, tables);
                ControlFlow::Continue(())
            }
            None => self.tables(tables),
        }
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<String> {
        let tables = self.named.get(&name.to_string().to_lowercase()).copied();
        self.tables(tables.unwrap_or(1))
    }

    fn pre_visit_select(&mut self, select: &datafusion::sql::sqlparser::ast::Select) -> ControlFlow<String> {
        match &select.into {
            Some(_) => ControlFlow::Break(READ_ONLY.to_owned()),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        match table {
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. } => ControlFlow::Continue(()),
            _ => ControlFlow::Break(
                "a table is a feature view or a source, by its name; there are no table functions, files or URLs"
                    .to_owned(),
            ),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        if let Expr::Function(function) = expression {
            let name = function.name.to_string();
            self.clock = self.clock.or(clock(&name));
            if let Some(name) = not_deterministic(&name) {
                return ControlFlow::Break(unsteady(name));
            }
        }
        self.subqueries += usize::from(is_subquery(expression));
        if self.subqueries > MAX_SUBQUERIES {
            return ControlFlow::Break(format!(
                "queries within conditions are nested deeper than {MAX_SUBQUERIES} levels; use joins, or WITH"
            ));
        }
        self.depth += 1;
        if self.depth > MAX_EXPRESSION {
            return ControlFlow::Break(format!(
                "an expression is nested deeper than {MAX_EXPRESSION} levels, a chain of operators included; use IN for a \
                 long OR"
            ));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        self.subqueries -= usize::from(is_subquery(expression));
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<String> {
        match &value.value {
            Value::Placeholder(name) if !name.starts_with('$') => {
                ControlFlow::Break(format!("a parameter is written $name, not `{name}`"))
            }
            // Dollar quotes and the like are text as well.
            value => match value.clone().into_string() {
                Some(text) if text.len() > MAX_LITERAL => {
                    ControlFlow::Break(format!("a text in quotes has more than {MAX_LITERAL} bytes"))
                }
                _ => ControlFlow::Continue(()),
            },
        }
    }
}
