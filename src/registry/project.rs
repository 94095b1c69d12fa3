//! Projects: each team's files define the objects of their own project, beside those of others.
//!
//! A file names its project, or is of the default one. Definitions are read together with the objects that other projects
//! have in the catalog: they may use these, may not define one of the same name, and do not retire any.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    batch::BatchPlaces,
    catalog::Catalog,
    definition::{Definitions, Draft, FeatureViewDefinition},
    error::DefinitionError,
    object::About,
    place::Place,
};

/// Project of files that name none.
pub const DEFAULT_PROJECT: &str = "default";

/// Projects of a set of files; none stands for the default one.
pub(super) type Projects = BTreeSet<Option<String>>;

impl Definitions {
    /// The objects in `catalog` that belong to none of `own`.
    pub(super) fn of_others(catalog: &Catalog, own: &Projects) -> Definitions {
        let mut others = Definitions { beside: Some(catalog.version), ..Definitions::default() };
        let foreign = |about: &About| !own.contains(&about.project);
        for entity in catalog.entities.values().filter(|entity| foreign(&entity.about)) {
            others.entities.push(entity.as_ref().into());
        }
        for source in catalog.sources.values().filter(|source| foreign(&source.about)) {
            others.sources.push(source.as_ref().into());
        }
        for view in catalog.feature_views.values().filter(|view| foreign(&view.about)) {
            others.add_view(view.as_ref().into());
        }
        for service in catalog.feature_services.values().filter(|service| foreign(&service.about)) {
            let places = vec![place(&service.about); service.selections.len()];
            others.selection_places.insert(service.name.clone(), places);
            others.feature_services.push(service.as_ref().into());
        }
        others
    }

    fn add_view(&mut self, mut view: FeatureViewDefinition) {
        let place = place(&view.about);
        if view.batch.is_some() {
            let places = BatchPlaces { sql: place.clone(), schedule: place };
            self.batch_places.insert(view.name.clone(), places);
            self.feature_views.push(view);
        } else if let Some(on_demand) = &mut view.on_demand {
            on_demand.types.clear();
            let uses = vec![place.clone(); on_demand.uses.len()];
            let expressions = vec![place.clone(); on_demand.expressions.len()];
            self.on_demand.push(Draft { view, place, uses, expressions });
        } else {
            self.feature_views.push(view);
        }
    }
}

impl Definitions {
    /// What views of other projects than `own` would miss of the entities and sources that are defined now.
    pub(super) fn missed_by_others(&self, own: &Projects) -> Vec<DefinitionError> {
        let entities: BTreeSet<&str> = self.entities.iter().map(|entity| entity.name.as_str()).collect();
        let sources: BTreeMap<&str, _> =
            self.sources.iter().map(|source| (source.name.as_str(), source)).collect();
        let mut errors = Vec::new();
        for view in self.feature_views.iter().filter(|view| !own.contains(&view.about.project)) {
            let mut miss = |what: String| {
                let message = format!(
                    "feature view `{}` needs {what}; apply the files of both projects together",
                    view.name
                );
                errors.push(place(&view.about).error(message));
            };
            for name in view.entities.iter().filter(|name| !entities.contains(name.as_str())) {
                miss(format!("the entity `{name}`"));
            }
            let Some(stream) = &view.stream else { continue };
            let Some(source) = sources.get(stream.source.as_str()) else {
                miss(format!("the source `{}`", stream.source));
                continue;
            };
            for aggregation in &stream.aggregations {
                let (Some(name), Some(old)) = (&aggregation.column, &aggregation.column_type) else {
                    continue;
                };
                if !source.columns.iter().any(|column| column.name == *name && column.data_type == *old) {
                    miss(format!("the column `{name}` of source `{}` as {old}", source.name));
                }
            }
        }
        errors
    }
}

/// Stands for the place of what another project defines.
pub(super) fn place(about: &About) -> Place {
    let project = about.project.as_deref().unwrap_or(DEFAULT_PROJECT);
    Place { file: format!("project `{project}`").into(), line: None, path: None }
}
