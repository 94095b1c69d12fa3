//! Files that are there whole or not at all, also after a power loss.
//!
//! Neither delta_kernel nor parquet calls fsync. Everything is written under a temporary name, synced, renamed, and
//! then the directory is synced.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use fs_err as fs;

use crate::{failpoint, offline::OfflineError};

/// Begins the names of files that are being written. Delta readers skip names that begin with `_`.
pub(super) const TEMPORARY: &str = "_tmp-";

/// A file in the making; removed when dropped before it is given its name. Knows its length and CRC-32C.
pub struct NewFile {
    out: BufWriter<File>,
    path: PathBuf,
    length: u64,
    crc: u32,
    named: bool,
}

/// What was written.
pub struct Written {
    pub length: u64,
    pub crc32c: u32,
}

impl NewFile {
    pub fn create(dir: &Path) -> Result<NewFile, OfflineError> {
        let path = dir.join(format!("{TEMPORARY}{}", crate::model::BatchId::fresh()));
        let file = File::create_new(&path).map_err(OfflineError::io("creating", &path))?;
        Ok(NewFile { out: BufWriter::with_capacity(1 << 18, file), path, length: 0, crc: 0, named: false })
    }

    /// Syncs the content and renames the file, replacing what was there. The directory is the caller's to sync.
    pub fn rename(&mut self, to: &Path) -> Result<Written, OfflineError> {
        self.sync()?;
        failpoint::reach("seal.synced");
        fs::rename(&self.path, to).map_err(OfflineError::io("renaming to", to))?;
        self.named = true;
        failpoint::reach("seal.renamed");
        Ok(Written { length: self.length, crc32c: self.crc })
    }

    /// Syncs the content and gives the file a name that is still free; false when it is taken.
    /// The directory is the caller's to sync.
    pub fn link(&mut self, to: &Path) -> Result<bool, OfflineError> {
        self.sync()?;
        match std::fs::hard_link(&self.path, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(OfflineError::io("naming", to)(error)),
        }
    }

    /// Of what was written so far.
    pub fn crc32c(&self) -> u32 {
        self.crc
    }

    fn sync(&mut self) -> Result<(), OfflineError> {
        self.out.flush().map_err(OfflineError::io("writing", &self.path))?;
        failpoint::reach("seal.written");
        self.out.get_ref().sync_all().map_err(OfflineError::io("syncing", &self.path))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is removed when the table is next opened.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes names given, and names removed, in `dir` survive a power loss.
pub fn sync_dir(dir: &Path) -> Result<(), OfflineError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(OfflineError::io("syncing", dir))
}

/// Names of what is in `dir`.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, OfflineError> {
    let entries = fs::read_dir(dir).map_err(OfflineError::io("listing", dir))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, std::io::Error>>().map_err(OfflineError::io("listing", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_not_named_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = NewFile::create(dir.path()).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn link_does_not_replace_and_rename_does() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("a");
        let file = |text: &[u8]| {
            let mut file = NewFile::create(dir.path()).unwrap();
            file.write_all(text).unwrap();
            file
        };
        assert!(file(b"one").link(&to).unwrap());
        assert!(!file(b"two").link(&to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"one");
        let written = file(b"three").rename(&to).unwrap();
        assert_eq!((written.length, written.crc32c), (5, crc32c::crc32c(b"three")));
        assert_eq!(fs::read(&to).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
