//! On-demand feature views against the catalog that has what they use: types looked up, expressions checked, circles found.

use std::collections::BTreeMap;

use crate::{
    catalog::Catalog,
    definition::{Draft, FeatureViewDefinition},
    error::{DefinitionError, ReferenceProblem},
    on_demand::{OnDemand, Use},
    resolve::find_view,
    suggest::hint,
};
use larder_model::Column;

/// How many on-demand views may lie between one of them and what it is in the end computed from.
const MAX_CHAIN: usize = 32;

/// What is wrong, and where it is written.
pub(super) type Problem = (ReferenceProblem, DefinitionError);

/// The draft as a definition, every feature that it uses being in `catalog`.
pub(super) fn link(draft: &Draft, catalog: &Catalog) -> Result<FeatureViewDefinition, Vec<Problem>> {
    let what = format!("on-demand feature view `{}`", draft.name());
    let mut problems = Vec::new();
    let mut view = draft.view.clone();
    let Some(definition) = &mut view.on_demand else { return Ok(view) };
    for (used, place) in draft.uses() {
        match find_feature(catalog, used) {
            Ok(column) => definition.types.push(column.data_type),
            Err(problem) => {
                let error = place.error(format!("{what}: {problem}"));
                problems.push((problem, error));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let features: Vec<Column> = (view.features.iter())
        .map(|feature| Column { name: feature.name.clone(), data_type: feature.data_type.clone() })
        .collect();
    let on_demand = OnDemand::new(
        definition.request.clone(),
        definition.uses.clone(),
        definition.types.clone(),
        definition.expressions.clone(),
        features,
    );
    for (i, (feature, place)) in view.features.iter().zip(&draft.expressions).enumerate() {
        if let Err(error) = on_demand.expression(i) {
            let message = format!("{what}, feature `{}`: `expression`: {error}", feature.name);
            problems.push((ReferenceProblem::Misused(error.to_string()), place.error(message)));
        }
    }
    if problems.is_empty() { Ok(view) } else { Err(problems) }
}

fn find_feature(catalog: &Catalog, used: &Use) -> Result<Column, ReferenceProblem> {
    let view = find_view(catalog, &used.view, used.version)?;
    let found = view.schema.columns.iter().find(|column| column.name == used.feature);
    found.cloned().ok_or_else(|| ReferenceProblem::Feature {
        view: view.name.clone(),
        feature: used.feature.clone(),
        hint: hint(&used.feature, view.features.iter().map(|feature| feature.name.as_str())),
    })
}

/// The drafts, each after those that it uses; or which of them use each other in a circle. `catalog` has the older
/// versions that they may pin.
pub(super) fn in_order<'d>(
    drafts: &'d [Draft],
    catalog: &Catalog,
) -> Result<Vec<&'d Draft>, DefinitionError> {
    let by_name = drafts.iter().map(|draft| (draft.name(), draft)).collect();
    let mut order = Order { by_name, catalog, sorted: Vec::new(), chains: BTreeMap::new() };
    for draft in drafts {
        order.visit(draft, (draft.name(), None), &mut Vec::new())?;
    }
    Ok(order.sorted)
}

/// A view as it will be, or at a pinned version.
type Node<'a> = (&'a str, Option<u32>);

struct Order<'d, 'a> {
    by_name: BTreeMap<&'d str, &'d Draft>,
    catalog: &'a Catalog,
    sorted: Vec<&'d Draft>,
    /// How long the longest chain of uses is that begins with each view that is done.
    chains: BTreeMap<Node<'a>, usize>,
}

impl<'d: 'a, 'a> Order<'d, 'a> {
    /// `path` leads to the view from the draft `root`, by name: that a view reaches itself at another version is a circle
    /// as well.
    fn visit(
        &mut self,
        root: &'d Draft,
        node: Node<'a>,
        path: &mut Vec<&'a str>,
    ) -> Result<usize, DefinitionError> {
        if let Some(begin) = path.iter().position(|name| *name == node.0) {
            let circle: Vec<String> =
                path[begin..].iter().chain([&node.0]).map(|name| format!("`{name}`")).collect();
            let message =
                format!("on-demand feature views use each other in a circle: {}", circle.join(" → "));
            return Err(root.place.error(message));
        }
        if let Some(chain) = self.chains.get(&node) {
            return Ok(*chain);
        }
        let uses: Vec<&'a Use> = match (node.1, self.by_name.get(node.0)) {
            (None, Some(draft)) => draft.uses().map(|(used, _)| used).collect(),
            (None, None) => Vec::new(),
            (Some(version), _) => {
                let pinned = self.catalog.feature_view_versions.get(&(node.0.to_owned(), version));
                pinned.and_then(|view| view.on_demand()).map_or_else(Vec::new, |o| o.uses.iter().collect())
            }
        };
        path.push(node.0);
        let mut chain = 0;
        for used in uses {
            // Before the visit, so that the stack stays small.
            if path.len() > MAX_CHAIN {
                return Err(too_long(root));
            }
            chain = chain.max(1 + self.visit(root, (&used.view, used.version), path)?);
        }
        if path.len() + chain > MAX_CHAIN + 1 {
            return Err(too_long(root));
        }
        path.pop();
        self.chains.insert(node, chain);
        if let (None, Some(draft)) = (node.1, self.by_name.get(node.0)) {
            self.sorted.push(draft);
        }
        Ok(chain)
    }
}

fn too_long(root: &Draft) -> DefinitionError {
    root.place.error(format!(
        "on-demand feature view `{}`: more than {MAX_CHAIN} views use each other in a row",
        root.name()
    ))
}
