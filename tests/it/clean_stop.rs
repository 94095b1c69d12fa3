//! A node that was stopped has put every acknowledged row into its Delta tables, and nothing is left in the outbox.

use std::{path::Path, process::Command, sync::Arc};

use larder::{
    model::TableSchema,
    offline::{OfflineOptions, OfflineStore},
};
use serde_json::{Value as Json, json};

use crate::support::TestNode;

fn definitions(views: usize) -> String {
    let mut text =
        "[[entity]]\nname = \"user\"\njoin_keys = [{ name = \"user\", type = \"int64\" }]\n".to_owned();
    for n in 0..views {
        text += &format!(
            "[[feature_view]]\nname = \"view_{n}\"\nentities = [\"user\"]\nfeature = [{{ name = \"n\", type = \"int64\" }}]\n"
        );
    }
    text + "[[source]]\nname = \"events\"\nkind = \"push\"\nevent_time = \"at\"\nschema = { at = \"timestamp\", n = \"int64\" }\n"
}

/// Nothing is sealed before the stop.
fn node(views: usize) -> TestNode {
    let node =
        TestNode::with("2024-05-01T12:00:00Z", &[("offline.seal_after", "1h"), ("offline.seal_rows", "50")]);
    node.apply(&definitions(views));
    node
}

fn rows(from: i64, count: i64) -> Json {
    (from..from + count).map(|n| json!({ "user": n, "event_time": "2024-05-01T11:00:00Z", "n": n })).collect()
}

fn schema_of(node: &TestNode, table: &str) -> Arc<TableSchema> {
    Arc::clone(node.running().app().doors.parts.catalog.current().table(table).unwrap())
}

/// Rows in segments, as the log has them.
fn sealed(dir: &Path, schema: &TableSchema) -> u64 {
    let store = OfflineStore::open(&dir.join("offline"), OfflineOptions::default()).unwrap();
    store.table(schema).unwrap().snapshot().segments.iter().map(|segment| segment.rows).sum()
}

#[test]
fn who_reads_the_tables_of_a_stopped_node_sees_every_acknowledged_row() {
    let mut node = node(3);
    for n in 0..3 {
        node.write(&format!("view_{n}"), rows(n, 30 * n + 10));
    }
    let events: Json = (0..20).map(|n| json!({ "at": "2024-05-01T11:00:00Z", "n": n })).collect();
    let (status, answer) = node.post_json("/v1/sources/events/events", &json!({ "rows": events }));
    assert_eq!(status, 200, "{answer}");
    // More than one seal takes.
    for from in 0..4 {
        node.write("view_0", rows(from * 60, 60));
    }
    let expected = [("view_0", 250), ("view_1", 40), ("view_2", 70), ("events", 20)];
    let schemas = expected.map(|(table, _)| schema_of(&node, table));
    node.stop();
    for ((table, rows), schema) in expected.iter().zip(&schemas) {
        assert_eq!(sealed(node.dir(), schema), *rows, "{table}");
        if let Ok(python) = std::env::var("LARDER_TEST_PYTHON") {
            let script = "import sys, deltalake; print(len(deltalake.DeltaTable(sys.argv[1]).to_pandas()))";
            let path = node.dir().join("offline").join(table);
            let output = Command::new(python).args(["-c", script]).arg(path).output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&output.stdout).trim(),
                rows.to_string(),
                "{table}: {output:?}"
            );
        }
    }
}

#[test]
fn what_was_not_sealed_by_the_deadline_is_sealed_after_the_next_start() {
    let mut node = node(2);
    node.set("server.drain_deadline", "1ms");
    node.restart();
    node.write("view_0", rows(0, 40));
    node.write("view_1", rows(0, 7));
    node.set("offline.seal_after", "1ms");
    node.restart();
    for (view, count) in [("view_0", 40), ("view_1", 7)] {
        let read = node.read(&[&format!("{view}:n")], json!([{ "user": count - 1 }]));
        assert_eq!(read["values"][0][0], count - 1);
        node.set_time("2024-05-01T12:01:00Z");
        node.wait_until_sealed(view);
        let app = node.running().app();
        let table = app.doors.parts.reads.offline.table(&schema_of(&node, view)).unwrap();
        assert_eq!(table.snapshot().segments.iter().map(|segment| segment.rows).sum::<u64>(), count);
    }
}
