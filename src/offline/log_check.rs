//! Whether a table's Delta log is what was written: Delta itself has no checksums there, and a changed digit would be
//! a changed number.
//!
//! Each commit of larder's names in its first line the CRC-32C of all lines after it; next to each checkpoint lies a
//! small file with the checkpoint's. What other writers wrote has neither and is taken as it is.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use fs_err as fs;
use serde_json::Value;

use crate::offline::{
    OfflineError,
    delta_log::log_dir,
    durable::{NewFile, names, sync_dir},
};

/// The field of a commit's `commitInfo` with the CRC-32C of the lines after it.
pub(super) const CRC_FIELD: &str = "larderCrc32c";
const CHECKPOINT: &str = ".checkpoint.parquet";
const COMMIT: &str = ".json";

/// Eight hexadecimal digits.
pub(super) fn hex(crc: u32) -> String {
    format!("{crc:08x}")
}

pub(super) fn checkpoint_path(dir: &Path, version: u64) -> PathBuf {
    log_dir(dir).join(format!("{version:020}{CHECKPOINT}"))
}

/// The name of the file with a checkpoint's checksum.
pub(super) fn crc_name(version: u64) -> String {
    format!("_{version:020}{CHECKPOINT}.crc32c")
}

fn crc_path(dir: &Path, version: u64) -> PathBuf {
    log_dir(dir).join(crc_name(version))
}

/// Which version a file of the log belongs to.
pub(super) struct LogVersion {
    pub number: u64,
    pub is_checkpoint: bool,
}

/// `None` for a file that is neither commit nor checkpoint.
pub(super) fn log_version(name: &str) -> Option<LogVersion> {
    let checkpoint = name.strip_suffix(CHECKPOINT);
    let number = checkpoint.or(name.strip_suffix(COMMIT))?.parse().ok()?;
    Some(LogVersion { number, is_checkpoint: checkpoint.is_some() })
}

/// To be called before the checkpoint gets its name, so that there is never one without.
pub(super) fn write_checkpoint_crc(dir: &Path, version: u64, crc: u32) -> Result<(), OfflineError> {
    let path = crc_path(dir, version);
    let mut file = NewFile::create(&log_dir(dir))?;
    file.write_all(hex(crc).as_bytes()).map_err(OfflineError::io("writing", &path))?;
    file.rename(&path)?;
    sync_dir(&log_dir(dir))
}

/// Checks the newest checkpoint and the commits after it, which is all that opening the table reads.
pub(super) fn check(dir: &Path) -> Result<(), OfflineError> {
    let log = log_dir(dir);
    let names = names(&log)?;
    let versions = || names.iter().filter_map(|name| Some((log_version(name)?, name)));
    let checkpoint = versions().filter(|(v, _)| v.is_checkpoint).map(|(v, _)| v.number).max();
    if let Some(version) = checkpoint {
        check_checkpoint(dir, version)?;
    }
    for (version, name) in versions() {
        if !version.is_checkpoint && checkpoint.is_none_or(|checkpoint| version.number > checkpoint) {
            check_commit(&log.join(name))?;
        }
    }
    Ok(())
}

/// Checks one file of the log; one that is gone and of which a checkpoint says all is no loss.
pub(super) fn check_file(dir: &Path, name: &str) -> Result<(), OfflineError> {
    let version = log_version(name);
    if let Some(version) = &version
        && !log_dir(dir).join(name).exists()
        && names(&log_dir(dir))?
            .iter()
            .filter_map(|name| log_version(name))
            .any(|other| other.is_checkpoint && other.number >= version.number)
    {
        return Ok(());
    }
    match version {
        Some(LogVersion { number, is_checkpoint: true }) => check_checkpoint(dir, number),
        Some(_) => check_commit(&log_dir(dir).join(name)),
        None => Ok(()),
    }
}

pub(super) fn check_checkpoint(dir: &Path, version: u64) -> Result<(), OfflineError> {
    let (path, crc) = (checkpoint_path(dir, version), crc_path(dir, version));
    let expected = match fs::read(&crc) {
        Ok(expected) => expected,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OfflineError::io("reading", &crc)(error)),
    };
    let bytes = fs::read(&path).map_err(OfflineError::io("reading", &path))?;
    if expected != hex(crc32c::crc32c(&bytes)).as_bytes() {
        let reason = "the checkpoint has changed since it was written; delete it and _last_checkpoint, what is before it says the same";
        return Err(OfflineError::log(&path, reason));
    }
    Ok(())
}

fn check_commit(path: &Path) -> Result<(), OfflineError> {
    checked_commit(path).map(drop)
}

/// The text of a commit that is as it was written.
pub(super) fn checked_commit(path: &Path) -> Result<Vec<u8>, OfflineError> {
    let text = fs::read(path).map_err(OfflineError::io("reading", path))?;
    let end = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |end| end + 1);
    let (first, rest) = text.split_at(end);
    let first: Value = serde_json::from_slice(first).map_err(|error| OfflineError::log(path, error))?;
    match first.pointer(&format!("/commitInfo/{CRC_FIELD}")) {
        Some(expected) if *expected != hex(crc32c::crc32c(rest)) => Err(OfflineError::log(
            path,
            "the commit has changed since it was written; restore it from a backup",
        )),
        _ => Ok(text),
    }
}
