//! On-demand feature views: what is read, what is refused, what changes them, what they resolve to, what is shown.

use super::{AIRPORT, Node, assert_one, errors, feature, file, lines, print, service, weather, wrong};
use crate::{
    Input, LogEntry, ObjectKind, Operand, Query, RegistryError, Use, describe_feature_service,
    describe_feature_view, lineage, parse_toml, search,
};
use larder_model::Value;

const PLANE: &str = "[[entity]]\nname = \"aircraft\"\njoin_keys = [{ name = \"tail\", type = \"int64\" }]\n\
    [[feature_view]]\nname = \"plane\"\nentities = [\"aircraft\"]\n\
    feature = [{ name = \"seats\", type = \"int32\" }, { name = \"built\", type = \"int64\" }]\n";

/// `weather` with `temp` and `wind`, and `plane`; 15 lines.
fn base() -> String {
    lines(&[&weather(&[feature("temp", "float64"), feature("wind", "float64")].join(", "), ""), PLANE])
}

/// An on-demand view; its `request` is on its third line, its features are on the sixth and after.
fn view(name: &str, request: &str, uses: &str, features: &[&str]) -> String {
    format!(
        "[[on_demand_feature_view]]\nname = \"{name}\"\nrequest = {{ {request} }}\nuses = [{uses}]\n\
         feature = [\n{}\n]\n",
        features.join(",\n")
    )
}

fn made(name: &str, data_type: &str, expression: &str) -> String {
    format!("{{ name = \"{name}\", type = \"{data_type}\", expression = \"{expression}\" }}")
}

fn context() -> String {
    view(
        "context",
        "distance = \"float64\"",
        "\"weather:wind\", { feature = \"plane:seats\", as = \"places\" }",
        &[
            &made("load", "float64", "distance / places"),
            "{ name = \"gusty\", type = \"bool\", expression = \"wind > 25\", default = false, description = \"d\", \
             owner = \"o\", tags = { k = \"v\" }, pii = true, status = \"experimental\" }",
            &made("both", "float64", "CASE WHEN gusty THEN load ELSE wind END"),
        ],
    )
}

/// What plan says of definitions that are well formed.
fn invalid(node: &Node, text: &str) -> Vec<String> {
    let definitions = parse_toml(&[file("f.toml", text)]).unwrap();
    let result = crate::plan(&node.catalog(), &definitions).map(|_| definitions);
    errors(result).iter().map(|e| format!("{}: {}", e.line.unwrap_or(0), e.message)).collect()
}

#[test]
fn everything_that_is_written_is_read() {
    let mut node = Node::new();
    node.apply(&lines(&[&base(), &context()]));
    let catalog = node.catalog();
    let view = &catalog.feature_views["context"];
    assert!(view.entities.is_empty() && view.schema.keys.is_empty() && !view.has_rows());
    assert!(catalog.table("context").is_none() && !catalog.tables.contains_key(&view.schema.table));
    let on_demand = view.on_demand().unwrap();
    let types: Vec<String> = on_demand.types.iter().map(ToString::to_string).collect();
    assert_eq!(types, ["float64", "int32"]);
    assert_eq!(on_demand.uses.iter().map(Use::name).collect::<Vec<_>>(), ["wind", "places"]);
    assert_eq!(on_demand.input("distance"), Some(Input::Request(0)));
    assert_eq!(on_demand.input("places"), Some(Input::Use(1)));
    assert_eq!((on_demand.input("gusty"), on_demand.input("seats")), (Some(Input::Feature(1)), None));
    assert_eq!(on_demand.expression(2).unwrap().columns(), ["gusty", "load", "wind"]);
    assert_eq!((&view.features[1].default, view.features[1].pii), (&Some(Value::Bool(false)), true));

    let replayed = Node::over(node.log.clone());
    assert_eq!(print(&replayed.catalog()), print(&catalog));
    let again = node.apply(&lines(&[&base(), &context()]));
    assert_eq!((again.version, again.changes.unchanged.len()), (1, 5));
}

#[test]
fn the_log_keeps_what_was_written_with_the_types_of_what_is_used() {
    let mut node = Node::new();
    node.apply(&lines(&[&base(), &context()]));
    let entries = crate::RegistryLog::read_all(&node.log).unwrap();
    let entry: LogEntry = serde_json::from_slice(&entries[0].1).unwrap();
    let entry = serde_json::to_value(&entry).unwrap();
    let records = entry["revision"]["objects"].as_array().unwrap();
    let record = records.iter().find(|r| r["definition"]["name"] == "context").unwrap();
    assert_eq!(
        record["definition"]["on_demand"],
        serde_json::json!({
            "request": [{ "name": "distance", "type": "float64" }],
            "uses": [
                { "view": "weather", "feature": "wind" },
                { "view": "plane", "feature": "seats", "as": "places" },
            ],
            "types": ["float64", "int32"],
            "expressions": ["distance / places", "wind > 25", "CASE WHEN gusty THEN load ELSE wind END"],
        })
    );
}

#[test]
fn what_is_malformed_is_told_with_its_line() {
    let one =
        |request: &str, uses: &str, made: &str| wrong(&lines(&[&base(), &view("v", request, uses, &[made])]));
    let x = made("x", "int64", "1");
    for (found, says) in [
        (
            one("a = \"flot64\"", "", &x),
            "18: on-demand feature view `v`: unknown type `flot64`; did you mean `float64`?",
        ),
        (
            one("", "\"plane\"", &x),
            "19: on-demand feature view `v`: `plane` names a whole view; write `plane:feature`",
        ),
        (one("", "\"plane:\"", &x), "19: on-demand feature view `v`: `plane:` is not a reference"),
        (one("", "{ as = \"y\" }", &x), "19: on-demand feature view `v`, uses: `feature` is missing"),
        (
            one("", "", "{ name = \"x\", type = \"int64\" }"),
            "21: on-demand feature view `v`, feature `x`: `expression` is missing",
        ),
        (
            one("", "", "{ name = \"x\", expression = \"1\" }"),
            "21: on-demand feature view `v`, feature `x`: `type` is missing",
        ),
        (
            one("", "", "{ name = \"x\", type = \"int64\", expression = \"1\", validate = {} }"),
            "unknown key `validate`",
        ),
        (
            one("built = \"int64\"", "\"plane:built\"", &x),
            "19: on-demand feature view `v`: in expressions `built` would be a column of the request and a feature that is used; rename",
        ),
        (
            one("", "\"plane:built\", \"old:built\"", &x),
            "would be a feature that is used and a feature that is used; rename what is used: { feature = \"view:built\", as = \"…\" }",
        ),
        (
            one("x = \"int64\"", "", &x),
            "21: on-demand feature view `v`: in expressions `x` would be a column of the request and a feature of the view",
        ),
    ] {
        assert_one(&found, &[says]);
    }
    let many: Vec<String> = (0..201).map(|i| made(&format!("x{i}"), "int64", "1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_one(&wrong(&view("v", "", "", &many)), &["`feature` has 201 entries; at most 200 are allowed"]);
    let views: Vec<String> = (0..51).map(|i| view(&format!("v{i}"), "", "", &many[..200])).collect();
    assert_one(&wrong(&views.concat()), &["10200 on-demand features; at most 10000 are allowed"]);
}

#[test]
fn what_does_not_hold_is_told_with_its_line_and_its_place_in_the_expression() {
    let node = Node::new();
    let one = |uses: &str, made: &str| invalid(&node, &lines(&[&base(), &view("v", "", uses, &[made])]));
    for (found, parts) in [
        (
            one("\"plan:built\"", &made("x", "int64", "1")),
            vec!["19: on-demand feature view `v`: unknown feature view `plan`; did you mean `plane`?"],
        ),
        (
            one("\"plane:bult\"", &made("x", "int64", "1")),
            vec!["19: ", "has no feature `bult`; did you mean `built`?"],
        ),
        (
            one("\"plane@7:built\"", &made("x", "int64", "1")),
            vec!["19: ", "has no version 7; its newest is 1"],
        ),
        (
            one("\"plane:built\"", &made("x", "int64", "2013 - bilt")),
            vec![
                "21: on-demand feature view `v`, feature `x`: `expression`: unknown column `bilt`",
                "(at character 8 of the expression)",
            ],
        ),
        (
            one("\"plane:built\"", &made("x", "string", "2013 - built")),
            vec!["21: ", "the expression is int64, but string is wanted"],
        ),
        (one("", &made("x", "int64", "x + 1")), vec!["21: ", "unknown column `x`"]),
        (one("", &made("x", "float64", "random()")), vec!["21: ", "not deterministic"]),
    ] {
        assert_one(&found, &parts);
    }
    // All of it at once, whatever else there is.
    let both = [made("x", "int64", "nothing"), made("y", "int64", "1 +")];
    let found = invalid(&node, &view("v", "", "", &[&both[0], &both[1]]));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn views_are_chained_in_whatever_order_they_are_written() {
    let mut node = Node::new();
    let last = view("last", "", "\"middle:y\", \"first:x\"", &[&made("z", "int64", "x * y")]);
    let middle = view("middle", "", "\"first:x\"", &[&made("y", "int64", "x + 1")]);
    let first = view("first", "n = \"int64\"", "", &[&made("x", "int64", "n")]);
    node.apply(&lines(&[&last, &middle, &first, &service("s", "\"last\"")]));
    let catalog = node.catalog();
    let resolved = catalog.resolve_service("s", None).unwrap();
    let steps = &resolved.computation.steps;
    let names: Vec<&str> = steps
        .iter()
        .map(|step| resolved.groups[step.group].view.features[step.feature].name.as_str())
        .collect();
    assert_eq!(names, ["x", "y", "z"], "each after what it needs");
    assert_eq!(steps[0].operands, [Operand::Request(0)]);
    assert_eq!(steps[2].operands, [Operand::Step(0), Operand::Step(1)]);
    assert_eq!((resolved.features.len(), resolved.join_keys().len()), (1, 0));
    Node::over(node.log.clone());
}

#[test]
fn circles_and_long_chains_are_refused() {
    let node = Node::new();
    let x = made("x", "int64", "1");
    let a = view("a", "", "\"b:x\"", &[&made("y", "int64", "x")]);
    let b = view("b", "", "{ feature = \"c:x\", as = \"p\" }", &[&x]);
    let c = view("c", "", "\"a:y\"", &[&x]);
    assert_one(
        &invalid(&node, &lines(&[&a, &b, &c])),
        &["1: on-demand feature views use each other in a circle: `a` → `b` → `c` → `a`"],
    );
    let own = view("a", "", "\"a:x\"", &[&made("y", "int64", "x")]);
    assert_one(&invalid(&node, &own), &["circle: `a` → `a`"]);
    let chain = |length: usize| {
        let link = |i: usize| {
            let uses =
                if i == 0 { String::new() } else { format!("{{ feature = \"v{}:x\", as = \"p\" }}", i - 1) };
            view(&format!("v{i}"), "", &uses, &[&x])
        };
        (0..length).map(link).collect::<Vec<_>>()
    };
    Node::new().apply(&chain(33).concat());
    assert_one(
        &invalid(&node, &chain(34).concat()),
        &["on-demand feature view `v33`: more than 32 views use each other"],
    );
    let deepest_first: String = chain(2000).into_iter().rev().collect();
    assert_one(&invalid(&node, &deepest_first), &["more than 32 views use each other"]);
}

/// A pinned version that uses the view which pins it.
#[test]
fn circles_through_older_versions_are_refused() {
    let mut node = Node::new();
    let x = |value: &str| made("x", "int64", value);
    let plain = view("a", "", "", &[&x("1")]);
    let uses_a = view("b", "", "{ feature = \"a:x\", as = \"p\" }", &[&x("p")]);
    node.apply(&lines(&[&plain, &uses_a]));
    node.apply(&lines(&[&plain, &view("b", "", "", &[&x("2")])]));
    let pins = view("a", "", "{ feature = \"b@1:x\", as = \"p\" }", &[&x("p")]);
    assert_one(
        &invalid(&node, &lines(&[&pins, &view("b", "", "", &[&x("2")])])),
        &["circle: `a` → `b` → `a`"],
    );
}

#[test]
fn inputs_are_looked_up_by_their_own_keys_whatever_the_service_calls_them() {
    let mut node = Node::new();
    let far =
        "{ view = \"weather\", as = \"far\", features = [\"temp\"], join_keys = { origin = \"dest\" } }";
    let features = format!("{far}, \"context:both\", \"weather:temp\"");
    node.apply(&lines(&[&base(), &context(), &service("s", &features)]));
    let catalog = node.catalog();
    let resolved = catalog.resolve_service("s", None).unwrap();
    let names: Vec<&str> = resolved.features.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["far:temp", "context:both", "weather:temp"]);
    let groups: Vec<(&str, String)> =
        resolved.groups.iter().map(|g| (g.alias.as_str(), g.key_columns.join(","))).collect();
    assert_eq!(
        groups,
        [
            ("far", "dest".into()),
            ("context", String::new()),
            ("weather", "origin".into()),
            ("plane", "tail".into())
        ]
    );
    assert_eq!(resolved.computation.inputs.len(), 2);
    assert!(resolved.computation.inputs.contains(&(2, 1)), "wind of the airport itself");
    assert_eq!(resolved.computation.request[0].column.name, "distance");
    let keys: Vec<String> = resolved.join_keys().into_iter().map(|k| k.name).collect();
    assert_eq!(keys, ["dest", "origin", "tail"]);
    assert_eq!(resolved.column_names(true).unwrap()[1], "context__both");

    // Only what is needed for what is asked.
    let one = catalog.resolve_features(&["context:gusty"]).unwrap();
    assert_eq!((one.computation.steps.len(), one.computation.request.len(), one.groups.len()), (1, 0, 2));

    let mapped = "{ view = \"context\", as = \"c\", join_keys = { origin = \"dest\" } }";
    let text = lines(&[&base(), &context(), &service("s", mapped)]);
    assert_one(&invalid(&node, &text), &["on-demand feature view and has no join keys"]);
    let other = view("other", "distance = \"int64\"", "", &[&made("d", "int64", "distance")]);
    let text = lines(&[&base(), &context(), &other, &service("s", "\"context\", \"other\"")]);
    assert_one(
        &invalid(&node, &text),
        &["the request's column `distance` would have to be float64 for `context` and int64 for `other`"],
    );
}

#[test]
fn what_is_used_is_not_dropped_retyped_or_retired() {
    let mut node = Node::new();
    let chained = view("chained", "", "\"context:load\"", &[&made("l", "float64", "load")]);
    node.apply(&lines(&[&base(), &context(), &chained]));
    let dry = weather(&feature("temp", "float64"), "");
    assert_one(
        &node.refused(&lines(&[&dry, PLANE, &context(), &chained])),
        &["weather.wind: `wind` was dropped, but on-demand feature view `context` uses it; keep the feature"],
    );
    let without =
        view("context", "distance = \"float64\"", "\"weather:wind\"", &[&made("gusty", "bool", "wind > 25")]);
    assert_one(
        &node.refused(&lines(&[&base(), &without, &chained])),
        &["context.load: `load` was dropped, but on-demand feature view `chained` uses it"],
    );
    let retyped = context()
        .replace("\"float64\", expression = \"distance / places\"", "\"int64\", expression = \"places\"");
    assert_one(
        &node.refused(&lines(&[&base(), &retyped, &chained.replace("\"load\"", "\"CAST(load AS double)\"")])),
        &[
            "context.load: `load` would be int64 and no longer float64, but on-demand feature view `chained` uses it",
        ],
    );
    let text = lines(&[AIRPORT, &weather("", "").replace(AIRPORT, ""), &context()]);
    assert!(wrong(&text).len() == 1, "weather without features");
    assert_one(
        &invalid(
            &node,
            &lines(&[
                PLANE,
                &context().replace("\"weather:wind\", ", "").replace("wind", "places"),
                &view("w", "", "\"weather:wind\"", &[&made("x", "float64", "wind")]),
            ]),
        ),
        &["on-demand feature view `w`: unknown feature view `weather`; it was retired"],
    );
    // Nobody uses it any more: it may go.
    node.apply(&base());
    node.apply(&lines(&[&dry, PLANE]));
}

#[test]
fn changes_make_versions() {
    let mut node = Node::new();
    node.apply(&lines(&[&base(), &context(), &service("s", "\"context\"")]));
    let other = context().replace("wind > 25", "wind > 30");
    let outcome = node.apply(&lines(&[&base(), &other, &service("s", "\"context\"")]));
    assert_eq!(outcome.changes.updated[0].changes, ["feature `gusty`: expression: wind > 25 → wind > 30"]);
    // What is used becomes wider: the view is computed of the wider type from its next version on.
    let wide = base().replace("\"seats\", type = \"int32\"", "\"seats\", type = \"int64\"");
    let outcome = node.apply(&lines(&[&wide, &other, &service("s", "\"context\"")]));
    let updated = outcome.changes.updated.iter().find(|u| u.name == "context").unwrap();
    assert_eq!(
        (updated.to, &updated.changes[..]),
        (3, &["type of the used `plane:seats`: int32 → int64".to_owned()][..])
    );
    let catalog = node.catalog();
    let types = |version| {
        catalog.feature_view("context", Some(version)).unwrap().on_demand().unwrap().types[1].to_string()
    };
    assert_eq!((types(2), types(3)), ("int32".into(), "int64".into()));
    let pinned = catalog.resolve_features(&["context@1:gusty"]).unwrap();
    assert_eq!(pinned.groups[0].view.on_demand().unwrap().expressions[1], "wind > 25");

    for name in ["plane", "weather"] {
        let taken = view(name, "", "", &[&made("x", "int64", "1")]);
        let rest = view("c", "", "", &[&made("x", "int64", "1")]);
        let refused = node.refused(&lines(&[AIRPORT, &taken, &rest]));
        assert_one(
            &refused,
            &["is or was a feature view whose rows are written; give the on-demand feature view a new name"],
        );
    }
}

#[test]
fn requests_that_are_in_use_stay_as_they_are() {
    let mut node = Node::new();
    let all = |context: &str| lines(&[&base(), context, &service("s", "\"context\"")]);
    node.apply(&all(&context()));
    let more = context().replace("distance = \"float64\"", "distance = \"float64\", speed = \"float64\"");
    // A column that nothing needs is asked of nobody.
    node.apply(&all(&more));
    let needed = more.replace("distance / places", "distance / speed");
    assert_one(
        &node.refused(&all(&needed)),
        &[
            "context.speed: `request` has the new column `speed`, which requests for feature service `s` are not made for",
        ],
    );
    let narrow = context()
        .replace("distance = \"float64\"", "distance = \"int64\"")
        .replace("distance / places", "CAST(distance AS double)");
    assert_one(
        &node.refused(&all(&narrow)),
        &["the column `distance` of `request` would be int64 and no longer float64"],
    );
    let fewer = context().replace("distance / places", "wind");
    assert_one(&node.refused(&all(&fewer)), &["the column `distance` of `request` was dropped"]);
    let keyed = "[[entity]]\nname = \"carrier\"\njoin_keys = [{ name = \"carrier\", type = \"string\" }]\n\
        [[feature_view]]\nname = \"airline\"\nentities = [\"carrier\"]\nfeature = [{ name = \"age\", type = \"float64\" }]\n";
    let uses = context().replace("uses = [", "uses = [\"airline:age\", ").replace("wind > 25", "wind > age");
    assert_one(
        &node.refused(&lines(&[keyed, &all(&uses)])),
        &["context.uses: a view of `uses` is keyed by `carrier`"],
    );
    // A pinned version keeps what it asks for; a service that is changed knows what it does.
    node.apply(&lines(&[&base(), &needed, &service("s", "\"context@1\"")]));
    node.apply(&lines(&[&base(), &needed, &service("s", "\"context\"")]));
}

#[test]
fn older_aggregates_that_an_on_demand_view_pins_are_computed() {
    let mut node = Node::new();
    let stream = |window: &str| {
        format!(
            "{AIRPORT}[[source]]\nname = \"landings\"\nkind = \"push\"\nschema = {{ origin = \"string\" }}\n\
             [[stream_feature_view]]\nname = \"n\"\nentities = [\"airport\"]\nsource = \"landings\"\n\
             aggregation = [{{ name = \"n\", function = \"count\", window = \"{window}\" }}]\n"
        )
    };
    node.apply(&stream("1h"));
    let pins = view("v", "", "\"n@1:n\"", &[&made("x", "int64", "n")]);
    node.apply(&lines(&[&stream("2h"), &pins]));
    let catalog = node.catalog();
    let windows: Vec<String> =
        catalog.computed(&catalog.feature_views["n"]).iter().map(|a| a.window.to_string()).collect();
    assert_eq!(windows.len(), 2, "{windows:?}");
    node.apply(&stream("2h"));
    let catalog = node.catalog();
    assert_eq!(catalog.computed(&catalog.feature_views["n"]).len(), 1);
}

#[test]
fn it_is_found_shown_and_traced() {
    let mut node = Node::new();
    node.apply(&lines(&[&base(), &context(), &service("s", "\"context:load\"")]));
    let catalog = node.catalog();
    let shown = describe_feature_view(&catalog, &catalog.feature_views["context"]);
    assert_eq!(shown["kind"], "on_demand");
    assert_eq!(shown["request"], serde_json::json!([{ "name": "distance", "type": "float64" }]));
    assert_eq!(
        shown["uses"][1],
        serde_json::json!({ "view": "plane", "feature": "seats", "as": "places", "type": "int32" })
    );
    assert_eq!(shown["expressions"][1], serde_json::json!({ "name": "gusty", "expression": "wind > 25" }));
    assert_eq!(shown["join_keys"].as_array().unwrap().len(), 2);
    assert!(shown["on_demand"].is_null());
    assert_eq!(describe_feature_view(&catalog, &catalog.feature_views["plane"])["kind"], "written");
    let service = describe_feature_service(&catalog, &catalog.feature_services["s"]);
    assert_eq!(service["request"], serde_json::json!([{ "name": "distance", "type": "float64" }]));
    assert_eq!(service["join_keys"], serde_json::json!([{ "name": "tail", "type": "int64" }]));

    let hits = search(
        &catalog,
        &Query { query: Some("gusty".into()), entity: Some("airport".into()), ..Query::default() },
    );
    assert_eq!(hits.iter().map(|hit| hit.reference.as_str()).collect::<Vec<_>>(), ["context:gusty"]);

    let up: Vec<String> = lineage(&catalog, ObjectKind::FeatureService, "s")
        .unwrap()
        .upstream
        .into_iter()
        .map(|o| o.name)
        .collect();
    assert_eq!(up, ["context", "plane", "weather", "aircraft", "airport"]);
    let down = lineage(&catalog, ObjectKind::Entity, "airport").unwrap().downstream;
    assert_eq!(down.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["weather", "context", "s"]);
    assert!(matches!(catalog.feature_view("contex", None), Err(RegistryError::Unknown { .. })));
}
