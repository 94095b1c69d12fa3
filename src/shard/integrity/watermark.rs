//! What was acknowledged, outside of fjall: a small file that is written after each commit and before its answers.
//!
//! ```text
//! slots of 64 bytes: 0 the file's magic, 1 the registry, 2 + n table n
//! 0  u32 crc32c of the rest     4  u32 slot        8  u64 next seq      16  u64 next seq that was synced
//! 24 u32 crc of the last blob  28  4 zeros        32  16 bytes: which boot wrote it     48  u64 commits    56  8 zeros
//! ```
//! Written in place and never synced: it has to outlive the process, whose death leaves the page cache. After a power
//! loss it may be behind; it is ahead of the journal only where the journal was not synced, and then only what was
//! synced counts, because another boot wrote it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use fs_err as fs;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    model::TableId,
    shard::{ShardError, TableState},
};

const SLOT: usize = 64;
const MAGIC: &[u8; SLOT] = b"larder: what was acknowledged (watermark, format 1)\n\0\0\0\0\0\0\0\0\0\0\0\0";
/// The slot of the registry: its `next_seq` is the version.
const REGISTRY: u32 = 1;
const FIRST_TABLE: u32 = 2;

/// How far a table, or the registry, was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Mark {
    /// Rows below this were acknowledged, as far as this machine's current boot can tell.
    pub next_seq: u64,
    /// Checksum of the newest outbox blob below it, where that is known.
    pub last_crc: Option<u32>,
    /// Commits of the table up to here were acknowledged; 0 where that is not known.
    pub commits: u64,
    #[serde(skip)]
    synced: u64,
}

/// The open file. Shared by all shards.
#[derive(Debug)]
pub struct Watermark {
    path: PathBuf,
    boot: [u8; 16],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once it could not be written: what was acknowledged later is not in it.
    file: Option<File>,
    marks: BTreeMap<u32, Mark>,
    unreadable: Vec<u32>,
}

impl Watermark {
    /// Next to the directory of the online store, so that fjall does not meet it.
    pub fn path_of(online: &Path) -> PathBuf {
        let mut name = online.file_name().unwrap_or_default().to_owned();
        name.push("-watermark");
        online.with_file_name(name)
    }

    /// Reads the file, which need not be there, without changing it. [`Watermark::writable`] must follow before
    /// anything is noted.
    pub fn read(online: &Path) -> Result<Watermark, ShardError> {
        let path = Self::path_of(online);
        let failed = |error: io::Error| ShardError::Store(format!("cannot read {}: {error}", path.display()));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let boot = this_boot();
        let mut state = State { file: None, marks: BTreeMap::new(), unreadable: Vec::new() };
        for (slot, bytes) in bytes.chunks(SLOT).enumerate() {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            match decode(bytes, slot, boot) {
                _ if slot == 0 && bytes == MAGIC => {}
                _ if slot != 0 && bytes.iter().all(|&byte| byte == 0) => {}
                Some(mark) if slot != 0 => drop(state.marks.insert(slot, mark)),
                _ => state.unreadable.push(slot),
            }
        }
        Ok(Watermark { path, boot, state: Mutex::new(state) })
    }

    /// Makes the file writable, creating it where it is not there.
    pub fn writable(&self) -> Result<(), ShardError> {
        let failed =
            |error: io::Error| ShardError::Store(format!("cannot write {}: {error}", self.path.display()));
        let file =
            File::options().create(true).truncate(false).write(true).open(&self.path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            file.write_all_at(MAGIC, 0).map_err(failed)?;
        }
        self.state().file = Some(file);
        Ok(())
    }

    /// Whether anything at all was noted: not in a directory of a larder that had no watermark yet.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.marks.is_empty() && state.unreadable.is_empty()
    }

    pub fn tables(&self) -> BTreeMap<TableId, Mark> {
        let state = self.state();
        let tables = state.marks.range(FIRST_TABLE..);
        tables.map(|(slot, mark)| (TableId(slot - FIRST_TABLE), *mark)).collect()
    }

    /// The registry's version that was acknowledged.
    pub fn registry(&self) -> u64 {
        self.state().marks.get(&REGISTRY).map_or(0, |mark| mark.next_seq)
    }

    /// Slots that fail their checksum, in words.
    pub fn unreadable(&self) -> Vec<String> {
        let name = |slot: &u32| match *slot {
            0 => "its head".to_owned(),
            REGISTRY => "the registry's record".to_owned(),
            slot => format!("the record of table {}", slot - FIRST_TABLE),
        };
        let slots: Vec<_> = self.state().unreadable.iter().map(name).collect();
        slots.into_iter().map(|what| format!("{}: {what} is damaged", self.path.display())).collect()
    }

    /// To be called after the commit and before the answer. `synced`: the commit is on the disk.
    pub fn note(&self, table: TableId, state: &TableState, synced: bool) {
        self.put(FIRST_TABLE.saturating_add(table.0), state, synced);
    }

    pub fn note_registry(&self, version: u64) {
        self.put(REGISTRY, &TableState { next_seq: version, ..TableState::default() }, true);
    }

    fn put(&self, slot: u32, stored: &TableState, synced: bool) {
        let next_seq = stored.next_seq;
        let mut state = self.state();
        let known = state.marks.get(&slot).map_or(0, |mark| mark.synced);
        let synced = if synced { next_seq } else { known.min(next_seq) };
        let mark = Mark { next_seq, last_crc: Some(stored.last_crc), commits: stored.commits, synced };
        self.write(&mut state, slot, mark);
    }

    /// Runs `sync`, which makes what was noted so far survive a power loss, and remembers that it did.
    pub fn around_sync(&self, sync: impl FnOnce() -> Result<(), ShardError>) -> Result<(), ShardError> {
        let before = self.state().marks.clone();
        sync()?;
        let mut state = self.state();
        for (slot, old) in before {
            if let Some(mark) = state.marks.get(&slot).copied()
                && mark.synced < old.next_seq
            {
                self.write(&mut state, slot, Mark { synced: old.next_seq, ..mark });
            }
        }
        Ok(())
    }

    /// Forgets what was known, in memory, in favour of what a repair left.
    pub(super) fn reset_to(&self, tables: &BTreeMap<TableId, TableState>, registry: u64) {
        let mut state = self.state();
        state.marks.clear();
        state.unreadable.clear();
        drop(state);
        self.note_registry(registry);
        tables.iter().for_each(|(table, state)| self.note(*table, state, true));
    }

    /// Writes a new file, durably.
    pub(super) fn create(
        &self,
        tables: &BTreeMap<TableId, TableState>,
        registry: u64,
    ) -> Result<(), ShardError> {
        self.writable()?;
        self.reset_to(tables, registry);
        let failed =
            |error: io::Error| ShardError::Store(format!("cannot write {}: {error}", self.path.display()));
        let file = self.state().file.take().ok_or_else(|| failed(ErrorKind::Other.into()))?;
        file.sync_all().map_err(failed)
    }

    fn write(&self, state: &mut State, slot: u32, mark: Mark) {
        state.marks.insert(slot, mark);
        let Some(file) = &state.file else { return };
        let bytes = encode(slot, mark, self.boot);
        if let Err(error) = file.write_all_at(&bytes, u64::from(slot) * SLOT as u64) {
            // The commit stands. The file is behind from now on, which is safe.
            tracing::error!(path = %self.path.display(), %error, "cannot note what was acknowledged");
            state.file = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(slot: u32, mark: Mark, boot: [u8; 16]) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[4..8].copy_from_slice(&slot.to_le_bytes());
    bytes[8..16].copy_from_slice(&mark.next_seq.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.synced.to_le_bytes());
    bytes[24..28].copy_from_slice(&mark.last_crc.unwrap_or_default().to_le_bytes());
    bytes[32..48].copy_from_slice(&boot);
    bytes[48..56].copy_from_slice(&mark.commits.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], slot: u32, boot: [u8; 16]) -> Option<Mark> {
    let bytes: &[u8; SLOT] = bytes.try_into().ok()?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
    if u32_at(0)? != crc32c::crc32c(&bytes[4..]) || u32_at(4)? != slot {
        return None;
    }
    let (next_seq, synced) = (u64_at(8)?, u64_at(16)?);
    let same_boot = bytes[32..48] == boot && boot != [0; 16];
    let last_crc = Some(u32_at(24)?);
    // What was not synced, and whatever else is only known of what came last, does not count after another boot.
    Some(if same_boot || next_seq == synced {
        Mark { next_seq, synced, last_crc, commits: if same_boot { u64_at(48)? } else { 0 } }
    } else {
        Mark { next_seq: synced, synced, last_crc: None, commits: 0 }
    })
}

/// Tells this boot of the machine from others; zeros where the system does not say.
fn this_boot() -> [u8; 16] {
    fs::read("/proc/sys/kernel/random/boot_id").map_or([0; 16], |id| xxh3_128(&id).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(next_seq: u64) -> TableState {
        TableState { next_seq, last_crc: 7, commits: 2, ..TableState::default() }
    }

    #[test]
    fn outlives_the_process_and_shows_any_flipped_bit() {
        let dir = tempfile::tempdir().unwrap();
        let online = dir.path().join("online");
        let watermark = Watermark::read(&online).unwrap();
        assert!(watermark.is_empty());
        watermark.writable().unwrap();
        watermark.note(TableId(3), &state(41), true);
        watermark.note_registry(2);
        let again = Watermark::read(&online).unwrap();
        assert_eq!(again.registry(), 2);
        assert_eq!(
            again.tables()[&TableId(3)],
            Mark { next_seq: 41, last_crc: Some(7), commits: 2, synced: 41 }
        );
        assert!(again.unreadable().is_empty());
        let path = Watermark::path_of(&online);
        let bytes = fs::read(&path).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, damaged).unwrap();
            assert_eq!(Watermark::read(&online).unwrap().unreadable().len(), 1, "bit {bit}");
        }
    }

    #[test]
    fn after_another_boot_only_what_was_synced_counts() {
        let mark = Mark { next_seq: 90, last_crc: Some(1), commits: 2, synced: 60 };
        let (boot, other) = ([1; 16], [2; 16]);
        assert_eq!(decode(&encode(5, mark, boot), 5, boot).unwrap().next_seq, 90);
        assert_eq!(decode(&encode(5, mark, boot), 5, other).unwrap().next_seq, 60);
        assert!(decode(&encode(5, mark, boot), 6, boot).is_none(), "the record of another table");
    }

    #[test]
    fn a_sync_covers_what_was_noted_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let watermark = Watermark::read(&dir.path().join("online")).unwrap();
        watermark.note(TableId(0), &state(5), false);
        let during = || {
            watermark.note(TableId(0), &state(9), false);
            Ok(())
        };
        watermark.around_sync(during).unwrap();
        assert_eq!(
            watermark.tables()[&TableId(0)],
            Mark { next_seq: 9, last_crc: Some(7), commits: 2, synced: 5 }
        );
    }
}
