//! Search over features, ranked.

use crate::{
    catalog::Catalog,
    object::{Feature, FeatureStatus, FeatureView},
};
use larder_model::DataType;

/// What to look for; every part that is given must hold.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Words, each found in the name, the view's name, a tag or a description.
    pub query: Option<String>,
    /// `key` or `key=value`, of the feature or of its view.
    pub tag: Option<String>,
    /// Of the feature, or of its view where the feature names none.
    pub owner: Option<String>,
    pub entity: Option<String>,
    pub status: Option<FeatureStatus>,
    pub limit: Option<usize>,
}

/// A feature that was found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FeatureHit {
    /// `view:feature`
    pub reference: String,
    pub feature_view: String,
    pub version: u32,
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: DataType,
    pub description: String,
    pub owner: String,
    /// The view's and the feature's; the feature's win.
    pub tags: std::collections::BTreeMap<String, String>,
    pub status: FeatureStatus,
    pub pii: bool,
    pub entities: Vec<String>,
}

/// How well a word fits, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Name,
    NamePrefix,
    NameWord,
    NamePart,
    View,
    Tag,
    Description,
}

/// The features that fit, best first; of equals in the order of views by name and features as defined.
pub fn search(catalog: &Catalog, query: &Query) -> Vec<FeatureHit> {
    let words: Vec<String> =
        query.query.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
    let mut found: Vec<(Vec<Rank>, FeatureHit)> = Vec::new();
    for view in catalog.feature_views.values() {
        let entities = entities(catalog, view);
        for feature in &view.features {
            let hit = hit(view, &entities, feature);
            let ranks: Option<Vec<Rank>> = words.iter().map(|word| rank(word, view, &hit)).collect();
            // The word that fits worst decides, then the next.
            if let Some(mut ranks) = ranks
                && passes(query, &hit)
            {
                ranks.sort_by(|a, b| b.cmp(a));
                found.push((ranks, hit));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let hits = found.into_iter().map(|(_, hit)| hit);
    hits.take(query.limit.unwrap_or(usize::MAX)).collect()
}

/// The view's entities; of an on-demand view, those of what it uses.
fn entities(catalog: &Catalog, view: &FeatureView) -> Vec<String> {
    let mut entities = view.entities.clone();
    let inputs = view.on_demand().and_then(|_| catalog.inputs_of(view));
    for entity in inputs.iter().flat_map(|inputs| &inputs.groups).flat_map(|group| &group.view.entities) {
        if !entities.contains(entity) {
            entities.push(entity.clone());
        }
    }
    entities
}

fn hit(view: &FeatureView, entities: &[String], feature: &Feature) -> FeatureHit {
    let mut tags = view.about.tags.clone();
    tags.extend(feature.about.tags.clone());
    let owner = if feature.about.owner.is_empty() { &view.about.owner } else { &feature.about.owner };
    FeatureHit {
        reference: format!("{}:{}", view.name, feature.name),
        feature_view: view.name.clone(),
        version: view.version,
        name: feature.name.clone(),
        data_type: feature.data_type.clone(),
        description: feature.about.description.clone(),
        owner: owner.clone(),
        tags,
        status: feature.status,
        pii: feature.pii,
        entities: entities.to_vec(),
    }
}

fn passes(query: &Query, hit: &FeatureHit) -> bool {
    query.tag.as_ref().is_none_or(|tag| match tag.split_once('=') {
        Some((key, value)) => hit.tags.get(key).is_some_and(|v| v == value),
        None => hit.tags.contains_key(tag),
    }) && query.owner.as_ref().is_none_or(|owner| hit.owner == *owner)
        && query.entity.as_ref().is_none_or(|entity| hit.entities.contains(entity))
        && query.status.is_none_or(|status| hit.status == status)
}

fn rank(word: &str, view: &FeatureView, hit: &FeatureHit) -> Option<Rank> {
    let contains = |text: &str| text.to_lowercase().contains(word);
    if hit.name == word || hit.reference == word {
        Some(Rank::Name)
    } else if hit.name.starts_with(word) {
        Some(Rank::NamePrefix)
    } else if hit.name.split('_').any(|part| part == word) {
        Some(Rank::NameWord)
    } else if hit.name.contains(word) {
        Some(Rank::NamePart)
    } else if hit.feature_view.contains(word) {
        Some(Rank::View)
    } else if hit.tags.iter().any(|(key, value)| contains(key) || contains(value)) {
        Some(Rank::Tag)
    } else if contains(&hit.description) || contains(&view.about.description) {
        Some(Rank::Description)
    } else {
        None
    }
}
