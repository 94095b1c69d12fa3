//! The registry's log: one entry per registry version, append-only; the catalog is its replay.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    changes::Changes,
    definition::{EntityDefinition, FeatureServiceDefinition, FeatureViewDefinition, Note, SourceDefinition},
    object::ObjectRef,
};
use larder_model::{TableId, Timestamp};

/// Where entries are kept. Implemented over the online store; versions are 1, 2, 3, … without gaps.
pub trait RegistryLog {
    /// Returns after the entry is durable. A version that was appended without success may be appended again.
    fn append(&self, version: u64, entry: &[u8]) -> Result<(), String>;

    /// All entries, in the order of their versions.
    fn read_all(&self) -> Result<Vec<(u64, Vec<u8>)>, String>;
}

/// One registry version: who made it, what it changed, and the objects that it made.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LogEntry {
    pub version: u64,
    pub time: Timestamp,
    #[serde(flatten)]
    pub note: Note,
    /// For people; what did not change is left out.
    pub summary: Changes,
    pub revision: Revision,
}

/// All that leads from one catalog to the next.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Revision {
    /// New objects and new versions; entities before what uses them.
    pub objects: Vec<Record>,
    pub retired: Vec<ObjectRef>,
}

impl Revision {
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.retired.is_empty()
    }
}

/// One version of one object.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "object", rename_all = "snake_case")]
// There are few, and they are read once.
#[allow(clippy::large_enum_variant)]
pub enum Record {
    Entity { version: u32, definition: EntityDefinition },
    Source { version: u32, table: TableId, definition: SourceDefinition },
    FeatureView { version: u32, table: TableId, definition: FeatureViewDefinition },
    FeatureService { version: u32, definition: FeatureServiceDefinition },
}

/// A version's number and its entry.
type Appended = (u64, Vec<u8>);

/// A log in memory, for tests; clones share their entries.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog(Arc<Mutex<Vec<Appended>>>);

impl RegistryLog for MemoryLog {
    fn append(&self, version: u64, entry: &[u8]) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((version, entry.to_vec()));
        Ok(())
    }

    fn read_all(&self) -> Result<Vec<(u64, Vec<u8>)>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
