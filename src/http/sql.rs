//! `POST /v1/sql`: a query in, its rows out.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::{
    doors::{Caller, DoorError},
    format::Format,
    http::{
        App, Problem, ProblemBody,
        aside::aside,
        extract::{Body, parse_json},
        media,
    },
    sql::{Parameter, SqlAnswer, SqlError, SqlQuery},
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlBody {
    /// One SELECT (also WITH, VALUES, EXPLAIN).
    pub query: String,
    /// A value for each `$name` in it: text, a number, true, false or null.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: BTreeMap<String, Json>,
}

const FORMATS: [Format; 5] =
    [Format::Json, Format::ArrowStream, Format::Parquet, Format::Csv, Format::NdJson];
/// Rows of the answer.
const ROWS: HeaderName = HeaderName::from_static("larder-rows");

#[utoipa::path(post, path = "/v1/sql", tag = "serving",
    extensions(("x-action" = json!("query")), ("x-timeout" = json!("long"))), request_body = SqlBody,
    responses((status = 200, body = Object, description = "`{\"rows\":[{…}]}`, or as `Accept` says: Arrow, Parquet, CSV, NDJSON"),
        (status = 400, body = ProblemBody, description = "the query failed: a value in it is wrong"),
        (status = 422, body = ProblemBody, description = "the query is wrong: what and where, in `errors`"),
        (status = 408, body = ProblemBody, description = "limits.sql_timeout"),
        (status = 413, body = ProblemBody, description = "limits.sql_memory, limits.sql_rows, limits.sql_answer_bytes"),
        (status = 429, body = ProblemBody, description = "limits.sql_concurrency"),
        (status = 501, body = ProblemBody, description = "built without `sql`"),
        (status = 503, body = ProblemBody, description = "a file that it needs is damaged")))]
pub async fn query(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let given: SqlBody =
        aside(&app, body, |app, body| parse_json(body, app.config.limits.json_depth)).await?;
    let format = media::accepted(&headers, &FORMATS)?;
    let mut parameters = BTreeMap::new();
    for (name, value) in &given.parameters {
        let Some(value) = Parameter::from_json(value) else {
            let detail = format!("the parameter `{name}` must be text, a number, true, false or null");
            return Err(Problem::bad_request(detail));
        };
        parameters.insert(name.trim_start_matches('$').to_owned(), value);
    }
    let answer = answered(&app, &caller, SqlQuery { text: given.query, parameters }, format).await?;
    let rows = answer.rows.to_string();
    let headers = [(header::CONTENT_TYPE, format.media_type().to_owned()), (ROWS, rows)];
    Ok((headers, answer.bytes).into_response())
}

/// The answer to a query, or the problem with it.
pub(super) async fn answered(
    app: &App,
    caller: &Caller,
    query: SqlQuery,
    format: Format,
) -> Result<SqlAnswer, Problem> {
    app.doors.query(caller, query, format).await.map_err(refusal)
}

/// Two refusals have statuses of their own; everything else follows from its code.
fn refusal(error: DoorError) -> Problem {
    match error {
        DoorError::Sql(error @ SqlError::NotBuilt) => {
            Problem::new(StatusCode::NOT_IMPLEMENTED, error.to_string())
        }
        DoorError::Sql(error @ SqlError::Timeout { .. }) => Problem::timeout(error.to_string()),
        other => other.into(),
    }
}
