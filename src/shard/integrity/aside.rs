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

/// A directory next to the online store's; removed when dropped, unless there is a [`REPORT`] in it.
pub(super) struct Workplace(PathBuf);

const PREFIX: &str = "larder-";
/// What a repair found, while the store that it mended is moved to its place.
pub(super) const REPORT: &str = "report.json";

impl Workplace {
    /// Those that are there already: of processes that ended before they could remove them, where only one at a time has
    /// any for that purpose.
    pub fn left_behind(data: &Path, purpose: &str) -> io::Result<Vec<Workplace>> {
        Ok(places(data, purpose)?.into_iter().map(Workplace).collect())
    }

    /// Copies the online store of `data` to a place of its own on the same disk.
    pub fn copy_of(data: &Path, purpose: &str) -> Result<Workplace, ShardError> {
        let place = Workplace(data.join(format!("{PREFIX}{purpose}-{}", std::process::id())));
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

    pub fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if self.0.join(REPORT).exists() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a copy that is not needed any more stays behind");
        }
    }
}

/// The directories of all workplaces for that purpose.
pub(super) fn places(data: &Path, purpose: &str) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{PREFIX}{purpose}-");
    let mut found = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
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
