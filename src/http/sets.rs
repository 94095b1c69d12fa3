//! Named training sets: which there are, what they were made of.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::IntoParams;

use crate::{
    doors::{Action, Caller, Resource},
    http::{App, Problem, ProblemBody},
    serve::sets::{SetRef, set_lineage},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// The newest where not given.
    #[serde(default)]
    pub version: Option<u32>,
}

pub(super) async fn lineage(app: &App, caller: &Caller, name: String) -> Result<Response, Problem> {
    let catalog = app.doors.catalog(caller)?;
    let set: SetRef = name.parse()?;
    let manifest = app.doors.manifest(caller, set).await?;
    Ok(Json(set_lineage(&catalog, &manifest)).into_response())
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    versions: Vec<u32>,
}

#[utoipa::path(get, path = "/v1/training-sets", tag = "serving",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("long"))),
    responses((status = 200, body = Object, description = "`training_sets`: names with their versions")))]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    let listed = app.doors.with_sets(&caller, Action::ReadJob, Resource::Node, |sets| {
        let folder = sets.folder();
        let mut listed = Vec::new();
        for name in folder.names()? {
            let versions = folder.versions(&name)?;
            if !versions.is_empty() {
                listed.push(Listed { name, versions });
            }
        }
        Ok(listed)
    });
    let listed = listed.await?;
    Ok(Json(json!({ "training_sets": listed })).into_response())
}

#[utoipa::path(get, path = "/v1/training-sets/{name}", tag = "serving",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("read"))), params(("name" = String, Path), VersionQuery),
    responses((status = 200, body = Object, description = "the manifest: definitions' versions, tables with the number of \
            the first row that was not read, spine, hash of the data"),
        (status = 404, body = ProblemBody)))]
pub async fn manifest(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<Response, Problem> {
    let set = SetRef { name, version: query.version };
    Ok(Json(app.doors.manifest(&caller, set).await?).into_response())
}

#[utoipa::path(get, path = "/v1/training-sets/{name}/versions", tag = "serving",
    extensions(("x-action" = json!("read_job")), ("x-timeout" = json!("read"))), params(("name" = String, Path)),
    responses((status = 200, body = Object, description = "`versions`, oldest first: number, creation, rows, hash"),
        (status = 404, body = ProblemBody)))]
pub async fn versions(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let manifests = app.doors.manifests(&caller, name).await?;
    let versions = manifests.into_iter().map(|manifest| {
        json!({
            "version": manifest.version,
            "created_at": manifest.created_at,
            "known_at": manifest.order.known_at,
            "rows": manifest.rows,
            "bytes": manifest.data.bytes,
            "sha256": manifest.data.sha256,
        })
    });
    let versions: Vec<_> = versions.collect();
    Ok(Json(json!({ "versions": versions })).into_response())
}

#[utoipa::path(delete, path = "/v1/training-sets/{name}/{version}", tag = "serving",
    extensions(("x-action" = json!("delete")), ("x-timeout" = json!("read"))),
    params(("name" = String, Path), ("version" = u32, Path)),
    responses((status = 204, description = "deleted; its number is not given again"), (status = 404, body = ProblemBody)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((name, version)): Path<(String, u32)>,
) -> Result<Response, Problem> {
    app.doors.delete_set(&caller, name, version).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
