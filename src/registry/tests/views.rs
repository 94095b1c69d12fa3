//! Search, lineage and descriptions.

use super::{Node, lines, service};
use crate::{
    FeatureStatus, ObjectKind, ObjectRef, Query, describe, describe_all, describe_catalog,
    describe_feature_service, describe_feature_view, describe_source, lineage, search,
};

const CATALOG: &str = r#"
[[entity]]
name = "airport"
join_keys = [{ name = "origin", type = "string" }]
[[entity]]
name = "aircraft"
join_keys = [{ name = "tail", type = "string" }]
[[source]]
name = "landings"
kind = "push"
event_id = "id"
schema = { id = "string", delay = "float64" }
[[feature_view]]
name = "air"
entities = ["airport"]
owner = "ops"
ttl = "2h"
tags = { freshness = "hourly" }
feature = [
  { name = "air_temp", type = "float64", description = "Celsius" },
  { name = "temp", type = "float64", validate = { min = -60 }, default = 1.5 },
  { name = "temp_max", type = "float64", status = "deprecated", owner = "old" },
  { name = "attempts", type = "int64" },
  { name = "wind", type = "float64", description = "not a Temperature", tags = { unit = "knots" } },
]
[[feature_view]]
name = "temp_history"
entities = ["aircraft"]
feature = [{ name = "a", type = "int64" }]
"#;

fn node() -> Node {
    let mut node = Node::new();
    let far = "{ view = \"air\", as = \"far\", features = [\"temp\"], join_keys = { origin = \"dest\" } }";
    node.apply(&lines(&[
        CATALOG,
        &service("model", &format!("\"air:wind\", {far}, \"temp_history\"")),
        &service("other", "\"air:temp\""),
    ]));
    node
}

fn found(query: &Query) -> Vec<String> {
    search(&node().catalog(), query).into_iter().map(|hit| hit.reference).collect()
}

#[test]
fn search_ranks_names_before_views_before_descriptions() {
    let query = |text: &str| Query { query: Some(text.into()), ..Query::default() };
    assert_eq!(
        found(&query("Temp")),
        ["air:temp", "air:temp_max", "air:air_temp", "air:attempts", "temp_history:a", "air:wind"]
    );
    assert_eq!(found(&query("air:wind")), ["air:wind"]);
    assert_eq!(found(&query("temp celsius")), ["air:air_temp"]);
    assert_eq!(found(&query("knots")), ["air:wind"]);
    assert_eq!(found(&query("hourly max")), ["air:temp_max"]);
    assert_eq!(found(&Query { limit: Some(2), ..query("temp") }).len(), 2);
    assert!(found(&query("nothing")).is_empty());
    assert_eq!(found(&Query::default()).len(), 6);
}

#[test]
fn search_filters() {
    let only = |query: Query| found(&query);
    assert_eq!(only(Query { tag: Some("unit".into()), ..Query::default() }), ["air:wind"]);
    assert_eq!(only(Query { tag: Some("freshness=hourly".into()), ..Query::default() }).len(), 5);
    assert!(only(Query { tag: Some("unit=miles".into()), ..Query::default() }).is_empty());
    assert_eq!(only(Query { owner: Some("old".into()), ..Query::default() }), ["air:temp_max"]);
    assert_eq!(only(Query { owner: Some("ops".into()), ..Query::default() }).len(), 4);
    assert_eq!(only(Query { entity: Some("aircraft".into()), ..Query::default() }), ["temp_history:a"]);
    assert_eq!(only(Query { status: Some(FeatureStatus::Deprecated), ..Query::default() }), ["air:temp_max"]);
}

#[test]
fn lineage_is_transitive_both_ways() {
    let catalog = node().catalog();
    let names = |objects: &[ObjectRef]| objects.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    let entity = lineage(&catalog, ObjectKind::Entity, "airport").unwrap();
    assert!(entity.upstream.is_empty());
    assert_eq!(names(&entity.downstream), ["air", "model", "other"]);
    assert_eq!(entity.edges.len(), 3);
    let view = lineage(&catalog, ObjectKind::FeatureView, "air").unwrap();
    assert_eq!(
        (names(&view.upstream), names(&view.downstream)),
        (vec!["airport".into()], vec!["model".into(), "other".into()])
    );
    let service = lineage(&catalog, ObjectKind::FeatureService, "model").unwrap();
    assert_eq!(names(&service.upstream), ["air", "temp_history", "airport", "aircraft"]);
    assert_eq!(service.edges.len(), 4);
    let source = lineage(&catalog, ObjectKind::Source, "landings").unwrap();
    assert!(source.upstream.is_empty() && source.downstream.is_empty() && source.edges.is_empty());
    assert!(lineage(&catalog, ObjectKind::Entity, "air").is_none());
}

#[test]
fn kinds_are_read_as_in_definitions_and_as_in_paths() {
    for text in ["feature_view", "feature-view", "feature-views"] {
        assert_eq!(text.parse(), Ok(ObjectKind::FeatureView));
    }
    assert_eq!("entities".parse(), Ok(ObjectKind::Entity));
    assert!("views".parse::<ObjectKind>().is_err());
}

#[test]
fn descriptions_show_what_was_written_and_what_came_of_it() {
    let mut node = node();
    let catalog = node.catalog();
    let view = describe_feature_view(&catalog, &catalog.feature_views["air"]);
    assert_eq!(view["object"], "feature_view");
    assert_eq!(
        (&view["version"], &view["versions"], &view["ttl"]),
        (&1.into(), &serde_json::json!([1]), &"2h".into())
    );
    assert_eq!(
        view["features"][1],
        serde_json::json!({
            "name": "temp", "type": "float64", "default": 1.5, "pii": false, "status": "active",
            "validate": {"min": -60.0}, "description": "", "owner": "", "tags": {}
        })
    );
    assert_eq!(
        view["schema"][0],
        serde_json::json!({"name": "origin", "type": "string", "role": "join_key"})
    );
    assert_eq!(
        view["schema"][1],
        serde_json::json!({"name": "event_time", "type": "timestamp", "role": "event_time"})
    );
    let source = describe_source(&catalog, &catalog.sources["landings"]);
    assert_eq!(
        (&source["object"], &source["kind"], &source["event_id"]),
        (&"source".into(), &"push".into(), &"id".into())
    );
    assert_eq!(source["columns"][1], serde_json::json!({"name": "delay", "type": "float64"}));
    let model = describe_feature_service(&catalog, &catalog.feature_services["model"]);
    assert_eq!(model["features"], serde_json::json!(["air:wind", "far:temp", "temp_history:a"]));
    assert_eq!(
        model["selections"][1],
        serde_json::json!({"view": "air", "as": "far", "features": ["temp"], "join_keys": {"origin": "dest"}})
    );
    assert_eq!(model["join_keys"][1]["name"], "dest");

    node.apply(&CATALOG.replace("2h", "3h"));
    let catalog = node.catalog();
    let all = describe_catalog(&catalog);
    assert_eq!(all["version"], 2);
    assert_eq!(all["feature_views"][0]["versions"], serde_json::json!([1, 2]));
    assert_eq!(all["feature_services"], serde_json::json!([]));
    let before = describe(&catalog, ObjectKind::FeatureView, "air", Some(1)).unwrap();
    assert_eq!((&before["version"], &before["ttl"]), (&1.into(), &"2h".into()));
    assert_eq!(describe_all(&catalog, ObjectKind::Entity).len(), 2);
    let error = describe(&catalog, ObjectKind::Source, "landing", None).unwrap_err();
    assert_eq!(error.to_string(), "unknown source `landing`; did you mean `landings`?");
}
