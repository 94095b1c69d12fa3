//! One aggregation of a stream feature view, and the feature that it makes.

use crate::{
    definition::SourceDefinition,
    object::{Feature, Validation},
    parse::{
        feature::{STATUS, default},
        tree::{Node, Tree},
        walk::{Fields, Report},
    },
    stream::{Aggregation, check_filter},
    suggest::hint,
};
use larder_compute::window::{Function, MAX_N, Mode, Window};
use larder_model::Column;

const KEYS: [&str; 14] = [
    "name",
    "function",
    "column",
    "window",
    "mode",
    "p",
    "n",
    "filter",
    "default",
    "description",
    "owner",
    "tags",
    "pii",
    "status",
];
const FUNCTIONS: [&str; 14] = [
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "stddev",
    "variance",
    "first",
    "last",
    "first_n",
    "last_n",
    "approx_count_distinct",
    "approx_percentile",
    "time_since_last",
];
const MODES: [(&str, Mode); 4] = [
    ("exact", Mode::Exact),
    ("sawtooth", Mode::Sawtooth),
    ("tumbling", Mode::Tumbling),
    ("lifetime", Mode::Lifetime),
];

/// `source` is none where it is not sound, which is told of already; what can be checked without it still is.
pub(super) fn aggregation(
    tree: &Tree,
    view: &str,
    source: Option<&SourceDefinition>,
    report: &Report,
) -> Option<(Feature, Aggregation)> {
    let fields = Fields::open(tree, &format!("{view}, aggregation"), &KEYS, report)?;
    let name = fields.name();
    let about = fields.about();
    let pii = fields.flag("pii", false);
    let status = fields.choice("status", &STATUS).unwrap_or_default();
    let function = function(&fields);
    let window = window(&fields);
    let filter = fields.get("filter").map(|tree| {
        let filter = fields.as_text("filter", tree)?;
        let source = source?;
        fields
            .check(tree, check_filter(filter, &source.event_time, &source.columns))
            .map(|()| filter.to_owned())
    });
    let column = match fields.get("column") {
        None => None,
        Some(tree) => Some(column(&fields, tree, source?)?),
    };
    let (function, column_type) = (function?, column.map(|column| column.data_type.clone()));
    let place = fields.get("column").unwrap_or(tree);
    let data_type = fields.check(place, function.result(column_type.as_ref()))?;
    let default = default(&fields, &data_type);
    let feature =
        Feature { name: name?, data_type, default, pii, status, validate: Validation::default(), about };
    let aggregation = Aggregation {
        function,
        column: column.map(|column| column.name.clone()),
        column_type,
        window: window?,
        // What was given but is wrong leaves the aggregation unusable.
        filter: filter.map_or(Some(None), |filter| filter.map(Some))?,
    };
    Some((feature, aggregation))
}

fn function(fields: &Fields<'_>) -> Option<Function> {
    let tree = fields.required("function", "\"count\"")?;
    let name = fields.as_text("function", tree)?;
    let function = match name {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "mean" => Function::Mean,
        "min" => Function::Min,
        "max" => Function::Max,
        "stddev" => Function::Stddev,
        "variance" => Function::Variance,
        "first" => Function::First,
        "last" => Function::Last,
        "first_n" => Function::FirstN { n: length(fields)? },
        "last_n" => Function::LastN { n: length(fields)? },
        "approx_count_distinct" => Function::ApproxCountDistinct,
        "approx_percentile" => Function::ApproxPercentile { p: rank(fields)? },
        "time_since_last" => Function::TimeSinceLast,
        _ => {
            let known = match hint(name, FUNCTIONS) {
                hint if hint.is_empty() => format!("; known: {}", FUNCTIONS.join(", ")),
                hint => hint,
            };
            fields.error(&tree.place, format!("unknown function `{name}`{known}"));
            return None;
        }
    };
    let listed = matches!(function, Function::FirstN { .. } | Function::LastN { .. });
    let ranked = matches!(function, Function::ApproxPercentile { .. });
    for (key, taken, of) in [("n", listed, "first_n and last_n"), ("p", ranked, "approx_percentile")] {
        if let Some(tree) = fields.get(key).filter(|_| !taken) {
            fields.error(&tree.place, format!("`{key}` is for {of}, not for {name}"));
        }
    }
    Some(function)
}

/// How many values `first_n` and `last_n` keep.
fn length(fields: &Fields<'_>) -> Option<u32> {
    let tree = fields.required("n", "10")?;
    let n = match &tree.node {
        Node::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        _ => None,
    };
    let n = n.filter(|n| (1..=MAX_N).contains(n));
    fields.check(tree, n.ok_or_else(|| format!("`n` must be a whole number from 1 to {MAX_N}")))
}

fn rank(fields: &Fields<'_>) -> Option<f64> {
    let tree = fields.required("p", "0.9")?;
    let p = match &tree.node {
        Node::Number(p) => p.as_f64().filter(|p| (0.0..=1.0).contains(p)),
        _ => None,
    };
    fields.check(tree, p.ok_or("`p` must be a number from 0 to 1; the median is 0.5"))
}

fn window(fields: &Fields<'_>) -> Option<Window> {
    let mode = fields.choice("mode", &MODES);
    let tree = fields.required("window", "\"24h\" or \"lifetime\"")?;
    fields.check(tree, Window::parse(fields.as_text("window", tree)?, mode))
}

fn column<'s>(fields: &Fields<'_>, tree: &Tree, source: &'s SourceDefinition) -> Option<&'s Column> {
    let name = fields.as_text("column", tree)?;
    let column = source.columns.iter().find(|column| column.name == name);
    if column.is_none() && name == source.event_time {
        let message = format!(
            "`{name}` is the event time of source `{}`, which cannot be aggregated; \
             `time_since_last` needs no column",
            source.name
        );
        fields.error(&tree.place, message);
    } else if column.is_none() {
        let hint = hint(name, source.columns.iter().map(|c| c.name.as_str()));
        fields.error(&tree.place, format!("source `{}` has no column `{name}`{hint}", source.name));
    }
    column
}
