//! Objects that went and come back: numbers go on, and rows that are kept keep their meaning.

use super::{AIRPORT, ANY, Node, assert_one, feature, lines, weather};
use crate::{ObjectKind, RegistryError};
use larder_model::TableId;

const SOURCE: &str = "[[source]]\nname = \"weather\"\nkind = \"push\"\nschema = { a = \"string\" }\n";

fn view(features: &[(&str, &str)]) -> String {
    weather(&features.iter().map(|(name, of)| feature(name, of)).collect::<Vec<_>>().join(", "), "")
}

#[test]
fn a_view_that_comes_back_resumes_its_table_and_its_numbers() {
    let mut node = Node::new();
    node.apply(&view(&[("temp", "int32")]));
    node.apply(&view(&[("temp", "int64")]));
    let other = "[[source]]\nname = \"other\"\nkind = \"push\"\nschema = { a = \"string\" }\n";
    node.apply(&lines(&[AIRPORT, other]));
    assert_eq!(node.catalog().table("other").unwrap().table, TableId(2), "numbers are not reused");
    let outcome = node.apply(&lines(&[&view(&[("temp", "int64")]), other]));
    let created = &outcome.changes.created[0];
    assert_eq!(
        (created.kind, created.name.as_str(), created.version),
        (ObjectKind::FeatureView, "weather", 3)
    );
    let catalog = node.catalog();
    let weather = &catalog.feature_views["weather"];
    assert_eq!(weather.schema.table, TableId(1));
    assert_eq!(weather.schemas.iter().map(|s| s.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(catalog.schema(TableId(1), 1).unwrap().columns[0].data_type.to_string(), "int32");
    assert_eq!(catalog.newest_schema(TableId(1)).unwrap().version, 3);
}

#[test]
fn it_comes_back_under_the_same_rules() {
    let mut node = Node::new();
    node.apply(&view(&[("temp", "int64")]));
    node.apply(AIRPORT);
    assert_one(&node.refused(&view(&[("temp", "string")])), &["weather.temp: ", "is or was stored as int64"]);
    assert_one(&node.refused(&lines(&[AIRPORT, SOURCE])), &["weather.name: ", "is or was a feature view"]);
    // A service cannot lose what the view did not have when it was last seen by anybody: that is a mistake.
    let text = lines(&[&view(&[("dew", "int64")]), &super::service("s", "\"weather:temp\"")]);
    let error = node.registry.apply(&super::read(&text), ANY).unwrap_err();
    assert!(matches!(error, RegistryError::Invalid(_)), "{error:?}");
    // A feature that nobody can be using, the view being retired, may stay away.
    node.apply(&view(&[("dew", "int64")]));
}

#[test]
fn a_view_does_not_turn_into_a_source() {
    let mut node = Node::new();
    node.apply(&view(&[("temp", "int64")]));
    assert_one(&node.refused(&lines(&[AIRPORT, SOURCE])), &["weather.name: "]);
}

#[test]
fn a_dropped_feature_comes_back_with_its_widest_type_only() {
    let mut node = Node::new();
    node.apply(&view(&[("temp", "int32"), ("dew", "int64")]));
    node.apply(&view(&[("temp", "int64"), ("dew", "int64")]));
    node.apply(&view(&[("dew", "int64")]));
    node.apply(&view(&[("dew", "int64"), ("wind", "int64")]));
    for narrow in ["int32", "string", "float64"] {
        let found = node.refused(&view(&[("dew", "int64"), ("temp", narrow)]));
        assert_one(&found, &["weather.temp: ", "is or was stored as int64"]);
    }
    let outcome = node.apply(&view(&[("dew", "int64"), ("temp", "int64")]));
    assert_eq!(outcome.changes.updated[0].to, 5);
    assert_eq!(outcome.changes.updated[0].changes, ["feature `temp` added", "feature `wind` dropped"]);
}

#[test]
fn entities_and_services_go_on_counting_too() {
    let service = super::service("s", "\"weather\"");
    let all = lines(&[&view(&[("temp", "int64")]), &service]);
    let other = "[[entity]]\nname = \"plane\"\njoin_keys = [{ name = \"tail\", type = \"string\" }]\n";
    let mut node = Node::new();
    node.apply(&all);
    node.apply(other);
    let outcome = node.apply(&all);
    assert!(outcome.changes.created.iter().all(|created| created.version == 2), "{outcome:?}");
    assert_eq!(outcome.changes.retired[0].name, "plane");
    let catalog = node.catalog();
    assert_eq!(catalog.entity_versions.len(), 3);
    assert_eq!(catalog.feature_service("s", Some(1)).unwrap().version, 1);
    node.apply(other);
    assert_one(&node.refused(&AIRPORT.replace("\"string\"", "\"int64\"")), &["airport.join_keys: "]);
}
