//! The fjall database of the data directory: its keyspaces and their key bytes.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | rows | table, entity key | the newest row |
//! | outbox | table, first seq | a blob of rows that are not in a segment yet |
//! | batches | table, `Idempotency-Key` | [`StoredAnswer`](crate::shard::StoredAnswer) |
//! | event_ids | table, event time, fingerprint | – |
//! | quarantine | table, number | a rejected row, JSON |
//! | tables | table | [`TableState`](crate::shard::TableState), JSON |
//! | registry | version | a log entry, JSON |
//! | tiles | view, generation, entity key, part | an entity's window state: base or head |
//! | meta | name | the directory's own facts; the record of each generation of window state, and of each run |

use std::{
    fmt::Display,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions};

use crate::{
    config::OnlineConfig,
    metrics,
    model::TableId,
    priority,
    shard::{
        ShardError,
        integrity::{
            FORMAT, Watermark, check_before_open, check_format, check_no_swap, check_not_in_use, note_format,
            unknown,
        },
    },
};

/// Sizes of the database, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    pub memtable: u64,
    pub block_cache: u64,
    pub max_journal: u64,
}

impl From<&OnlineConfig> for StoreOptions {
    fn from(config: &OnlineConfig) -> StoreOptions {
        StoreOptions {
            memtable: config.memtable_bytes.bytes(),
            block_cache: config.block_cache_bytes.bytes(),
            max_journal: config.max_journal_bytes.bytes(),
        }
    }
}

/// Everything that was committed under a lower seqno is in fjall's tables.
#[derive(Debug, Clone, Copy)]
pub struct Flushed {
    pub(super) seqno: u64,
}

/// How often it is looked whether the memtables are written out.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

const FORMAT_FACT: &str = "format";

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub db: Database,
    pub rows: Keyspace,
    pub outbox: Keyspace,
    pub batches: Keyspace,
    pub event_ids: Keyspace,
    pub quarantine: Keyspace,
    pub tables: Keyspace,
    pub registry: Keyspace,
    pub meta: Keyspace,
    pub tiles: Keyspace,
    pub watermark: Arc<Watermark>,
}

impl Store {
    /// Opens or creates `dir`, a directory within the data directory. `shards` is fixed when it is created: the stored
    /// number is returned. Nothing is changed where the format is not known or the journals are damaged.
    pub fn open(dir: &Path, options: StoreOptions, shards: usize) -> Result<(Store, usize), ShardError> {
        let data = dir.parent().unwrap_or(dir);
        check_format(data)?;
        check_not_in_use(dir)?;
        check_no_swap(data)?;
        let watermark = Watermark::read(dir)?;
        let started = Instant::now();
        check_before_open(dir, &watermark)?;
        let checked = started.elapsed();
        let opened = Self::open_unchecked(dir, options, shards, watermark)?;
        let replayed = started.elapsed() - checked;
        tracing::info!(?checked, ?replayed, "the journals were checked and replayed");
        opened.0.watermark.writable()?;
        note_format(data)?;
        opened.0.take_over()?;
        Ok(opened)
    }

    /// Opens what fjall makes of `dir`, which may cut off journals.
    pub(super) fn open_unchecked(
        dir: &Path,
        options: StoreOptions,
        shards: usize,
        watermark: Watermark,
    ) -> Result<(Store, usize), ShardError> {
        let db = open_database(dir, options)?;
        let keyspace = |name: &str, hits: bool| {
            db.keyspace(name, || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(options.memtable)
                    .expect_point_read_hits(hits)
            })
        };
        let store = Store {
            rows: keyspace("rows", false)?,
            outbox: keyspace("outbox", false)?,
            batches: keyspace("batches", false)?,
            event_ids: keyspace("event_ids", false)?,
            quarantine: keyspace("quarantine", false)?,
            tables: keyspace("tables", true)?,
            registry: keyspace("registry", true)?,
            meta: keyspace("meta", true)?,
            tiles: keyspace("tiles", false)?,
            watermark: Arc::new(watermark),
            db,
        };
        let format = store.fact(FORMAT_FACT, FORMAT)?;
        if format > FORMAT {
            return Err(unknown(dir, format));
        }
        let shards = store.fact("shards", u32::try_from(shards).unwrap_or(1))?;
        Ok((store, shards as usize))
    }

    /// Writes out what is in memory, so that the next start has nothing to replay. To be called when nobody commits any
    /// more. `None` where it was not done by then, or could not be.
    pub fn flush(&self, deadline: Instant) -> Result<Option<Flushed>, ShardError> {
        let seqno = self.db.seqno();
        let keyspaces = self.keyspaces();
        for (_, keyspace) in &keyspaces {
            keyspace.rotate_memtable()?;
        }
        let in_memory = || {
            keyspaces
                .iter()
                .any(|(_, k)| k.sealed_memtable_count() > 0 || !k.tree.active_memtable().is_empty())
        };
        while in_memory() {
            // A worker of fjall that failed leaves its memtable for ever.
            if Instant::now() > deadline {
                return Ok(None);
            }
            thread::sleep(FLUSH_PAUSE);
        }
        Ok(Some(Flushed { seqno }))
    }

    /// Tells what of memory it holds.
    pub fn record_memory(&self) {
        metrics::record_memory("memtables", self.db.write_buffer_size());
        metrics::record_memory("block_cache", self.db.cache_size());
    }

    /// All keyspaces by name; tables come before what refers to them.
    pub(super) fn keyspaces(&self) -> [(&'static str, &Keyspace); 9] {
        [
            ("meta", &self.meta),
            ("registry", &self.registry),
            ("tables", &self.tables),
            ("rows", &self.rows),
            ("tiles", &self.tiles),
            ("outbox", &self.outbox),
            ("batches", &self.batches),
            ("event_ids", &self.event_ids),
            ("quarantine", &self.quarantine),
        ]
    }

    /// A directory of an older format is of this one from now on.
    fn take_over(&self) -> Result<(), ShardError> {
        if self.fact(FORMAT_FACT, FORMAT)? < FORMAT {
            self.meta.insert(FORMAT_FACT, FORMAT.to_le_bytes())?;
        }
        Ok(())
    }

    /// A number that is fixed at the directory's creation.
    fn fact(&self, name: &str, initial: u32) -> Result<u32, ShardError> {
        if let Some(bytes) = self.meta.get(name)? {
            let bytes: [u8; 4] = bytes
                .as_ref()
                .try_into()
                .map_err(|_| ShardError::Damaged(format!("the stored `{name}` is not a number")))?;
            return Ok(u32::from_le_bytes(bytes));
        }
        self.meta.insert(name, initial.to_le_bytes())?;
        self.db.persist(fjall::PersistMode::SyncAll)?;
        Ok(initial)
    }
}

/// On a thread of its own: what writes out and merges in the background is started by it, and may wait as it does.
fn open_database(dir: &Path, options: StoreOptions) -> Result<Database, ShardError> {
    let open = || {
        Database::builder(dir)
            .cache_size(options.block_cache)
            .max_journaling_size(options.max_journal)
            // The replay compresses again what it has read, to check it.
            .journal_compression(fjall::CompressionType::None)
            .max_cached_files(Some(256))
            // Two of them spin: the first passes merges on to the other, again and again while that is at work.
            .worker_threads(1)
            .open()
    };
    let cannot = |why: &dyn Display| ShardError::Store(format!("cannot open {}: {why}", dir.display()));
    thread::scope(|scope| {
        let opened = thread::Builder::new()
            .name("larder-open".to_owned())
            .spawn_scoped(scope, priority::waiting(open))
            .map_err(|error| cannot(&error))?;
        opened.join().map_err(|_| cannot(&"it panicked"))?.map_err(|error| match error {
            fjall::Error::Locked => {
                ShardError::Store(format!("{} is in use by another process", dir.display()))
            }
            other => cannot(&other),
        })
    })
}

/// `table` then `rest`: the key of a row or of a batch id.
pub fn table_key(table: TableId, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + rest.len());
    push_table_key(table, rest, &mut key);
    key
}

pub fn push_table_key(table: TableId, rest: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&table.0.to_be_bytes());
    out.extend_from_slice(rest);
}

/// `table` then a number: the key of an outbox blob or a quarantined row, in the number's order.
pub fn numbered_key(table: TableId, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&table.0.to_be_bytes());
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The table in a key of one.
pub fn key_table(key: &[u8]) -> Option<TableId> {
    key.get(..4)?.try_into().ok().map(u32::from_be_bytes).map(TableId)
}

/// The number in a [`numbered_key`].
pub fn key_number(key: &[u8]) -> Option<u64> {
    key.get(4..12)?.try_into().ok().map(u64::from_be_bytes)
}

/// The key of an event id: by time first, so that ids can be forgotten in ranges as their windows pass.
pub fn event_id_key(table: TableId, event_time: i64, fingerprint: u128) -> [u8; 28] {
    let mut key = [0; 28];
    key[..4].copy_from_slice(&table.0.to_be_bytes());
    key[4..12].copy_from_slice(&(event_time.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    key[12..].copy_from_slice(&fingerprint.to_be_bytes());
    key
}
