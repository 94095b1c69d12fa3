//! Copies of the online store's directory, to be opened in its stead.

use std::{
    io,
    path::{Path, PathBuf},
};

use fs_err as fs;

use crate::shard::{ShardError, StoreOptions, integrity::ONLINE};

/// For a look at a store, not for serving from it.
pub(super) const OPTIONS: StoreOptions =
    StoreOptions { memtable: 16 << 20, block_cache: 16 << 20, max_journal: 128 << 20 };

/// A directory next to the online store's; removed when dropped.
pub(super) struct Workplace(PathBuf);

impl Workplace {
    /// Copies the online store of `data` to a place of its own on the same disk.
    pub fn copy_of(data: &Path, purpose: &str) -> Result<Workplace, ShardError> {
        let place = Workplace(data.join(format!("larder-{purpose}-{}", std::process::id())));
        let failed = |error: io::Error| {
            ShardError::Store(format!("cannot copy {} aside: {error}", data.join(ONLINE).display()))
        };
        fs::create_dir(&place.0).map_err(failed)?;
        copy(&data.join(ONLINE), &place.online(), false).map_err(failed)?;
        Ok(place)
    }

    pub fn online(&self) -> PathBuf {
        self.0.join(ONLINE)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a copy that is not needed any more stays behind");
        }
    }
}

/// fjall never changes a table's file once it is written: those are linked. All else is copied and synced.
fn copy(from: &Path, to: &Path, immutable: bool) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&source, &target, immutable || entry.file_name() == "tables")?;
        } else if !immutable || fs::hard_link(&source, &target).is_err() {
            copy_file(&source, &target)?;
        }
    }
    fs::File::open(to)?.sync_all()
}

/// A journal's end is 64 MiB of zeros at first: they take no room in the copy either.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    fs::write(to, &bytes[..written])?;
    let file = fs::File::options().write(true).open(to)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}
