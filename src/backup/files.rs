//! Files of a backup: there whole, durable and with a known checksum, or not at all.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use fs_err as fs;

use crate::backup::{BackupError, manifest::FileMark};

/// Ends the names of files that are being written.
pub const TEMPORARY: &str = ".tmp";

/// Counts and sums what passes through.
pub struct Summed<T> {
    inner: T,
    mark: FileMark,
}

impl<T> Summed<T> {
    pub fn new(inner: T) -> Summed<T> {
        Summed { inner, mark: FileMark { bytes: 0, crc32c: 0 } }
    }

    pub fn mark(&self) -> FileMark {
        self.mark
    }

    fn add(&mut self, bytes: &[u8]) {
        self.mark.bytes += bytes.len() as u64;
        self.mark.crc32c = crc32c::crc32c_append(self.mark.crc32c, bytes);
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.add(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.add(&out[..read]);
        Ok(read)
    }
}

/// What [`write_file`] writes to.
pub type Out = BufWriter<Summed<File>>;

/// Writes a file under a temporary name, syncs it and gives it its name, replacing what was there.
pub fn write_file(
    path: &Path,
    content: impl FnOnce(Out) -> Result<Out, BackupError>,
) -> Result<FileMark, BackupError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(TEMPORARY);
    let temporary = path.with_file_name(name);
    let wrong = |doing: &'static str| BackupError::io(doing, path);
    let file = File::create(&temporary).map_err(wrong("creating"))?;
    let mut out = content(BufWriter::with_capacity(1 << 18, Summed::new(file)))?;
    out.flush().map_err(wrong("writing"))?;
    let mark = out.get_ref().mark();
    out.get_ref().inner.sync_all().map_err(wrong("syncing"))?;
    fs::rename(&temporary, path).map_err(wrong("naming"))?;
    sync_parent(path)?;
    Ok(mark)
}

/// Makes a name that was given in a directory survive a power loss.
pub fn sync_parent(path: &Path) -> Result<(), BackupError> {
    let Some(dir) = path.parent() else { return Ok(()) };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(BackupError::io("syncing", dir))
}

/// Creates `dir` and what is above it, durably.
pub fn create_dirs(dir: &Path) -> Result<(), BackupError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        create_dirs(above)?;
    }
    fs::create_dir(dir).map_err(BackupError::io("creating", dir))?;
    sync_parent(dir)
}

/// Reads the whole file.
pub fn sum(path: &Path) -> Result<FileMark, BackupError> {
    let file = File::open(path).map_err(BackupError::io("reading", path))?;
    let mut from = Summed::new(file);
    io::copy(&mut BufReader::with_capacity(1 << 18, &mut from), &mut io::sink())
        .map_err(BackupError::io("reading", path))?;
    Ok(from.mark())
}

/// Copies a file; on return the copy is durable.
pub fn copy(from: &Path, to: &Path) -> Result<FileMark, BackupError> {
    let mut source = File::open(from).map_err(BackupError::io("reading", from))?;
    write_file(to, |mut out| {
        io::copy(&mut source, &mut out).map_err(BackupError::io("copying to", to))?;
        Ok(out)
    })
}

/// Gives a file a second name; false where the file system cannot.
pub fn link(from: &Path, to: &Path) -> Result<bool, BackupError> {
    // A leftover of a backup that was never finished.
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BackupError::io("replacing", to)(error));
        }
        _ => {}
    }
    match std::fs::hard_link(from, to) {
        Ok(()) => sync_parent(to).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BackupError::io("linking", from)(error)),
        Err(_) => Ok(false),
    }
}
