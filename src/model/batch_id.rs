//! Ids of ingest batches: UUIDs of version 7, so that they sort by time.

use std::fmt;

use uuid::Uuid;

/// Written as a hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId(Uuid);

impl BatchId {
    /// One that never was before.
    pub fn fresh() -> BatchId {
        BatchId(Uuid::now_v7())
    }

    pub fn from_bytes(bytes: [u8; 16]) -> BatchId {
        BatchId(Uuid::from_bytes(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for BatchId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for BatchId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Uuid::parse_str(&text).map(BatchId).map_err(serde::de::Error::custom)
    }
}
