//! What a node keeps on its disk, opened and looked over; everything else stands on it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    backup::check_restored,
    clock::Clock,
    config::Config,
    node::{NodeError, reserve::Reserve},
    offline::{OfflineOptions, OfflineStore},
    registry::{CatalogHandle, Registry},
    shard::{
        CommittedTables, FjallRegistryLog, Outbox, RowCache, Store, StoreOptions, Streams, free_bytes,
        integrity::{OFFLINE, ONLINE},
        recover,
    },
    sql,
};

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Stores {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub catalog: CatalogHandle,
    pub online: Store,
    /// Into how many shards the online store is cut.
    pub shard_count: usize,
    pub cache: RowCache,
    pub committed: CommittedTables,
    pub streams: Streams,
    pub offline: Arc<OfflineStore>,
    /// The online store's rows that the offline store does not have yet.
    pub outbox: Arc<Outbox>,
}

pub(super) struct Opened {
    pub stores: Stores,
    pub registry: Registry,
    pub reserve: Reserve,
    /// Invariants that do not hold.
    pub violations: Vec<String>,
}

impl Stores {
    pub fn open(config: &Arc<Config>, clock: &Clock) -> Result<Opened, NodeError> {
        let data = &config.data.dir;
        check_restored(data)?;
        create_dir(&data.join(ONLINE))?;
        create_dir(&data.join(OFFLINE))?;
        let reserve = Reserve::new(data, config.data.reserve_bytes.bytes());
        // What was not written out before the node ended is written out by what follows.
        reserve.adjust(free_bytes(data), config.ingest.min_free_bytes.bytes(), false);
        let options = StoreOptions::from(&config.online);
        let (online, shard_count) =
            Store::open(&data.join(ONLINE), options, usize::from(config.online.shards))?;
        let catalog = CatalogHandle::default();
        let log = Box::new(FjallRegistryLog::new(online.clone()));
        let registry = Registry::open(log, clock.clone(), catalog.clone())?;
        let offline = OfflineStore::open(
            &data.join(OFFLINE),
            OfflineOptions {
                compression: config.offline.compression,
                compact_min_segments: config.offline.compact_segments,
                segment_rows: config.offline.segment_rows,
                ..OfflineOptions::default()
            },
        )?;
        let committed = CommittedTables::default();
        let mut sealed = BTreeMap::new();
        for (table, schemas) in &catalog.current().tables {
            if let Some(schema) = schemas.last() {
                sealed.insert(*table, offline.sealed_seq(schema)?);
            }
        }
        let violations = recover(&online, &committed, clock, &catalog.current(), &sealed)?;
        let outbox = Arc::new(Outbox::new(online.clone(), committed.clone(), catalog.clone()));
        let stores = Stores {
            config: Arc::clone(config),
            clock: clock.clone(),
            catalog,
            online,
            shard_count,
            cache: RowCache::new(config.online.cache_bytes.as_usize()),
            committed,
            streams: Streams::default(),
            offline,
            outbox,
        };
        Ok(Opened { stores, registry, reserve, violations })
    }

    /// What queries read.
    pub fn inputs(&self) -> sql::Inputs {
        sql::Inputs {
            catalog: self.catalog.clone(),
            offline: Arc::clone(&self.offline),
            tail: self.outbox.clone(),
            clock: self.clock.clone(),
        }
    }
}

fn create_dir(path: &Path) -> Result<(), NodeError> {
    std::fs::create_dir_all(path).map_err(|source| NodeError::DataDir { path: path.to_owned(), source })
}
