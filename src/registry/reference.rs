//! Feature references (`view:feature`, `alias:feature`, `view@3:feature`) resolved against a catalog.

use std::sync::Arc;

use crate::registry::object::{Feature, FeatureView};

/// One feature of an answer: where its value comes from and what it is called.
#[derive(Debug, Clone)]
pub struct ResolvedFeature {
    /// Position in [`Resolved::groups`].
    pub group: usize,
    /// Position in the group's view's `features`.
    pub feature: usize,
    /// As in results: `view:feature` or `alias:feature`.
    pub name: String,
}

/// All features that come from one view by one mapping of join keys: one lookup per entity.
#[derive(Debug, Clone)]
pub struct Group {
    pub view: Arc<FeatureView>,
    /// The view's name or alias, as written in references.
    pub alias: String,
    /// For each join key of the view, in its order: the request's (or spine's) column that holds it.
    pub key_columns: Vec<String>,
}

/// A list of features, in the order asked for.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    pub groups: Vec<Group>,
    pub features: Vec<ResolvedFeature>,
}

impl Resolved {
    pub fn definition(&self, feature: &ResolvedFeature) -> &Feature {
        &self.groups[feature.group].view.features[feature.feature]
    }
}
