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
    http::{App, Problem, ProblemBody},
    serve::sets::{SetError, SetRef, set_lineage},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// The newest where not given.
    #[serde(default)]
    pub version: Option<u32>,
}

/// Looks through the directory of training sets on a thread that may wait for the disk.
pub(super) async fn look<T: Send + 'static>(
    app: Arc<App>,
    work: impl FnOnce(&App) -> Result<T, SetError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    Ok(done.map_err(|_| Problem::internal("looking for a training set did not finish"))??)
}

pub(super) async fn lineage(app: Arc<App>, name: String) -> Result<Response, Problem> {
    let catalog = app.catalog.current();
    let manifest = look(app, move |app| app.sets.folder().manifest(&name.parse()?)).await?;
    Ok(Json(set_lineage(&catalog, &manifest)).into_response())
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    versions: Vec<u32>,
}

#[utoipa::path(get, path = "/v1/training-sets", tag = "serving",
    responses((status = 200, body = Object, description = "`training_sets`: names with their versions")))]
pub async fn list(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let listed = look(app, |app| {
        let folder = app.sets.folder();
        let mut listed = Vec::new();
        for name in folder.names()? {
            let versions = folder.versions(&name)?;
            if !versions.is_empty() {
                listed.push(Listed { name, versions });
            }
        }
        Ok(listed)
    })
    .await?;
    Ok(Json(json!({ "training_sets": listed })).into_response())
}

#[utoipa::path(get, path = "/v1/training-sets/{name}", tag = "serving", params(("name" = String, Path), VersionQuery),
    responses((status = 200, body = Object, description = "the manifest: definitions' versions, tables with the number of \
            the first row that was not read, spine, hash of the data"),
        (status = 404, body = ProblemBody)))]
pub async fn manifest(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<Response, Problem> {
    let set = SetRef { name, version: query.version };
    Ok(Json(look(app, move |app| app.sets.folder().manifest(&set)).await?).into_response())
}

#[utoipa::path(get, path = "/v1/training-sets/{name}/versions", tag = "serving", params(("name" = String, Path)),
    responses((status = 200, body = Object, description = "`versions`, oldest first: number, creation, rows, hash"),
        (status = 404, body = ProblemBody)))]
pub async fn versions(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Problem> {
    let versions = look(app, move |app| {
        let folder = app.sets.folder();
        if folder.versions(&name)?.is_empty() {
            return Err(SetError::Unknown(name));
        }
        let listed = folder.manifests(&name)?.into_iter();
        Ok(listed
            .map(|manifest| {
                json!({
                    "version": manifest.version,
                    "created_at": manifest.created_at,
                    "known_at": manifest.order.known_at,
                    "rows": manifest.rows,
                    "bytes": manifest.data.bytes,
                    "sha256": manifest.data.sha256,
                })
            })
            .collect::<Vec<_>>())
    })
    .await?;
    Ok(Json(json!({ "versions": versions })).into_response())
}

#[utoipa::path(delete, path = "/v1/training-sets/{name}/{version}", tag = "serving",
    params(("name" = String, Path), ("version" = u32, Path)),
    responses((status = 204, description = "deleted; its number is not given again"), (status = 404, body = ProblemBody)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path((name, version)): Path<(String, u32)>,
) -> Result<Response, Problem> {
    look(app, move |app| app.sets.folder().delete(&name, version)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
