//! Stream feature views: what is read, what is refused, what changes them, what is shown.

use super::{AIRPORT, Node, assert_one, feature, lines, print, read, service, wrong, wrong_json};
use crate::{
    Aggregation, Catalog, FeatureStatus, ObjectKind, Query, RegistryError, describe_feature_view, lineage,
    parse_toml, search,
};
use larder_compute::window::{Function, Mode, Window};
use larder_model::{DataType, TableId, Value};

const SOURCE: &str = "[[source]]\nname = \"landings\"\nkind = \"push\"\nevent_time = \"at\"\n\
    schema = { origin = \"string\", delay = \"int32\", plane = \"string\", load = \"array<int64>\" }\n";

/// The view `delays` over `landings`; its aggregations begin at line 14, each on a line of its own.
fn delays(aggregations: &[&str]) -> String {
    let aggregations = aggregations.join(",\n");
    format!(
        "{AIRPORT}{SOURCE}[[stream_feature_view]]\nname = \"delays\"\nentities = [\"airport\"]\n\
         source = \"landings\"\naggregation = [\n{aggregations}\n]\n"
    )
}

fn made(name: &str, rest: &str) -> String {
    format!("{{ name = \"{name}\", {rest} }}")
}

/// What is wrong with a view of one aggregation `x`.
fn wrong_aggregation(rest: &str) -> Vec<String> {
    wrong(&delays(&[&made("x", rest)]))
}

const COUNT: &str = "function = \"count\", window = \"24h\"";
const MAX: &str = "function = \"max\", column = \"delay\", window = \"lifetime\"";

fn aggregations(catalog: &Catalog) -> &[Aggregation] {
    &catalog.feature_views["delays"].stream().unwrap().aggregations
}

#[test]
fn everything_that_is_written_is_read() {
    let mut node = Node::new();
    let rich = "function = \"approx_percentile\", p = 0.9, column = \"delay\", window = \"3h\", mode = \"exact\", \
         filter = \"delay > 15\", default = 1.5, description = \"d\", owner = \"o\", tags = { k = \"v\" }, pii = true, \
         status = \"deprecated\"";
    node.apply(&lines(&[
        &delays(&[
            &made("n", COUNT),
            &made("p90", rich),
            &made("planes", "function = \"last_n\", n = 3, column = \"plane\", window = \"lifetime\""),
        ]),
        "freshness_slo = \"5m\"\nonline = false\nowner = \"ops\"\n",
    ]));
    let catalog = node.catalog();
    let view = &catalog.feature_views["delays"];
    let types: Vec<String> = view.features.iter().map(|f| format!("{} {}", f.name, f.data_type)).collect();
    assert_eq!(types, ["n int64", "p90 float64", "planes array<string>"]);
    assert_eq!((view.online, view.offline, view.ttl, view.retention), (false, true, None, None));
    assert_eq!((view.freshness_slo.unwrap().to_string(), view.about.owner.as_str()), ("5m".into(), "ops"));
    let p90 = &view.features[1];
    assert_eq!(
        (p90.default.clone(), p90.pii, p90.status),
        (Some(Value::Float64(1.5)), true, FeatureStatus::Deprecated)
    );
    assert_eq!((p90.about.description.as_str(), p90.about.tags["k"].as_str()), ("d", "v"));
    let stream = view.stream().unwrap();
    assert_eq!((stream.source.as_str(), stream.source_table), ("landings", TableId(1)));
    assert_eq!(stream.aggregations[0].window, Window::parse("24h", Some(Mode::Sawtooth)).unwrap());
    assert_eq!(
        stream.aggregations[1],
        Aggregation {
            function: Function::ApproxPercentile { p: 0.9 },
            column: Some("delay".into()),
            column_type: Some(DataType::Int32),
            window: Window::parse("3h", Some(Mode::Exact)).unwrap(),
            filter: Some("delay > 15".into()),
        }
    );
    assert_eq!(stream.aggregations[2].window, Window::LIFETIME);
    // Keys and columns are known, but there is no table.
    assert_eq!(view.schema.table, TableId(2));
    assert_eq!((view.schema.keys[0].name.as_str(), view.schema.columns.len()), ("origin", 3));
    assert!(!catalog.tables.contains_key(&TableId(2)) && catalog.table("delays").is_none());
    assert_eq!(print(&Node::over(node.log.clone()).catalog()), print(&catalog));
}

#[test]
fn what_an_aggregation_cannot_be_is_refused_at_its_line() {
    for (rest, says) in [
        ("window = \"1h\"", "`function` is missing; write function = \"count\""),
        ("function = \"cuont\", window = \"1h\"", "unknown function `cuont`; did you mean `count`?"),
        ("function = \"average\", window = \"1h\"", "unknown function `average`; known: count, sum, mean,"),
        ("function = \"sum\", window = \"1h\"", "`sum` needs a `column`"),
        (
            "function = \"sum\", column = \"dealy\", window = \"1h\"",
            "has no column `dealy`; did you mean `delay`?",
        ),
        (
            "function = \"mean\", column = \"plane\", window = \"1h\"",
            "`mean` cannot be computed of string; it takes numbers",
        ),
        ("function = \"last\", column = \"load\", window = \"1h\"", "array<int64>"),
        ("function = \"last\", column = \"at\", window = \"1h\"", "`at` is the event time of source"),
        ("function = \"count\"", "`window` is missing"),
        ("function = \"count\", mode = \"exact\"", "`window` is missing"),
        ("function = \"count\", window = \"1 hour\"", "`1 hour` is not a duration"),
        ("function = \"count\", window = \"0s\"", "longer than zero"),
        ("function = \"count\", window = \"4000d\"", "the longest is 3653d"),
        ("function = \"count\", window = \"1h\", mode = \"hopping\"", "`mode` cannot be `hopping`"),
        ("function = \"count\", window = \"1h\", mode = \"lifetime\"", "write window = \"lifetime\""),
        ("function = \"count\", window = \"lifetime\", mode = \"tumbling\"", "a lifetime has no other mode"),
        (
            "function = \"approx_percentile\", column = \"delay\", window = \"1h\"",
            "`p` is missing; write p = 0.9",
        ),
        (
            "function = \"approx_percentile\", p = 90, column = \"delay\", window = \"1h\"",
            "number from 0 to 1",
        ),
        ("function = \"first_n\", n = 0, column = \"delay\", window = \"1h\"", "whole number from 1 to 1000"),
        (
            "function = \"last_n\", n = 1001, column = \"delay\", window = \"1h\"",
            "whole number from 1 to 1000",
        ),
        (
            "function = \"last_n\", n = 1.5, column = \"delay\", window = \"1h\"",
            "whole number from 1 to 1000",
        ),
        ("function = \"count\", window = \"1h\", p = 0.5", "`p` is for approx_percentile, not for count"),
        (
            "function = \"last\", column = \"delay\", window = \"1h\", n = 2",
            "`n` is for first_n and last_n, not for last",
        ),
        ("function = \"count\", window = \"1h\", filter = \" \"", "`filter`: the expression is empty"),
        (
            "function = \"count\", window = \"1h\", filter = \"dealy > 15\"",
            "`filter`: unknown column `dealy`; did you mean `delay`? (at character 1 of the expression)",
        ),
        (
            "function = \"count\", window = \"1h\", filter = \"delay + 1\"",
            "`filter`: the expression is int32, but bool is wanted",
        ),
        (
            "function = \"count\", window = \"1h\", filter = \"delay > random()\"",
            "`filter`: `random` is not deterministic",
        ),
        ("function = \"count\", window = \"1h\", default = \"none\"", "`default`: "),
        ("function = \"count\", window = \"1h\", type = \"int64\"", "unknown key `type`"),
    ] {
        assert_one(&wrong_aggregation(rest), &["14: stream feature view `delays`, aggregation `x`: ", says]);
    }
}

#[test]
fn all_errors_of_a_view_are_told_at_once() {
    let text = delays(&[
        &made("a", "function = \"cuont\", window = \"1 h\", filter = 5"),
        &made("b", "function = \"sum\", column = \"plane\", window = \"1h\""),
        "{ }",
    ]);
    let found = wrong(&text);
    assert_eq!(
        found.iter().map(|e| e.split(':').next().unwrap()).collect::<Vec<_>>(),
        ["14", "14", "14", "15", "16", "16", "16"],
        "{found:#?}"
    );
    // A service that uses the view is not told of: the view is at fault.
    assert_eq!(wrong(&lines(&[&text, &service("s", "\"delays:b\"")])).len(), found.len());
}

#[test]
fn a_view_has_a_source_with_its_join_keys_and_its_features_have_names() {
    let one = delays(&[&made("n", COUNT)]);
    let broken = |from: &str, to: &str| wrong(&one.replace(from, to));
    assert_one(&broken("source = \"landings\"\n", ""), &["9: ", "`source` is missing"]);
    assert_one(
        &broken("source = \"landings\"", "source = \"landing\""),
        &["12: ", "unknown source `landing`; did you mean `landings`?"],
    );
    assert_one(
        &broken("{ origin = \"string\"", "{ orgin = \"string\""),
        &[
            "12: ",
            "source `landings` has no column `origin`, the join key of entity `airport`; did you mean `orgin`?",
        ],
    );
    assert_one(
        &broken("{ origin = \"string\"", "{ origin = \"int64\""),
        &["12: ", "`origin` of entity `airport` is string, but int64 in source `landings`"],
    );
    assert_one(
        &broken("entities = [\"airport\"]", "entities = [\"port\"]"),
        &["11: ", "unknown entity `port`"],
    );
    assert_one(&wrong(&delays(&[])), &["13: ", "needs at least one feature"]);
    assert_one(
        &wrong(&delays(&[&made("n", COUNT), &made("n", MAX)])),
        &["15: ", "the feature `n` is defined twice; first at f.toml:14"],
    );
    assert_one(&wrong(&delays(&[&made("origin", COUNT)])), &["14: ", "the name of a join key"]);
    assert_one(&wrong(&delays(&[&made("event_time", COUNT)])), &["14: ", "cannot be named `event_time`"]);
    assert_one(&wrong(&lines(&[&one, "ttl = \"2h\"\n"])), &["16: ", "unknown key `ttl`"]);
    // A source that is not sound is told of once.
    assert_one(&broken("kind = \"push\"", "kind = \"pull\""), &["6: ", "`kind` cannot be `pull`"]);
    let source = "[[source]]\nname = \"delays\"\nkind = \"push\"\nschema = { a = \"string\" }\n";
    assert_one(&wrong(&lines(&[&one, source])), &["`delays` is taken"]);
    assert_one(
        &wrong_json(
            r#"{"source": [{"name": "s", "kind": "push", "schema": {"k": "string"}}],
                "entity": [{"name": "e", "join_keys": [{"name": "k", "type": "string"}]}],
                "stream_feature_view": [{"name": "v", "entities": ["e"], "source": "s",
                    "aggregation": [{"name": "n", "function": "count", "window": 24}]}]}"#,
        ),
        &["stream_feature_view[0].aggregation[0].window", "must be a string"],
    );
}

/// What a second definition of the view changes.
fn changes(before: &[&str], after: &[&str]) -> Vec<String> {
    let mut node = Node::new();
    node.apply(&delays(before));
    let outcome = node.apply(&delays(after));
    assert_eq!(outcome.changes.updated.len(), 1, "{outcome:#?}");
    assert_eq!((outcome.changes.updated[0].from, outcome.changes.updated[0].to), (1, 2));
    assert_eq!(node.apply(&delays(after)).version, outcome.version);
    assert_eq!(print(&Node::over(node.log.clone()).catalog()), print(&node.catalog()));
    outcome.changes.updated[0].changes.clone()
}

#[test]
fn changes_make_versions_and_notation_does_not() {
    let (n, max) = (made("n", COUNT), made("max", MAX));
    let mut node = Node::new();
    assert_eq!(node.apply(&delays(&[&n])).version, 1);
    let other = made("n", "window = \"1d\", mode = \"sawtooth\", function = \"count\", description = \"\"");
    assert_eq!(node.apply(&delays(&[&other])).version, 1);
    assert_eq!(changes(&[&n], &[&n, &max]), ["feature `max` added"]);
    assert_eq!(changes(&[&n, &max], &[&n]), ["feature `max` dropped"]);
    assert_eq!(changes(&[&n, &max], &[&max, &n]), ["order of features changed"]);
    for (after, says) in [
        ("function = \"count\", window = \"7d\"", "window: 1d sawtooth → 7d sawtooth"),
        ("function = \"count\", window = \"1d\", mode = \"exact\"", "window: 1d sawtooth → 1d exact"),
        ("function = \"count\", window = \"lifetime\"", "window: 1d sawtooth → lifetime"),
        ("function = \"count\", window = \"1d\", filter = \"delay > 1\"", "filter: none → delay > 1"),
        ("function = \"count\", window = \"1d\", column = \"delay\"", "column: none → delay"),
        ("function = \"count\", window = \"1d\", default = 5", "default: none → 5"),
    ] {
        assert_eq!(changes(&[&n], &[&made("n", after)]), [format!("feature `n`: {says}")]);
    }
    let percentile = |p: &str| {
        made("x", &format!("function = \"approx_percentile\", p = {p}, column = \"delay\", window = \"1h\""))
    };
    assert_eq!(
        changes(&[&percentile("0.5")], &[&percentile("0.9")]),
        ["feature `x`: function: approx_percentile(0.5) → approx_percentile(0.9)"]
    );
    // Nobody uses it, and nothing is stored: it may become anything.
    assert_eq!(
        changes(&[&max], &[&made("max", "function = \"last\", column = \"plane\", window = \"lifetime\"")]),
        [
            "feature `max`: type: int32 → string",
            "feature `max`: function: max → last",
            "feature `max`: column: delay → plane"
        ]
    );
}

#[test]
fn what_a_service_uses_keeps_its_type() {
    let with = |rest: &str, uses: &str| lines(&[&delays(&[&made("n", COUNT), &made("x", rest)]), uses]);
    for uses in ["\"delays:x\"", "\"delays\""] {
        let uses = service("s", uses);
        let mut node = Node::new();
        node.apply(&with(MAX, &uses));
        let last = "function = \"last\", column = \"delay\", window = \"7d\"";
        node.apply(&with(last, &uses));
        let string = "function = \"last\", column = \"plane\", window = \"7d\"";
        assert_one(
            &node.refused(&with(string, &uses)),
            &[
                "delays.x: `x` would be string and no longer int32, but feature service `s` uses it",
                "a new name",
            ],
        );
        assert_one(
            &node.refused(&lines(&[&delays(&[&made("n", COUNT)]), &uses])),
            &["delays.x: `x` was dropped, but feature service `s` "],
        );
        assert_eq!(node.catalog().version, 2);
        // A service that comes with the new type loses nothing.
        node.apply(&with(string, &service("t", "\"delays\"")));
    }
}

#[test]
fn source_and_entities_stay_and_a_view_stays_what_it_is() {
    let one = delays(&[&made("n", COUNT)]);
    let other = "[[source]]\nname = \"takeoffs\"\nkind = \"push\"\nschema = { origin = \"string\" }\n";
    let mut node = Node::new();
    node.apply(&lines(&[&one, other]));
    assert_one(
        &node.refused(&lines(&[&one.replace("source = \"landings\"", "source = \"takeoffs\""), other])),
        &["delays.source: ", "from `landings` to `takeoffs`"],
    );
    let field = "[[entity]]\nname = \"field\"\njoin_keys = [{ name = \"origin\", type = \"string\" }]\n";
    assert_one(
        &node.refused(
            &lines(&[&one, other, field]).replace("entities = [\"airport\"]", "entities = [\"field\"]"),
        ),
        &["delays.entities: ", "(airport) to (field)"],
    );
    let written = format!(
        "[[feature_view]]\nname = \"delays\"\nentities = [\"airport\"]\nfeature = [{}]\n",
        feature("n", "int64")
    );
    let written = lines(&[AIRPORT, SOURCE, other, &written]);
    assert_one(&node.refused(&written), &["delays.name: ", "is or was a stream feature view"]);
    node.apply(AIRPORT);
    assert_one(&node.refused(&written), &["delays.name: ", "is or was a stream feature view"]);
    let renamed = one
        .replace("\"delays\"", "\"landings\"")
        .replace(SOURCE, other)
        .replace("source = \"landings\"", "source = \"takeoffs\"");
    assert_one(&node.refused(&renamed), &["landings.name: ", "is or was a source"]);

    let mut node = Node::new();
    node.apply(&written);
    assert_one(
        &node.refused(&lines(&[&one, other])),
        &["delays.name: ", "is or was a feature view whose rows are written"],
    );
}

#[test]
fn a_source_changes_only_so_far_as_its_views_allow() {
    let text = lines(&[
        &delays(&[
            &made("n", COUNT),
            &made("max", MAX),
            &made("top", "function = \"last_n\", n = 2, column = \"delay\", window = \"1h\""),
        ]),
        &service("s", "\"delays\""),
    ]);
    let mut node = Node::new();
    node.apply(&text);
    let refused = |from: &str, to: &str| {
        let Err(RegistryError::Invalid(errors)) =
            parse_toml(&[super::file("f.toml", &text.replace(from, to))])
        else {
            panic!("`{to}` was accepted");
        };
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let dropped = refused("delay = \"int32\", ", "");
    assert_eq!(dropped.len(), 2, "{dropped:#?}");
    assert!(
        dropped[0].starts_with(
            "f.toml:15: stream feature view `delays`, aggregation `max`: source `landings` has no"
        )
    );
    assert_one(&refused(SOURCE, ""), &["stream feature view `delays`: unknown source `landings`"]);
    // The source's own rule, with the view's types beside it.
    let found = node.refused(&text.replace("delay = \"int32\"", "delay = \"string\""));
    assert!(found.iter().any(|f| f.starts_with("landings.delay: ")), "{found:#?}");
    assert!(found.iter().any(|f| f.starts_with("delays.max: `max` would be string")), "{found:#?}");

    // Wider: the view follows with a version of its own, whose types are right, and the old one keeps its own.
    let wider = text.replace("delay = \"int32\"", "delay = \"int64\"");
    let outcome = node.apply(&wider);
    let updated: Vec<_> = outcome.changes.updated.iter().map(|u| (u.name.as_str(), u.to)).collect();
    assert_eq!(updated, [("landings", 2), ("delays", 2)]);
    assert_eq!(
        outcome.changes.updated[1].changes,
        [
            "feature `max`: type: int32 → int64",
            "feature `top`: type: array<int32> → array<int64>",
            "feature `max`: type of the column: int32 → int64",
            "feature `top`: type of the column: int32 → int64",
        ]
    );
    let catalog = node.catalog();
    assert_eq!(aggregations(&catalog)[1].column_type, Some(DataType::Int64));
    let view = &catalog.feature_views["delays"];
    assert_eq!(view.features[1].data_type, DataType::Int64);
    let before = catalog.feature_view("delays", Some(1)).unwrap();
    assert_eq!(before.stream().unwrap().aggregations[1].column_type, Some(DataType::Int32));
    assert_eq!(view.schemas.iter().map(|s| s.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(print(&Node::over(node.log.clone()).catalog()), print(&catalog));
    assert_eq!(node.apply(&wider).version, outcome.version);

    // int32 to float64 is allowed to a source, but a sum in use would turn from int64 to float64.
    let sum = lines(&[
        &delays(&[&made("sum", "function = \"sum\", column = \"delay\", window = \"1h\"")]),
        &service("s", "\"delays\""),
    ]);
    let mut node = Node::new();
    node.apply(&sum);
    assert_one(
        &node.refused(&sum.replace("\"int32\"", "\"float64\"")),
        &["delays.sum: `sum` would be float64 and no longer int64"],
    );
}

#[test]
fn a_view_that_comes_back_goes_on_with_its_number_and_its_versions() {
    let mut node = Node::new();
    node.apply(&delays(&[&made("n", COUNT)]));
    let number = node.catalog().feature_views["delays"].schema.table;
    node.apply(AIRPORT);
    let other = "[[source]]\nname = \"other\"\nkind = \"push\"\nschema = { a = \"string\" }\n";
    node.apply(&lines(&[AIRPORT, other]));
    let numbers = |node: &Node| {
        let catalog = node.catalog();
        (catalog.sources["other"].schema.table, catalog.feature_views.get("delays").map(|v| v.schema.table))
    };
    assert_eq!(numbers(&node), (TableId(3), None), "the view's number is not given away");
    node.apply(&lines(&[&delays(&[&made("n", MAX)]), other]));
    assert_eq!(numbers(&node), (TableId(3), Some(number)));
    assert_eq!(node.catalog().feature_views["delays"].version, 2);
    assert_eq!(print(&Node::over(node.log.clone()).catalog()), print(&node.catalog()));
}

#[test]
fn a_pinned_version_keeps_its_features_and_types() {
    let last = |column: &str, uses: &str| {
        let rest = format!("function = \"last\", column = \"{column}\", window = \"7d\"");
        lines(&[&delays(&[&made("x", &rest)]), &service("s", uses)])
    };
    let mut node = Node::new();
    node.apply(&last("delay", "\"delays@1:x\""));
    node.apply(&last("plane", "\"delays@1:x\""));
    let catalog = node.catalog();
    let resolved = catalog.resolve_service("s", None).unwrap();
    assert_eq!(resolved.definition(&resolved.features[0]).data_type, DataType::Int32);
    assert_eq!(aggregations(&catalog)[0].column.as_deref(), Some("plane"));
    // Once it takes whatever is current, that keeps its type.
    node.apply(&last("plane", "\"delays:x\""));
    assert_one(&node.refused(&last("delay", "\"delays:x\"")), &["`x` would be int32 and no longer string"]);
}

#[test]
fn pinned_versions_are_computed_too_and_have_to_fit() {
    let filtered = |first: usize, count: usize| {
        let each = |i| made(&format!("x{i}"), &format!("{COUNT}, filter = \"delay > {}\"", first + i));
        let all: Vec<String> = (0..count).map(each).collect();
        delays(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let pin = service("s", "\"delays@1:x0\"");
    let mut node = Node::new();
    node.apply(&lines(&[&filtered(0, 40), &pin]));
    assert_one(
        &node.refused(&lines(&[&filtered(40, 25), &pin])),
        &["delays.aggregation: with older versions that services pin, 65 different filters are used"],
    );
    node.apply(&lines(&[&filtered(40, 24), &pin]));
    let catalog = node.catalog();
    let computed = catalog.computed(&catalog.feature_views["delays"]);
    assert_eq!(computed.len(), 64);
    assert_eq!(computed[0].filter.as_deref(), Some("delay > 40"), "the current version's come first");
    let other = service("s", "\"delays:x0\"");
    node.apply(&lines(&[&filtered(40, 25), &other]));
    let catalog = node.catalog();
    assert_eq!(catalog.computed(&catalog.feature_views["delays"]).len(), 25);
}

#[test]
fn a_source_changes_only_so_far_as_pinned_versions_allow() {
    let counted = |filter: &str| delays(&[&made("n", &format!("{COUNT}, filter = \"{filter}\""))]);
    let pin = service("s", "\"delays@1:n\"");
    let mut node = Node::new();
    node.apply(&lines(&[&counted("substr(plane, delay) = 'x'"), &pin]));
    let next = counted("delay > 0");
    node.apply(&lines(&[&next, &pin]));
    let wider = next.replace("\"int32\"", "\"float64\"");
    assert_one(
        &node.refused(&lines(&[&wider, &pin])),
        &[
            "delays.filter: an older version, which a service pins, has the filter `substr(plane, delay) = 'x'`",
        ],
    );
    node.apply(&lines(&[&wider, &service("s", "\"delays:n\"")]));
}

#[test]
fn columns_and_filters_are_so_many_as_a_state_holds() {
    let filtered = |n: usize| {
        let each = |i| made(&format!("x{i}"), &format!("{COUNT}, filter = \"delay > {i}\""));
        let all: Vec<String> = (0..n).map(each).collect();
        delays(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    read(&filtered(64));
    assert_one(&wrong(&filtered(65)), &["9: ", "65 different filters are used; at most 64 are allowed"]);
}

#[test]
fn aggregations_are_described_found_and_traced() {
    let mut node = Node::new();
    node.apply(&lines(&[
        &delays(&[
            &made("n", "function = \"count\", window = \"90m\", filter = \"delay > 15\", description = \"late ones\""),
            &made("p50", "function = \"approx_percentile\", p = 0.5, column = \"delay\", window = \"lifetime\""),
        ]),
        &service("model", "\"delays:n\""),
    ]));
    let catalog = node.catalog();
    let view = describe_feature_view(&catalog, &catalog.feature_views["delays"]);
    assert_eq!((&view["object"], &view["source"]), (&"feature_view".into(), &"landings".into()));
    assert_eq!(
        view["aggregations"],
        serde_json::json!([
            {"name": "n", "function": "count", "window": "90m", "mode": "sawtooth", "filter": "delay > 15"},
            {"name": "p50", "function": "approx_percentile", "p": 0.5, "column": "delay", "column_type": "int32", "window": "lifetime"},
        ])
    );
    assert_eq!(
        (&view["features"][1]["type"], &view["schema"][0]["name"]),
        (&"float64".into(), &"origin".into())
    );
    assert!(view.get("stream").is_none());

    let hits = search(&catalog, &Query { query: Some("late".into()), ..Query::default() });
    assert_eq!(hits.iter().map(|hit| hit.reference.as_str()).collect::<Vec<_>>(), ["delays:n"]);

    let names = |objects: &[crate::ObjectRef]| objects.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    let source = lineage(&catalog, ObjectKind::Source, "landings").unwrap();
    assert_eq!(names(&source.downstream), ["delays", "model"]);
    let model = lineage(&catalog, ObjectKind::FeatureService, "model").unwrap();
    assert_eq!(names(&model.upstream), ["delays", "airport", "landings"]);
    assert_eq!(model.edges.len(), 3);
}
