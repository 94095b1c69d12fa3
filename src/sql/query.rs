//! What is asked, of what, within which limits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{
    clock::Clock,
    config::LimitsConfig,
    model::Duration,
    offline::{OfflineStore, Tail, Visible},
    registry::CatalogHandle,
    sql::SqlError,
};

/// Where tables come from.
#[derive(Clone)]
pub struct Inputs {
    pub catalog: CatalogHandle,
    pub offline: Arc<OfflineStore>,
    pub tail: Arc<dyn Tail>,
    /// What `now()` is.
    pub clock: Clock,
}

/// One statement, with a value for each placeholder (`$name`, or `$1` and so on) in it.
#[derive(Debug, Clone, Default)]
pub struct SqlQuery {
    pub text: String,
    /// By name, without the `$`.
    pub parameters: BTreeMap<String, Parameter>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Microseconds since the epoch.
    Time(i64),
}

impl Parameter {
    /// A JSON value that is no list and no object.
    pub fn from_json(value: &serde_json::Value) -> Option<Parameter> {
        Some(match value {
            serde_json::Value::Null => Parameter::Null,
            serde_json::Value::Bool(value) => Parameter::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Parameter::Int(value),
                None => Parameter::Float(number.as_f64()?),
            },
            serde_json::Value::String(text) => Parameter::Text(text.clone()),
            _ => return None,
        })
    }
}

/// An answer in the format that was asked for.
#[derive(Debug)]
pub struct SqlAnswer {
    pub bytes: Vec<u8>,
    pub rows: usize,
}

/// What one query may take.
#[derive(Debug, Clone)]
pub struct SqlLimits {
    /// Bytes that its operators may hold.
    pub memory: usize,
    pub timeout: Duration,
    /// Rows of an answer …
    pub rows: usize,
    /// … and its bytes.
    pub answer_bytes: usize,
    /// Queries at the same time.
    pub concurrency: usize,
}

impl From<&LimitsConfig> for SqlLimits {
    fn from(limits: &LimitsConfig) -> SqlLimits {
        SqlLimits {
            memory: limits.sql_memory.as_usize(),
            timeout: limits.sql_timeout,
            rows: limits.sql_rows,
            answer_bytes: limits.sql_answer_bytes.as_usize(),
            concurrency: limits.sql_concurrency,
        }
    }
}

/// Takes a query's rows: first its schema alone, then each batch.
pub(super) type Take<'a> = dyn FnMut(&SchemaRef, Option<RecordBatch>) -> Result<(), SqlError> + 'a;

/// Which rows of its tables a query sees.
#[derive(Debug, Clone, Default)]
pub(super) enum Scope {
    #[default]
    Everything,
    /// What is known as of a moment.
    AsOf(AsOf),
}

#[derive(Debug, Clone)]
pub(super) struct AsOf {
    /// Microseconds.
    pub moment: i64,
    /// By table: rows with `_seq` from here on are not seen, so that a repeat sees the same rows. Tables that are not
    /// named are seen whole.
    pub below_seq: BTreeMap<String, u64>,
}

impl Scope {
    /// `lag` (microseconds) of the table's source delays its rows.
    pub fn visible(&self, table: &str, lag: i64) -> Visible {
        match self {
            Scope::Everything => Visible::ALL,
            Scope::AsOf(as_of) => Visible {
                until: as_of.moment.saturating_sub(lag),
                below_seq: as_of.below_seq.get(table).copied().unwrap_or(u64::MAX),
            },
        }
    }
}

/// Whether a query goes on: asked between any two batches of any operator.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub deadline: Option<(Instant, Duration)>,
    pub stopped: AtomicBool,
}

impl Control {
    pub fn within(limit: Duration) -> Control {
        let deadline = Instant::now().checked_add(limit.std()).map(|at| (at, limit));
        Control { deadline, stopped: AtomicBool::new(false) }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub fn check(&self) -> Result<(), SqlError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(SqlError::Cancelled);
        }
        match self.deadline {
            Some((at, limit)) if Instant::now() >= at => Err(SqlError::Timeout { limit: limit.to_string() }),
            _ => Ok(()),
        }
    }
}
