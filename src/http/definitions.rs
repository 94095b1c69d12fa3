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
    doors::{Caller, DoorError},
    format::{json_weight, utf8_text},
    http::{
        App, Problem, ProblemBody,
        aside::aside,
        extract::{Body, weigh},
        media, sets,
    },
    registry::{
        ApplyMode, ApplyOutcome, Catalog, DefinitionFile, Definitions, FeatureHit, ParseObjectKindError,
        Query as SearchQuery, RegistryError, describe_catalog, describe_entity, describe_feature_service,
        describe_feature_view, describe_source, lineage, parse_json_beside, parse_toml_beside, search,
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
    extensions(("x-action" = json!("define")), ("x-timeout" = json!("write"))),
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
    caller: Caller,
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
    let outcome = app
        .doors
        .apply(&caller, mode, |catalog| {
            let (app, body, media) = (Arc::clone(&app), body.clone(), media.clone());
            async move { Ok(aside(&app, body, move |_, body| read(&catalog, &media, body)).await?) }
        })
        .await;
    outcome.map(Json).map_err(refusal)
}

/// Why definitions were not applied.
enum Refusal {
    Body(Problem),
    Door(DoorError),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Body(problem)
    }
}

impl From<DoorError> for Refusal {
    fn from(error: DoorError) -> Refusal {
        Refusal::Door(error)
    }
}

/// Some refusals say more than their message.
fn refusal(refusal: Refusal) -> Problem {
    let error = match refusal {
        Refusal::Body(problem) => return problem,
        Refusal::Door(DoorError::Registry(error)) => error,
        Refusal::Door(error) => return error.into(),
    };
    match error {
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
    }
}

/// Reads definitions that stand beside what other projects have in `catalog`.
fn read(catalog: &Catalog, media: &str, body: &[u8]) -> Result<Definitions, Problem> {
    let text = utf8_text(body).map_err(|e| Problem::bad_request(format!("the definitions: {e}")))?;
    match media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/toml" => {
            let file = DefinitionFile { name: "body".to_owned(), text: text.to_owned() };
            Ok(parse_toml_beside(&[file], catalog)?)
        }
        "application/json" => {
            weigh(json_weight(text))?;
            Ok(parse_json_beside("body", text, catalog)?)
        }
        other => Err(Problem::unsupported_media_type(other, &["application/toml", "application/json"])),
    }
}

#[utoipa::path(get, path = "/v1/registry", tag = "registry",
    extensions(("x-action" = json!("read_definitions")), ("x-timeout" = json!("read"))),
    responses((status = 200, body = Object, description = "the whole catalog, with its version")))]
pub async fn catalog(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<serde_json::Value>, Problem> {
    Ok(Json(describe_catalog(&*app.doors.catalog(&caller)?)))
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
        #[utoipa::path(get, path = $path, tag = "registry",
    extensions(("x-action" = json!("read_definitions")), ("x-timeout" = json!("read"))), responses((status = 200, body = Vec<Object>)))]
        pub async fn $all(
            State(app): State<Arc<App>>,
            caller: Caller,
        ) -> Result<Json<Vec<serde_json::Value>>, Problem> {
            let catalog = app.doors.catalog(&caller)?;
            Ok(Json(catalog.$field.values().map(|object| $describe(&catalog, object)).collect()))
        }

        #[utoipa::path(get, path = $item, tag = "registry",
    extensions(("x-action" = json!("read_definitions")), ("x-timeout" = json!("read"))), params(("name" = String, Path), VersionQuery), responses((status = 200, body = Object), (status = 404, body = ProblemBody)))]
        pub async fn $one(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path(name): Path<String>,
            Query(query): Query<VersionQuery>,
        ) -> Result<Json<serde_json::Value>, Problem> {
            let catalog = app.doors.catalog(&caller)?;
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
    extensions(("x-action" = json!("read_definitions")), ("x-timeout" = json!("read"))),
    params(("query" = Option<String>, Query), ("tag" = Option<String>, Query, description = "`key` or `key=value`"),
        ("owner" = Option<String>, Query), ("entity" = Option<String>, Query),
        ("status" = Option<String>, Query, description = "experimental, active or deprecated"),
        ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Vec<Object>, description = "features, the best match first")))]
pub async fn features(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Vec<FeatureHit>>, Problem> {
    Ok(Json(search(&*app.doors.catalog(&caller)?, &query)))
}

#[utoipa::path(get, path = "/v1/lineage/{kind}/{name}", tag = "registry",
    extensions(("x-action" = json!("read_definitions")), ("x-timeout" = json!("read"))),
    params(("kind" = String, Path,
            description = "entity, source, feature_view, feature_service or training_set (its name or `name@version`)"),
        ("name" = String, Path)),
    responses((status = 200, body = Object, description = "upstream, downstream, edges"),
        (status = 404, body = ProblemBody)))]
pub async fn object_lineage(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    if kind.replace('-', "_").trim_end_matches('s') == "training_set" {
        return sets::lineage(&app, &caller, name).await;
    }
    let parsed = kind.parse().map_err(|e: ParseObjectKindError| Problem::not_found(e.to_string()))?;
    lineage(&*app.doors.catalog(&caller)?, parsed, &name)
        .map(|found| Json(found).into_response())
        .ok_or_else(|| Problem::not_found(format!("there is no {kind} `{name}`")))
}
