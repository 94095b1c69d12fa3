//! Feature services: which features of which views, as written.

use crate::{
    definition::FeatureServiceDefinition,
    object::Selection,
    parse::{
        tree::{Node, Tree},
        walk::{Fields, Report},
    },
    place::Place,
    reference::parse_reference,
};
use larder_model::check_name;

/// The service, with the place of each selection.
pub(super) fn feature_service(
    tree: &Tree,
    report: &Report,
) -> Option<(FeatureServiceDefinition, Vec<Place>)> {
    let keys = ["name", "features", "description", "owner", "tags"];
    let fields = Fields::open(tree, "feature service", &keys, report)?;
    let name = fields.name();
    let about = fields.about();
    let written = fields.required("features", "[\"view\", \"view:feature\"]");
    let items = fields.list("features");
    if let Some(tree) = written
        && matches!(&tree.node, Node::List(items) if items.is_empty())
    {
        fields.error(&tree.place, "a feature service needs at least one feature");
    }
    let selection = |item: &Tree| Some((selection(item, &fields)?, item.place.clone()));
    let (selections, places) = items.iter().filter_map(selection).unzip();
    Some((FeatureServiceDefinition { name: name?, selections, about }, places))
}

fn selection(tree: &Tree, service: &Fields<'_>) -> Option<Selection> {
    if let Node::Text(reference) = &tree.node {
        return service.check(tree, parse_reference(reference));
    }
    let keys = ["view", "version", "as", "features", "join_keys"];
    let fields = Fields::open(tree, &format!("{}, features", service.what), &keys, service.report)?;
    let view = fields.required("view", "\"…\"").and_then(|tree| {
        let view = fields.as_text("view", tree)?;
        if view.contains(['@', ':']) {
            let message = "`view` is a name only; write `version = 3` and `features = [\"…\"]` beside it";
            fields.error(&tree.place, message);
            return None;
        }
        Some(view.to_owned())
    });
    let version = fields.get("version").map(|tree| {
        let version = match &tree.node {
            Node::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
            _ => None,
        };
        fields.check(tree, version.ok_or("`version` must be a whole number, 1 or more"))
    });
    let alias = fields.get("as").map(|tree| {
        let alias = fields.as_text("as", tree)?;
        fields.check(tree, check_name(alias)).map(|()| alias.to_owned())
    });
    if let Some(tree) = fields.get("features")
        && matches!(&tree.node, Node::List(items) if items.is_empty())
    {
        fields.error(&tree.place, "`features` is empty; leave it out to take all features of the view");
    }
    let join_keys = fields.text_table("join_keys");
    for (key, _) in join_keys.iter().filter(|(_, column)| column.is_empty()) {
        fields.error(fields.place, format!("the column for join key `{key}` is empty"));
    }
    Some(Selection {
        view: view?,
        // What was given but is wrong leaves the selection unusable.
        version: version.map_or(Some(None), |version| version.map(Some))?,
        alias: alias.map_or(Some(None), |alias| alias.map(Some))?,
        features: fields.texts("features").into_iter().map(|(name, _)| name).collect(),
        join_keys,
    })
}
