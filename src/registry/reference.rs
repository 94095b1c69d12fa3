//! Feature references (`view:feature`, `alias:feature`, `view@3:feature`) resolved against a catalog.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use crate::{
    computation::Computation,
    error::RegistryError,
    object::{Feature, FeatureView, Selection},
};
use larder_model::Column;

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

/// All features that come from one view by one mapping of join keys: one lookup per entity. Of an on-demand view nothing
/// is looked up.
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
    /// Also those that are only looked up for on-demand features.
    pub groups: Vec<Group>,
    pub features: Vec<ResolvedFeature>,
    pub computation: Computation,
}

impl Resolved {
    pub fn definition(&self, feature: &ResolvedFeature) -> &Feature {
        &self.groups[feature.group].view.features[feature.feature]
    }

    /// The same features in the same order, every view at the version that it was resolved to.
    pub fn pinned(&self) -> Vec<Selection> {
        self.features
            .iter()
            .map(|feature| {
                let Group { view, alias, key_columns } = &self.groups[feature.group];
                let keys = view.schema.keys.iter().zip(key_columns);
                Selection {
                    view: view.name.clone(),
                    version: Some(view.version),
                    alias: (*alias != view.name).then(|| alias.clone()),
                    features: vec![view.features[feature.feature].name.clone()],
                    join_keys: keys
                        .filter(|(key, column)| key.name != **column)
                        .map(|(key, column)| (key.name.clone(), column.clone()))
                        .collect(),
                }
            })
            .collect()
    }

    /// The features of a group that are asked for, or that on-demand features are computed from.
    pub fn looked_up(&self, group: usize) -> Vec<usize> {
        let asked = self.features.iter().filter(|feature| feature.group == group).map(|f| f.feature);
        let inputs = self.computation.inputs.iter().filter(|(of, _)| *of == group).map(|(_, f)| *f);
        asked.chain(inputs).collect::<BTreeSet<usize>>().into_iter().collect()
    }

    /// The columns that a request or a spine must have, with their types; each once, in the order of first use.
    pub fn join_keys(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for group in &self.groups {
            for (name, key) in group.key_columns.iter().zip(&group.view.schema.keys) {
                if !columns.iter().any(|column| column.name == *name) {
                    columns.push(Column { name: name.clone(), data_type: key.data_type.clone() });
                }
            }
        }
        columns
    }

    /// The features' names as columns of a training set: `view__feature`, or only `feature` when not `full`.
    pub fn column_names(&self, full: bool) -> Result<Vec<String>, RegistryError> {
        let mut taken: HashMap<String, &str> = HashMap::new();
        let mut columns = Vec::with_capacity(self.features.len());
        for feature in &self.features {
            let short = &self.definition(feature).name;
            let column =
                if full { format!("{}__{short}", self.groups[feature.group].alias) } else { short.clone() };
            match taken.entry(column.clone()) {
                Entry::Vacant(free) => free.insert(&feature.name),
                Entry::Occupied(other) => {
                    return Err(RegistryError::ColumnNames {
                        first: (*other.get()).to_owned(),
                        second: feature.name.clone(),
                        column,
                        remedy: if full {
                            "give one of the views another name with `as`"
                        } else {
                            "ask for full feature names"
                        },
                    });
                }
            };
            columns.push(column);
        }
        Ok(columns)
    }
}

impl fmt::Display for Selection {
    /// As a reference where it is one; else `view@3:a,b as alias (key = column)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.view)?;
        if let Some(version) = self.version {
            write!(f, "@{version}")?;
        }
        if !self.features.is_empty() {
            write!(f, ":{}", self.features.join(","))?;
        }
        if let Some(alias) = &self.alias {
            write!(f, " as {alias}")?;
        }
        if !self.join_keys.is_empty() {
            let mapping: Vec<String> =
                self.join_keys.iter().map(|(key, column)| format!("{key} = {column}")).collect();
            write!(f, " ({})", mapping.join(", "))?;
        }
        Ok(())
    }
}

/// Reads `view`, `view:feature`, `view@3` or `view@3:feature`.
pub(super) fn parse_reference(text: &str) -> Result<Selection, String> {
    let malformed =
        || format!("`{text}` is not a reference; write `view`, `view:feature`, `view@3` or `view@3:feature`");
    let (view, feature) = match text.split_once(':') {
        Some((view, feature)) => (view, Some(feature)),
        None => (text, None),
    };
    let (view, version) = match view.split_once('@') {
        Some((view, digits)) => {
            // `parse` alone would take `+3`.
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            (view, Some(digits.parse::<u32>().ok().filter(|n| plain && *n > 0).ok_or_else(malformed)?))
        }
        None => (view, None),
    };
    let plain = |name: &str| !name.is_empty() && !name.contains([':', '@', ' ']);
    if !plain(view) || !feature.is_none_or(plain) {
        return Err(malformed());
    }
    Ok(Selection {
        view: view.to_owned(),
        version,
        alias: None,
        features: feature.map(str::to_owned).into_iter().collect(),
        join_keys: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_their_four_forms() {
        let parsed = |text| parse_reference(text).map(|s| (s.view, s.version, s.features)).unwrap();
        assert_eq!(parsed("plane"), ("plane".to_owned(), None, vec![]));
        assert_eq!(parsed("plane:seats"), ("plane".to_owned(), None, vec!["seats".to_owned()]));
        assert_eq!(parsed("plane@3"), ("plane".to_owned(), Some(3), vec![]));
        assert_eq!(parsed("plane@3:seats"), ("plane".to_owned(), Some(3), vec!["seats".to_owned()]));
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in [
            "",
            ":",
            "plane:",
            ":seats",
            "plane@",
            "plane@0",
            "plane@+1",
            "plane@x:a",
            "a:b:c",
            "a@1@2",
            "a b",
            "plane@99999999999",
        ] {
            assert!(parse_reference(text).is_err(), "{text}");
        }
    }
}
