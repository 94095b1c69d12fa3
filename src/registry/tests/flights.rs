//! The example definitions hold.

use std::{collections::BTreeSet, sync::Arc};

use super::{Node, expecting, file};
use crate::{Batch, Catalog, DefinitionFile, FeatureView, ObjectKind, Queries, lineage, parse_toml};
use larder_compute::window::Mode;
use larder_model::DataType;

fn flights() -> Vec<DefinitionFile> {
    vec![
        file("batch.toml", include_str!("../../../config/flights/batch.toml")),
        file("entities.toml", include_str!("../../../config/flights/entities.toml")),
        file("on_demand.toml", include_str!("../../../config/flights/on_demand.toml")),
        file("services.toml", include_str!("../../../config/flights/services.toml")),
        file("sources.toml", include_str!("../../../config/flights/sources.toml")),
        file("streams.toml", include_str!("../../../config/flights/streams.toml")),
        file("views.toml", include_str!("../../../config/flights/views.toml")),
    ]
}

/// What the query of the one batch view reads; that it holds is for the engine to say.
struct Landings;

impl Queries for Landings {
    fn reads(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(vec!["landings".to_owned()])
    }

    fn check_schedule(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn check(&self, _: &Catalog, _: &FeatureView, _: &Batch) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn they_apply_and_resolve() {
    let Node { log, registry } = Node::new();
    let mut node = Node { log, registry: registry.with_queries(Arc::new(Landings)) };
    let definitions = parse_toml(&flights()).unwrap();
    let outcome = node.registry.apply(&definitions, expecting(0)).unwrap();
    assert_eq!((outcome.version, outcome.changes.created.len()), (1, 15));
    let again = node.registry.apply(&definitions, expecting(1)).unwrap();
    assert_eq!((again.version, again.changes.unchanged.len()), (1, 15));

    let catalog = node.catalog();
    let weather = &catalog.feature_views["airport_weather"];
    assert_eq!(weather.ttl.unwrap().to_string(), "2h");
    assert_eq!(weather.features.len(), 9);
    assert!(
        weather.features.iter().all(|f| f.data_type == DataType::Float64 && !f.about.description.is_empty())
    );
    assert_eq!(catalog.sources["landings"].schema.event_id.as_deref(), Some("flight_id"));
    assert_eq!(catalog.entities["route"].join_keys.len(), 2);

    let streams: Vec<_> = catalog.feature_views.values().filter_map(|view| view.stream()).collect();
    let all: BTreeSet<&str> =
        streams.iter().flat_map(|s| &s.aggregations).map(|a| a.function.name()).collect();
    let modes: BTreeSet<Mode> =
        streams.iter().flat_map(|s| &s.aggregations).map(|a| a.window.mode()).collect();
    assert_eq!((all.len(), modes.len()), (14, 4), "all functions and modes are shown");

    let resolved = catalog.resolve_service("flight_delay", None).unwrap();
    assert_eq!(resolved.features.len(), 23);
    // With `route_stats`, which only `flight_context` is computed from.
    assert_eq!(resolved.groups.len(), 8);
    assert_eq!(resolved.features[22].name, "dest_weather:temp");
    let last = &resolved.groups[resolved.features[22].group];
    assert_eq!((last.alias.as_str(), &last.key_columns[..]), ("dest_weather", &["dest".to_owned()][..]));
    assert_eq!((resolved.computation.inputs.len(), resolved.computation.steps.len()), (3, 3));
    let keys: Vec<String> = resolved.join_keys().into_iter().map(|k| k.name).collect();
    assert_eq!(keys, ["origin", "tailnum", "dest"]);
    assert_eq!(lineage(&catalog, ObjectKind::FeatureService, "flight_delay").unwrap().upstream.len(), 12);
}
