//! The registry over HTTP: apply, list, look up, search, lineage.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    http::{App, Problem, media},
    registry::{
        ApplyOutcome, DefinitionFile, Definitions, FeatureHit, Lineage, SearchQuery, actor::ApplyDefinitions,
        describe, lineage, search,
    },
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyQuery {
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

#[utoipa::path(post, path = "/v1/registry/apply", tag = "registry",
    params(ApplyQuery, ("If-Match" = Option<String>, Header, description = "the registry version expected")),
    request_body(content = String, content_type = "application/toml",
        description = "all definitions, as TOML; or as JSON, of the same structure or `{\"files\":{\"name\":\"TOML\"}}`"),
    responses((status = 200, body = Object, description = "version, created, updated, unchanged, retired"),
        (status = 409, body = Problem, description = "would break what is in use: see `breaking`"),
        (status = 412, body = Problem, description = "the registry is at another version"),
        (status = 422, body = Problem, description = "errors with file and line")))]
pub async fn apply(
    State(app): State<Arc<App>>,
    Query(query): Query<ApplyQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ApplyOutcome>, Problem> {
    let expected_version = match media::text(&headers, header::IF_MATCH.as_str())? {
        None => None,
        Some(text) => match text.trim_matches('"').parse() {
            Ok(version) => Some(version),
            Err(_) => return Err(Problem::bad_request(format!("If-Match: `{text}` is not a registry version"))),
        },
    };
    let definitions = parse(&headers, &body)?;
    let Some(registry) = app.registry.get() else { return Err(Problem::unavailable("the registry is restarting")) };
    let outcome = registry
        .send(ApplyDefinitions { definitions, expected_version, dry_run: query.dry_run })
        .await
        .map_err(|_| Problem::unavailable("the registry stopped while it had these definitions"))??;
    Ok(Json(outcome))
}

fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Definitions, Problem> {
    let media = media::text(headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let text = std::str::from_utf8(body)
        .map_err(|e| Problem::bad_request(format!("the definitions are not UTF-8 (byte {})", e.valid_up_to())))?;
    match media.split(';').next().unwrap_or_default().trim() {
        "application/toml" | "text/plain" => {
            Ok(Definitions::parse_toml(&[DefinitionFile { name: "body".to_owned(), text: text.to_owned() }])?)
        }
        "application/json" => Ok(Definitions::parse_json(text)?),
        other => Err(Problem::unsupported_media_type(format!(
            "`{other}` is not understood; send application/toml or application/json"
        ))),
    }
}

#[utoipa::path(get, path = "/v1/registry", tag = "registry",
    responses((status = 200, body = Object, description = "the whole catalog, with its version")))]
pub async fn catalog(State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    Json(describe::catalog(&app.catalog.current()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// The newest, where not given.
    #[serde(default)]
    pub version: Option<u32>,
}

/// The four kinds of objects, by the path segment that names them.
fn kind(segment: &str) -> Result<describe::Kind, Problem> {
    describe::Kind::from_path(segment).ok_or_else(|| Problem::not_found(format!("there is no `/v1/{segment}`")))
}

macro_rules! objects {
    ($list:ident, $one:ident, $path:literal, $item:literal, $segment:literal) => {
        #[utoipa::path(get, path = $path, tag = "registry", responses((status = 200, body = Vec<Object>)))]
        pub async fn $list(State(app): State<Arc<App>>) -> Result<Json<serde_json::Value>, Problem> {
            Ok(Json(describe::list(&app.catalog.current(), kind($segment)?)))
        }

        #[utoipa::path(get, path = $item, tag = "registry", params(("name" = String, Path), VersionQuery),
            responses((status = 200, body = Object), (status = 404, body = Problem)))]
        pub async fn $one(
            State(app): State<Arc<App>>,
            Path(name): Path<String>,
            Query(query): Query<VersionQuery>,
        ) -> Result<Json<serde_json::Value>, Problem> {
            describe::one(&app.catalog.current(), kind($segment)?, &name, query.version)
                .map(Json)
                .ok_or_else(|| Problem::not_found(no_such($segment, &name, query.version)))
        }
    };
}

objects!(entities, entity, "/v1/entities", "/v1/entities/{name}", "entities");
objects!(sources, source, "/v1/sources", "/v1/sources/{name}", "sources");
objects!(feature_views, feature_view, "/v1/feature-views", "/v1/feature-views/{name}", "feature-views");
objects!(
    feature_services,
    feature_service,
    "/v1/feature-services",
    "/v1/feature-services/{name}",
    "feature-services"
);

fn no_such(segment: &str, name: &str, version: Option<u32>) -> String {
    match version {
        Some(version) => format!("there is no `{name}` with version {version} among the {segment}"),
        None => format!("there is no `{name}` among the {segment}"),
    }
}

#[utoipa::path(get, path = "/v1/features", tag = "registry",
    params(("query" = Option<String>, Query), ("tag" = Option<String>, Query, description = "`key` or `key=value`"),
        ("owner" = Option<String>, Query), ("entity" = Option<String>, Query),
        ("status" = Option<String>, Query, description = "experimental, active or deprecated"),
        ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Vec<Object>, description = "features, the best match first")))]
pub async fn features(State(app): State<Arc<App>>, Query(query): Query<SearchQuery>) -> Json<Vec<FeatureHit>> {
    Json(search(&app.catalog.current(), &query))
}

#[utoipa::path(get, path = "/v1/lineage/{kind}/{name}", tag = "registry",
    params(("kind" = String, Path, description = "entity, source, feature_view or feature_service"),
        ("name" = String, Path)),
    responses((status = 200, body = Object, description = "upstream, downstream, edges"),
        (status = 404, body = Problem)))]
pub async fn object_lineage(
    State(app): State<Arc<App>>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<Lineage>, Problem> {
    lineage(&app.catalog.current(), &kind, &name)
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no {kind} `{name}`")))
}
