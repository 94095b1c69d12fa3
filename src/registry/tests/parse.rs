//! Everything that is wrong is told of, each at its place.

use super::{AIRPORT, assert_one, errors, feature, file, lines, read, service, weather, wrong, wrong_json};
use crate::{DefinitionFile, RegistryError, SourceKind, parse_json, parse_toml};
use larder_model::{
    DataType, Value,
    error::{Code, Coded},
};

const SOURCE: &str = "[[source]]\nname = \"landings\"\nkind = \"push\"\n";

#[test]
fn all_errors_of_all_files_are_told_at_once() {
    let files = [
        file(
            "a.toml",
            "[[entity]]\nname = \"Airport\"\n\n[[entity]]\nname = \"plane\"\njoin_keys = [{ name = \"tail\", type = \"float64\" }]\n",
        ),
        file(
            "b.toml",
            "[[feature_view]]\nname = \"w\"\nentites = [\"plane\"]\nttl = \"2 hours\"\nfeature = [\n  { name = \"x\", type = \"flaot64\" },\n  { name = \"y\" },\n]\n",
        ),
        file("c.toml", "[[feature_service]]\nname = \"s\"\nfeatures = [\"w:x\", \"nowhere\"]\n"),
    ];
    let error = parse_toml(&files).unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    let found: Vec<String> =
        error.details().iter().map(|d| format!("{} {}", d.field.as_deref().unwrap(), d.reason)).collect();
    let expected = [
        "a.toml:2 entity `Airport`: `Airport` is not a name",
        "a.toml:1 entity `Airport`: `join_keys` is missing",
        "a.toml:6 entity `plane`, join key `tail`: `float64` cannot be its type; possible are string, int64, int32, bool, uuid",
        "b.toml:1 feature view `w`: `entities` is missing; write entities = [\"…\"]",
        "b.toml:3 feature view `w`: unknown key `entites`; did you mean `entities`?",
        "b.toml:4 feature view `w`: `ttl`: `2 hours` is not a duration",
        "b.toml:6 feature view `w`, feature `x`: unknown type `flaot64`; did you mean `float64`?",
        "b.toml:7 feature view `w`, feature `y`: `type` is missing",
        "c.toml:3 feature service `s`: unknown feature view `nowhere`",
    ];
    for line in expected {
        assert!(found.iter().any(|f| f.starts_with(line)), "missing: {line}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn syntax_errors_name_their_lines_in_every_file() {
    let files =
        [file("a.toml", "[[entity]]\nname = \n"), file("b.toml", "\n\n[[entity\n"), file("c.toml", AIRPORT)];
    let found = errors(parse_toml(&files));
    assert!(found.iter().any(|e| e.file == "a.toml" && e.line == Some(2)), "{found:?}");
    assert!(found.iter().any(|e| e.file == "b.toml" && e.line == Some(3)), "{found:?}");
    assert!(found.iter().all(|e| e.message.starts_with("not TOML") && e.file != "c.toml"));
    assert_one(&wrong_json("{\"entity\": [\n}"), &["body:2", "not JSON"]);
}

#[test]
fn files_of_other_systems_are_read() {
    let text = AIRPORT.replace('\n', "\r\n");
    read(&text);
    read(&format!("\u{feff}{AIRPORT}"));
    assert_one(&wrong(&format!("{text}x = 1\r\n")), &["4: ", "unknown key `x`"]);
}

#[test]
fn tables_that_are_not_lists_and_unknown_tables_are_refused() {
    assert_one(&wrong("[entity]\nname = \"a\"\n"), &["1: ", "write [[entity]]"]);
    assert_one(
        &wrong(&lines(&[AIRPORT, "[[feature_veiw]]\nname = \"x\"\n"])),
        &["4: ", "did you mean `feature_view`?"],
    );
    assert_one(&wrong("entity = [1]\n"), &["1: entity: expected a table, got a number"]);
}

#[test]
fn nothing_at_all_is_not_taken_for_the_wish_to_retire_everything() {
    for files in [vec![], vec![file("a.toml", "")], vec![file("a.toml", "# nothing\n"), file("b.toml", "")]] {
        let files: Vec<DefinitionFile> = files;
        assert!(errors(parse_toml(&files))[0].message.contains("nothing is defined"));
    }
    assert_one(&wrong_json("{}"), &["nothing is defined"]);
}

#[test]
fn names_are_unique_within_their_namespace() {
    let twice = lines(&[AIRPORT, AIRPORT]);
    assert_one(&wrong(&twice), &["4: ", "`airport` is taken", "f.toml:1"]);
    let view = weather(&feature("temp", "float64"), "");
    let source = "[[source]]\nname = \"weather\"\nkind = \"push\"\nschema = { a = \"string\" }\n";
    assert_one(&wrong(&lines(&[&view, source])), &["9: ", "`weather` is taken"]);
    let batch = wrong(&lines(&[&view, "[[batch_feature_view]]\nname = \"weather\"\n"]));
    assert!(batch.iter().any(|error| error.contains("`weather` is taken")), "{batch:?}");
    // An entity and a service may share a table's name.
    read(&lines(&[
        &view,
        &service("weather", "\"weather\""),
        "[[entity]]\nname = \"weather\"\njoin_keys = [{ name = \"id\", type = \"int64\" }]\n",
    ]));
}

#[test]
fn entities_need_sound_join_keys() {
    let entity = |keys: &str| format!("[[entity]]\nname = \"e\"\njoin_keys = [{keys}]\n");
    for data_type in ["string", "int64", "int32", "bool", "uuid"] {
        read(&entity(&feature("k", data_type)));
    }
    assert_one(&wrong(&entity("")), &["3: ", "at least one join key"]);
    assert_one(&wrong(&entity(&feature("k", "timestamp"))), &["`timestamp` cannot be its type"]);
    assert_one(&wrong(&entity(&feature("event_time", "string"))), &["time column of every view"]);
    assert_one(&wrong(&entity(&feature("_k", "string"))), &["larder's own"]);
    let twice = format!("{}, {}", feature("k", "string"), feature("k", "string"));
    assert_one(&wrong(&entity(&twice)), &["listed twice"]);
    let other = "[[entity]]\nname = \"other\"\njoin_keys = [{ name = \"origin\", type = \"int64\" }]\n";
    assert_one(
        &wrong(&lines(&[AIRPORT, other])),
        &["4: ", "`origin` is int64 here but string in entity `airport`"],
    );
}

#[test]
fn sources_as_written() {
    let definitions = read(&lines(&[
        SOURCE,
        "event_time = \"at\"\nevent_id = \"id\"\navailability_lag = \"5m\"\nretention = \"90d\"\nschema = { zulu = \"float64\", at = \"timestamp\", id = \"string\", alpha = \"array<int64>\" }\n",
    ]));
    let source = &definitions.sources[0];
    assert_eq!(source.kind, SourceKind::Push);
    let names: Vec<&str> = source.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["zulu", "id", "alpha"], "in the order written, without the event time");
    assert_eq!(source.event_time, "at");
    assert_eq!(source.availability_lag.to_string(), "5m");
}

#[test]
fn sources_that_cannot_be() {
    let with = |more: &str| wrong(&lines(&[SOURCE, more, "\n"]));
    assert_one(&with(""), &["1: ", "`schema` is missing"]);
    assert_one(&with("schema = {}"), &["at least one column"]);
    assert_one(&with("schema = { event_time = \"timestamp\" }"), &["at least one column"]);
    assert_one(
        &with("schema = { a = \"string\", event_time = \"string\" }"),
        &["must be timestamp, not string"],
    );
    assert_one(&with("schema = { a = \"strin\" }"), &["4: ", "did you mean `string`?"]);
    assert_one(&with("schema = { _a = \"string\" }"), &["larder's own"]);
    assert_one(
        &with("schema = { flight = \"string\" }\nevent_id = \"fligt\""),
        &["5: ", "did you mean `flight`?"],
    );
    assert_one(&with("schema = { id = \"float64\" }\nevent_id = \"id\""), &["`id` is float64"]);
    assert_one(&with("schema = { a = \"uuid\" }"), &["for join keys; write `string`"]);
    assert_one(&with("schema = { a = \"string\" }\nretention = \"0s\""), &["longer than zero"]);
    for kind in ["file", "kafka", "postgres"] {
        let text = format!("[[source]]\nname = \"s\"\nkind = \"{kind}\"\nschema = {{ a = \"string\" }}\n");
        assert_one(&wrong(&text), &["3: ", &format!("`{kind}` sources are not yet supported")]);
    }
    assert_one(
        &wrong("[[source]]\nname = \"s\"\nkind = \"psuh\"\nschema = { a = \"string\" }\n"),
        &["did you mean `push`?"],
    );
}

#[test]
fn views_that_cannot_be() {
    let temp = feature("temp", "float64");
    assert_one(&wrong(&weather("", "")), &["at least one feature"]);
    assert_one(&wrong(&weather(&format!("{temp}, {temp}"), "")), &["`temp` is defined twice"]);
    assert_one(&wrong(&weather(&feature("origin", "string"), "")), &["a join key of entity `airport`"]);
    assert_one(&wrong(&weather(&feature("event_time", "timestamp"), "")), &["time column"]);
    assert_one(&wrong(&weather(&feature("_seq", "int64"), "")), &["larder's own"]);
    assert_one(&wrong(&weather(&temp, "online = false\noffline = false")), &["would keep nothing"]);
    assert_one(&wrong(&weather(&temp, "online = 1")), &["`online` must be true or false, got a number"]);
    assert_one(
        &wrong(&weather(&temp, "ttl = 7200")),
        &["8: ", "`ttl` must be a duration such as \"2h\", got a number"],
    );
    assert_one(&wrong(&weather(&temp, "tags = { a = 1 }")), &["`a` must be a string"]);
    let entities = |list: &str| weather(&temp, "").replace("[\"airport\"]", list);
    assert_one(&wrong(&entities("[]")), &["at least one entity"]);
    assert_one(
        &wrong(&entities("[\"airprot\"]")),
        &["6: ", "unknown entity `airprot`; did you mean `airport`?"],
    );
    assert_one(&wrong(&entities("[\"airport\", \"airport\"]")), &["listed twice"]);
    assert_one(&wrong(&entities("\"airport\"")), &["`entities` must be a list, got a string"]);
    let route = "[[entity]]\nname = \"route\"\njoin_keys = [{ name = \"origin\", type = \"string\" }, { name = \"dest\", type = \"string\" }]\n";
    assert_one(
        &wrong(&lines(&[&entities("[\"airport\", \"route\"]"), route])),
        &["both have the join key `origin`"],
    );
}

#[test]
fn a_view_whose_entity_is_not_sound_is_not_blamed() {
    let text = weather(&feature("temp", "float64"), "").replace("\"string\"", "\"strong\"");
    assert_one(
        &wrong(&lines(&[&text, &service("s", "\"weather:temp\"")])),
        &["3: ", "`strong` cannot be its type"],
    );
}

#[test]
fn defaults_have_the_features_type() {
    let with = |data_type: &str, default: &str| {
        weather(&format!("{{ name = \"x\", type = \"{data_type}\", default = {default} }}"), "")
    };
    for (data_type, default) in [
        ("bool", "true"),
        ("int32", "-1"),
        ("int64", "0x10"),
        ("float32", "1"),
        ("float64", "1.5"),
        ("string", "\"a\""),
        ("bytes", "\"aGk=\""),
        ("timestamp", "2013-01-01T00:00:00Z"),
        ("timestamp", "\"2013-01-01T00:00:00Z\""),
        ("json", "{ a = [1, \"b\"] }"),
        ("array<int64>", "[1, 2]"),
        ("array<float32, 2>", "[0.5, 1]"),
    ] {
        let definitions = read(&with(data_type, default));
        assert!(definitions.feature_views[0].features[0].default.is_some(), "{data_type} {default}");
    }
    for (data_type, default) in [
        ("bool", "1"),
        ("int32", "3000000000"),
        ("int64", "1.5"),
        ("float64", "\"1\""),
        ("float64", "nan"),
        ("float64", "inf"),
        ("float32", "1e300"),
        ("string", "1"),
        ("bytes", "\"%\""),
        ("timestamp", "2013-01-01T00:00:00"),
        ("array<int64>", "[1, \"2\"]"),
        ("array<float32, 2>", "[1]"),
        ("int64", "99999999999999999999"),
    ] {
        let found = wrong(&with(data_type, default));
        assert_one(&found, &["7: "]);
    }
    let widest = read(&with("int64", "9007199254740993"));
    assert_eq!(widest.feature_views[0].features[0].default, Some(Value::Int64(9_007_199_254_740_993)));
}

#[test]
fn validation_rules_fit_the_type() {
    let with = |data_type: &str, rules: &str| {
        weather(&format!("{{ name = \"x\", type = \"{data_type}\", validate = {{ {rules} }} }}"), "")
    };
    let rules =
        |data_type, rules| read(&with(data_type, rules)).feature_views[0].features[0].validate.clone();
    assert_eq!(rules("int64", "min = -1, max = 1.5, not_null = true").min, Some(-1.0));
    assert_eq!(rules("timestamp", "min = 1970-01-01T00:00:01Z").min, Some(1e6));
    assert_eq!(rules("int32", "allowed = [1, 2]").allowed, Some(vec![Value::Int32(1), Value::Int32(2)]));
    assert_eq!(rules("array<string>", "max_length = 3").max_length, Some(3));
    let regex = rules("string", "regex = '[a-z]+|[0-9]'").regex.unwrap();
    assert!(regex.is_match("abc") && !regex.is_match("abc1"));
    for (data_type, rules, says) in [
        ("float64", "min = 2, max = 1", "`min` (2) is greater than `max` (1)"),
        ("string", "min = 1", "`min` is for numbers and timestamps, not for string"),
        ("int64", "regex = 'a'", "`regex` is for strings, not for int64"),
        ("int64", "max_length = 1", "not for int64"),
        ("json", "allowed = ['a']", "not for json"),
        ("string", "regex = '('", "is not a regular expression"),
        ("string", "max_length = -1", "whole number"),
        ("string", "allowed = []", "no value would be accepted"),
        ("int64", "allowed = ['a']", "`allowed`: expected int64"),
        ("int64", "minimum = 1", "unknown key `minimum`"),
        ("int64", "min = 'a'", "`min` must be a number, got a string"),
    ] {
        assert_one(&wrong(&with(data_type, rules)), &["7: ", says]);
    }
}

#[test]
fn service_references_are_checked_at_their_own_lines() {
    let text = |features: &str| lines(&[&weather(&feature("temp", "float64"), ""), &service("s", features)]);
    assert_one(
        &wrong(&text("\n  \"weather\",\n  \"wether:temp\",\n")),
        &["13: ", "unknown feature view `wether`; did you mean `weather`?"],
    );
    assert_one(&wrong(&text("")), &["at least one feature"]);
    assert_one(&wrong(&text("\"weather:\"")), &["is not a reference"]);
    assert_one(&wrong(&text("1")), &["expected a table, got a number"]);
    assert_one(&wrong(&text("\"weather\", \"weather:temp\"")), &["`weather:temp` is listed twice"]);
    assert_one(
        &wrong(&text("{ view = \"weather\", as = \"w\", features = [] }")),
        &["leave it out to take all"],
    );
    assert_one(&wrong(&text("{ view = \"weather@3\" }")), &["`view` is a name only"]);
    assert_one(&wrong(&text("{ view = \"weather\", version = 0 }")), &["1 or more"]);
    assert_one(&wrong(&text("{ view = \"weather\", alias = \"w\" }")), &["unknown key `alias`"]);
    assert_one(
        &wrong(&text("{ view = \"weather\", join_keys = { orgin = \"dest\" } }")),
        &["no join key `orgin`; did you mean `origin`?"],
    );
    assert_one(
        &wrong(&text("\"weather\", { view = \"weather\", join_keys = { origin = \"dest\" } }")),
        &["another name with `as`"],
    );
}

#[test]
fn json_says_the_same_with_paths_for_lines() {
    let json = r#"{
        "entity": [{"name": "airport", "join_keys": [{"name": "origin", "type": "string"}], "owner": null}],
        "source": [{"name": "s", "kind": "push", "schema": {"zulu": "int64", "alpha": "string"}}],
        "feature_view": [{"name": "weather", "entities": ["airport"], "ttl": "2h",
            "feature": [{"name": "temp", "type": "float64", "default": 0.5, "validate": {"min": -60}}]}],
        "feature_service": [{"name": "svc", "features": ["weather:temp", {"view": "weather", "as": "far", "join_keys": {"origin": "dest"}}]}]
    }"#;
    let definitions = parse_json("body", json).unwrap();
    assert_eq!(definitions.sources[0].columns[0].name, "zulu");
    assert_eq!(definitions.feature_views[0].features[0].data_type, DataType::Float64);
    let found = wrong_json(&json.replace("\"float64\"", "\"float46\"").replace("\"2h\"", "2"));
    assert!(
        found
            .iter()
            .any(|e| e.starts_with("feature_view[0].feature[0].type: ")
                && e.contains("did you mean `float64`?")),
        "{found:?}"
    );
    assert!(found.iter().any(|e| e.starts_with("feature_view[0].ttl: ")), "{found:?}");
    assert_eq!(found.len(), 2);
    assert_one(
        &wrong_json(&json.replace("\"ttl\"", "\"name\"")),
        &["feature_view[0].name: the key `name` is given twice"],
    );
    let deep = "[".repeat(100_000);
    assert_one(&wrong_json(&deep), &["not JSON"]);
    assert_one(&wrong_json("[]"), &["expected a table, got a list"]);
}

#[test]
fn json_may_hold_toml_files_whose_lines_errors_name() {
    let held = |views: &str| serde_json::json!({"files": {"e.toml": AIRPORT, "v.toml": views}}).to_string();
    let view = "[[feature_view]]\nname = \"w\"\nentities = [\"airport\"]\nfeature = [{ name = \"x\", type = \"int64\" }]\n";
    assert_eq!(parse_json("body", &held(view)).unwrap().feature_views[0].name, "w");
    assert_one(&wrong_json(&held(&view.replace("int64", "int46"))), &["v.toml:4: ", "did you mean `int64`?"]);
    assert_one(&wrong_json(r#"{"files": {"v.toml": 1}}"#), &["files.v.toml: ", "must be a string"]);
    assert_one(&wrong_json(r#"{"files": {}, "entity": []}"#), &["unknown key `entity`"]);
    assert_one(&wrong_json(r#"{"files": {}}"#), &["nothing is defined"]);
}

#[test]
fn deep_nesting_in_toml_is_refused_and_not_overflown() {
    let n = 100_000;
    for text in [
        format!("entity = {}", "[".repeat(n)),
        format!("entity = {}", "{a=".repeat(n)),
        format!("entity = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("{}a = 1", "a.".repeat(n)),
        format!("[{}a]", "a.".repeat(n)),
        format!("entity = {{ {}a = 1 }}", "a.".repeat(n)),
    ] {
        assert!(matches!(parse_toml(&[file("f.toml", &text)]), Err(RegistryError::Invalid(_))));
    }
}

#[test]
fn a_default_of_float32_is_rounded_once() {
    // Just above the middle of 1 and the next float32. By way of a float64, which has it as the middle, it would become 1.
    let digits = "1.00000005960464477539062500000000001";
    let written = |feature: &str| {
        let view =
            format!("[[feature_view]]\nname = \"v\"\nentities = [\"airport\"]\nfeature = [{feature}]\n");
        read(&lines(&[AIRPORT, &view])).feature_views[0].features[0].default.clone()
    };
    let scalar = written(&format!("{{ name = \"x\", type = \"float32\", default = {digits} }}"));
    assert_eq!(scalar, Some(Value::Float32(1.0 + f32::EPSILON)));
    let list =
        written(&format!("{{ name = \"x\", type = \"array<float32, 2>\", default = [{digits}, 0.1] }}"));
    assert_eq!(list, Some(Value::Array(vec![Value::Float32(1.0 + f32::EPSILON), Value::Float32(0.1)])));
    let double = written(&format!("{{ name = \"x\", type = \"float64\", default = {digits} }}"));
    assert_eq!(double, Some(Value::Float64(1.0 + f64::from(f32::EPSILON) / 2.0)));
}
