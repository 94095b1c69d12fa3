//! The log is the registry: whatever happened, its replay is the same catalog.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{AIRPORT, ANY, Node, dry_run, expecting, feature, lines, print, read, service, weather};
use crate::{CatalogHandle, LogEntry, MemoryLog, Note, Registry, RegistryError, RegistryLog};
use larder_model::{
    TableId, Timestamp,
    clock::Clock,
    error::{Code, Coded},
};

#[test]
fn an_entry_says_who_when_what_and_why() {
    let mut node = Node::new();
    let mut definitions = read(&weather(&feature("temp", "int32"), ""));
    definitions.note = Note { author: Some("ada".into()), message: Some("first".into()) };
    node.registry.apply(&definitions, ANY).unwrap();
    let entries = node.log.read_all().unwrap();
    let entry: LogEntry = serde_json::from_slice(&entries[0].1).unwrap();
    assert_eq!((entry.version, entry.time), (1, Timestamp::from_micros(1_700_000_000_000_000)));
    assert_eq!(entry.note, definitions.note);
    assert_eq!(entry.summary.created.len(), 2);
    assert_eq!(entry.revision.objects.len(), 2);
}

/// Fails when told to.
#[derive(Default)]
struct FullDisk;

impl RegistryLog for FullDisk {
    fn append(&self, _: u64, _: &[u8]) -> Result<(), String> {
        Err("disk full".into())
    }

    fn read_all(&self) -> Result<Vec<(u64, Vec<u8>)>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn what_is_not_durable_is_not_published() {
    let mut registry = Registry::open(Box::new(FullDisk), Clock::system(), CatalogHandle::default()).unwrap();
    let error = registry.apply(&read(AIRPORT), ANY).unwrap_err();
    assert!(matches!(&error, RegistryError::Log(reason) if reason == "disk full"));
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(registry.catalog().current().version, 0);
    assert!(registry.catalog().current().entities.is_empty());
}

#[test]
fn a_damaged_log_is_not_opened() {
    let open = |entries: &[(u64, &[u8])]| {
        let log = MemoryLog::default();
        for (version, entry) in entries {
            log.append(*version, entry).unwrap();
        }
        Registry::open(Box::new(log), Clock::system(), CatalogHandle::default())
            .map(|r| r.catalog().current().version)
    };
    let mut node = Node::new();
    node.apply(AIRPORT);
    node.apply(&weather(&feature("temp", "int32"), ""));
    let entries = node.log.read_all().unwrap();
    let (first, second) = (entries[0].1.as_slice(), entries[1].1.as_slice());
    assert_eq!(open(&[(1, first), (2, second)]).unwrap(), 2);
    for damaged in [
        vec![(2, second)],
        vec![(1, second)],
        vec![(1, first), (3, second)],
        vec![(1, &first[..first.len() - 1])],
        vec![(1, first), (1, first)],
    ] {
        let error = open(&damaged).unwrap_err();
        assert!(matches!(error, RegistryError::Corrupt { .. }), "{error:?}");
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const TYPES: [&str; 5] = ["int32", "int64", "float32", "float64", "string"];

/// One wish of what a directory holds. What follows from it may be refused; then nothing may have changed.
#[derive(Debug, Clone)]
struct Wish {
    /// By view: `(ttl in hours, features by name)`.
    views: BTreeMap<usize, (u8, BTreeMap<usize, usize>)>,
    /// By service: a view and, unless all are taken, one of its features.
    services: BTreeMap<usize, (usize, Option<usize>)>,
    source: Option<usize>,
    /// By stream feature view of that source: functions by feature.
    streams: BTreeMap<usize, BTreeMap<usize, usize>>,
}

const FUNCTIONS: [&str; 3] = ["count", "sum", "last"];

impl Wish {
    fn text(&self) -> String {
        let mut text = AIRPORT.to_owned();
        for (view, (ttl, features)) in &self.views {
            let features: Vec<String> =
                features.iter().map(|(name, of)| feature(NAMES[*name], TYPES[*of])).collect();
            text += &format!(
                "[[feature_view]]\nname = \"v{view}\"\nentities = [\"airport\"]\nttl = \"{ttl}h\"\nfeature = [{}]\n",
                features.join(", ")
            );
        }
        for (name, (view, chosen)) in &self.services {
            // Only what is there is referred to: the rest is a mistake, not a conflict.
            let Some((_, features)) = self.views.get(view) else { continue };
            match chosen {
                Some(chosen) if features.contains_key(chosen) => {
                    text += &service(&format!("s{name}"), &format!("\"v{view}:{}\"", NAMES[*chosen]));
                }
                _ => text += &service(&format!("s{name}"), &format!("\"v{view}\"")),
            }
        }
        if let Some(of) = self.source {
            text += &format!(
                "[[source]]\nname = \"events\"\nkind = \"push\"\nschema = {{ origin = \"string\", a = \"{}\" }}\n",
                TYPES[of]
            );
            for (view, functions) in &self.streams {
                let aggregations: Vec<String> = functions
                    .iter()
                    .map(|(name, of)| {
                        let (name, function) = (NAMES[*name], FUNCTIONS[*of]);
                        format!("{{ name = \"{name}\", function = \"{function}\", column = \"a\", window = \"1h\" }}")
                    })
                    .collect();
                text += &format!(
                    "[[stream_feature_view]]\nname = \"t{view}\"\nentities = [\"airport\"]\nsource = \"events\"\naggregation = [{}]\n",
                    aggregations.join(", ")
                );
                text += &service(&format!("of_t{view}"), &format!("\"t{view}\""));
            }
        }
        text
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    // Low types are likelier, so that most wishes are granted and some narrow what was widened.
    let data_type = prop_oneof![4 => Just(0usize), 3 => Just(1), 1 => 2usize..5];
    let features = prop::collection::btree_map(0usize..4, data_type, 1..4);
    let views = prop::collection::btree_map(0usize..3, (1u8..3, features), 0..3);
    let services = prop::collection::btree_map(0usize..2, (0usize..3, prop::option::of(0usize..4)), 0..3);
    let functions = prop::collection::btree_map(0usize..3, 0usize..3, 1..3);
    let streams = prop::collection::btree_map(0usize..2, functions, 0..3);
    // Of int32 both int64 and float64 are wider; the other two are not to each other.
    let source = prop::option::weighted(0.8, prop_oneof![3 => Just(0usize), 1 => Just(1), 1 => Just(3)]);
    (views, services, source, streams).prop_map(|(views, services, source, streams)| Wish {
        views,
        services,
        source,
        streams,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn replay_gives_the_same_catalog(wishes in prop::collection::vec(wish(), 1..12)) {
        let mut node = Node::new();
        let mut tables: BTreeMap<String, TableId> = BTreeMap::new();
        for wish in &wishes {
            let before = node.catalog();
            let definitions = read(&wish.text());
            let planned = node.registry.apply(&definitions, dry_run(Some(before.version))).unwrap();
            match node.registry.apply(&definitions, expecting(before.version)) {
                Err(RegistryError::Breaking(outcome)) => {
                    prop_assert_eq!(&*outcome, &planned);
                    prop_assert_eq!(print(&node.catalog()), print(&before));
                }
                Ok(outcome) => {
                    prop_assert_eq!(&outcome, &planned);
                    let c = &outcome.changes;
                    let changed = !(c.created.is_empty() && c.updated.is_empty() && c.retired.is_empty());
                    prop_assert_eq!(outcome.version, before.version + u64::from(changed));
                    for updated in &c.updated {
                        prop_assert_eq!(updated.to, updated.from + 1);
                        prop_assert!(!updated.changes.is_empty());
                    }
                    let again = node.registry.apply(&definitions, ANY).unwrap();
                    prop_assert_eq!(again.version, outcome.version);
                    prop_assert!(again.changes.updated.is_empty());
                }
                Err(other) => prop_assert!(false, "{other:?}"),
            }
            let catalog = node.catalog();
            prop_assert_eq!(print(&Node::over(node.log.clone()).catalog()), print(&catalog));
            for (id, schemas) in &catalog.tables {
                let newest = schemas.last().unwrap();
                prop_assert_eq!(*tables.entry(newest.name.clone()).or_insert(*id), *id, "a table keeps its number");
                // Every stored column widens to what the newest version makes of it, or is gone from it.
                for (i, schema) in schemas.iter().enumerate() {
                    prop_assert_eq!((schema.table, schema.version as usize), (*id, i + 1));
                    for column in &schema.columns {
                        if let Some(now) = newest.columns.iter().find(|c| c.name == column.name) {
                            prop_assert!(column.data_type == now.data_type || column.data_type.widens_to(&now.data_type));
                        }
                    }
                }
            }
            for view in catalog.feature_views.values() {
                let id = view.schema.table;
                prop_assert_eq!(*tables.entry(view.name.clone()).or_insert(id), id, "a stream view keeps its number");
                prop_assert_eq!(catalog.tables.contains_key(&id), view.has_rows());
                let Some(stream) = view.stream() else { continue };
                let source = catalog.table(&stream.source).unwrap();
                for (feature, aggregation) in view.features.iter().zip(&stream.aggregations) {
                    let column = source.columns.iter().find(|c| Some(&c.name) == aggregation.column.as_ref());
                    let of = column.map(|c| &c.data_type);
                    prop_assert_eq!(of, aggregation.column_type.as_ref(), "types are those of the source");
                    prop_assert_eq!(Ok(feature.data_type.clone()), aggregation.function.result(of));
                }
            }
            let numbers: BTreeSet<&TableId> = tables.values().collect();
            prop_assert_eq!(numbers.len(), tables.len(), "no number is given twice");
            for name in catalog.feature_services.keys() {
                prop_assert!(catalog.resolve_service(name, None).is_ok());
            }
        }
    }
}

#[test]
fn text_of_all_kinds_survives_the_log() {
    let mut node = Node::new();
    let rich = r#"{ name = "x", type = "string", description = "é \" \n ☂", pii = true, validate = { regex = '\d+"', allowed = ["1\""], max_length = 9 }, tags = { k = "v" } },
        { name = "f", type = "float32", default = 0.1, validate = { min = 1e-3 } },
        { name = "j", type = "json", default = { b = [1, 2.5], a = "t" } },
        { name = "t", type = "timestamp", default = 2013-01-01T00:00:00.123456Z },
        { name = "e", type = "array<float32, 2>", default = [0.1, 0.2] },
        { name = "n", type = "int64", default = 9007199254740993 }"#.replace('\n', " ");
    node.apply(&lines(&[
        &weather(&rich, "retention = \"90d\"\nfreshness_slo = \"1500ms\""),
        &service("s", "{ view = \"weather\", version = 1, as = \"w\", join_keys = { origin = \"from\" } }"),
    ]));
    assert_eq!(print(&Node::over(node.log.clone()).catalog()), print(&node.catalog()));
}
