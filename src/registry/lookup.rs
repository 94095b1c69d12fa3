//! Finding an object by name and, if asked, version.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    catalog::Catalog,
    error::RegistryError,
    object::{Entity, FeatureService, FeatureView, ObjectKind, Source},
    suggest::hint,
};

/// Every version that objects of one kind ever had.
pub(super) type Versions<T> = BTreeMap<(String, u32), Arc<T>>;

/// All versions of one object, oldest first, retired or not.
pub(super) fn history<'a, T>(
    versions: &'a Versions<T>,
    name: &str,
) -> impl DoubleEndedIterator<Item = (u32, &'a Arc<T>)> {
    versions
        .range((name.to_owned(), 0)..=(name.to_owned(), u32::MAX))
        .map(|((_, version), object)| (*version, object))
}

/// A version given finds any that ever was; without one the object must be a current one.
impl Catalog {
    pub fn entity(&self, name: &str, version: Option<u32>) -> Result<&Arc<Entity>, RegistryError> {
        find(ObjectKind::Entity, &self.entities, &self.entity_versions, name, version)
    }

    pub fn source(&self, name: &str, version: Option<u32>) -> Result<&Arc<Source>, RegistryError> {
        find(ObjectKind::Source, &self.sources, &self.source_versions, name, version)
    }

    pub fn feature_view(&self, name: &str, version: Option<u32>) -> Result<&Arc<FeatureView>, RegistryError> {
        find(ObjectKind::FeatureView, &self.feature_views, &self.feature_view_versions, name, version)
    }

    pub fn feature_service(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<&Arc<FeatureService>, RegistryError> {
        find(
            ObjectKind::FeatureService,
            &self.feature_services,
            &self.feature_service_versions,
            name,
            version,
        )
    }
}

fn find<'a, T>(
    kind: ObjectKind,
    current: &'a BTreeMap<String, Arc<T>>,
    versions: &'a Versions<T>,
    name: &str,
    version: Option<u32>,
) -> Result<&'a Arc<T>, RegistryError> {
    let newest = history(versions, name).next_back().map(|(newest, _)| newest);
    let found = match version {
        None => current.get(name),
        Some(version) => versions.get(&(name.to_owned(), version)),
    };
    match (found, version, newest) {
        (Some(object), _, _) => Ok(object),
        (None, Some(version), Some(newest)) => {
            Err(RegistryError::UnknownVersion { kind, name: name.to_owned(), version, newest })
        }
        (None, None, Some(newest)) => Err(RegistryError::Unknown {
            kind,
            name: name.to_owned(),
            hint: format!("; it was retired, its last version is {newest}"),
        }),
        (None, _, None) => Err(RegistryError::Unknown {
            kind,
            name: name.to_owned(),
            hint: hint(name, current.keys().map(String::as_str)),
        }),
    }
}
