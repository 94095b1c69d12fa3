//! The registry's log in the online store's database.

use fjall::PersistMode;

use crate::{registry::RegistryLog, shard::store::Store};

pub struct FjallRegistryLog(Store);

impl FjallRegistryLog {
    pub fn new(store: Store) -> FjallRegistryLog {
        FjallRegistryLog(store)
    }
}

impl RegistryLog for FjallRegistryLog {
    fn append(&self, version: u64, entry: &[u8]) -> Result<(), String> {
        let mut batch = self.0.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.0.registry, version.to_be_bytes(), entry);
        batch.commit().map_err(|e| e.to_string())?;
        self.0.watermark.note_registry(version);
        Ok(())
    }

    fn read_all(&self) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let mut entries = Vec::new();
        for guard in self.0.registry.iter() {
            let (key, value) = guard.into_inner().map_err(|e| e.to_string())?;
            let version =
                <[u8; 8]>::try_from(key.as_ref()).map_err(|_| "a key is not a version".to_owned())?;
            entries.push((u64::from_be_bytes(version), value.to_vec()));
        }
        Ok(entries)
    }
}
