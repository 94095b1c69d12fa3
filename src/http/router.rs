//! Every route, in one place; `/openapi.json` is made from the same list.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use tokio::{net::TcpListener, sync::watch};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    App, Seats,
    accepts::Accepts,
    admin, backfill,
    declared::Declared,
    definitions, docs,
    edge::{self, EdgeOptions},
    explain, health, ingestion, jobs, materialize, online, openapi, quarantine, server, set_data, set_jobs,
    sets, sql, training,
};

/// Serves the node until `stopped` becomes true, then lets requests in flight finish.
pub async fn serve(listener: TcpListener, seats: Seats, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let (server, limits, budget) = (&app.config.server, &app.config.limits, app.budget.clone());
    let options = server::ServerOptions::new(server, limits, budget.clone());
    let (router, api) = router(Arc::clone(&app));
    let (accepts, declared) = (Accepts::of(&api), Declared::of(&api));
    let router = edge::wrap(router, EdgeOptions::new(server, limits, budget, accepts, declared));
    let stop = async move {
        // An error means that the sender is gone: a reason to stop, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let drained = server::serve(listener, router, seats, options, stop).await;
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "closed with a request in flight");
    }
}

/// All routes, with what `/openapi.json` says of them.
fn router(app: Arc<App>) -> (Router, Arc<OpenApi>) {
    let (router, mut api) = OpenApiRouter::with_openapi(OpenApi::default())
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::prometheus))
        .routes(routes!(health::info))
        .routes(routes!(definitions::apply))
        .routes(routes!(definitions::catalog))
        .routes(routes!(definitions::entities))
        .routes(routes!(definitions::entity))
        .routes(routes!(definitions::sources))
        .routes(routes!(definitions::source))
        .routes(routes!(definitions::feature_views))
        .routes(routes!(definitions::feature_view))
        .routes(routes!(definitions::feature_services))
        .routes(routes!(definitions::feature_service))
        .routes(routes!(definitions::features))
        .routes(routes!(definitions::object_lineage))
        .routes(routes!(ingestion::rows))
        .routes(routes!(ingestion::events))
        .routes(routes!(ingestion::delete))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::retry))
        .routes(routes!(online::online_features))
        .routes(routes!(sql::query))
        .routes(routes!(materialize::start, materialize::runs))
        .routes(routes!(explain::explained))
        .routes(routes!(training::training_sets, sets::list))
        .routes(routes!(set_jobs::start, set_jobs::list))
        .routes(routes!(set_jobs::get, set_jobs::cancel))
        .routes(routes!(set_data::of_job))
        .routes(routes!(sets::manifest))
        .routes(routes!(sets::versions))
        .routes(routes!(sets::delete))
        .routes(routes!(set_jobs::verify))
        .routes(routes!(set_data::of_set))
        .routes(routes!(backfill::start, backfill::progress))
        .routes(routes!(jobs::list))
        .routes(routes!(admin::backup))
        .routes(routes!(admin::backup_job))
        .routes(routes!(admin::scrub))
        .routes(routes!(docs::contents))
        .routes(routes!(docs::page))
        .split_for_parts();
    let info = InfoBuilder::new()
        .title("larder")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A machine-learning feature store in one binary. Errors are RFC 9457 problems."))
        .build();
    api = OpenApiBuilder::from(api).info(info).build();
    openapi::complete(&mut api);
    let api = Arc::new(api);
    let document = Arc::clone(&api);
    let openapi = get(move || {
        let document = Arc::clone(&document);
        async move { Json(document.as_ref().clone()) }
    });
    (router.route("/openapi.json", openapi).with_state(app), api)
}
