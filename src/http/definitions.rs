//! The registry over HTTP: apply, list, look up, search, lineage.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    format::{json_weight, utf8_text},
    http::{
        App, Problem, ProblemBody,
        aside::aside,
        extract::{Body, weigh},
        media, sets,
    },
    registry::{
        ApplyMode, ApplyOutcome, DefinitionFile, Definitions, FeatureHit, ParseObjectKindError,
        Query as SearchQuery, RegistryError, actor::ApplyDefinitions, describe_catalog, describe_entity,
        describe_feature_service, describe_feature_view, describe_source, lineage, parse_json_beside,
        parse_toml_beside, search,
    },
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyQuery {
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Retire what these definitions lack of what their projects had; otherwise that is refused.
    #[serde(default)]
    pub allow_retire: bool,
}

#[utoipa::path(post, path = "/v1/registry/apply", tag = "registry",
    params(ApplyQuery, ("If-Match" = Option<String>, Header, description = "the registry version expected")),
    request_body(content = String, content_type = "application/toml",
        description = "all definitions, as TOML; or as JSON, of the same structure or `{\"files\":{\"name\":\"TOML\"}}`"),
    responses((status = 200, body = Object, description = "version, created, updated, unchanged, retired"),
        (status = 409, body = ProblemBody,
            description = "would break what is in use: see `breaking`; or retire objects without `allow_retire`: see `retired`"),
        (status = 412, body = ProblemBody, description = "the registry is at another version"),
        (status = 422, body = ProblemBody, description = "errors with file and line")))]
pub async fn apply(
    State(app): State<Arc<App>>,
    Query(query): Query<ApplyQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<ApplyOutcome>, Problem> {
    let expected_version = match media::text(&headers, header::IF_MATCH.as_str())? {
        None => None,
        Some(text) => match text.trim_matches('"').parse() {
            Ok(version) => Some(version),
            Err(_) => {
                return Err(Problem::bad_request(format!("If-Match: `{text}` is not a registry version")));
            }
        },
    };
    let media = media::text(&headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let mode = ApplyMode { expected_version, dry_run: query.dry_run, allow_retire: query.allow_retire };
    if !query.dry_run {
        // All shards and the registry are in one store.
        app.shards.status(0).check()?;
    }
    let mut outcome = Err(RegistryError::Moved);
    for _ in 0..TRIES {
        let media = media.clone();
        let definitions = aside(&app, body.clone(), move |app, body| read(app, &media, body)).await?;
        let Some(registry) = app.registry.get() else {
            return Err(Problem::unavailable("the registry is restarting"));
        };
        outcome = registry
            .send(ApplyDefinitions { definitions, mode })
            .await
            .map_err(|_| Problem::unavailable("the registry stopped while it had these definitions"))?;
        if !matches!(outcome, Err(RegistryError::Moved)) {
            break;
        }
    }
    if outcome.is_ok() && !query.dry_run {
        // Window states of new aggregates exist before the answer, so that what is sent then is counted. Where it fails
        // now the shards try again by themselves.
        if let Err(error) = app.shards.reconcile().await {
            tracing::warn!(%error, "window states are not there yet");
        }
        app.backfills.wake();
    }
    outcome.map(Json).map_err(|error| match error {
        RegistryError::Stale { expected, actual } => {
            Problem::precondition_failed(&expected.to_string(), actual)
        }
        RegistryError::Breaking(outcome) => {
            let breaking =
                serde_json::to_value(&outcome.changes.breaking).expect("breaking changes derive Serialize");
            Problem::from_error(&RegistryError::Breaking(outcome)).with("breaking", breaking)
        }
        RegistryError::Retires(outcome) => {
            let retired = serde_json::to_value(&outcome.changes.retired).unwrap_or_default();
            Problem::from_error(&RegistryError::Retires(outcome)).with("retired", retired)
        }
        other => other.into(),
    })
}

/// Definitions are read again where the registry changed meanwhile: they stand beside what other projects have.
const TRIES: usize = 4;

fn read(app: &App, media: &str, body: &[u8]) -> Result<Definitions, Problem> {
    let catalog = app.catalog.current();
    let text = utf8_text(body).map_err(|e| Problem::bad_request(format!("the definitions: {e}")))?;
    match media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/toml" => {
            let file = DefinitionFile { name: "body".to_owned(), text: text.to_owned() };
            Ok(parse_toml_beside(&[file], &catalog)?)
        }
        "application/json" => {
            weigh(json_weight(text))?;
            Ok(parse_json_beside("body", text, &catalog)?)
        }
        other => Err(Problem::unsupported_media_type(other, &["application/toml", "application/json"])),
    }
}

#[utoipa::path(get, path = "/v1/registry", tag = "registry",
    responses((status = 200, body = Object, description = "the whole catalog, with its version")))]
pub async fn catalog(State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    Json(describe_catalog(&app.catalog.current()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// The newest, where not given.
    #[serde(default)]
    pub version: Option<u32>,
}

/// The two routes of one kind of object: all of them, and one by name.
macro_rules! objects {
    ($all:ident, $one:ident, $path:literal, $item:literal, $field:ident, $describe:ident) => {
        #[utoipa::path(get, path = $path, tag = "registry", responses((status = 200, body = Vec<Object>)))]
        pub async fn $all(State(app): State<Arc<App>>) -> Json<Vec<serde_json::Value>> {
            let catalog = app.catalog.current();
            Json(catalog.$field.values().map(|object| $describe(&catalog, object)).collect())
        }

        #[utoipa::path(get, path = $item, tag = "registry", params(("name" = String, Path), VersionQuery), responses((status = 200, body = Object), (status = 404, body = ProblemBody)))]
        pub async fn $one(
            State(app): State<Arc<App>>,
            Path(name): Path<String>,
            Query(query): Query<VersionQuery>,
        ) -> Result<Json<serde_json::Value>, Problem> {
            let catalog = app.catalog.current();
            let object = catalog.$one(&name, query.version)?;
            Ok(Json($describe(&catalog, object)))
        }
    };
}

objects!(entities, entity, "/v1/entities", "/v1/entities/{name}", entities, describe_entity);
objects!(sources, source, "/v1/sources", "/v1/sources/{name}", sources, describe_source);
objects!(
    feature_views,
    feature_view,
    "/v1/feature-views",
    "/v1/feature-views/{name}",
    feature_views,
    describe_feature_view
);
objects!(
    feature_services,
    feature_service,
    "/v1/feature-services",
    "/v1/feature-services/{name}",
    feature_services,
    describe_feature_service
);

#[utoipa::path(get, path = "/v1/features", tag = "registry",
    params(("query" = Option<String>, Query), ("tag" = Option<String>, Query, description = "`key` or `key=value`"),
        ("owner" = Option<String>, Query), ("entity" = Option<String>, Query),
        ("status" = Option<String>, Query, description = "experimental, active or deprecated"),
        ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Vec<Object>, description = "features, the best match first")))]
pub async fn features(
    State(app): State<Arc<App>>,
    Query(query): Query<SearchQuery>,
) -> Json<Vec<FeatureHit>> {
    Json(search(&app.catalog.current(), &query))
}

#[utoipa::path(get, path = "/v1/lineage/{kind}/{name}", tag = "registry",
    params(("kind" = String, Path,
            description = "entity, source, feature_view, feature_service or training_set (its name or `name@version`)"),
        ("name" = String, Path)),
    responses((status = 200, body = Object, description = "upstream, downstream, edges"),
        (status = 404, body = ProblemBody)))]
pub async fn object_lineage(
    State(app): State<Arc<App>>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    if kind.replace('-', "_").trim_end_matches('s') == "training_set" {
        return sets::lineage(app, name).await;
    }
    let parsed = kind.parse().map_err(|e: ParseObjectKindError| Problem::not_found(e.to_string()))?;
    lineage(&app.catalog.current(), parsed, &name)
        .map(|found| Json(found).into_response())
        .ok_or_else(|| Problem::not_found(format!("there is no {kind} `{name}`")))
}
