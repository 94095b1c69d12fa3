//! What becomes of each object: the answer to an apply.

use std::fmt;

use crate::object::ObjectKind;

/// An object at a version.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ObjectVersion {
    pub kind: ObjectKind,
    pub name: String,
    pub version: u32,
}

/// An object that gets a new version.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Updated {
    pub kind: ObjectKind,
    pub name: String,
    pub from: u32,
    pub to: u32,
    /// For people: "feature `temp`: type float32 → float64".
    pub changes: Vec<String>,
}

/// Something in use that the definitions would break.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Breaking {
    pub kind: ObjectKind,
    pub name: String,
    /// The feature, column or key of the definition.
    pub field: String,
    pub reason: String,
}

impl Breaking {
    /// `airport_weather.temp`
    pub fn location(&self) -> String {
        format!("{}.{}", self.name, self.field)
    }
}

impl fmt::Display for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.kind, self.name, self.reason)
    }
}

/// What becomes of each object.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Changes {
    pub created: Vec<ObjectVersion>,
    pub updated: Vec<Updated>,
    pub unchanged: Vec<ObjectVersion>,
    /// With the last version that each had.
    pub retired: Vec<ObjectVersion>,
    /// Not empty: the definitions are refused as a whole.
    pub breaking: Vec<Breaking>,
}

/// The answer to an apply or to its dry run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ApplyOutcome {
    /// The registry's version once applied; the current one where nothing changes or the definitions are refused.
    pub version: u64,
    #[serde(flatten)]
    pub changes: Changes,
}
