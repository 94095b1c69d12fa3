//! What applying definitions would do to a catalog, before anything is done.

use std::collections::BTreeSet;

use crate::{
    catalog::Catalog,
    changes::{Breaking, Changes, ObjectVersion, Updated},
    compat::{self, Diff, Retyped},
    definition::{Definitions, FeatureServiceDefinition, FeatureViewDefinition},
    error::{ReferenceProblem, RegistryError},
    link::{in_order, link},
    log::{Record, Revision},
    lookup::history,
    object::{ObjectKind, ObjectRef, Selection},
    on_demand::Use,
    requests::requests_that_break,
};
use larder_model::{Column, TableId, TableKind};

#[derive(Debug)]
pub struct Plan {
    pub changes: Changes,
    /// The catalog once applied; of no use where something is breaking.
    pub next: Catalog,
    pub(super) revision: Revision,
}

/// Compares `definitions`, taken as the whole of what shall be defined, with `current`.
///
/// Fails with [`RegistryError::Invalid`] where a service refers to what is not there.
pub fn plan(current: &Catalog, definitions: &Definitions) -> Result<Plan, RegistryError> {
    let mut planner = Planner {
        current,
        next_table: next_table(current),
        changes: Changes::default(),
        revision: Revision::default(),
        dropped: BTreeSet::new(),
        unlinked: BTreeSet::new(),
    };
    planner.entities(definitions);
    planner.sources(definitions);
    for definition in &definitions.feature_views {
        planner.feature_view(definitions, definition);
    }
    planner.on_demand(definitions)?;
    planner.feature_services(definitions);
    planner.retire(definitions);
    let Planner { mut changes, revision, dropped, unlinked, .. } = planner;
    let next = if revision.is_empty() {
        current.clone()
    } else {
        current
            .revised(&revision)
            .map_err(|reason| RegistryError::Corrupt { version: current.version + 1, reason })?
    };
    let mut errors = definitions.reference_errors(&next);
    // These are told of as breaking.
    errors.retain(|(problem, _)| match problem {
        ReferenceProblem::Feature { view, feature, .. } => {
            !dropped.contains(&(view.clone(), feature.clone()))
        }
        ReferenceProblem::View { view, .. } => !unlinked.contains(view),
        _ => true,
    });
    if !errors.is_empty() {
        return Err(RegistryError::invalid(errors.into_iter().map(|(_, error)| error).collect()));
    }
    if changes.breaking.is_empty() {
        changes.breaking = next.pins_that_break();
        changes.breaking.extend(requests_that_break(current, &next));
    }
    Ok(Plan { changes, next, revision })
}

/// Numbers are not reused. Stream feature views have theirs without a table.
fn next_table(current: &Catalog) -> u32 {
    let views = current.feature_view_versions.values().map(|view| view.schema.table);
    current.tables.keys().copied().chain(views).max().map_or(1, |last| last.0 + 1)
}

struct Planner<'a> {
    current: &'a Catalog,
    next_table: u32,
    changes: Changes,
    revision: Revision,
    /// `(view, feature)`: dropped, but used.
    dropped: BTreeSet<(String, String)>,
    /// On-demand views that use what is dropped.
    unlinked: BTreeSet<String>,
}

impl Planner<'_> {
    fn entities(&mut self, definitions: &Definitions) {
        for definition in &definitions.entities {
            let last = history(&self.current.entity_versions, &definition.name).next_back();
            let before =
                last.map(|(version, entity)| (version, compat::entity(&entity.as_ref().into(), definition)));
            let live = self.current.entities.contains_key(&definition.name);
            if let Some(version) = self.settle(ObjectKind::Entity, &definition.name, before, live) {
                self.revision.objects.push(Record::Entity { version, definition: definition.clone() });
            }
        }
    }

    fn sources(&mut self, definitions: &Definitions) {
        for definition in &definitions.sources {
            let table = self.table(ObjectKind::Source, &definition.name);
            let last = history(&self.current.source_versions, &definition.name).next_back();
            let before = last.map(|(version, source)| {
                let schemas = self.current.tables.get(&table).map_or(&[][..], Vec::as_slice);
                (version, compat::source(&source.as_ref().into(), schemas, definition))
            });
            let live = self.current.sources.contains_key(&definition.name);
            if let Some(version) = self.settle(ObjectKind::Source, &definition.name, before, live) {
                self.revision.objects.push(Record::Source { version, table, definition: definition.clone() });
            }
        }
    }

    /// Gives the record of the view's new version, if there is one.
    fn feature_view(
        &mut self,
        definitions: &Definitions,
        definition: &FeatureViewDefinition,
    ) -> Option<Record> {
        let name = &definition.name;
        let table = self.table(ObjectKind::FeatureView, name);
        let last = history(&self.current.feature_view_versions, name).next_back();
        let live = self.current.feature_views.contains_key(name);
        let mut before = last.map(|(version, view)| {
            let schemas = self.current.tables.get(&table).map_or(&[][..], Vec::as_slice);
            let mut diff = compat::feature_view(&view.as_ref().into(), schemas, definition);
            diff.changes.extend(rekeyed(definitions, definition, &view.schema.keys));
            (version, diff)
        });
        if live && let Some((_, diff)) = &mut before {
            for retyped in std::mem::take(&mut diff.retyped) {
                self.retype(definitions, name, &retyped, diff);
            }
            for feature in std::mem::take(&mut diff.dropped) {
                self.drop_feature(definitions, name, &feature, diff);
            }
        }
        let version = self.settle(ObjectKind::FeatureView, name, before, live)?;
        let record = Record::FeatureView { version, table, definition: definition.clone() };
        self.revision.objects.push(record.clone());
        Some(record)
    }

    /// On-demand views, each after those that it uses, against a catalog that has them.
    fn on_demand(&mut self, definitions: &Definitions) -> Result<(), RegistryError> {
        if definitions.on_demand.is_empty() {
            return Ok(());
        }
        let corrupt = |reason| RegistryError::Corrupt { version: self.current.version + 1, reason };
        let mut staged = self.current.revised(&self.revision).map_err(corrupt)?;
        staged.feature_views.retain(|name, _| definitions.has_view(name));
        let mut errors = Vec::new();
        let in_order = in_order(&definitions.on_demand, &staged);
        for draft in in_order.map_err(|error| RegistryError::Invalid(vec![error]))? {
            match link(draft, &staged) {
                Ok(definition) => {
                    if let Some(record) = self.feature_view(definitions, &definition) {
                        staged.add(&record).map_err(corrupt)?;
                    }
                }
                Err(problems) => {
                    self.unlinked.insert(draft.name().to_owned());
                    // Told of as breaking, or of what it uses.
                    let told = |problem: &ReferenceProblem| match problem {
                        ReferenceProblem::Feature { view, feature, .. } => {
                            self.dropped.contains(&(view.clone(), feature.clone()))
                        }
                        ReferenceProblem::View { view, .. } => self.unlinked.contains(view),
                        _ => false,
                    };
                    let untold = problems.into_iter().filter(|(problem, _)| !told(problem));
                    errors.extend(untold.map(|(_, error)| error));
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(RegistryError::invalid(errors)) }
    }

    /// Refuses to drop a feature that a service or an on-demand view uses.
    fn drop_feature(&mut self, definitions: &Definitions, view: &str, feature: &str, diff: &mut Diff) {
        let mut breaks = |reason: String| {
            diff.breaking.push((feature.to_owned(), reason));
            self.dropped.insert((view.to_owned(), feature.to_owned()));
        };
        for service in &definitions.feature_services {
            if let Some(how) = uses(self.current, service, view, feature) {
                breaks(format!(
                    "`{feature}` was dropped, but feature service `{}` {how}; keep the feature, list in the service \
                     what it shall have, or give the new view a new name",
                    service.name
                ));
            }
        }
        for draft in definitions.on_demand.iter().filter(|draft| draft.names(view, feature)) {
            breaks(format!(
                "`{feature}` was dropped, but on-demand feature view `{}` uses it; keep the feature, or give the new \
                 view a new name",
                draft.name()
            ));
        }
    }

    fn feature_services(&mut self, definitions: &Definitions) {
        for definition in &definitions.feature_services {
            let last = history(&self.current.feature_service_versions, &definition.name).next_back();
            let before = last.map(|(version, service)| {
                (version, compat::feature_service(&service.as_ref().into(), definition))
            });
            let live = self.current.feature_services.contains_key(&definition.name);
            if let Some(version) = self.settle(ObjectKind::FeatureService, &definition.name, before, live) {
                self.revision
                    .objects
                    .push(Record::FeatureService { version, definition: definition.clone() });
            }
        }
    }

    /// Sorts an object in by its last version and its difference from that; gives the new version, if there is one.
    fn settle(
        &mut self,
        kind: ObjectKind,
        name: &str,
        before: Option<(u32, Diff)>,
        live: bool,
    ) -> Option<u32> {
        let object = |version| ObjectVersion { kind, name: name.to_owned(), version };
        let Some((from, diff)) = before else {
            self.changes.created.push(object(1));
            return Some(1);
        };
        let breaking = diff.breaking.into_iter().map(|(field, reason)| Breaking {
            kind,
            name: name.to_owned(),
            field,
            reason,
        });
        self.changes.breaking.extend(breaking);
        let to = from + 1;
        if !live {
            self.changes.created.push(object(to));
        } else if diff.changes.is_empty() {
            self.changes.unchanged.push(object(from));
            return None;
        } else {
            self.changes.updated.push(Updated {
                kind,
                name: name.to_owned(),
                from,
                to,
                changes: diff.changes,
            });
        }
        Some(to)
    }

    /// The number of the table of that name: the one that it ever had, or the next.
    fn table(&mut self, kind: ObjectKind, name: &str) -> TableId {
        let of_view = history(&self.current.feature_view_versions, name).map(|(_, view)| &view.schema);
        let tables = self.current.tables.values().filter_map(|schemas| schemas.last());
        let Some(schema) = of_view.chain(tables.filter(|schema| schema.name == name)).next() else {
            let table = TableId(self.next_table);
            self.next_table += 1;
            return table;
        };
        let was = match schema.kind {
            TableKind::FeatureView => ObjectKind::FeatureView,
            TableKind::Source => ObjectKind::Source,
        };
        if was != kind {
            self.changes.breaking.push(Breaking {
                kind,
                name: name.to_owned(),
                field: "name".to_owned(),
                reason: format!("`{name}` is or was a {was}, whose data is kept; choose another name"),
            });
        }
        schema.table
    }

    /// Refuses another type of a feature that a service takes and would go on to take. A pinned version keeps its types.
    fn retype(&self, definitions: &Definitions, view: &str, retyped: &Retyped, diff: &mut Diff) {
        let Retyped { feature, from, to } = retyped;
        let takes = |selections: &[Selection]| {
            let unpinned = selections.iter().filter(|s| s.view == view && s.version.is_none());
            unpinned.into_iter().any(|s| s.features.is_empty() || s.features.contains(feature))
        };
        for service in &definitions.feature_services {
            let before = self.current.feature_services.get(&service.name);
            if takes(&service.selections) && before.is_some_and(|before| takes(&before.selections)) {
                diff.breaking.push((
                    feature.clone(),
                    format!(
                        "`{feature}` would be {to} and no longer {from}, but feature service `{}` uses it; give the \
                         new feature a new name, or pin the view's version in the service",
                        service.name
                    ),
                ));
            }
        }
        for draft in &definitions.on_demand {
            let unpinned =
                |used: &Use| used.version.is_none() && (used.view.as_str(), &used.feature) == (view, feature);
            let before = self.current.feature_views.get(draft.name()).and_then(|view| view.on_demand());
            let used_before = before.is_some_and(|before| before.uses.iter().any(unpinned));
            if used_before && draft.uses().any(|(used, _)| unpinned(used)) {
                diff.breaking.push((
                    feature.clone(),
                    format!(
                        "`{feature}` would be {to} and no longer {from}, but on-demand feature view `{}` uses it; \
                         give the new feature a new name, or pin the view's version where it is used",
                        draft.name()
                    ),
                ));
            }
        }
    }

    /// Retires what is defined no longer; what uses others goes first.
    fn retire(&mut self, definitions: &Definitions) {
        let current = self.current;
        let mut retire = |kind: ObjectKind, name: &str, version: u32| {
            self.changes.retired.push(ObjectVersion { kind, name: name.to_owned(), version });
            self.revision.retired.push(ObjectRef { kind, name: name.to_owned() });
        };
        let services: BTreeSet<&str> = names(definitions.feature_services.iter().map(|d| &d.name));
        for (name, service) in
            current.feature_services.iter().filter(|(name, _)| !services.contains(name.as_str()))
        {
            retire(ObjectKind::FeatureService, name, service.version);
        }
        let views =
            definitions.feature_views.iter().chain(definitions.on_demand.iter().map(|draft| &draft.view));
        let views: BTreeSet<&str> = names(views.map(|d| &d.name));
        for (name, view) in current.feature_views.iter().filter(|(name, _)| !views.contains(name.as_str())) {
            retire(ObjectKind::FeatureView, name, view.version);
        }
        let sources: BTreeSet<&str> = names(definitions.sources.iter().map(|d| &d.name));
        for (name, source) in current.sources.iter().filter(|(name, _)| !sources.contains(name.as_str())) {
            retire(ObjectKind::Source, name, source.version);
        }
        let entities: BTreeSet<&str> = names(definitions.entities.iter().map(|d| &d.name));
        for (name, entity) in current.entities.iter().filter(|(name, _)| !entities.contains(name.as_str())) {
            retire(ObjectKind::Entity, name, entity.version);
        }
    }
}

/// Changes of the types of a view's join keys, which its entities make without a change of its own.
fn rekeyed(definitions: &Definitions, view: &FeatureViewDefinition, keys: &[Column]) -> Vec<String> {
    let entities = definitions.entities.iter().filter(|entity| view.entities.contains(&entity.name));
    let keys = entities.flat_map(|entity| &entity.join_keys).filter_map(|new| {
        let old = keys.iter().find(|old| old.name == new.name && old.data_type != new.data_type)?;
        Some(format!("join key `{}`: type: {} → {}", new.name, old.data_type, new.data_type))
    });
    keys.collect()
}

fn names<'d>(names: impl Iterator<Item = &'d String>) -> BTreeSet<&'d str> {
    names.map(String::as_str).collect()
}

/// How a service of the new definitions uses a feature that its view drops, if it does.
fn uses(current: &Catalog, service: &FeatureServiceDefinition, view: &str, feature: &str) -> Option<String> {
    let lists = |features: &[String]| features.iter().any(|f| f == feature);
    let of_view = service.selections.iter().filter(|selection| selection.view == view);
    for selection in of_view {
        if lists(&selection.features) {
            return Some("lists it".to_owned());
        }
        if !selection.features.is_empty() {
            continue;
        }
        match selection.version {
            Some(version) => {
                let pinned = current.feature_view_versions.get(&(view.to_owned(), version));
                if pinned.is_some_and(|pinned| pinned.features.iter().any(|f| f.name == feature)) {
                    return Some(format!("takes all of `{view}@{version}`"));
                }
            }
            // A service that is new, or that did not have the feature, loses nothing.
            None => {
                let before = current.feature_services.get(&service.name);
                let had = before.is_some_and(|before| {
                    before
                        .selections
                        .iter()
                        .any(|s| s.view == view && (s.features.is_empty() || lists(&s.features)))
                });
                if had {
                    return Some(format!("takes all of `{view}`"));
                }
            }
        }
    }
    None
}
