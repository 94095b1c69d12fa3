//! From references to views, features and key columns, at one catalog.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    catalog::Catalog,
    error::{ReferenceError, ReferenceProblem, RegistryError},
    lookup::history,
    object::{FeatureView, Selection},
    reference::{Group, Resolved, ResolvedFeature, parse_reference},
    suggest::hint,
};
use larder_model::{Column, DataType};

impl Catalog {
    /// A view with all that its features are in the end computed from; none where that is there no longer.
    pub(super) fn inputs_of(&self, view: &FeatureView) -> Option<Resolved> {
        let selection = Selection {
            view: view.name.clone(),
            version: Some(view.version),
            alias: None,
            features: Vec::new(),
            join_keys: BTreeMap::new(),
        };
        resolve(self, &[selection]).ok()
    }

    /// The features of a service, of its current version or of a given one.
    pub fn resolve_service(&self, name: &str, version: Option<u32>) -> Result<Resolved, RegistryError> {
        let service = self.feature_service(name, version)?;
        resolve(self, &service.selections).map_err(RegistryError::References)
    }

    /// A list of references, each `view`, `view:feature`, `view@3` or `view@3:feature`.
    pub fn resolve_features<S: AsRef<str>>(&self, references: &[S]) -> Result<Resolved, RegistryError> {
        let mut selections = Vec::with_capacity(references.len());
        let mut malformed = Vec::new();
        for (index, reference) in references.iter().enumerate() {
            match parse_reference(reference.as_ref()) {
                Ok(selection) => selections.push(selection),
                Err(reason) => malformed.push(ReferenceError {
                    index,
                    reference: reference.as_ref().to_owned(),
                    problem: ReferenceProblem::Misused(reason),
                }),
            }
        }
        if !malformed.is_empty() {
            return Err(RegistryError::References(malformed));
        }
        self.resolve_selections(&selections)
    }

    /// Selections as a feature service has them.
    pub fn resolve_selections(&self, selections: &[Selection]) -> Result<Resolved, RegistryError> {
        resolve(self, selections).map_err(RegistryError::References)
    }
}

/// Resolves selections in their order, or tells of everything that is wrong with them.
pub(super) fn resolve(catalog: &Catalog, selections: &[Selection]) -> Result<Resolved, Vec<ReferenceError>> {
    let mut resolver = Resolver::new(catalog);
    let mut errors = Vec::new();
    let mut selected = Vec::with_capacity(selections.len());
    for (index, selection) in selections.iter().enumerate() {
        let mut problems = Vec::new();
        let before = resolver.resolved.features.len();
        resolver.select(selection, &mut problems);
        selected.push(before..resolver.resolved.features.len());
        let reference = selection.to_string();
        errors.extend(problems.into_iter().map(|problem| ReferenceError {
            index,
            reference: reference.clone(),
            problem,
        }));
    }
    for (index, features) in selected.into_iter().enumerate() {
        if let Err(problem) = resolver.compute(features) {
            errors.push(ReferenceError { index, reference: selections[index].to_string(), problem });
        }
    }
    if errors.is_empty() { Ok(resolver.resolved) } else { Err(errors) }
}

/// The view, at the pinned version if there is one. A retired view is not served, pinned or not.
pub(super) fn find_view(
    catalog: &Catalog,
    name: &str,
    version: Option<u32>,
) -> Result<Arc<FeatureView>, ReferenceProblem> {
    let current = catalog.feature_views.get(name).ok_or_else(|| ReferenceProblem::View {
        view: name.to_owned(),
        hint: match history(&catalog.feature_view_versions, name).next() {
            Some(_) => "; it was retired".to_owned(),
            None => hint(name, catalog.feature_views.keys().map(String::as_str)),
        },
    })?;
    match version {
        None => Ok(Arc::clone(current)),
        Some(version) => {
            let pinned = catalog.feature_view_versions.get(&(name.to_owned(), version));
            pinned.cloned().ok_or_else(|| ReferenceProblem::Version {
                view: name.to_owned(),
                version,
                newest: current.version,
            })
        }
    }
}

pub(super) struct Resolver<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) resolved: Resolved,
    /// By alias: its group, and the selection that made it.
    groups: HashMap<String, (usize, &'a Selection)>,
    names: HashSet<String>,
    /// The request's columns with the types that keys have so far given them.
    columns: HashMap<String, DataType>,
}

impl<'a> Resolver<'a> {
    fn new(catalog: &'a Catalog) -> Self {
        Resolver {
            catalog,
            resolved: Resolved::default(),
            groups: HashMap::new(),
            names: HashSet::new(),
            columns: HashMap::new(),
        }
    }

    fn select(&mut self, selection: &'a Selection, problems: &mut Vec<ReferenceProblem>) {
        let view = match find_view(self.catalog, &selection.view, selection.version) {
            Ok(view) => view,
            Err(problem) => return problems.push(problem),
        };
        let Some(group) = self.group(selection, &view, problems) else { return };
        let alias = self.resolved.groups[group].alias.clone();
        let mut add = |feature: usize, problems: &mut Vec<ReferenceProblem>| {
            let name = format!("{alias}:{}", view.features[feature].name);
            if self.names.insert(name.clone()) {
                self.resolved.features.push(ResolvedFeature { group, feature, name });
            } else {
                problems.push(ReferenceProblem::Misused(format!("`{name}` is listed twice")));
            }
        };
        if selection.features.is_empty() {
            (0..view.features.len()).for_each(|feature| add(feature, problems));
        }
        for wanted in &selection.features {
            match view.features.iter().position(|feature| feature.name == *wanted) {
                Some(feature) => add(feature, problems),
                None => problems.push(ReferenceProblem::Feature {
                    view: view.name.clone(),
                    feature: wanted.clone(),
                    hint: hint(wanted, view.features.iter().map(|feature| feature.name.as_str())),
                }),
            }
        }
    }

    /// The group of the selection's alias: one alias is one view, one version and one mapping of join keys.
    fn group(
        &mut self,
        selection: &'a Selection,
        view: &Arc<FeatureView>,
        problems: &mut Vec<ReferenceProblem>,
    ) -> Option<usize> {
        let mut misused = |reason: String| problems.push(ReferenceProblem::Misused(reason));
        let alias = selection.alias.as_ref().unwrap_or(&selection.view);
        if let Some((group, first)) = self.groups.get(alias) {
            let same = |a: &Selection, b: &Selection| {
                (&a.view, a.version, &a.join_keys) == (&b.view, b.version, &b.join_keys)
            };
            if same(first, selection) {
                return Some(*group);
            }
            misused(format!(
                "`{alias}` already stands for {first}; give one of the two another name with `as`"
            ));
            return None;
        }
        if *alias != selection.view && self.catalog.feature_views.contains_key(alias) {
            misused(format!("the alias `{alias}` is the name of a feature view; choose another"));
            return None;
        }
        let keys = &view.schema.keys;
        if view.on_demand().is_some() && !selection.join_keys.is_empty() {
            misused(format!(
                "`{}` is an on-demand feature view and has no join keys: what it uses is looked up by its own",
                view.name
            ));
            return None;
        }
        let unknown: Vec<&String> =
            selection.join_keys.keys().filter(|key| !keys.iter().any(|k| k.name == **key)).collect();
        for key in &unknown {
            let known = hint(key, keys.iter().map(|k| k.name.as_str()));
            misused(format!("feature view `{}` has no join key `{key}`{known}", view.name));
        }
        if !unknown.is_empty() {
            return None;
        }
        let key_columns: Vec<String> =
            keys.iter().map(|key| selection.join_keys.get(&key.name).unwrap_or(&key.name).clone()).collect();
        if let Err(reason) = self.check_columns(alias, &key_columns, keys) {
            problems.push(ReferenceProblem::Misused(reason));
            return None;
        }
        let group = self.resolved.groups.len();
        self.resolved.groups.push(Group { view: Arc::clone(view), alias: alias.clone(), key_columns });
        self.groups.insert(alias.clone(), (group, selection));
        Some(group)
    }

    /// Whether the request's columns can hold the join keys beside what they hold already.
    pub(super) fn check_columns(
        &mut self,
        alias: &str,
        key_columns: &[String],
        keys: &[Column],
    ) -> Result<(), String> {
        for (column, Column { data_type, .. }) in key_columns.iter().zip(keys) {
            let taken = self.columns.entry(column.clone()).or_insert_with(|| data_type.clone());
            if taken != data_type {
                return Err(format!(
                    "the column `{column}` would have to be {taken} for one view and {data_type} for `{alias}`"
                ));
            }
        }
        Ok(())
    }
}
