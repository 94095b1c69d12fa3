//! SQL over history.

use std::time::Instant;

use crate::{
    doors::{Action, Caller, DoorError, Doors, Event, Resource},
    format::Format,
    sql::{SqlAnswer, SqlQuery},
};

impl Doors {
    /// The rows of a query in `format`. It ends with its future.
    pub async fn query(
        &self,
        caller: &Caller,
        query: SqlQuery,
        format: Format,
    ) -> Result<SqlAnswer, DoorError> {
        self.authorise(caller, Action::Query, Resource::Node)?;
        let started = Instant::now();
        let answer = self.parts.sql.query(query, format).await;
        self.observers.tell(caller, &Event::Query { succeeded: answer.is_ok(), took: started.elapsed() });
        Ok(answer?)
    }
}
