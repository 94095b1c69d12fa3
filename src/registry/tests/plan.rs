//! What changes an object, and what is refused.

use super::{
    AIRPORT, ANY, Node, assert_one, dry_run, expecting, feature, lines, print, read, service, weather,
};
use crate::{ObjectKind, RegistryError};
use larder_model::{
    TableId,
    error::{Code, Coded},
};

const SOURCE: &str = "[[source]]\nname = \"events\"\nkind = \"push\"\nevent_id = \"id\"\nschema = { id = \"string\", n = \"int32\" }\n";

fn temp(data_type: &str) -> String {
    weather(&feature("temp", data_type), "")
}

/// The changes of the only object that is updated.
fn changes(before: &str, after: &str) -> Vec<String> {
    let mut node = Node::new();
    node.apply(before);
    let outcome = node.apply(after);
    assert_eq!(outcome.changes.updated.len(), 1, "{outcome:#?}");
    let updated = &outcome.changes.updated[0];
    assert_eq!((updated.from, updated.to, outcome.version), (1, 2, 2));
    updated.changes.clone()
}

/// What is refused when one definition follows another; nothing may have changed.
fn refused(before: &str, after: &str) -> Vec<String> {
    let mut node = Node::new();
    node.apply(before);
    let catalog = print(&node.catalog());
    let found = node.refused(after);
    assert_eq!(print(&node.catalog()), catalog);
    found
}

#[test]
fn the_same_again_changes_nothing() {
    let text = lines(&[&temp("float32"), SOURCE, &service("s", "\"weather:temp\"")]);
    let mut node = Node::new();
    assert_eq!(node.apply(&text).version, 1);
    let catalog = print(&node.catalog());
    let outcome = node.apply(&text);
    assert_eq!((outcome.version, outcome.changes.unchanged.len()), (1, 4));
    assert!(
        outcome.changes.created.is_empty()
            && outcome.changes.updated.is_empty()
            && outcome.changes.retired.is_empty()
    );
    assert_eq!(print(&node.catalog()), catalog);
    // Notation is not meaning.
    let other = text.replace("[\"airport\"]\n", "[ 'airport' ]  # same\ndescription = \"\"\nonline = true\n");
    assert_eq!(node.apply(&other).version, 1);
}

#[test]
fn compatible_changes_of_a_view_make_a_version() {
    let two = weather(&format!("{}, {}", feature("temp", "float32"), feature("dew", "int32")), "");
    let with = |more: &str| weather(&format!("{{ name = \"temp\", type = \"float32\", {more} }}"), "");
    assert_eq!(changes(&temp("float32"), &two), ["feature `dew` added"]);
    assert_eq!(changes(&two, &temp("float32")), ["feature `dew` dropped"]);
    assert_eq!(changes(&temp("float32"), &temp("float64")), ["feature `temp`: type: float32 → float64"]);
    assert_eq!(changes(&temp("int32"), &temp("int64")), ["feature `temp`: type: int32 → int64"]);
    assert_eq!(changes(&temp("int32"), &temp("float64")), ["feature `temp`: type: int32 → float64"]);
    assert_eq!(changes(&temp("float32"), &with("default = 1.5")), ["feature `temp`: default: none → 1.5"]);
    assert_eq!(changes(&temp("float32"), &with("pii = true")), ["feature `temp`: pii: false → true"]);
    assert_eq!(
        changes(&temp("float32"), &with("status = \"deprecated\"")),
        ["feature `temp`: status: active → deprecated"]
    );
    assert_eq!(
        changes(&temp("float32"), &with("validate = { min = 0 }")),
        ["feature `temp`: validation changed"]
    );
    assert_eq!(
        changes(&with("validate = { min = 0 }"), &with("validate = { min = 1 }")),
        ["feature `temp`: validation changed"]
    );
    assert_eq!(
        changes(&temp("float32"), &with("description = \"d\"")),
        ["feature `temp`: description changed"]
    );
    let text = |pattern: &str| {
        weather(&format!("{{ name = \"t\", type = \"string\", validate = {{ regex = '{pattern}' }} }}"), "")
    };
    assert_eq!(changes(&text("a+"), &text("a*")), ["feature `t`: validation changed"]);
    let more = |more: &str| weather(&feature("temp", "float32"), more);
    assert_eq!(changes(&temp("float32"), &more("ttl = \"2h\"")), ["ttl: none → 2h"]);
    assert_eq!(changes(&temp("float32"), &more("online = false")), ["online: true → false"]);
    assert_eq!(changes(&temp("float32"), &more("retention = \"30d\"")), ["retention: none → 30d"]);
    assert_eq!(changes(&temp("float32"), &more("owner = \"me\"")), ["owner: `` → `me`"]);
    assert_eq!(changes(&temp("float32"), &more("tags = { a = \"b\" }")), ["tags changed"]);
    let swapped = weather(&format!("{}, {}", feature("dew", "int32"), feature("temp", "float32")), "");
    assert_eq!(changes(&two, &swapped), ["order of features changed"]);
}

#[test]
fn narrower_and_other_types_are_refused() {
    for (before, after) in [
        ("int64", "int32"),
        ("float64", "float32"),
        ("int64", "float64"),
        ("int64", "string"),
        ("string", "json"),
        ("array<float32, 2>", "array<float32, 3>"),
    ] {
        let found = refused(&temp(before), &temp(after));
        assert_one(&found, &["weather.temp: ", &format!("stored as {before} and cannot become {after}")]);
    }
}

#[test]
fn join_keys_and_entities_stay() {
    let integer = temp("int64").replace("\"string\"", "\"int64\"");
    assert_one(
        &refused(&temp("int64"), &integer),
        &["airport.join_keys: ", "(origin string) to (origin int64)"],
    );
    let swapped = |a: &str, b: &str| {
        format!(
            "[[entity]]\nname = \"route\"\njoin_keys = [{}, {}]\n",
            feature(a, "string"),
            feature(b, "string")
        )
    };
    assert_one(&refused(&swapped("origin", "dest"), &swapped("dest", "origin")), &["route.join_keys: "]);
    let other = "[[entity]]\nname = \"field\"\njoin_keys = [{ name = \"origin\", type = \"string\" }]\n";
    let moved = lines(&[&temp("int64"), other]).replace("entities = [\"airport\"]", "entities = [\"field\"]");
    assert_one(&refused(&temp("int64"), &moved), &["weather.entities: ", "(airport) to (field)"]);
}

#[test]
fn sources_keep_their_time_their_id_and_their_columns() {
    let retyped = |from: &str, to: &str| SOURCE.replace(from, to);
    assert_one(&refused(SOURCE, &lines(&[SOURCE, "event_time = \"at\"\n"])), &["events.event_time: "]);
    assert_one(
        &refused(SOURCE, &retyped("event_id = \"id\"\n", "")),
        &["events.event_id: ", "from `id` to none"],
    );
    assert_one(&refused(SOURCE, &retyped(", n = \"int32\"", "")), &["events.n: ", "column `n` was dropped"]);
    assert_one(&refused(SOURCE, &retyped("int32", "string")), &["events.n: ", "cannot become string"]);
    let numbered = retyped("id = \"string\"", "id = \"int32\"");
    assert_one(
        &refused(&numbered, &numbered.replace("id = \"int32\"", "id = \"int64\"")),
        &["events.id: ", "event id"],
    );
    assert_eq!(changes(SOURCE, &retyped("int32", "int64")), ["column `n`: type: int32 → int64"]);
    assert_eq!(changes(SOURCE, &retyped("\"int32\"", "\"int32\", m = \"bool\"")), ["column `m` added"]);
    assert_eq!(
        changes(SOURCE, &lines(&[SOURCE, "availability_lag = \"5m\"\n"])),
        ["availability_lag: 0s → 5m"]
    );
}

#[test]
fn a_feature_in_use_is_not_dropped() {
    let features = |names: &[&str]| {
        weather(&names.iter().map(|n| feature(n, "int64")).collect::<Vec<_>>().join(", "), "")
    };
    let (both, one) = (features(&["temp", "dew"]), features(&["temp"]));
    let drops =
        |uses: &str| refused(&lines(&[&both, &service("s", uses)]), &lines(&[&one, &service("s", uses)]));
    assert_one(
        &drops("\"weather:dew\""),
        &["weather.dew: `dew` was dropped, but feature service `s` lists it"],
    );
    assert_one(&drops("{ view = \"weather\", as = \"w\", features = [\"dew\"] }"), &["weather.dew: "]);
    assert_one(&drops("\"weather\""), &["takes all of `weather`"]);
    assert_one(&drops("\"weather@1:dew\""), &["weather.dew: "]);
    assert_one(&drops("\"weather@1\""), &["takes all of `weather@1`"]);

    // Allowed: used by nobody; no longer used; used by a new service that takes what there is.
    let mut node = Node::new();
    node.apply(&lines(&[&both, &service("s", "\"weather:temp\"")]));
    let outcome = node.apply(&lines(&[&one, &service("s", "\"weather:temp\"")]));
    assert_eq!(outcome.changes.updated.len(), 1);
    let mut node = Node::new();
    node.apply(&lines(&[&both, &service("s", "\"weather\"")]));
    let outcome =
        node.apply(&lines(&[&one, &service("s", "\"weather:temp\""), &service("t", "\"weather\"")]));
    assert_eq!((outcome.changes.updated.len(), outcome.changes.created.len()), (2, 1));
}

#[test]
fn what_is_in_use_is_not_retired() {
    let mut node = Node::new();
    let text = lines(&[&temp("int64"), &service("s", "\"weather:temp\"")]);
    node.apply(&text);
    let without_view = lines(&[AIRPORT, &service("s", "\"weather:temp\"")]);
    let error = crate::parse_toml(&[super::file("f.toml", &without_view)]).unwrap_err();
    assert!(
        error.to_string().contains("f.toml:6: feature service `s`: unknown feature view `weather`"),
        "{error}"
    );
    // Together they go.
    let outcome = node.apply(AIRPORT);
    let retired: Vec<_> =
        outcome.changes.retired.iter().map(|r| (r.kind, r.name.as_str(), r.version)).collect();
    assert_eq!(retired, [(ObjectKind::FeatureService, "s", 1), (ObjectKind::FeatureView, "weather", 1)]);
    let catalog = node.catalog();
    assert!(catalog.feature_views.is_empty() && catalog.table("weather").is_none());
    assert!(catalog.feature_view("weather", Some(1)).is_ok());
    assert!(catalog.newest_schema(TableId(1)).is_some());
}

#[test]
fn a_feature_that_never_was_is_a_mistake_and_no_conflict() {
    let mut node = Node::new();
    node.apply(&temp("int64"));
    let text = lines(&[&temp("int64"), &service("s", "\n\"weather:tmp\"")]);
    let error = node.registry.apply(&read(&text), ANY).unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    let detail = &error.details()[0];
    assert_eq!(detail.field.as_deref(), Some("f.toml:12"));
    assert!(detail.reason.contains("no feature `tmp`; did you mean `temp`?"), "{detail:?}");
    let pinned = lines(&[&temp("int64"), &service("s", "\"weather@7\"")]);
    let error = node.registry.apply(&read(&pinned), ANY).unwrap_err();
    assert!(error.to_string().contains("has no version 7; its newest is 1"), "{error}");
    assert_eq!(node.catalog().version, 1);
}

#[test]
fn all_that_breaks_is_listed() {
    let text = lines(&[&temp("int64"), SOURCE]);
    let broken = lines(&[
        &temp("string").replace("name = \"origin\", type = \"string\"", "name = \"origin\", type = \"bool\""),
        &SOURCE.replace("int32", "bool"),
    ]);
    let found = refused(&text, &broken);
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn services_get_versions_when_they_change() {
    let view = weather(&format!("{}, {}", feature("temp", "int64"), feature("dew", "int64")), "");
    let with = |uses: &str| lines(&[&view, &service("s", uses)]);
    assert_eq!(
        changes(&with("\"weather:temp\""), &with("\"weather:temp\", \"weather:dew\"")),
        ["`weather:dew` added"]
    );
    assert_eq!(
        changes(&with("\"weather:temp\", \"weather:dew\""), &with("\"weather:dew\", \"weather:temp\"")),
        ["order of selections changed"]
    );
    let far = with(
        "{ view = \"weather\", as = \"far\", features = [\"temp\"], join_keys = { origin = \"dest\" } }",
    );
    assert_eq!(
        changes(&with("\"weather:temp\""), &far),
        ["`weather:temp as far (origin = dest)` added", "`weather:temp` dropped"]
    );
}

#[test]
fn a_stale_plan_and_a_dry_run_change_nothing() {
    let mut node = Node::new();
    node.apply(&temp("int32"));
    let next = read(&temp("int64"));
    let stale = node.registry.apply(&next, expecting(0)).unwrap_err();
    assert!(matches!(stale, RegistryError::Stale { expected: 0, actual: 1 }));
    assert_eq!(stale.code(), Code::Conflict);
    let planned = node.registry.apply(&next, dry_run(Some(1))).unwrap();
    assert_eq!((planned.version, planned.changes.updated.len()), (2, 1));
    let breaking = node.registry.apply(&read(&temp("string")), dry_run(Some(1))).unwrap();
    assert_eq!((breaking.version, breaking.changes.breaking.len()), (1, 1));
    assert_eq!(node.catalog().version, 1);
    assert_eq!(Node::over(node.log.clone()).catalog().version, 1);
    assert_eq!(node.registry.apply(&next, expecting(1)).unwrap(), planned);
}

#[test]
fn the_answer_has_the_contracts_shape() {
    let mut node = Node::new();
    node.apply(&temp("int32"));
    let outcome = node.apply(&temp("int64"));
    assert_eq!(
        serde_json::to_value(&outcome).unwrap(),
        serde_json::json!({
            "version": 2,
            "created": [],
            "updated": [{"kind": "feature_view", "name": "weather", "from": 1, "to": 2, "changes": ["feature `temp`: type: int32 → int64"]}],
            "unchanged": [{"kind": "entity", "name": "airport", "version": 1}],
            "retired": [],
            "breaking": []
        })
    );
    let error = node.registry.apply(&read(&temp("string")), ANY).unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    assert_eq!(error.details()[0].field.as_deref(), Some("weather.temp"));
}
