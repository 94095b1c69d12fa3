//! References resolved at a catalog with history.

use super::{Node, feature, lines, service, weather};
use crate::{Catalog, RegistryError, Resolved};
use larder_model::error::{Code, Coded};

const PLANE: &str = "[[entity]]\nname = \"aircraft\"\njoin_keys = [{ name = \"tail\", type = \"int64\" }]\n\
    [[feature_view]]\nname = \"plane\"\nentities = [\"aircraft\"]\nonline = false\n\
    feature = [{ name = \"seats\", type = \"int64\" }, { name = \"temp\", type = \"int64\" }]\n";

fn view(features: &[&str]) -> String {
    weather(&features.iter().map(|name| feature(name, "int64")).collect::<Vec<_>>().join(", "), "")
}

/// `weather` at versions 1 (temp, dew) and 2 (dew, wind), `plane` not served online.
fn node() -> Node {
    let mut node = Node::new();
    node.apply(&lines(&[&view(&["temp", "dew"]), PLANE, &service("s", "\"weather:dew\"")]));
    let far = "{ view = \"weather\", as = \"far\", join_keys = { origin = \"dest\" } }";
    node.apply(&lines(&[
        &view(&["dew", "wind"]),
        PLANE,
        &service("s", &format!("\"plane:seats\", \"weather:wind\", {far}, \"weather:dew\"")),
    ]));
    node
}

fn names(resolved: &Resolved) -> Vec<&str> {
    resolved.features.iter().map(|f| f.name.as_str()).collect()
}

fn features(catalog: &Catalog, references: &[&str]) -> Result<Resolved, RegistryError> {
    catalog.resolve_features(references)
}

#[test]
fn a_service_is_its_features_in_order_with_one_group_per_alias() {
    let catalog = node().catalog();
    let resolved = catalog.resolve_service("s", None).unwrap();
    assert_eq!(names(&resolved), ["plane:seats", "weather:wind", "far:dew", "far:wind", "weather:dew"]);
    let groups: Vec<_> =
        resolved.groups.iter().map(|g| (g.alias.as_str(), g.view.version, g.key_columns.join(","))).collect();
    assert_eq!(
        groups,
        [("plane", 1, "tail".into()), ("weather", 2, "origin".into()), ("far", 2, "dest".into())]
    );
    assert_eq!(resolved.features.iter().map(|f| f.group).collect::<Vec<_>>(), [0, 1, 2, 2, 1]);
    assert_eq!(resolved.definition(&resolved.features[1]).name, "wind");
    let keys: Vec<_> = resolved.join_keys().iter().map(|k| format!("{} {}", k.name, k.data_type)).collect();
    assert_eq!(keys, ["tail int64", "origin string", "dest string"]);
    assert_eq!(names(&catalog.resolve_service("s", Some(1)).unwrap()), ["weather:dew"]);
}

#[test]
fn references_in_all_forms() {
    let catalog = node().catalog();
    let resolved = features(&catalog, &["weather:wind", "plane"]).unwrap();
    assert_eq!(names(&resolved), ["weather:wind", "plane:seats", "plane:temp"]);
    let pinned = features(&catalog, &["weather@1:temp", "weather@1:dew"]).unwrap();
    assert_eq!(names(&pinned), ["weather:temp", "weather:dew"]);
    assert_eq!((pinned.groups.len(), pinned.groups[0].view.version), (1, 1));
    assert_eq!(names(&features(&catalog, &["weather@1"]).unwrap()), ["weather:temp", "weather:dew"]);
    assert!(features(&catalog, &[]).unwrap().features.is_empty());
}

#[test]
fn what_is_not_there_is_not_found_with_the_nearest_name() {
    let catalog = node().catalog();
    for (reference, says) in [
        ("wether:dew", "unknown feature view `wether`; did you mean `weather`?"),
        ("weather:dev", "has no feature `dev`; did you mean `dew`?"),
        ("weather:temp", "has no feature `temp`; known: dew, wind"),
        ("weather@9:dew", "has no version 9; its newest is 2"),
    ] {
        let error = features(&catalog, &["plane:seats", reference]).unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.details()[0].field.as_deref(), Some(reference));
    }
    let error = features(&catalog, &["nowhere", "weather:nothing"]).unwrap_err();
    assert_eq!(error.details().len(), 2);
    let error = catalog.resolve_service("ss", None).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (Code::NotFound, "unknown feature service `ss`; did you mean `s`?".into())
    );
    let error = catalog.resolve_service("s", Some(5)).unwrap_err();
    assert_eq!(error.to_string(), "feature service `s` has no version 5; its newest is 2");
}

#[test]
fn what_contradicts_itself_is_invalid() {
    let catalog = node().catalog();
    for (references, says) in [
        (vec!["weather:dew", "weather:dew"], "`weather:dew` is listed twice"),
        (vec!["weather", "weather:dew"], "`weather:dew` is listed twice"),
        (vec!["weather:dew", "weather@1:temp"], "already stands for weather:dew"),
        (vec!["weather:dew:x"], "is not a reference"),
    ] {
        let error = features(&catalog, &references).unwrap_err();
        assert_eq!(error.code(), Code::Invalid, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn aliases_and_mapped_columns_do_not_collide() {
    let check = |uses: &str, says: &str| {
        let text = lines(&[&view(&["dew", "wind"]), PLANE, &service("s", uses)]);
        super::assert_one(&super::wrong(&text), &[says]);
    };
    check("{ view = \"weather\", as = \"plane\" }", "is the name of a feature view");
    check(
        "{ view = \"weather\", as = \"a\" }, { view = \"plane\", as = \"a\" }",
        "`a` already stands for weather as a",
    );
    check(
        "{ view = \"weather\", as = \"a\", features = [\"dew\"] }, { view = \"weather\", as = \"a\", features = [\"wind\"], join_keys = { origin = \"dest\" } }",
        "another name with `as`",
    );
    check(
        "{ view = \"weather\", join_keys = { origin = \"x\" } }, { view = \"plane\", join_keys = { tail = \"x\" } }",
        "the column `x` would have to be string for one view and int64 for `plane`",
    );
}

#[test]
fn a_retired_view_is_not_served_and_an_old_service_says_so() {
    let mut node = node();
    node.apply(&lines(&[PLANE, &service("s", "\"plane:seats\"")]));
    let catalog = node.catalog();
    for reference in ["weather:dew", "weather@1:dew"] {
        let error = features(&catalog, &[reference]).unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        assert!(error.to_string().contains("it was retired"), "{error}");
    }
    assert_eq!(catalog.resolve_service("s", Some(1)).unwrap_err().code(), Code::NotFound);
    assert!(catalog.feature_view("weather", None).unwrap_err().to_string().contains("its last version is 2"));
    assert_eq!(catalog.feature_view("weather", Some(2)).unwrap().version, 2);
}

#[test]
fn columns_of_training_sets() {
    let catalog = node().catalog();
    let resolved = features(&catalog, &["weather@1:temp", "plane"]).unwrap();
    assert_eq!(resolved.column_names(true).unwrap(), ["weather__temp", "plane__seats", "plane__temp"]);
    let error = resolved.column_names(false).unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    assert_eq!(
        error.to_string(),
        "`weather:temp` and `plane:temp` would both be the column `temp`; ask for full feature names"
    );
    let resolved = features(&catalog, &["weather", "plane:seats"]).unwrap();
    assert_eq!(resolved.column_names(false).unwrap(), ["dew", "wind", "seats"]);
}

#[test]
fn full_names_collide_only_where_names_have_double_underscores() {
    let mut node = Node::new();
    let views = "[[feature_view]]\nname = \"a\"\nentities = [\"airport\"]\nfeature = [{ name = \"b__c\", type = \"bool\" }]\n\
        [[feature_view]]\nname = \"a__b\"\nentities = [\"airport\"]\nfeature = [{ name = \"c\", type = \"bool\" }]\n";
    node.apply(&lines(&[super::AIRPORT, views]));
    let resolved = node.catalog().resolve_features(&["a", "a__b"]).unwrap();
    assert!(resolved.column_names(true).unwrap_err().to_string().contains("the column `a__b__c`"));
    assert_eq!(resolved.column_names(false).unwrap(), ["b__c", "c"]);
}
