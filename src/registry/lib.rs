//! Definitions, versions, compatibility, search, lineage.
//!
//! Text becomes [`Definitions`] (`parse`), these are compared with the current [`Catalog`] ([`plan`]), and a
//! [`Registry`] writes what follows to its log and publishes the next catalog. A catalog is the replay of the log.
//! Nothing here does I/O or knows of actors (that of the registry is in the root package); the log is a trait.

mod batch;
mod build;
mod catalog;
mod changes;
mod compat;
mod computation;
mod computed;
mod definition;
mod describe;
mod error;
mod feature_form;
mod lineage;
mod link;
mod log;
mod lookup;
mod object;
mod on_demand;
mod parse;
mod place;
mod plan;
mod project;
mod reference;
mod registry;
mod requests;
mod resolve;
mod search;
mod stream;
mod suggest;

pub use batch::{Batch, LATEST, Queries};
pub use catalog::{Catalog, CatalogHandle};
pub use changes::{ApplyOutcome, Breaking, Changes, ObjectVersion, Updated};
pub use computation::{Computation, Operand, RequestColumn, Step};
pub use definition::{
    Definitions, EntityDefinition, FeatureServiceDefinition, FeatureViewDefinition, Note, OnDemandDefinition,
    SourceDefinition, StreamDefinition,
};
pub use describe::{
    describe, describe_all, describe_catalog, describe_entity, describe_feature_service,
    describe_feature_view, describe_source,
};
pub use error::{DefinitionError, ReferenceError, ReferenceProblem, RegistryError};
pub use lineage::{Edge, Lineage, lineage};
pub use log::{LogEntry, MemoryLog, Record, RegistryLog, Revision};
pub use object::{
    About, Entity, Feature, FeatureService, FeatureStatus, FeatureView, ObjectKind, ObjectRef, Origin,
    ParseObjectKindError, Selection, Source, SourceKind, Validation,
};
pub use on_demand::{Input, OnDemand, Use};
pub use parse::{DefinitionFile, parse_json, parse_json_beside, parse_toml, parse_toml_beside};
pub use plan::{Plan, plan};
pub use project::DEFAULT_PROJECT;
pub use reference::{Group, Resolved, ResolvedFeature};
pub use registry::{ApplyMode, Registry};
pub use search::{FeatureHit, Query, search};
pub use stream::{Aggregation, Stream, compile_filter, too_many};

#[cfg(test)]
mod tests;
