//! What an object is made of, and what is made of it: entity and source → feature view → on-demand
//! feature view → feature service.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    catalog::Catalog,
    object::{ObjectKind, ObjectRef},
};

/// `to` is made of `from`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Edge {
    pub from: ObjectRef,
    pub to: ObjectRef,
}

/// All that an object depends on and all that depends on it, however far.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lineage {
    pub object: ObjectRef,
    /// Nearest first.
    pub upstream: Vec<ObjectRef>,
    /// Nearest first.
    pub downstream: Vec<ObjectRef>,
    /// Between the objects above, sorted.
    pub edges: Vec<Edge>,
}

/// None where no such object is defined now.
pub fn lineage(catalog: &Catalog, kind: ObjectKind, name: &str) -> Option<Lineage> {
    let known = match kind {
        ObjectKind::Entity => catalog.entities.contains_key(name),
        ObjectKind::Source => catalog.sources.contains_key(name),
        ObjectKind::FeatureView => catalog.feature_views.contains_key(name),
        ObjectKind::FeatureService => catalog.feature_services.contains_key(name),
    };
    let object = ObjectRef { kind, name: name.to_owned() };
    known.then(|| {
        let all = edges(catalog);
        let (upstream, mut taken) = follow(&object, &all, |edge| (&edge.to, &edge.from));
        let (downstream, below) = follow(&object, &all, |edge| (&edge.from, &edge.to));
        taken.extend(below);
        Lineage { upstream, downstream, edges: taken.into_iter().collect(), object }
    })
}

/// Every direct dependency of the catalog.
fn edges(catalog: &Catalog) -> BTreeSet<Edge> {
    let object = |kind, name: &str| ObjectRef { kind, name: name.to_owned() };
    let mut edges = BTreeSet::new();
    for view in catalog.feature_views.values() {
        for entity in &view.entities {
            edges.insert(Edge {
                from: object(ObjectKind::Entity, entity),
                to: object(ObjectKind::FeatureView, &view.name),
            });
        }
        let inputs = view.batch().into_iter().flat_map(|batch| &batch.reads);
        for input in inputs.filter_map(|name| catalog.object_of_table(name)) {
            edges.insert(Edge { from: input, to: object(ObjectKind::FeatureView, &view.name) });
        }
        if let Some(stream) = view.stream() {
            edges.insert(Edge {
                from: object(ObjectKind::Source, &stream.source),
                to: object(ObjectKind::FeatureView, &view.name),
            });
        }
    }
    for view in catalog.feature_views.values() {
        for used in view.on_demand().iter().flat_map(|on_demand| &on_demand.uses) {
            edges.insert(Edge {
                from: object(ObjectKind::FeatureView, &used.view),
                to: object(ObjectKind::FeatureView, &view.name),
            });
        }
    }
    for service in catalog.feature_services.values() {
        for selection in &service.selections {
            edges.insert(Edge {
                from: object(ObjectKind::FeatureView, &selection.view),
                to: object(ObjectKind::FeatureService, &service.name),
            });
        }
    }
    edges
}

/// Breadth first from `start`; `ends` gives an edge's near and far end in the direction to go.
fn follow(
    start: &ObjectRef,
    all: &BTreeSet<Edge>,
    ends: impl Fn(&Edge) -> (&ObjectRef, &ObjectRef),
) -> (Vec<ObjectRef>, BTreeSet<Edge>) {
    let (mut reached, mut taken) = (Vec::new(), BTreeSet::new());
    let mut queue = VecDeque::from([start.clone()]);
    while let Some(at) = queue.pop_front() {
        for edge in all {
            let (near, far) = ends(edge);
            if *near == at {
                taken.insert(edge.clone());
                if !reached.contains(far) {
                    reached.push(far.clone());
                    queue.push_back(far.clone());
                }
            }
        }
    }
    (reached, taken)
}
