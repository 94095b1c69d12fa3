//! Batch feature views, by a checker that knows one table.

use std::sync::Arc;

use super::{AIRPORT, ANY, Node, errors, feature, lines, read, wrong};
use crate::{Batch, Catalog, FeatureView, ObjectKind, Queries, lineage};

/// A query is the names of its tables.
struct Names;

impl Queries for Names {
    fn reads(&self, sql: &str) -> Result<Vec<String>, String> {
        Ok(sql.split(' ').map(str::to_owned).collect())
    }

    fn check_schedule(&self, schedule: &str) -> Result<(), String> {
        if schedule == "1d" { Ok(()) } else { Err(format!("`{schedule}` is no schedule")) }
    }

    fn check(&self, catalog: &Catalog, _: &FeatureView, batch: &Batch) -> Vec<String> {
        let unknown = batch.reads.iter().filter(|name| catalog.object_of_table(name).is_none());
        unknown.map(|name| format!("unknown table `{name}`")).collect()
    }
}

fn node() -> Node {
    let Node { log, registry } = Node::new();
    Node { log, registry: registry.with_queries(Arc::new(Names)) }
}

fn batch(name: &str, sql: &str) -> String {
    format!(
        "[[batch_feature_view]]\nname = \"{name}\"\nentities = [\"airport\"]\nsql = \"{sql}\"\nschedule = \"1d\"\n\
         feature = [{}]\n",
        feature("x", "int64")
    )
}

const EVENTS: &str =
    "[[source]]\nname = \"events\"\nkind = \"push\"\nevent_time = \"at\"\nschema = { a = \"string\" }\n";

#[test]
fn without_a_checker_they_are_refused() {
    let mut node = Node::new();
    let definitions = read(&lines(&[AIRPORT, EVENTS, &batch("b", "events")]));
    let found = errors(node.registry.apply(&definitions, ANY).map(|_| definitions.clone()));
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().contains("built without the cargo feature `sql`"), "{}", found[0]);
    assert!(found[0].line.is_some());
}

#[test]
fn they_have_rows_versions_and_lineage_and_come_back_from_the_log() {
    let mut node = node();
    let text = |sql: &str| lines(&[AIRPORT, EVENTS, &batch("b", sql), &batch("c", "b__latest events")]);
    node.registry.apply(&read(&text("events")), ANY).unwrap();
    let again = node.registry.apply(&read(&text("events")), ANY).unwrap();
    assert!(again.changes.updated.is_empty());
    let changed = node.registry.apply(&read(&text("events events")), ANY).unwrap();
    assert_eq!(changed.changes.updated.len(), 1);
    assert_eq!(
        (changed.changes.updated[0].to, &changed.changes.updated[0].changes[..]),
        (2, &["sql changed".to_owned()][..])
    );

    let replayed = Node::over(node.log.clone()).catalog();
    for catalog in [node.catalog(), replayed] {
        let view = &catalog.feature_views["c"];
        assert!(view.has_rows() && catalog.table("c").is_some());
        assert_eq!(view.batch().unwrap().reads, ["b__latest", "events"]);
        let upstream = lineage(&catalog, ObjectKind::FeatureView, "c").unwrap().upstream;
        let names: Vec<&str> = upstream.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["airport", "events", "b"]);
    }
}

#[test]
fn what_is_wrong_names_the_view_and_its_line() {
    let mut node = node();
    let mut refused = |text: String| {
        let definitions = read(&text);
        let found = errors(node.registry.apply(&definitions, ANY).map(|_| definitions.clone()));
        found
            .iter()
            .map(|error| format!("{}: {}", error.line.unwrap_or(0), error.message))
            .collect::<Vec<_>>()
    };
    let with = |views: &[&str]| lines(&[&[AIRPORT, EVENTS], views].concat());
    assert_eq!(
        refused(with(&[&batch("b", "nothing")])),
        ["12: batch feature view `b`: `sql`: unknown table `nothing`"]
    );
    let cycle = refused(with(&[&batch("b", "d"), &batch("c", "b"), &batch("d", "c__latest")]));
    assert_eq!(cycle.len(), 3, "{cycle:?}");
    assert!(
        cycle[0].ends_with("its rows would be made of its own: b → d → c → b")
            || cycle[0].ends_with("b → c → d → b"),
        "{}",
        cycle[0]
    );
    let often = batch("b", "events").replace("1d", "now and then");
    assert_eq!(
        refused(with(&[&often])),
        ["13: batch feature view `b`: `schedule`: `now and then` is no schedule"]
    );
    let bare = wrong(&lines(&[AIRPORT, "[[batch_feature_view]]\nname = \"b\"\nentities = [\"airport\"]\n"]));
    assert_eq!(bare.len(), 3, "{bare:?}");
}

#[test]
fn a_kind_stays_what_it_is() {
    let mut node = node();
    node.registry.apply(&read(&lines(&[AIRPORT, EVENTS, &batch("b", "events")])), ANY).unwrap();
    let written = format!(
        "[[feature_view]]\nname = \"b\"\nentities = [\"airport\"]\nfeature = [{}]\n",
        feature("x", "int64")
    );
    let refused = node.registry.apply(&read(&lines(&[AIRPORT, EVENTS, &written])), ANY).unwrap_err();
    assert!(refused.to_string().contains("is or was a batch feature view"), "{refused}");
}
