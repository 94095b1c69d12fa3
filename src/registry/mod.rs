//! Definitions, versions, compatibility, search, lineage.

mod catalog;
mod object;
mod reference;

pub use catalog::{Catalog, CatalogHandle};
pub use object::{
    About, Entity, Feature, FeatureService, FeatureStatus, FeatureView, Selection, Source, SourceKind,
    Validation,
};
pub use reference::{Group, Resolved, ResolvedFeature};
