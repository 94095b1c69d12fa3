//! Queries of users: one at a time a thread, a few at the same time, ended with their client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use tokio::sync::oneshot;

use crate::{
    config::Size,
    format::{Format, FormatError, TableWriter},
    model::Duration,
    sql::{
        Inputs, SqlAnswer, SqlError, SqlLimits, SqlQuery,
        engine::Engine,
        places::{Place, Places},
        query::{Control, Scope},
    },
};

/// The SQL side of a node; cheap to clone.
#[derive(Clone)]
pub struct Sql {
    pub(super) engine: Arc<Engine>,
    limits: Arc<SqlLimits>,
    places: Places,
}

/// Of a thread that plans and drives a query: parser, planner and optimizer are recursive.
const STACK: usize = 128 << 20;

/// Tells a query to end when nobody waits for it any more.
struct EndWith(Arc<Control>);

impl Drop for EndWith {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Sql {
    pub fn new(inputs: Inputs, limits: SqlLimits) -> Result<Sql, SqlError> {
        let places = Places::new(limits.concurrency, limits.timeout);
        Ok(Sql { engine: Arc::new(Engine::new(inputs, &limits)?), limits: Arc::new(limits), places })
    }

    /// The answer as a whole. Dropping the future ends the query.
    pub async fn query(&self, query: SqlQuery, format: Format) -> Result<SqlAnswer, SqlError> {
        let query = Arc::new(query);
        let run = |place, has: Option<Duration>| {
            let has = has.map_or(self.limits.timeout, |has| self.limits.timeout.min(has));
            self.answer(place, Arc::clone(&query), format, has)
        };
        self.places.run(run).await
    }

    async fn answer(
        &self,
        place: Place,
        query: Arc<SqlQuery>,
        format: Format,
        within: Duration,
    ) -> Result<SqlAnswer, SqlError> {
        let control = Arc::new(Control::within(within));
        let _end = EndWith(Arc::clone(&control));
        let (reply, answer) = oneshot::channel();
        let (engine, limits, control) =
            (Arc::clone(&self.engine), Arc::clone(&self.limits), Arc::clone(&control));
        on_own_thread(move || {
            let mut writer =
                AnswerWriter { format, limits: &limits, rows: 0, out: None, full: Arc::default() };
            let result = engine
                .run(&query, &Scope::Everything, &control, &mut |schema, batch| writer.take(schema, batch));
            let result = result.and_then(|()| writer.finish());
            // Held until the work is done, however long the client has waited.
            drop(place);
            let _ = reply.send(result);
        })?;
        let late = || SqlError::Timeout { limit: within.to_string() };
        match tokio::time::timeout(within.std(), answer).await {
            Err(_) => Err(late()),
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(SqlError::Internal("a query ended with a panic".to_owned())),
        }
    }
}

/// Runs `work` in a thread with room for deep recursion.
pub(super) fn on_own_thread(work: impl FnOnce() + Send + 'static) -> Result<(), SqlError> {
    let thread = thread::Builder::new().name("larder-sql".to_owned()).stack_size(STACK);
    thread
        .spawn(work)
        .map(drop)
        .map_err(|error| SqlError::Internal(format!("no thread for a query: {error}")))
}

/// What `work` gives, from such a thread.
pub(super) fn answered_on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqlError> + Send + 'static,
) -> Result<T, SqlError> {
    let (reply, answer) = std::sync::mpsc::channel();
    on_own_thread(move || {
        let _ = reply.send(work());
    })?;
    answer.recv().unwrap_or_else(|_| Err(SqlError::Internal("a query ended with a panic".to_owned())))
}

/// Rows on their way to the client, within the limits of an answer.
struct AnswerWriter<'a> {
    format: Format,
    limits: &'a SqlLimits,
    rows: usize,
    out: Option<TableWriter<Bounded>>,
    full: Arc<AtomicBool>,
}

impl AnswerWriter<'_> {
    fn take(&mut self, schema: &SchemaRef, batch: Option<RecordBatch>) -> Result<(), SqlError> {
        let out = match &mut self.out {
            Some(out) => out,
            None => {
                let full = Arc::clone(&self.full);
                let sink = Bounded { bytes: Vec::new(), limit: self.limits.answer_bytes, full };
                let out = TableWriter::new(self.format, sink, schema.clone()).map_err(|e| self.refused(e))?;
                self.out.insert(out)
            }
        };
        let Some(batch) = batch else { return Ok(()) };
        self.rows += batch.num_rows();
        if self.rows > self.limits.rows {
            return Err(SqlError::TooLarge {
                limit: format!("{} rows", self.limits.rows),
                setting: "limits.sql_rows",
                instead: "add a LIMIT, or aggregate",
            });
        }
        out.write(&batch).map_err(|e| self.refused(e))
    }

    fn finish(mut self) -> Result<SqlAnswer, SqlError> {
        match self.out.take() {
            Some(out) => {
                let sink = out.finish().map_err(|e| self.refused(e))?;
                Ok(SqlAnswer { bytes: sink.bytes, rows: self.rows })
            }
            None => Err(SqlError::Internal("a query has no schema".to_owned())),
        }
    }

    fn refused(&self, error: FormatError) -> SqlError {
        match self.full.load(Ordering::Relaxed) {
            true => SqlError::TooLarge {
                limit: Size::from_bytes(self.limits.answer_bytes as u64).to_string(),
                setting: "limits.sql_answer_bytes",
                instead: "add a LIMIT, or ask for Parquet",
            },
            false => error.into(),
        }
    }
}

/// Bytes that may not become too many.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    /// Set when they would have.
    full: Arc<AtomicBool>,
}

impl std::io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + more.len() > self.limit {
            self.full.store(true, Ordering::Relaxed);
            return Err(std::io::Error::other("the answer is full"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
