//! One feature of a view, with its validation rules.

use crate::{
    feature_form::whole,
    object::{Feature, FeatureStatus, Validation},
    parse::{
        tree::{Node, Tree},
        walk::{Fields, Report},
    },
};
use larder_model::{DataType, Timestamp, Value};

const KEYS: [&str; 9] =
    ["name", "type", "description", "default", "pii", "status", "validate", "tags", "owner"];
const RULES: [&str; 6] = ["not_null", "min", "max", "allowed", "regex", "max_length"];
pub(super) const STATUS: [(&str, FeatureStatus); 3] = [
    ("experimental", FeatureStatus::Experimental),
    ("active", FeatureStatus::Active),
    ("deprecated", FeatureStatus::Deprecated),
];

/// `view` is for messages: "feature view `plane`".
pub(super) fn feature(tree: &Tree, view: &str, report: &Report) -> Option<Feature> {
    let fields = Fields::open(tree, &format!("{view}, feature"), &KEYS, report)?;
    let name = fields.name();
    let data_type = fields.required("type", "\"float64\"").and_then(|tree| fields.data_type(tree, None));
    let about = fields.about();
    let pii = fields.flag("pii", false);
    let status = fields.choice("status", &STATUS).unwrap_or_default();
    // What a value may be is known by the type only; without one the rules' keys are still checked.
    let rules = match fields.get("validate") {
        Some(tree) => Fields::open(tree, &format!("{}, validate", fields.what), &RULES, report),
        None => None,
    };
    let data_type = data_type?;
    let default = default(&fields, &data_type);
    let validate = rules.map(|rules| validation(&rules, &data_type)).unwrap_or_default();
    Some(Feature { name: name?, data_type, default, pii, status, validate, about })
}

/// What stands in where there is no value.
pub(super) fn default(fields: &Fields<'_>, data_type: &DataType) -> Option<Value> {
    let tree = fields.get("default")?;
    let value = tree.value(data_type).and_then(finite);
    fields.check(tree, value.map_err(|error| format!("`default`: {error}")))
}

fn validation(rules: &Fields<'_>, data_type: &DataType) -> Validation {
    use DataType::{Array, Bool, Bytes, Float32, Float64, Int32, Int64, Json, String, Timestamp};
    let ordered = matches!(data_type, Int32 | Int64 | Float32 | Float64 | Timestamp);
    let listed = matches!(data_type, Bool | Bytes | String) || ordered;
    let measured = matches!(data_type, String | Bytes | Json | Array(_));
    let rule = |key: &str, applies: bool, to: &str| {
        let tree = rules.get(key)?;
        if !applies {
            rules.error(&tree.place, format!("`{key}` is for {to}, not for {data_type}"));
        }
        applies.then_some(tree)
    };
    let (numbers, strings) = ("numbers and timestamps", "strings");
    let min = rule("min", ordered, numbers).and_then(|tree| bound(rules, "min", tree, data_type));
    let max = rule("max", ordered, numbers).and_then(|tree| bound(rules, "max", tree, data_type));
    if let (Some(min), Some(max), Some(tree)) = (min, max, rules.get("min"))
        && min > max
    {
        rules.error(&tree.place, format!("`min` ({min}) is greater than `max` ({max})"));
    }
    let allowed = rule("allowed", listed, "booleans, numbers, timestamps, strings and bytes")
        .and_then(|_| allowed(rules, data_type));
    let regex = rule("regex", *data_type == String, strings)
        .and_then(|tree| rules.check(tree, whole(rules.as_text("regex", tree)?)));
    let max_length = rule("max_length", measured, "strings, bytes, json and arrays").and_then(|tree| {
        let length = match &tree.node {
            Node::Number(n) => n.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        rules.check(tree, length.ok_or("`max_length` must be a whole number, 0 or more"))
    });
    Validation { not_null: rules.flag("not_null", false), min, max, allowed, regex, max_length }
}

/// A number, or for a timestamp also its text; in microseconds.
fn bound(rules: &Fields<'_>, key: &str, tree: &Tree, data_type: &DataType) -> Option<f64> {
    match (&tree.node, data_type) {
        (Node::Number(n), _) => n.as_f64(),
        (Node::Text(text), DataType::Timestamp) => {
            let time = Timestamp::parse(text).map_err(|error| format!("`{key}`: {error}"));
            rules.check(tree, time).map(|time| time.micros() as f64)
        }
        (node, _) => {
            rules.error(&tree.place, format!("`{key}` must be a number, got {}", node.kind()));
            None
        }
    }
}

fn allowed(rules: &Fields<'_>, data_type: &DataType) -> Option<Vec<Value>> {
    let items = rules.list("allowed");
    if items.is_empty() {
        rules.error(
            rules.place,
            "`allowed` is empty, so that no value would be accepted; leave it out to accept all",
        );
        return None;
    }
    let value = |tree: &Tree| {
        let value = match tree.value(data_type) {
            Ok(Value::Null) => Err("null is always allowed; forbid it by not_null = true".to_owned()),
            value => value.and_then(finite),
        };
        rules.check(tree, value.map_err(|error| format!("`allowed`: {error}")))
    };
    Some(items.iter().filter_map(value).collect())
}

/// A number that is finite as written may be too large for a float32.
fn finite(value: Value) -> Result<Value, String> {
    let infinite = |value: &Value| match value {
        Value::Float32(x) => x.is_infinite(),
        _ => false,
    };
    let too_large = match &value {
        Value::Array(items) => items.iter().any(infinite),
        value => infinite(value),
    };
    if too_large { Err("too large for a float32".to_owned()) } else { Ok(value) }
}
