//! Feature views: rows written directly, and what views of all kinds have in common.

use std::collections::{BTreeMap, HashMap};

use crate::{
    definition::{EntityDefinition, FeatureViewDefinition},
    object::Feature,
    parse::{
        feature::feature,
        tree::{Node, Tree},
        walk::{Fields, Report, TIME_KEYS},
    },
    place::Place,
    suggest::hint,
};
use larder_model::{Column, EVENT_TIME, TimeForm};

/// Objects of one kind by name; None where a definition is not sound, which is told of already.
pub(super) type Known<D> = BTreeMap<String, Option<D>>;

/// Entities of a view, and join keys of an entity.
pub(super) const MOST_KEYS: usize = 100;

/// The keys of a feature view that has rows, whatever makes them.
pub(super) const ROW_VIEW_KEYS: [&str; 11] = [
    "name",
    "entities",
    "ttl",
    "online",
    "offline",
    "retention",
    "freshness_slo",
    "feature",
    "description",
    "owner",
    "tags",
];

pub(super) fn feature_view(
    tree: &Tree,
    entities: &Known<EntityDefinition>,
    report: &Report,
) -> Option<FeatureViewDefinition> {
    let keys = [&ROW_VIEW_KEYS[..], &TIME_KEYS].concat();
    let fields = Fields::open(tree, "feature view", &keys, report)?;
    let times = fields.times();
    Some(FeatureViewDefinition { times, ..row_view(&fields, entities)? })
}

/// A view that has rows, as one whose rows are written.
pub(super) fn row_view(
    fields: &Fields<'_>,
    entities: &Known<EntityDefinition>,
) -> Option<FeatureViewDefinition> {
    let name = fields.name();
    let about = fields.about();
    let named = entity_names(fields);
    let join_keys = join_keys(fields, &named, entities);
    let (online, offline) = (fields.flag("online", true), fields.flag("offline", true));
    if !online && !offline {
        fields.error(fields.place, "with online = false and offline = false it would keep nothing");
    }
    let (ttl, retention) = (fields.length("ttl"), fields.length("retention"));
    let freshness_slo = fields.length("freshness_slo");

    fields.required("feature", "[{ name = \"…\", type = \"float64\" }]");
    let read = |tree: &Tree| Some((feature(tree, &fields.what, fields.report)?, ()));
    let (features, _) = features(fields, "feature", &join_keys, read)?;
    Some(FeatureViewDefinition {
        name: name?,
        entities: named.into_iter().map(|(name, _)| name).collect(),
        features,
        ttl,
        online,
        offline,
        retention,
        times: TimeForm::EXPLICIT,
        freshness_slo,
        stream: None,
        batch: None,
        on_demand: None,
        about,
    })
}

/// Reads the features that `key` lists, each with what makes it; or tells of those that are not sound and gives None.
pub(super) fn features<A>(
    fields: &Fields<'_>,
    key: &str,
    join_keys: &[(&Column, &str)],
    read: impl Fn(&Tree) -> Option<(Feature, A)>,
) -> Option<(Vec<Feature>, Vec<A>)> {
    let written = fields.list(key);
    let mut places: HashMap<String, &Place> = HashMap::new();
    let (mut features, mut makers): (Vec<Feature>, Vec<A>) = (Vec::new(), Vec::new());
    for tree in written {
        let Some((feature, maker)) = read(tree) else { continue };
        let name = &feature.name;
        if let Some(first) = places.insert(name.clone(), &tree.place) {
            fields.error(&tree.place, format!("the feature `{name}` is defined twice; first at {first}"));
            places.insert(name.clone(), first);
        }
        if name == EVENT_TIME {
            fields.error(
                &tree.place,
                format!("a feature cannot be named `{EVENT_TIME}`, which is the view's time column"),
            );
        }
        if let Some((_, entity)) = join_keys.iter().find(|(key, _)| key.name == *name) {
            fields.error(
                &tree.place,
                format!("the feature `{name}` has the name of a join key of entity `{entity}`"),
            );
        }
        features.push(feature);
        makers.push(maker);
    }
    if let Some(tree) = fields.get(key)
        && written.is_empty()
        && matches!(tree.node, Node::List(_))
    {
        fields.error(&tree.place, "a feature view needs at least one feature");
    }
    (features.len() == written.len()).then_some((features, makers))
}

pub(super) fn entity_names<'t>(fields: &Fields<'t>) -> Vec<(String, &'t Place)> {
    if let Some(tree) = fields.required("entities", "[\"…\"]")
        && matches!(&tree.node, Node::List(items) if items.is_empty())
    {
        fields.error(&tree.place, "a feature view needs at least one entity");
    }
    let entities = fields.texts("entities");
    if entities.len() > MOST_KEYS {
        let message = format!("`entities` has {} entries; at most {MOST_KEYS} are allowed", entities.len());
        fields.error(fields.place, message);
        return Vec::new();
    }
    entities
}

/// The join keys of the view's entities, each with its entity; as far as these are known.
pub(super) fn join_keys<'e>(
    fields: &Fields<'_>,
    names: &[(String, &Place)],
    entities: &'e Known<EntityDefinition>,
) -> Vec<(&'e Column, &'e str)> {
    let mut keys: Vec<(&Column, &str)> = Vec::new();
    for (i, (name, place)) in names.iter().enumerate() {
        if names[..i].iter().any(|(other, _)| other == name) {
            fields.error(place, format!("the entity `{name}` is listed twice"));
            continue;
        }
        let Some((name, entity)) = entities.get_key_value(name) else {
            let hint = hint(name, entities.keys().map(String::as_str));
            fields.error(place, format!("unknown entity `{name}`{hint}"));
            continue;
        };
        for key in entity.iter().flat_map(|entity| &entity.join_keys) {
            match keys.iter().find(|(other, _)| other.name == key.name) {
                Some((_, other)) => fields.error(
                    place,
                    format!("entities `{other}` and `{name}` both have the join key `{}`", key.name),
                ),
                None => keys.push((key, name)),
            }
        }
    }
    keys
}
