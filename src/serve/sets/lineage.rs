//! What a training set was made of, with versions: service and views by its manifest, what is above these by the catalog.

use std::collections::BTreeSet;

use crate::{
    registry::{Catalog, ObjectKind, lineage},
    serve::sets::Manifest,
};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct SetNode {
    pub kind: String,
    pub name: String,
    /// That the set was made of; of what is above the views the manifest says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct SetLineage {
    pub object: SetNode,
    /// Nearest first.
    pub upstream: Vec<SetNode>,
    pub downstream: Vec<SetNode>,
    /// `to` is made of `from`.
    pub edges: Vec<SetEdge>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct SetEdge {
    pub from: SetNode,
    pub to: SetNode,
}

pub fn set_lineage(catalog: &Catalog, manifest: &Manifest) -> SetLineage {
    let node =
        |kind: &str, name: &str, version| SetNode { kind: kind.to_owned(), name: name.to_owned(), version };
    let object = node("training_set", manifest.name.as_deref().unwrap_or_default(), manifest.version);
    let (mut upstream, mut edges) = (Vec::new(), BTreeSet::new());
    let mut nearest = object.clone();
    if let Some((name, version)) = manifest.order.feature_service.as_ref().and_then(|it| it.split_once('@')) {
        let service = node("feature_service", name, version.parse().ok());
        edges.insert(SetEdge { from: service.clone(), to: object.clone() });
        upstream.push(service.clone());
        nearest = service;
    }
    let mut above = Vec::new();
    for view in &manifest.views {
        let this = node("feature_view", &view.name, Some(view.version));
        edges.insert(SetEdge { from: this.clone(), to: nearest.clone() });
        upstream.push(this.clone());
        let source = view.source.as_ref().map(|source| node("source", source, view.source_version));
        if let Some(source) = source {
            edges.insert(SetEdge { from: source.clone(), to: this.clone() });
            above.push(source);
        }
        let defined = lineage(catalog, ObjectKind::FeatureView, &view.name);
        for entity in defined.iter().flat_map(|it| &it.upstream).filter(|it| it.kind == ObjectKind::Entity) {
            let entity = node("entity", &entity.name, None);
            edges.insert(SetEdge { from: entity.clone(), to: this.clone() });
            above.push(entity);
        }
    }
    for node in above {
        if !upstream.contains(&node) {
            upstream.push(node);
        }
    }
    SetLineage { object, upstream, downstream: Vec::new(), edges: edges.into_iter().collect() }
}
